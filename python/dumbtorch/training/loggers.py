"""Where a :class:`Trainer` writes its numbers."""

from __future__ import annotations

import csv
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Logger:
    """Base class. A trainer calls ``open`` when it starts, ``log``, ``state`` with each checkpoint, ``close``."""

    def open(self, state: Any, step: int) -> None:
        """Begin: anew if ``state`` is None, else as of a checkpoint of that step: what came after it is dropped."""

    def log(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Write numbers by name."""
        raise NotImplementedError

    def state(self) -> Any:
        """What ``open`` needs to drop what came later; everything before must be on the disk."""
        return 0

    def close(self) -> None:
        """End."""


class CSVLogger(Logger):
    """One line a number in a CSV file: step, epoch, name, value."""

    def __init__(self, file: str | os.PathLike[str]) -> None:
        self.file = Path(file)
        self._stream: Any = None

    def open(self, state: Any, step: int) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        if state is None or not self.file.exists():
            self._stream = self.file.open("w", newline="", encoding="utf-8")
            csv.writer(self._stream).writerow(["step", "epoch", "name", "value"])
            self._stream.flush()
            return
        self._stream = self.file.open("r+", newline="", encoding="utf-8")
        self._stream.truncate(min(int(state), self.file.stat().st_size))
        self._stream.seek(0, os.SEEK_END)

    def log(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        csv.writer(self._stream).writerows([step, epoch, name, repr(value)] for name, value in values.items())
        self._stream.flush()

    def state(self) -> int:
        os.fsync(self._stream.fileno())
        return self.file.stat().st_size

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class TensorBoardLogger(Logger):
    """Curves for TensorBoard in a folder: ``tensorboard --logdir FOLDER``. Needs the package tensorboardX."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._writer: Any = None

    def open(self, state: Any, step: int) -> None:
        try:
            package = importlib.import_module("tensorboardX")
        except ImportError as error:
            raise ImportError("TensorBoardLogger needs tensorboardX: pip install 'dumbtorch[training]'") from error
        # TensorBoard drops what earlier files of the folder have from the purge step on.
        self._writer = package.SummaryWriter(str(self.folder), purge_step=None if state is None else step + 1)

    def log(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def state(self) -> int:
        self._writer.flush()
        return 0

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
