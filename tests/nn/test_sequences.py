"""Padded and packed sequences, and the loss of sequences without alignment, beside PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch
from tests.nn.support import as_numpy, assert_close, compare_function, random, same_outcome, tensor_of

LIBRARIES = (dumbtorch, torch)


def listed(packed: Any) -> list[Any]:
    return [None if field is None else field.tolist() for field in packed]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("lengths", "enforce_sorted"), [([4, 2, 2, 1], True), ([2, 4, 1, 2], False), ([3] * 4, True)])
@pytest.mark.parametrize("trailing", [(), (3,), (2, 3)], ids=str)
def test_pack_and_pad(trailing: tuple[int, ...], lengths: list[int], enforce_sorted: bool, batch_first: bool) -> None:
    found = []
    for T in LIBRARIES:
        rnn = T.nn.utils.rnn
        x = tensor_of(T, random(((4, 5) if batch_first else (5, 4)) + trailing), True)
        packed = rnn.pack_padded_sequence(x, T.tensor(lengths), batch_first, enforce_sorted)
        padded, back = rnn.pad_packed_sequence(packed, not batch_first, -1.5, 7)
        (g,) = T.autograd.grad((padded * tensor_of(T, random(tuple(padded.shape), 4))).sum(), x)
        found.append([*packed, padded, back, g, rnn.pad_packed_sequence(packed, batch_first)[0]])
    assert_close(*found)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("lengths", [[3, 1, 2], [2, 2], [0, 3], [1]])
@pytest.mark.parametrize("trailing", [(), (2,), (0,), (2, 1)], ids=str)
def test_pad_sequence(trailing: tuple[int, ...], lengths: list[int], side: str, batch_first: bool) -> None:
    compare_function(
        lambda T: lambda *rows: T.nn.utils.rnn.pad_sequence(rows, batch_first, 0.5, side),
        [random((n, *trailing), n) for n in lengths],
    )


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float32", "float16"])
def test_sequences_of_any_type(dtype: str) -> None:
    found = []
    for T in LIBRARIES:
        rows = [T.tensor([1, 0, 3]).to(getattr(T, dtype)), T.tensor([1]).to(getattr(T, dtype))]
        packed = T.nn.utils.rnn.pack_sequence(rows)
        found.append([T.nn.utils.rnn.pad_sequence(rows), *packed[:2], *T.nn.utils.rnn.pad_packed_sequence(packed)])
    for mine, reference in zip(*found, strict=True):
        assert str(mine.dtype).split(".")[-1] == str(reference.dtype).split(".")[-1]
        assert mine.tolist() == reference.tolist()


def test_pack_sequence_and_back() -> None:
    for enforce_sorted, lengths in ((True, (4, 2, 1)), (False, (1, 4, 2))):
        rows = [random((n, 2), n) for n in lengths]
        packs = [T.nn.utils.rnn.pack_sequence([tensor_of(T, r) for r in rows], enforce_sorted) for T in LIBRARIES]
        assert listed(packs[0]) == listed(packs[1])
        back = dumbtorch.nn.utils.rnn.unpack_sequence(packs[0])
        assert [as_numpy(t).tolist() for t in back] == [r.tolist() for r in rows]


def test_unpad_sequence() -> None:
    for batch_first in (False, True):
        found = []
        for T in LIBRARIES:
            x = tensor_of(T, random((3, 4, 2) if batch_first else (4, 3, 2)))
            found.append(T.nn.utils.rnn.unpad_sequence(x, T.tensor([4, 0, 2]), batch_first))
        assert_close(*found)
    x = dumbtorch.zeros(4, 3)
    dumbtorch.nn.utils.rnn.unpad_sequence(x, dumbtorch.tensor([4, 0, 2]))
    assert x.shape == (4, 3)  # PyTorch transposes the argument


def test_invert_permutation() -> None:
    found = [T.nn.utils.rnn.invert_permutation(T.tensor([2, 0, 3, 1])).tolist() for T in LIBRARIES]
    assert found[0] == found[1] == [1, 3, 0, 2]
    assert dumbtorch.nn.utils.rnn.invert_permutation(None) is None


def test_packed_sequence_is_a_tuple_that_converts() -> None:
    rnn = dumbtorch.nn.utils.rnn
    packed = rnn.pack_sequence([dumbtorch.ones(1), dumbtorch.zeros(3)], enforce_sorted=False)
    data, sizes, order, old_order = packed
    assert sizes.tolist() == [2, 1, 1] and order.tolist() == [1, 0] and old_order.tolist() == [1, 0]
    assert packed.to(dumbtorch.float32) is packed and packed.cpu() is packed and not packed.is_cuda
    kinds = {"double": "float64", "half": "float16", "long": "int64", "int": "int32", "short": "int16", "char": "int8",
             "byte": "uint8", "float": "float32"}  # fmt: skip
    for method, dtype in kinds.items():
        converted = getattr(packed, method)()
        assert converted.data.dtype == getattr(dumbtorch, dtype) and converted.batch_sizes is sizes
    assert listed(rnn.PackedSequence((data, sizes))) == [data.tolist(), [2, 1, 1], None, None]
    assert rnn.PackedSequence(data, sizes, order).unsorted_indices.tolist() == [1, 0]


def _pack(*arguments: Any, shape: tuple[int, ...] = (3, 2, 4), **options: Any) -> Callable[[Any], Any]:
    return lambda T: T.nn.utils.rnn.pack_padded_sequence(T.zeros(shape), *arguments, **options) and None


def _pad(lengths: list[int], **options: Any) -> Callable[[Any], Any]:
    return lambda T: T.nn.utils.rnn.pad_sequence([T.zeros(n) for n in lengths], **options).tolist()


@pytest.mark.parametrize(
    "scenario",
    [
        _pack([1, 2]),
        _pack([2, 0]),
        _pack([2, 1, 1]),
        _pack([2, 1], shape=(0, 2)),
        _pad([]),
        _pad([2], padding_side="up"),
        lambda T: T.nn.utils.rnn.pad_sequence(3),
        lambda T: T.nn.utils.rnn.pad_packed_sequence(T.nn.utils.rnn.pack_sequence([T.zeros(3)]), total_length=2),
        lambda T: T.nn.utils.rnn.PackedSequence(T.zeros(3)),
    ],
)
def test_what_is_wrong_raises_as_in_pytorch(scenario: Callable[[Any], Any]) -> None:
    same_outcome(scenario)


def test_a_length_above_the_steps_is_refused() -> None:
    with pytest.raises(RuntimeError, match="a length of 5 is above the 3 steps"):
        dumbtorch.nn.utils.rnn.pack_padded_sequence(dumbtorch.zeros(3, 2), [5, 1])


# ---------------------------------------------------------------- connectionist temporal classification


def ctc_arrays(steps: int, count: int, classes: int, longest: int, seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = draw.integers(1, classes, (count, longest))
    labels[:, 1::3] = labels[:, ::3][:, : labels[:, 1::3].shape[1]]  # repeated labels need a blank between them
    inputs = draw.integers(max(1, steps // 2), steps + 1, count)
    return [random((steps, count, classes), seed), labels, inputs, draw.integers(0, longest + 1, count)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("sizes", [(50, 7, 20, 12), (3, 1, 4, 1), (20, 3, 70, 9), (8, 5, 5, 5), (30, 2, 3, 0)], ids=str)
def test_ctc_loss(sizes: tuple[int, ...], joined: bool, reduction: str, zero_infinity: bool, dtype: str) -> None:
    x, labels, inputs, lengths = ctc_arrays(*sizes)
    if joined:
        labels = np.concatenate([row[:n] for row, n in zip(labels, lengths, strict=True)])

    def loss(T: Any) -> Any:
        def call(x: Any, labels: Any, inputs: Any, lengths: Any) -> Any:
            criterion = T.nn.CTCLoss(0, reduction, zero_infinity)
            return criterion(x.log_softmax(2), labels, inputs, lengths)

        return call

    compare_function(loss, [x.astype(dtype), labels, inputs, lengths])


@pytest.mark.parametrize("blank", [0, 2, 4])
def test_ctc_blank_lengths_and_one_sample(blank: int) -> None:
    x = random((6, 2, 5))
    for inputs, lengths in (((6, 5), (2, 1)), ([6, 6], [0, 2])):
        compare_function(
            lambda T, i=inputs, n=lengths: (
                lambda x: T.nn.functional.ctc_loss(
                    x.log_softmax(2), T.tensor([[1, 3], [3, 3]], dtype=T.int32), i, n, blank=blank
                )
            ),
            [x],
        )
    for targets in ([1, 3], [[1, 3]]):
        compare_function(
            lambda T, t=targets: (
                lambda x: T.nn.functional.ctc_loss(
                    x.log_softmax(1), T.tensor(t), T.tensor(6), T.tensor(2), blank, "none"
                )
            ),
            [x[:, 0]],
        )


def test_ctc_layer() -> None:
    assert repr(dumbtorch.nn.CTCLoss()) == repr(torch.nn.CTCLoss()) == "CTCLoss()"
    layer = dumbtorch.nn.CTCLoss(3, "sum", True)
    assert (layer.blank, layer.reduction, layer.zero_infinity) == (3, "sum", True)


def test_ctc_losses_that_are_infinite() -> None:
    found = []
    for T in LIBRARIES:
        for zero in (False, True):
            x = tensor_of(T, random((4, 3, 4)), True)
            losses = T.nn.functional.ctc_loss(
                x.log_softmax(2), T.tensor([[1, 2], [1, 1], [1, 2]]), (4, 2, 0), (2, 2, 0), 0, "none", zero
            )
            (g,) = T.autograd.grad(losses.sum(), x)
            found.append([losses, g[:, ::2] if not zero else g])
    assert_close(found[:2], found[2:])
    assert as_numpy(found[0][0])[1] == np.inf and as_numpy(found[1][0])[1] == 0


def test_ctc_differentiates_twice() -> None:
    x = tensor_of(dumbtorch, random((5, 2, 4)), True)
    labels = dumbtorch.tensor([[1, 1], [2, 3]])

    def loss(x: Any) -> Any:
        return dumbtorch.nn.functional.ctc_loss(x.log_softmax(2), labels, (5, 4), (2, 1), reduction="none")

    assert dumbtorch.autograd.gradcheck(loss, (x,)) and dumbtorch.autograd.gradgradcheck(loss, (x,))


def _ctc(
    shape: tuple[int, ...] = (5, 2, 4), targets: Any = ((1, 2), (3, 1)), inputs: Any = (5, 5), lengths: Any = (2, 2),
    blank: int = 0, reduction: str = "mean", dtype: str = "float32",
) -> Callable[[Any], Any]:  # fmt: skip
    return lambda T: T.nn.functional.ctc_loss(
        T.zeros(shape, dtype=getattr(T, dtype)), T.tensor(targets), inputs, lengths, blank, reduction
    ).item()


@pytest.mark.parametrize(
    "scenario",
    [
        _ctc(blank=4),
        _ctc(blank=-1),
        _ctc(shape=(0, 2, 4), inputs=(0, 0)),
        _ctc(reduction="max"),
    ],
)
def test_ctc_errors_are_pytorchs(scenario: Callable[[Any], Any]) -> None:
    same_outcome(scenario)


@pytest.mark.parametrize(
    "scenario",
    [
        _ctc(inputs=(5,)),
        _ctc(lengths=(2, 2, 1)),
        _ctc(lengths=(2, 3)),
        _ctc(targets=(1, 2, 3, 1), lengths=(2, 1)),
        _ctc(inputs=(5, 6)),
        _ctc(inputs=(5, -1)),
        _ctc(lengths=(2, -1)),
        _ctc(targets=((1, 2),)),
        _ctc(dtype="float16"),
        lambda T: T.nn.functional.ctc_loss(
            T.zeros(5, 2, 4), T.tensor([[1], [2]]), T.tensor([5.0, 5.0]), T.tensor([1, 1])
        ),
    ],
)
def test_ctc_errors_are_of_pytorchs_type(scenario: Callable[[Any], Any]) -> None:
    same_outcome(scenario, message=False)


def test_ctc_labels_must_be_classes() -> None:
    """PyTorch reads past the classes."""
    for label in (4, -1):
        with pytest.raises(RuntimeError, match=f"target {label} is not a label"):
            _ctc(targets=((1, label), (3, 1)))(dumbtorch)
