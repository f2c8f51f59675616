"""Write the generated pages of docs/: docs/ops.md from the op table, tables of docs/guide from the lists of the tests.

python tools/docs.py            write what has changed
python tools/docs.py --check    fail if a page is out of date
python tools/docs.py --site     write what has changed, then build the site of docs/ into site/
"""

import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from dumbtorch.ops import FUNCTIONS, METHODS, TABLE, Row
from dumbtorch.ops.table import HAS_OUT, INPLACE, VIEW

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
CONFORMANCE = ROOT / "tests" / "conformance"

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


def differences() -> str:
    """Return the table of the operations of which PyTorch's database finds results that differ."""
    by_reason: dict[str, list[str]] = {}
    listed = tomllib.loads((CONFORMANCE / "opinfo_expected.toml").read_text(encoding="utf-8"))
    for name, entry in listed.items():
        reason = entry if isinstance(entry, str) else entry["why"]
        by_reason.setdefault(reason, []).append(f"`{name}`")
    lines = (f"| {', '.join(names)} | {cell(reason)} |\n" for reason, names in by_reason.items())
    return "| operation | difference |\n|---|---|\n" + "".join(lines)


def absent() -> str:
    """Return the table of the names that PyTorch has and dumbtorch has not."""
    groups = tomllib.loads((CONFORMANCE / "coverage.toml").read_text(encoding="utf-8"))["absent"]
    lines = []
    for group in groups:
        place = f"torch.{group['namespace']}" if "namespace" in group else "torch"
        names = " ".join(f"`{name}`" for name in group["names"].split())
        lines.append(f"| {place} | {cell(group['reason'])} | {names} |\n")
    return "| in | why | names |\n|---|---|---|\n" + "".join(lines)


def filled(page: Path, tables: dict[str, str]) -> str:
    """Return the text of a page with its generated tables as they should be."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        before, mark, rest = text.partition(f"<!-- generated: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise ValueError(f"{page} has no place for the table {name!r}")
        text = before + mark + table + end + after
    return text


def site() -> int:
    """Build the site; a link or a reference that leads nowhere is an error."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    # mkdocs-material would advertise its successor at each build.
    status = subprocess.run(command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, check=False).returncode
    print("docs: the site is broken" if status else f"docs: wrote {ROOT / 'site' / 'index.html'}")
    return status


def main() -> int:
    """Write or check every generated page."""
    status = 0
    guide = "guide/coming-from-pytorch.md"
    pages = {
        "ops.md": ops_page(),
        guide: filled(DOCS / guide, {"differences": differences(), "absent": absent()}),
    }
    for name, text in pages.items():
        page = DOCS / name
        if page.exists() and page.read_text(encoding="utf-8") == text:
            continue
        if sys.argv[1:] == ["--check"]:
            print(f"docs: docs/{name} is out of date; run `./pixiw run docs`", file=sys.stderr)
            status = 1
        else:
            page.write_text(text, encoding="utf-8")
            print(f"docs: wrote docs/{name}")
    if sys.argv[1:] == ["--site"]:
        status = site()
    return status


if __name__ == "__main__":
    sys.exit(main())
