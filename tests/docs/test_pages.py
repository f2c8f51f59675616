"""The code of the guide runs: the ```python blocks of a page, one after the other, as one program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)")
# What a page takes for granted stands in a comment before the block that needs it.
SETUP, END = "<!-- setup", "-->"


def program(page: Path) -> str:
    """The page with all but its code left empty, so that line numbers are those of the page."""
    lines, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = FENCE.match(line)
        if inside and (line.strip() in ("```", END)):
            inside = False
        elif not inside and (line == SETUP or (fence and fence[1] == "python")):
            inside = True
        elif inside:
            lines.append(line)
            continue
        lines.append("")
    assert not inside, f"{page}: a block does not end"
    return "\n".join(lines) + "\n"


PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if program(page).strip()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_runs(page: Path, tmp_path: Path) -> None:
    script = tmp_path / f"{page.stem}.py"
    script.write_text(program(page), encoding="utf-8")
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{page}, line numbers as in the page:\n{done.stderr}"


def test_pages_of_the_guide_have_code() -> None:
    guide = {page.name for page in (ROOT / "docs" / "guide").glob("*.md")}
    assert guide - {page.name for page in PAGES} == set()


def test_a_block_that_fails_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n\n```python\nx = 1\n```\n\n<!-- setup\ny = 2\n-->\n\n```sh\nls\n```\n\n```python\nx + y + z\n```\n"
    )
    lines = program(page).splitlines()
    assert lines[3] == "x = 1" and lines[7] == "y = 2" and lines[15] == "x + y + z" and len("".join(lines)) == 19
