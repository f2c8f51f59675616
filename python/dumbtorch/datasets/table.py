"""Tables in CSV files."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dumbtorch import ops
from dumbtorch._dtypes import float32, int64
from dumbtorch._tensor import Tensor
from dumbtorch.datasets._files import DataError
from dumbtorch.utils.data import TensorDataset


class CSV(TensorDataset):
    """The rows of a CSV file as numbers.

    file: UTF-8 with names of the columns in the first line, else give them as ``names``. target: the column to
    predict; its samples are ``(features, target)``, without it ``(features,)``. columns: those of the features, default
    all but the target. categories: columns of names; each name gets a number in the order of the alphabet (``classes``
    keeps them), and a target among them is int64. dtype: of the other numbers, default float32; an empty field is NaN.
    delimiter: default ",". DataError, with line and column, for what is no number and for lines that are too short.

    Example::

        flowers = CSV("iris.csv", target="species", categories=["species"])
        x, y = flowers[0]                     # float32 of shape (4,), int64
        flowers.classes["species"]            # ['setosa', 'versicolor', 'virginica']
    """

    columns: list[str]
    classes: dict[str, list[str]]

    def __init__(
        self,
        file: str | os.PathLike[str],
        target: str | None = None,
        columns: Sequence[str] | None = None,
        categories: Sequence[str] = (),
        names: Sequence[str] | None = None,
        dtype: Any = float32,
        delimiter: str = ",",
    ) -> None:
        names, rows = _read(Path(file), names, delimiter)
        self.columns = [name for name in names if name != target] if columns is None else list(columns)
        for name in [*self.columns, *categories, *([] if target is None else [target])]:
            if name not in names:
                raise DataError(f"{file}: no column {name!r}; there are {', '.join(names)}")
        place = {name: i for i, name in enumerate(names)}
        self.classes = {name: sorted({fields[place[name]] for _, fields in rows}) for name in categories}
        numbers = {name: {value: i for i, value in enumerate(values)} for name, values in self.classes.items()}

        def read(line: int, fields: list[str], name: str) -> float:
            text = fields[place[name]]
            if name in numbers:
                return numbers[name][text]
            try:
                return float(text) if text.strip() else float("nan")
            except ValueError:
                raise DataError(
                    f"{file}, line {line}: {text!r} in column {name!r} is no number (name the column in categories?)"
                ) from None

        features = [[read(line, fields, name) for name in self.columns] for line, fields in rows]
        tensors: list[Tensor] = [ops.tensor(features, dtype=dtype).reshape(len(rows), len(self.columns))]
        if target is not None:
            kind = int64 if target in numbers else dtype
            tensors.append(ops.tensor([read(line, fields, target) for line, fields in rows], dtype=kind))
        super().__init__(*tensors)


def _read(file: Path, names: Sequence[str] | None, delimiter: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the columns, and the fields of each row with the number of its line."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            lines = [(reader.line_num, fields) for fields in reader if fields]
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: not a CSV file in UTF-8 ({error})") from error
    if names is None:
        if not lines:
            raise DataError(f"{file}: empty, expected the names of the columns in the first line")
        names = lines.pop(0)[1]
    for line, fields in lines:
        if len(fields) != len(names):
            raise DataError(f"{file}, line {line}: {len(fields)} fields for {len(names)} columns")
    return [name.strip() for name in names], lines
