"""Random number generators: their seeds and states.

A generator is a seed and a counter: Philox4x32-10 makes the numbers, a block of four words for each value of the
counter (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). The same seed gives the same numbers on
every machine and for any number of threads. They are not PyTorch's numbers.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

from dumbtorch import _C, _dtypes, ops
from dumbtorch._device import device as _device
from dumbtorch.ops.random import SET_DEFAULT_STATE

__all__ = [
    "Generator",
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]

_FIRST_SEED = 67280421310721
_STATE_BYTES = 16


class Generator:
    """A stream of random numbers, given to random functions as ``generator=``.

    ``Generator(device="cpu")`` starts with a fixed seed; ``manual_seed`` chooses another. Reference:
    ``torch.Generator``.

    >>> Generator().manual_seed(7).initial_seed()
    7
    """

    __slots__ = ("__weakref__", "_device", "_state")

    def __init__(self, device: Any = "cpu") -> None:
        self._device = device if isinstance(device, _device) else _device(device)
        if self._device.type != "cpu":
            ops.empty(0, device=self._device)  # raises where there is no such device
        # (seed, number of the next block): read and advanced by the kernels
        self._state = ops.tensor([_FIRST_SEED, 0], dtype=_dtypes.int64)

    @property
    def device(self) -> Any:
        """The device whose tensors the generator is for."""
        return self._device

    def manual_seed(self, seed: int) -> Generator:
        """Starts the stream of a seed, an integer of 64 bits (negative ones wrap). Returns the generator."""
        number = int(seed)
        if not -(2**63) <= number < 2**64:
            raise ValueError("Overflow when unpacking long long")
        self._set(number, 0)
        return self

    def seed(self) -> int:
        """Takes a seed from the system's randomness and returns it."""
        number = int.from_bytes(os.urandom(8), "little")
        self._set(number, 0)
        return number

    def initial_seed(self) -> int:
        """The seed that the stream started with."""
        return int(self._state.tolist()[0]) % 2**64

    def get_state(self) -> Any:
        """The state as 16 bytes (a uint8 tensor): seed, then counter."""
        return ops.tensor(list(self._bytes()), dtype=_dtypes.uint8)

    def set_state(self, new_state: Any) -> None:
        """Goes on from a state of ``get_state``. TypeError unless a uint8 tensor, RuntimeError for another size."""
        if not isinstance(new_state, _C.TensorBase) or new_state.dtype is not _dtypes.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        if new_state.numel() != _STATE_BYTES:
            raise RuntimeError(
                f"Expected a generator's state of size {_STATE_BYTES} but found the input RNG state size to be "
                f"{new_state.numel()}"
            )
        data = bytes(new_state.reshape(-1).tolist())
        self._set(int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little"))

    def clone_state(self) -> Generator:
        """A new generator with the same state."""
        made = Generator(self._device)
        made._state.copy_(self._state)
        return made

    def _bytes(self) -> bytes:
        return b"".join((n % 2**64).to_bytes(8, "little") for n in self._state.tolist())

    def _set(self, seed: int, block: int) -> None:
        wrapped = [(n + 2**63) % 2**64 - 2**63 for n in (seed, block)]
        self._state.copy_(ops.tensor(wrapped, dtype=_dtypes.int64))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (str(self._device), self._bytes())

    def __repr__(self) -> str:
        return f"<dumbtorch.Generator device={self._device} seed={self.initial_seed()}>"


def _restored(device: str, state: bytes) -> Generator:
    made = Generator(device)
    made._set(int.from_bytes(state[:8], "little"), int.from_bytes(state[8:], "little"))
    return made


#: The generator of every random function that is not given another.
default_generator = Generator()
default_generator.seed()
SET_DEFAULT_STATE(default_generator._state)


def manual_seed(seed: int) -> Generator:
    """Seeds the default generator, on every device, and returns it.

    ``seed`` is an integer of 64 bits; negative ones wrap. Raises ValueError past that. Reference:
    ``torch.manual_seed``.
    """
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seeds the default generator from the system's randomness and returns the seed. Reference: ``torch.seed``."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator. Reference: ``torch.initial_seed``."""
    return default_generator.initial_seed()


def get_rng_state() -> Any:
    """The state of the default generator, a uint8 tensor. Reference: ``torch.get_rng_state``."""
    return default_generator.get_state()


def set_rng_state(new_state: Any) -> None:
    """Goes on from a state of ``get_rng_state``. Reference: ``torch.set_rng_state``."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices: Iterable[Any] | None = None, enabled: bool = True, device_type: str = "cuda") -> Iterator[None]:
    """Inside, the default generator may be seeded and used; afterwards it is as it was.

    One generator serves all devices: ``devices`` and ``device_type`` change nothing. Reference:
    ``torch.random.fork_rng``.
    """
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
