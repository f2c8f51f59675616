"""The graph example, on a smaller graph."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "gcn.py"


@pytest.mark.parametrize(("layer", "least", "most"), [("gcn", 70, 100), ("gat", 60, 100), ("none", 15, 60)])
def test_citations_help(layer: str, least: float, most: float, tmp_path: Path) -> None:
    options = ["--layer", layer, "--papers", "600", "--words", "300", "--epochs", "40"]
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *options], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "600 papers" in done.stdout and "epoch  40: loss" in done.stdout
    accuracy = float(done.stdout.splitlines()[-1].removeprefix("test accuracy: ").removesuffix(" %"))
    assert least < accuracy < most
