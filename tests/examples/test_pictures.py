"""examples/resnet.py, vae.py and dcgan.py as a user runs them, on a few pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from matplotlib import image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(script: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / script), *map(str, arguments)], cwd=cwd, env=dict(os.environ),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("script", "options", "says", "pictures"),
    [
        ("resnet.py", ["--width", 8, "--blocks", 1, "--epochs", 2], "test accuracy: ", ["resnet-loss.png"]),
        ("vae.py", ["--latent", 4, "--epochs", 2], "test loss: ", ["vae-pairs.png", "vae-samples.png"]),
        ("dcgan.py", ["--channels", 8, "--epochs", 1], "weights: ", ["dcgan-samples.png"]),
    ],
    ids=str,
)
def test_example(script: str, options: list, says: str, pictures: list[str], tmp_path: Path, small_mnist: Path) -> None:
    done = run(script, "--data", small_mnist, "--batch-size", 20, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(says)
    name = script.removesuffix(".py")
    weights = safetensors.numpy.load_file(tmp_path / "outputs" / f"{name}.safetensors")
    assert len(weights) > 4 and all(np.isfinite(w).all() for w in weights.values())
    for file in pictures:
        picture = image.imread(tmp_path / "outputs" / file)
        assert min(picture.shape[:2]) > 200 and picture.std() > 0.01
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == sorted([f"{name}.safetensors", *pictures])


def test_resnet_learns_bars(tmp_path: Path, small_mnist: Path) -> None:
    """The label of these pictures is where a bar is: after some epochs most are read."""
    done = run("resnet.py", "--data", small_mnist, "--batch-size", 20, "--epochs", 12, "--width", 8, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1].split()[2]) >= 60


def test_a_seed_means_a_picture(tmp_path: Path, small_mnist: Path) -> None:
    files = []
    for name in ("a", "b"):
        options = ["--epochs", 1, "--channels", 4, "--seed", 3, "--save", f"{name}.safetensors"]
        done = run("dcgan.py", "--data", small_mnist, *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        files.append((tmp_path / f"{name}.safetensors").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("script", ["resnet.py", "vae.py", "dcgan.py"])
def test_data_that_is_not_there(script: str, tmp_path: Path) -> None:
    done = run(script, "--data", tmp_path / "nowhere", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr
