"""examples/char_gpt.py: as a user runs it, and the same program on PyTorch."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

import dumbtorch

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "char_gpt.py"
SMALL = ["--context", "32", "--layers", "2", "--dim", "32", "--heads", "2", "--batch-size", "8"]


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLE), *arguments], cwd=cwd, env=os.environ | environment, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip


def program(library: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example with a library in dumbtorch's place."""
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE.parent))  # as for a program that is run: its options stand beside it
        for name in ("", ".nn", ".nn.functional", ".optim"):
            patch.setitem(sys.modules, f"dumbtorch{name}", sys.modules[f"{library.__name__}{name}"])
        spec = importlib.util.spec_from_file_location(f"char_gpt_{library.__name__}", EXAMPLE)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    assert module.torch is library  # type: ignore[attr-defined]
    return module


def test_losses_are_those_of_pytorch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine, other = program(dumbtorch, monkeypatch), program(torch, monkeypatch)
    text = mine.Text(mine.SONNETS.read_text(encoding="utf-8"))
    torch.manual_seed(0)
    reference = other.GPT(len(text.letters), 64, 2, 64, 4)
    other.save_weights(reference, tmp_path / "weights")
    model = mine.GPT(len(text.letters), 64, 2, 64, 4)
    mine.load_weights(model, tmp_path / "weights")
    history = [T.train(m, text, 20, 8, 1e-3, 0) for T, m in ((mine, model), (other, reference))]
    np.testing.assert_allclose(*history, rtol=0, atol=1e-3)
    assert history[0][-1] < history[0][0] - 0.5
    assert mine.test_loss(model, text, 8) == pytest.approx(other.test_loss(reference, text, 8), abs=2e-3)


def test_trains_and_writes(tmp_path: Path) -> None:
    done = run("--steps", "25", "--sample", "40", "--prompt", "My", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3876 letters to train on" in done.stdout and "test loss: " in done.stdout
    assert "loss=" in done.stderr and "steps/s" in done.stderr
    assert len(done.stdout.split("test loss: ")[1].split("\n", 1)[1].removesuffix("\n")) == 42
    weights = safetensors.numpy.load_file(tmp_path / "outputs" / "char-gpt.safetensors")
    assert weights["head.weight"].shape == (54, 32)
    again = [run("--steps", "0", "--weights", "outputs/char-gpt.safetensors", *SMALL, cwd=tmp_path) for _ in range(2)]
    assert again[0].returncode == 0, again[0].stderr
    assert again[0].stdout == again[1].stdout and "training" not in again[0].stdout


def test_texts(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("abc\n" * 50, encoding="utf-8")
    for arguments, environment in ((("--data", "a"), {}), ((), {"DUMBTORCH_TEXT": str(tmp_path / "a")})):
        done = run("--steps", "1", "--sample", "0", *arguments, *SMALL, cwd=tmp_path, **environment)
        assert done.returncode == 0, done.stderr
        assert "180 letters to train on, 20 to test, 4 kinds" in done.stdout and "test loss: nan" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--context", "5000"], "pieces of 5000 are asked for"),
        (["--prompt", "\u00e9"], "--prompt needs letters of the text"),
    ],
)
def test_errors(arguments: list[str], text: str, tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and text in done.stderr


def test_bad_options(tmp_path: Path) -> None:
    for options in (["--dim", "10", "--heads", "3"], ["--lr", "0"], ["--layers", "-1"]):
        done = run(*options, cwd=tmp_path)
        assert done.returncode == 2 and "Traceback" not in done.stderr
