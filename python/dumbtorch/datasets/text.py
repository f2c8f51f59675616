"""A text as numbers, to learn what comes next."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dumbtorch import ops
from dumbtorch._dtypes import int64, uint8
from dumbtorch._tensor import Tensor
from dumbtorch.datasets._files import DataError
from dumbtorch.utils.data import TensorDataset


class _Windows(TensorDataset):
    """Windows of a sequence of tokens, each with the same window one token on: views, no copies."""

    tokens: Tensor

    def __init__(self, tokens: Tensor, source: str, length: int, stride: int | None) -> None:
        if length < 1 or (stride is not None and stride < 1):
            raise ValueError(f"length and stride must be positive, got length={length}, stride={stride}")
        if len(tokens) <= length:
            raise DataError(f"{source}: {len(tokens)} tokens are too few for windows of length {length} and one more")
        self.tokens = tokens
        step = length if stride is None else stride
        super().__init__(tokens[:-1].unfold(0, length, step), tokens[1:].unfold(0, length, step))


class TextCharacters(_Windows):
    """A text file as windows of characters.

    file: UTF-8; DataError if it is missing, is something else or is too short. length: characters a window, default
    128. stride: from one window to the next, default ``length`` (no overlap). vocabulary: the characters that get the
    numbers 0, 1, ..., default those of the text in their order; give that of the training text for other texts.

    Sample ``i`` is ``(tokens[s : s + length], tokens[s + 1 : s + 1 + length])``, int64, with ``s = i * stride``;
    ``tokens`` is the whole text.

    Example::

        train = TextCharacters("shakespeare.txt", length=64)
        print(train.decode(train[0][0]), len(train.vocabulary))
    """

    vocabulary: str

    def __init__(
        self,
        file: str | os.PathLike[str],
        length: int = 128,
        stride: int | None = None,
        vocabulary: Sequence[str] | None = None,
    ) -> None:
        content = _read(Path(file))
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{file}: not a text in UTF-8 ({error}); TextBytes takes any file") from error
        self.vocabulary = "".join(sorted(set(text)) if vocabulary is None else vocabulary)
        self._numbers = {character: i for i, character in enumerate(self.vocabulary)}
        super().__init__(self.encode(text), str(file), length, stride)

    def encode(self, text: str) -> Tensor:
        """The numbers of the characters, int64. ValueError for one that is not in the vocabulary."""
        try:
            return ops.tensor([self._numbers[character] for character in text], dtype=int64)
        except KeyError as error:
            raise ValueError(f"encode: the character {error} is not in the vocabulary") from None

    def decode(self, tokens: Tensor | Sequence[int]) -> str:
        """The text of the numbers."""
        numbers = tokens.tolist() if isinstance(tokens, Tensor) else tokens
        return "".join(self.vocabulary[number] for number in numbers)


class TextBytes(_Windows):
    """Any file as windows of bytes: the numbers 0 to 255. Arguments and samples as :class:`TextCharacters`."""

    def __init__(self, file: str | os.PathLike[str], length: int = 128, stride: int | None = None) -> None:
        content = _read(Path(file))
        tokens = ops.frombuffer(bytearray(content), dtype=uint8).to(int64) if content else ops.empty(0, dtype=int64)
        super().__init__(tokens, str(file), length, stride)

    @staticmethod
    def encode(text: str | bytes) -> Tensor:
        """The bytes, int64; a str as UTF-8."""
        encoded: Tensor = ops.tensor(list(text.encode() if isinstance(text, str) else text), dtype=int64)
        return encoded

    @staticmethod
    def decode(tokens: Tensor | Sequence[int]) -> str:
        """The text of the bytes; what is not UTF-8 becomes the replacement character."""
        numbers = tokens.tolist() if isinstance(tokens, Tensor) else tokens
        return bytes(numbers).decode("utf-8", errors="replace")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error
