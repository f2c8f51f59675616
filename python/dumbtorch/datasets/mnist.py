"""MNIST and FashionMNIST: 28 x 28 grey-level pictures of ten classes, 60,000 to train on and 10,000 to test.

The files are those of the original distribution: IDX, compressed with gzip. Everything is checked before it is used.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from dumbtorch import ops
from dumbtorch._dtypes import float32, int64, uint8
from dumbtorch._tensor import Tensor
from dumbtorch.datasets import _files
from dumbtorch.datasets._files import DataError
from dumbtorch.utils.data import Dataset, TensorDataset


class MNIST(Dataset[Any]):
    """Handwritten digits (LeCun, Cortes and Burges, 1998).

    root: the folder with the four files (or with torchvision's ``MNIST/raw``); None takes the folder that the
    environment variable DUMBTORCH_DATA names, else the user's cache, where missing files are downloaded to. train: the
    60,000 pictures to train on (default) or the 10,000 to test. transform, target_transform: applied to each picture
    and label. download: fetch what ``root`` lacks. DataError for a file that is missing, damaged or another.

    ``data`` holds the pictures, uint8 of shape (count, 28, 28), ``targets`` the labels, int64. A sample is a picture as
    float32 in [0, 1] of shape (1, 28, 28), and its label as an int. :meth:`tensors` is the fast way to train.
    Reference: ``torchvision.datasets.MNIST``.

    Example::

        train = MNIST(train=True).tensors()
        for x, y in DataLoader(train, batch_size=64, shuffle=True):
            ...
    """

    mirrors: ClassVar[tuple[str, ...]] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    md5: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }
    classes: ClassVar[tuple[str, ...]] = tuple(str(digit) for digit in range(10))
    variable: ClassVar[str] = "DUMBTORCH_DATA"
    mean, deviation = 0.1307, 0.3081  # of the pixels of the training pictures, as shares of 255

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
    ) -> None:
        self.root = self._find(None if root is None else Path(root), download)
        self.train = train
        self.transform = transform
        self.target_transform = target_transform
        self.data, self.targets = self._read(self.root, "train" if train else "t10k")

    @classmethod
    def _find(cls, root: Path | None, download: bool) -> Path:
        """The folder that holds the files, filled where that was asked for."""
        if root is None and os.environ.get(cls.variable):
            root = Path(os.environ[cls.variable])
        elif root is None:
            root, download = _files.cache_folder(cls.__name__.lower()), True
        raw = root / cls.__name__ / "raw"  # where torchvision puts them
        folder = raw if raw.is_dir() else root
        if download:
            _files.fill(folder, cls.md5, cls.mirrors)
        elif not folder.is_dir():
            raise DataError(f"{folder}: no such folder")
        return folder

    @classmethod
    def _read(cls, folder: Path, name: str) -> tuple[Tensor, Tensor]:
        images_file, labels_file = folder / f"{name}-images-idx3-ubyte.gz", folder / f"{name}-labels-idx1-ubyte.gz"
        images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
        if len(images) != len(labels):
            raise DataError(f"{labels_file}: {len(labels)} labels for the {len(images)} pictures of {images_file.name}")
        if len(labels) == 0 or labels.max().item() > 9:
            raise DataError(f"{labels_file}: expected labels from 0 to 9")
        return images, labels.to(int64)

    def tensors(self, device: Any = None) -> TensorDataset:
        """All of it on one device, ready for a network: a TensorDataset of pictures and labels.

        The pictures are float32 of shape (count, 1, 28, 28), less the mean of the training pictures and over their
        deviation. transform and target_transform are not applied.
        """
        pixels = self.data.unsqueeze(1).to(float32).mul_(1 / 255).sub_(self.mean).div_(self.deviation)
        return TensorDataset(pixels.to(device or "cpu"), self.targets.to(device or "cpu"))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image: Any = self.data[index].unsqueeze(0).to(float32) / 255
        target: Any = int(self.targets[index])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        part = "train" if self.train else "test"
        return f"{type(self).__name__}({part}: {len(self)} pictures of {self.data.shape[1]} x {self.data.shape[2]})"


class FashionMNIST(MNIST):
    """Pictures of clothes in the format of :class:`MNIST` (Xiao, Rasul and Vollgraf, 2017).

    The arguments are those of :class:`MNIST`; the environment variable is DUMBTORCH_DATA_FASHION.
    Reference: ``torchvision.datasets.FashionMNIST``.
    """

    mirrors = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    md5: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }
    classes = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    variable = "DUMBTORCH_DATA_FASHION"
    mean, deviation = 0.2860, 0.3530


def read_idx(file: str | os.PathLike[str], dimensions: int) -> Tensor:
    """A gzip-compressed IDX file of unsigned bytes with that many dimensions; DataError unless it is exactly that."""
    file = Path(file)
    try:
        with gzip.open(file) as stream:
            content = bytearray(stream.read())
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: damaged or not a gzip file ({error}); delete it and get it again") from error
    header = 4 + 4 * dimensions
    magic = bytes([0, 0, 8, dimensions])  # two zeros, the code of unsigned bytes, the number of dimensions
    if content[:4] != magic:
        raise DataError(f"{file}: starts with {content[:4].hex()}, but {dimensions}-d bytes in IDX start {magic.hex()}")
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)]
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise DataError(f"{file}: its header promises {expected} bytes for shape {tuple(shape)}, it has {len(content)}")
    if expected == header:
        return ops.empty(shape, dtype=uint8)
    pixels: Tensor = ops.frombuffer(content, dtype=uint8, offset=header).reshape(shape)
    return pixels
