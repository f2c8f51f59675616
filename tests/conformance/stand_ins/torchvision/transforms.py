"""Transforms of pictures given as arrays of bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Any) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image


class ToTensor:
    """Floats from 0 to 1, the channels first."""

    def __call__(self, image: Any) -> Any:
        array = np.asarray(image)
        if array.ndim == 2:
            array = array[:, :, None]
        return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1))).to(torch.get_default_dtype()).div(255)


class Normalize:
    """Around zero, by channel."""

    def __init__(self, mean: Any, std: Any) -> None:
        self.mean = torch.tensor(mean).view(-1, 1, 1)
        self.std = torch.tensor(std).view(-1, 1, 1)

    def __call__(self, image: Any) -> Any:
        return (image - self.mean) / self.std


class Resize:
    """The picture in another size, each pixel the nearest one."""

    def __init__(self, size: Any) -> None:
        self.size = (size, size) if isinstance(size, int) else size

    def __call__(self, image: Any) -> Any:
        array = np.asarray(image)
        rows, columns = (np.arange(n) * old // n for n, old in zip(self.size, array.shape, strict=False))
        return array[rows][:, columns]


class Lambda:
    """A function as a transform."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, image: Any) -> Any:
        return self.function(image)


class Pad:
    """Black around the picture."""

    def __init__(self, padding: int) -> None:
        self.padding = padding

    def __call__(self, image: Any) -> Any:
        wide = (self.padding, self.padding)
        return np.pad(image, (wide, wide, (0, 0)))


class RandomHorizontalFlip:
    """Every second picture mirrored."""

    def __init__(self, p: float = 0.5) -> None:
        self.count = 0

    def __call__(self, image: Any) -> Any:
        self.count += 1
        return image[:, ::-1] if self.count % 2 else image


class RandomCrop:
    """A part of the picture, drawn by NumPy."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.rng = np.random.default_rng(0)

    def __call__(self, image: Any) -> Any:
        top, left = (int(self.rng.integers(0, length - self.size + 1)) for length in image.shape[:2])
        return image[top : top + self.size, left : left + self.size]
