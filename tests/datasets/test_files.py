"""Texts and tables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import dumbtorch
from dumbtorch.datasets import CSV, DataError, TextBytes, TextCharacters
from dumbtorch.utils.data import DataLoader


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text("Grüße, grüne Grütze!", encoding="utf-8")
    return file


def test_characters(text: Path) -> None:
    data = TextCharacters(text, length=6)
    content = text.read_text(encoding="utf-8")
    assert data.vocabulary == "".join(sorted(set(content))) and data.decode(data.tokens) == content
    assert len(data) == 3 and data.tokens.dtype == dumbtorch.int64
    assert [data.decode(x) + "|" + data.decode(y) for x, y in data][:2] == ["Grüße,|rüße, ", " grüne|grüne "]
    assert data.encode("üe").tolist() == [data.vocabulary.index("ü"), data.vocabulary.index("e")]
    x, y = next(iter(DataLoader(TextCharacters(text, 4, stride=1), 16, shuffle=True)))
    assert x.shape == y.shape == (16, 4) and x[:, 1:].tolist() == y[:, :-1].tolist()
    assert TextCharacters(text, 4, vocabulary=data.vocabulary + "Q").encode("Q").tolist() == [len(data.vocabulary)]
    with pytest.raises(ValueError, match="'Q' is not in the vocabulary"):
        data.encode("Q")


def test_bytes(text: Path) -> None:
    data = TextBytes(text, length=5, stride=2)
    content = text.read_bytes()
    assert bytes(data.tokens.tolist()) == content and data.decode(data.tokens) == content.decode()
    assert [bytes(x.tolist()) for x, _ in data] == [content[i : i + 5] for i in range(0, len(content) - 5, 2)]
    assert data.encode("ü").tolist() == [0xC3, 0xBC] and data.decode([0xC3]) == "\ufffd"


def test_windows_share_the_memory_of_the_text(text: Path) -> None:
    data = TextBytes(text, 4, 1)
    assert data.tensors[0].data_ptr() == data.tokens.data_ptr()


@pytest.mark.parametrize("kind", [TextCharacters, TextBytes])
def test_bad_texts(kind: type, tmp_path: Path, text: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.txt: No such file"):
        kind(tmp_path / "nowhere.txt")
    with pytest.raises(DataError, match="too few for windows of length 128"):
        kind(text)
    for length, stride in ((0, 1), (3, 0), (-1, None)):
        with pytest.raises(ValueError, match="must be positive"):
            kind(text, length, stride)
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match="0 tokens"):
        kind(tmp_path / "empty", 1)
    with pytest.raises(DataError, match="directory"):
        kind(tmp_path)


def test_characters_of_no_text(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(os.urandom(50) + b"\xff")
    with pytest.raises(DataError, match="not a text in UTF-8"):
        TextCharacters(tmp_path / "bytes", 4)


TABLE = 'a,b,kind\n1,2.5,"x, y"\n-3,,z\n1e3,0,z\n'


def test_csv(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text(TABLE)
    data = CSV(file, target="kind", categories=["kind"])
    x, y = data.tensors
    assert x.dtype == dumbtorch.float32 and y.tolist() == [0, 1, 1] and y.dtype == dumbtorch.int64
    assert x[0].tolist() == [1, 2.5] and x[1, 1].isnan() and x[2].tolist() == [1000, 0]
    assert data.columns == ["a", "b"] and data.classes == {"kind": ["x, y", "z"]} and len(data) == 3
    (x,) = CSV(file, columns=["b", "kind"], categories=["kind"], dtype=dumbtorch.float64).tensors
    assert x.dtype == dumbtorch.float64 and x[2].tolist() == [0, 1]
    x, y = CSV(file, "a", ["b"]).tensors
    assert y.tolist() == [1, -3, 1000] and y.dtype == dumbtorch.float32
    file.write_text("1;2\n3;4\n")
    assert CSV(file, names=["p", "q"], delimiter=";").tensors[0].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (TABLE, {}, r"table.csv, line 2: 'x, y' in column 'kind' is no number \(name the column in categories\?\)"),
        (TABLE, {"target": "c"}, "no column 'c'; there are a, b, kind"),
        ("a,b\n1,2\n\n3\n", {}, "line 4: 1 fields for 2 columns"),
        ("", {}, "empty"),
        ('a\n"x', {}, "not a CSV file"),
    ],
)
def test_bad_tables(content: str, options: dict, message: str, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text(content)
    with pytest.raises(DataError, match=message):
        CSV(file, **options)
