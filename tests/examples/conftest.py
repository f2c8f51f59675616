"""A small data set in the format of MNIST."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def small_mnist(tmp_path: Path) -> Path:
    """200 and 40 pictures of 12 x 10 with a bright bar whose place is the label."""
    folder = tmp_path / "small mnist"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, count in (("train", 200), ("t10k", 40)):
        labels = random.integers(0, 10, count)
        images = random.integers(0, 60, (count, 12, 10))
        images[np.arange(count), :, labels] += 190
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    return folder
