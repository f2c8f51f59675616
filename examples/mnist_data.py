"""MNIST from a folder, the cache or the net; scikit-learn's digits where there is no net.

The files are those of the original distribution: IDX, compressed with gzip. Everything is checked before it is used,
and a file that is not what it should be is named and refused.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
import pooch
import requests

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
TIMEOUT = (5, 30)  # seconds to connect, and between two packets

Images = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]
Labels = np.ndarray[tuple[int], np.dtype[np.uint8]]


class DataError(Exception):
    """A data file is missing, damaged or something else than it claims to be. The message names it."""


class NoNetworkError(Exception):
    """None of the mirrors could be reached."""


@dataclass(frozen=True)
class Digits:
    """Grey-level pictures (count, height, width) with the digits they show, for training and for testing."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    source: str
    default_epochs: int


def load(folder: Path | None = None) -> Digits:
    """The digits to train on.

    Looks in ``folder``, else in the folder DUMBTORCH_DATA names, else in the user's cache, where missing files are
    downloaded to. Without a network: says so and returns scikit-learn's 1,797 scans of 8 x 8. DataError for bad files.
    """
    if folder is None and os.environ.get("DUMBTORCH_DATA"):
        folder = Path(os.environ["DUMBTORCH_DATA"])
    if folder is not None:
        return read_folder(folder)
    cache = platformdirs.user_cache_path("dumbtorch") / "mnist"
    try:
        fill_cache(cache)
    except NoNetworkError as error:
        print(f"No network, so MNIST cannot be downloaded ({error}): training on scikit-learn's handwritten digits.")
        return scikit_learn_digits()
    return read_folder(cache)


def read_folder(folder: Path) -> Digits:
    """The four files of MNIST (or of a data set in its format) in ``folder``."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    train_images, train_labels = _read_pair(folder, "train")
    test_images, test_labels = _read_pair(folder, "t10k")
    if train_images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"{folder}: pictures for training are {train_images.shape[1:]}, for testing {test_images.shape[1:]}"
        )
    return Digits(train_images, train_labels, test_images, test_labels, f"MNIST in {folder}", default_epochs=2)


def _read_pair(folder: Path, name: str) -> tuple[Images, Labels]:
    images_file, labels_file = folder / f"{name}-images-idx3-ubyte.gz", folder / f"{name}-labels-idx1-ubyte.gz"
    images, labels = read_idx(images_file, dimensions=3), read_idx(labels_file, dimensions=1)
    if len(images) != len(labels):
        raise DataError(f"{labels_file}: {len(labels)} labels for the {len(images)} pictures of {images_file.name}")
    if len(labels) == 0 or labels.max() > 9:
        raise DataError(f"{labels_file}: expected labels from 0 to 9")
    return images, labels


def read_idx(file: Path, dimensions: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A gzip-compressed IDX file of unsigned bytes with that many dimensions; DataError unless it is exactly that."""
    try:
        with gzip.open(file) as stream:
            content = stream.read()
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: damaged or not a gzip file ({error}); delete it and get it again") from error
    header = 4 + 4 * dimensions
    magic = bytes([0, 0, 8, dimensions])  # two zeros, the code of unsigned bytes, the number of dimensions
    if content[:4] != magic:
        raise DataError(f"{file}: starts with {content[:4].hex()}, but {dimensions}-d bytes in IDX start {magic.hex()}")
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4))
    expected = header + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise DataError(f"{file}: its header promises {expected} bytes for shape {shape}, it has {len(content)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def fill_cache(cache: Path) -> None:
    """Download what is missing. A file only gets its name once it is complete and its MD5 is right."""
    for name, md5 in MD5.items():
        file = cache / name
        damaged = file.exists() and hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() != md5
        if file.exists() and not damaged:
            continue
        try:
            _download(name, cache)
        except NoNetworkError as error:
            if damaged:
                raise DataError(f"{file}: damaged (wrong MD5), and cannot be downloaded again: {error}") from error
            raise


def _download(name: str, cache: Path) -> None:
    problems = []
    for mirror in MIRRORS:
        downloader = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT)
        try:
            pooch.retrieve(mirror + name, f"md5:{MD5[name]}", fname=name, path=cache, downloader=downloader)
            return
        except ValueError as error:  # pooch: the MD5 is wrong
            problems.append(f"{mirror} sent a damaged {name}: {error}")
        except requests.exceptions.RequestException as error:
            problems.append(f"{mirror}: {type(error).__name__}")
    raise NoNetworkError("; ".join(problems))


def scikit_learn_digits() -> Digits:
    """The digits that come with scikit-learn, every fifth one kept for testing."""
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # slow to import, seldom needed

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    test = np.arange(len(labels)) % 5 == 0
    return Digits(
        images[~test], labels[~test], images[test], labels[test], "scikit-learn's handwritten digits", default_epochs=20
    )
