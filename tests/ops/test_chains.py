"""Random chains of views, writes through them and reads against NumPy: shared memory behaves alike in both.

Every chain starts from one array; a step makes a view or a copy of some tensor made before, or writes through one.
After each step everything made so far is compared: a write that reaches too far, or not far enough, shows.
`python -m tests.ops.test_chains 10000` runs so many chains.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import dumbtorch as dt

DTYPES = ("float32", "float64", "int64", "int16", "uint8", "bool", "complex64")
MOST = 12  # tensors that a chain keeps


def overlaps(array: np.ndarray) -> bool:
    """Whether a view shows an element twice: such a one is not written to."""
    return any(n > 1 and s == 0 for n, s in zip(array.shape, array.strides, strict=True))


class Chains(RuleBasedStateMachine):
    """Pairs of a tensor and the array that must always equal it."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[Any, np.ndarray]] = []
        self.count = 0

    @initialize(shape=st.lists(st.integers(0, 4), max_size=4), dtype=st.sampled_from(DTYPES), borrowed=st.booleans())
    def begin(self, shape: list[int], dtype: str, borrowed: bool) -> None:
        """One array: copied, or its memory itself."""
        array = self.numbers(tuple(shape), dtype)
        if borrowed and array.size:
            self.pairs.append((dt.from_numpy(array), array))
        else:
            self.pairs.append((dt.tensor(array.tolist(), dtype=getattr(dt, dtype)).reshape(array.shape), array))

    def numbers(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """New numbers, which tell later writes from earlier ones."""
        self.count += 1
        size = int(np.prod(shape))
        return ((np.arange(size) * 7 + 13 * self.count) % 120).astype(dtype).reshape(shape)

    def pick(self, data: st.DataObject, least: int = 0) -> tuple[Any, np.ndarray] | None:
        """Some pair of at least so many dimensions."""
        fitting = [pair for pair in self.pairs if pair[1].ndim >= least]
        return data.draw(st.sampled_from(fitting)) if fitting else None

    def keep(self, tensor: Any, array: np.ndarray) -> None:
        """Adds a pair, whose parts must agree already."""
        assert tuple(tensor.shape) == array.shape
        if len(self.pairs) < MOST and array.ndim <= 6 and array.size <= 600:
            self.pairs.append((tensor, array))

    # ------------------------------------------------------------ views

    @rule(data=st.data())
    def transpose(self, data: st.DataObject) -> None:
        """Dimensions in another order."""
        pair = self.pick(data, 1)
        if pair:
            order = data.draw(st.permutations(range(pair[1].ndim)))
            self.keep(pair[0].permute(order), pair[1].transpose(order))

    @rule(data=st.data())
    def index(self, data: st.DataObject) -> None:
        """Basic indexing."""
        pair = self.pick(data)
        if not pair:
            return
        key: list[Any] = []
        for n in pair[1].shape:
            kind = data.draw(st.sampled_from(("all", "slice", "int", "none", "stop")))
            if kind == "stop":
                break
            if kind == "none":
                key.append(None)
            if kind == "int" and n:
                key.append(data.draw(st.integers(-n, n - 1)))
            elif kind == "slice":
                bound = st.one_of(st.none(), st.integers(-n - 1, n + 1))
                key.append(slice(data.draw(bound), data.draw(bound), data.draw(st.sampled_from((None, 1, 2, 3)))))
            else:
                key.append(slice(None))
        if data.draw(st.booleans()):
            key.append(Ellipsis)
        self.keep(pair[0][tuple(key)], pair[1][tuple(key) if Ellipsis in key else (*key, Ellipsis)])

    @rule(data=st.data())
    def diagonal(self, data: st.DataObject) -> None:
        """A diagonal, as a view that can be written to."""
        pair = self.pick(data, 2)
        if pair:
            offset = data.draw(st.integers(-2, 2))
            array = pair[1].diagonal(offset)
            if pair[1].flags.writeable:
                array.flags.writeable = True
            self.keep(pair[0].diagonal(offset), array)

    @rule(data=st.data())
    def unfold(self, data: st.DataObject) -> None:
        """Windows along the last dimension that do not overlap."""
        pair = self.pick(data, 1)
        if pair and pair[1].shape[-1] >= 2:
            slide = np.lib.stride_tricks.sliding_window_view
            windows = slide(pair[1], 2, -1, writeable=pair[1].flags.writeable)[..., ::2, :]
            self.keep(pair[0].unfold(-1, 2, 2), windows)

    @rule(data=st.data())
    def expand(self, data: st.DataObject) -> None:
        """One element shown several times; only read from then on."""
        pair = self.pick(data)
        if pair:
            self.keep(pair[0].unsqueeze(0).expand(3, *pair[1].shape), np.broadcast_to(pair[1], (3, *pair[1].shape)))

    @rule(data=st.data())
    def squeeze(self, data: st.DataObject) -> None:
        """Dimensions of size 1 removed, or one added."""
        pair = self.pick(data)
        if pair:
            if data.draw(st.booleans()):
                self.keep(pair[0].squeeze(), pair[1].squeeze())
            else:
                place = data.draw(st.integers(0, pair[1].ndim))
                self.keep(pair[0].unsqueeze(place), np.expand_dims(pair[1], place))

    @rule(data=st.data())
    def split(self, data: st.DataObject) -> None:
        """Parts of a dimension."""
        pair = self.pick(data, 1)
        if pair and pair[1].shape[0]:
            place = data.draw(st.integers(0, pair[1].shape[0] - 1))
            self.keep(pair[0].tensor_split((place,))[1], pair[1][place:])

    @rule(data=st.data())
    def flatten(self, data: st.DataObject) -> None:
        """All elements in a row: a view in both libraries, or a copy in both."""
        pair = self.pick(data)
        if pair:
            tensor, array = pair[0].reshape(-1), pair[1].reshape(-1)
            if np.shares_memory(array, pair[1]) and array.size > 1:
                assert tensor.data_ptr() == pair[0].data_ptr()
                self.keep(tensor, array)
            elif not array.size or tensor.data_ptr() != pair[0].data_ptr():
                self.keep(tensor, array.copy())

    @rule(data=st.data())
    def bits(self, data: st.DataObject) -> None:
        """The same memory as smaller elements."""
        pair = self.pick(data, 1)
        if not pair or not pair[1].size or pair[1].shape[-1] == 1 or pair[1].itemsize == 1:
            return
        # results may lie in another order than NumPy's: only where both are in order
        if pair[1].flags.c_contiguous and pair[0].is_contiguous():
            self.keep(pair[0].view(dt.uint8), pair[1].view(np.uint8))

    # ------------------------------------------------------------ copies

    @rule(data=st.data())
    def clone(self, data: st.DataObject) -> None:
        """A copy, which is made when either is first written to."""
        pair = self.pick(data)
        if pair:
            self.keep(pair[0].clone(memory_format=dt.contiguous_format), pair[1].copy())

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        """Advanced indexing: a copy."""
        pair = self.pick(data, 1)
        if pair and pair[1].shape[0]:
            n = pair[1].shape[0]
            rows = data.draw(st.lists(st.integers(-n, n - 1), max_size=4))
            self.keep(pair[0][dt.tensor(rows, dtype=dt.int64)], pair[1][np.array(rows, dtype=np.int64)])

    @rule(data=st.data())
    def join(self, data: st.DataObject) -> None:
        """A tensor after itself."""
        pair = self.pick(data, 1)
        if pair:
            self.keep(dt.cat([pair[0], pair[0].flip(0)]), np.concatenate([pair[1], pair[1][::-1]]))

    # ------------------------------------------------------------ writes

    def written(self, data: st.DataObject, least: int = 0) -> tuple[Any, np.ndarray] | None:
        """A pair that may be written to."""
        fitting = [(t, a) for t, a in self.pairs if a.ndim >= least and not overlaps(a) and a.flags.writeable]
        return data.draw(st.sampled_from(fitting)) if fitting else None

    @rule(data=st.data())
    def fill(self, data: st.DataObject) -> None:
        """One number everywhere."""
        pair = self.written(data)
        if pair:
            value = data.draw(st.integers(0, 100))
            pair[0].fill_(value)
            pair[1][...] = value

    @rule(data=st.data())
    def copy(self, data: st.DataObject) -> None:
        """Values of other memory."""
        pair = self.written(data)
        if pair:
            values = self.numbers(pair[1].shape, pair[1].dtype)
            pair[0].copy_(dt.tensor(values.tolist(), dtype=pair[0].dtype).reshape(values.shape))
            pair[1][...] = values

    @rule(data=st.data())
    def set_rows(self, data: st.DataObject) -> None:
        """Advanced indexing on the left."""
        pair = self.written(data, 1)
        if pair and pair[1].shape[0]:
            n = pair[1].shape[0]
            rows = data.draw(st.lists(st.integers(-n, n - 1), max_size=3))
            value = data.draw(st.integers(0, 100))
            pair[0][dt.tensor(rows, dtype=dt.int64)] = value
            pair[1][np.array(rows, dtype=np.int64)] = value

    @rule(data=st.data())
    def set_mask(self, data: st.DataObject) -> None:
        """Where a mask holds."""
        pair = self.written(data)
        if pair:
            mask = self.numbers(pair[1].shape, np.int64) % 3 == 0
            pair[0][dt.tensor(mask.tolist(), dtype=dt.bool).reshape(mask.shape)] = 5
            pair[1][mask] = 5

    @rule(data=st.data())
    def add(self, data: st.DataObject) -> None:
        """Arithmetic in place."""
        pair = self.written(data)
        if pair and pair[1].dtype != np.bool_ and pair[1].dtype != np.complex64:
            pair[0].add_(1)
            pair[1][...] += 1

    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        """One part of a tensor into another part of it that shares nothing with the first."""
        pair = self.written(data, 1)
        if pair and pair[1].shape[0] >= 2:
            half = pair[1].shape[0] // 2
            pair[0][:half] = pair[0][half : 2 * half].clone()
            pair[1][:half] = pair[1][half : 2 * half].copy()

    # ------------------------------------------------------------ reads

    @precondition(lambda self: self.pairs)
    @invariant()
    def all_agree(self) -> None:
        """Everything made so far."""
        for tensor, array in self.pairs:
            assert tuple(tensor.shape) == array.shape
            assert tensor.tolist() == array.tolist()

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """Views outlive what they were made of."""
        if len(self.pairs) > 1:
            self.pairs.pop(data.draw(st.integers(0, len(self.pairs) - 1)))


def run(chains: int) -> None:
    """So many chains."""
    run_state_machine_as_test(
        Chains,
        settings=settings(
            max_examples=chains, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_chains() -> None:
    """A small number of them, with every run of the tests."""
    run(60)


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
    print("no difference")
