"""Keys and values of the tokens so far, so that each new token is attended from once."""

from __future__ import annotations

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import no_grad


class KVCache:
    """Keeps keys and values (..., length, dim) and returns all of them when some are added.

    Room grows by doubling, so that adding a token copies only this token most of the time; `room` reserves some at
    first. What it returns are views, good until the next call; no gradient goes through it. RuntimeError where the new
    ones differ from the kept in another size than the length, in dtype or in device.

        >>> cache = nn.blocks.KVCache()
        >>> k, v = cache.add(dumbtorch.rand(1, 4, 10, 64), dumbtorch.rand(1, 4, 10, 64))
        >>> k, v = cache.add(dumbtorch.rand(1, 4, 1, 64), dumbtorch.rand(1, 4, 1, 64))
        >>> k.shape, len(cache)
        (torch.Size([1, 4, 11, 64]), 11)
    """

    def __init__(self, room: int = 0) -> None:
        self.length = 0
        self._room = room
        self._kept: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return self.length

    def add(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Appends along the last dimension but one; all keys and all values."""
        new = key.shape[-2]
        if value.shape[-2] != new:
            raise RuntimeError(f"KVCache: {new} keys, but {value.shape[-2]} values")
        kept = self._kept or self._allocate((key, value), max(self._room, new))
        for old, x in zip(kept, (key, value), strict=True):
            same = old.shape[:-2] == x.shape[:-2] and old.shape[-1] == x.shape[-1]
            if not same or old.dtype != x.dtype or old.device != x.device:
                raise RuntimeError(
                    f"KVCache: cannot add {x.dtype} {tuple(x.shape)} on {x.device} to {old.dtype} "
                    f"{(*old.shape[:-2], self.length, old.shape[-1])} on {old.device}"
                )
        end = self.length + new
        with no_grad():
            if end > kept[0].shape[-2]:
                larger = self._allocate(kept, max(end, 2 * kept[0].shape[-2]))
                for old, x in zip(larger, kept, strict=True):
                    old[..., : self.length, :] = x[..., : self.length, :]
                kept = larger
            for old, x in zip(kept, (key, value), strict=True):
                old[..., self.length : end, :] = x
        self._kept, self.length = kept, end
        return kept[0][..., :end, :], kept[1][..., :end, :]

    def clear(self) -> None:
        """Forgets all tokens and keeps the room."""
        self.length = 0

    @staticmethod
    def _allocate(like: tuple[Tensor, Tensor], room: int) -> tuple[Tensor, Tensor]:
        key, value = (ops.empty((*x.shape[:-2], room, x.shape[-1]), dtype=x.dtype, device=x.device) for x in like)
        return key, value
