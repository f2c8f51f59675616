"""MNIST from DUMBTORCH_DATA (its first pictures), and pictures of noise."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

LIMIT = 3000


def _read(stem: str, head: int) -> np.ndarray:
    folder = Path(os.environ["DUMBTORCH_DATA"])
    path = next(path for path in sorted(folder.iterdir()) if path.name.replace(".", "-").startswith(stem))
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    return np.frombuffer(data, np.uint8, offset=head)


class MNIST(Dataset):
    """The handwritten digits; pictures are arrays of bytes, where torchvision gives PIL images."""

    def __init__(self, root: Any, train: bool = True, transform: Any = None, target_transform: Any = None,
                 download: bool = False) -> None:  # fmt: skip
        stem = "train" if train else "t10k"
        self.transform = transform
        images = _read(f"{stem}-images-idx3", 16).reshape(-1, 28, 28)[:LIMIT]
        self.data = torch.tensor(images.copy())
        self.targets = torch.tensor(_read(f"{stem}-labels-idx1", 8)[:LIMIT].astype("int64"))

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        image = self.data[index].numpy()
        return (image if self.transform is None else self.transform(image)), int(self.targets[index])


class FakeData(Dataset):
    """Pictures of noise."""

    def __init__(self, size: int = 1000, image_size: Any = (3, 224, 224), num_classes: int = 10,
                 transform: Any = None) -> None:  # fmt: skip
        self.size, self.shape, self.classes, self.transform = size, image_size, num_classes, transform

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        rng = np.random.default_rng(index)
        channels, height, width = self.shape
        image = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
        return (image if self.transform is None else self.transform(image)), int(rng.integers(self.classes))


class CIFAR10(FakeData):
    """Small pictures of noise in place of the real ones."""

    def __init__(self, root: Any, train: bool = True, transform: Any = None, target_transform: Any = None,
                 download: bool = False) -> None:  # fmt: skip
        super().__init__(2000, (3, 32, 32), 10, transform)
