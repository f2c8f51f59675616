"""Data sets in files: handwritten digits, clothes, texts, tables.

Each is a map-style dataset for :class:`dumbtorch.utils.data.DataLoader`. A file that is not what it should be raises
:class:`DataError`, which names it.
"""

from dumbtorch.datasets._files import DataError, NoNetworkError
from dumbtorch.datasets.mnist import MNIST, FashionMNIST, read_idx
from dumbtorch.datasets.table import CSV
from dumbtorch.datasets.text import TextBytes, TextCharacters

__all__ = [
    "CSV",
    "MNIST",
    "DataError",
    "FashionMNIST",
    "NoNetworkError",
    "TextBytes",
    "TextCharacters",
    "read_idx",
]
