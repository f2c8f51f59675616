"""Write the generated pages of docs/: docs/ops.md, from the op table.

python tools/docs.py            write what has changed
python tools/docs.py --check    fail if a page is out of date
"""

import inspect
import re
import sys
from pathlib import Path

from dumbtorch.ops import FUNCTIONS, METHODS, TABLE, Row
from dumbtorch.ops.table import HAS_OUT, INPLACE, VIEW

DOCS = Path(__file__).resolve().parent.parent / "docs"

HEAD = """\
# Operations

<!-- Written by tools/docs.py (`./pixiw run docs`) from python/dumbtorch/ops. Edit the table there, not this page. -->

Every operation computes what PyTorch 2.13 computes under the same name. A **primitive** is one row of the op table and
one kernel; a **composite** is a Python function of primitives.

## Primitives

`grad`: the inputs that a gradient flows to. `forms`: `f` the function `dumbtorch.NAME`, `m` the method `Tensor.NAME`,
`_` the in-place method `Tensor.NAME_`, `out` the keyword `out=`, `view` a result that shares the input's memory.

| name | signature | grad | forms | what it computes |
|---|---|---|---|---|
"""

COMPOSITES = """
## Composites

`forms` as above.

| name | forms | what it computes |
|---|---|---|
"""


def cell(text: str) -> str:
    """Put a text into one cell of a table."""
    return " ".join(text.replace("|", "\\|").replace("``", "`").split())


def forms(name: str, row: Row | None = None) -> str:
    """Say how an operation can be called."""
    found = ["f"] * (name in FUNCTIONS) + ["m"] * (name in METHODS)
    if row is not None:
        flags = {"_": INPLACE, "out": HAS_OUT, "view": VIEW}
        found += [word for word, flag in flags.items() if row.flags & flag]
    return " ".join(found)


def primitive(row: Row) -> str:
    """Return the line of one row."""
    name = ", ".join(f"`{word}`" for word in (row.name, *row.aliases))
    signature = re.sub(r":\w+", "", row.signature)
    return f"| {name} | `({signature})` | {', '.join(row.grad)} | {forms(row.name, row)} | {cell(row.doc)} |\n"


def composite(name: str) -> str:
    """Return the line of one Python function."""
    text = inspect.getdoc(FUNCTIONS.get(name) or METHODS[name]) or ""
    return f"| `{name}` | {forms(name)} | {cell(text.partition(chr(10) * 2)[0])} |\n"


def ops_page() -> str:
    """Return the text of docs/ops.md."""
    rows = sorted(TABLE.values(), key=lambda row: row.name)
    made = {name + mark for row in rows for name in (row.name, *row.aliases) for mark in ("", "_")}
    others = sorted(name for name in FUNCTIONS.keys() | METHODS.keys() if name not in made and not name.startswith("_"))
    return HEAD + "".join(map(primitive, rows)) + COMPOSITES + "".join(map(composite, others))


def main() -> int:
    """Write or check every generated page."""
    status = 0
    for name, text in {"ops.md": ops_page()}.items():
        page = DOCS / name
        if page.exists() and page.read_text(encoding="utf-8") == text:
            continue
        if sys.argv[1:] == ["--check"]:
            print(f"docs: docs/{name} is out of date; run `./pixiw run docs`", file=sys.stderr)
            status = 1
        else:
            page.write_text(text, encoding="utf-8")
            print(f"docs: wrote docs/{name}")
    return status


if __name__ == "__main__":
    sys.exit(main())
