"""The examples run as a user would run them."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import safetensors.numpy
from matplotlib import image
from nbclient import NotebookClient

import dumbtorch

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
MNIST = Path(os.environ.get("DUMBTORCH_DATA") or ROOT.parent / "shared" / "data" / "mnist")


def run(script: str, *arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {
        key: value for key, value in os.environ.items() if key not in ("DUMBTORCH_DATA", "DUMBTORCH_TEXT")
    } | environment
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=600, check=False)


def accuracy_of(output: str) -> float:
    last = output.splitlines()[-1]
    found = re.fullmatch(r"test accuracy: (\d{1,3}\.\d\d) %", last)
    assert found, f"last line: {last!r}"
    return float(found[1])


# Nothing answers on the discard port: as good as no network, and at once.
OFFLINE = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


def test_without_data_and_network(tmp_path: Path) -> None:
    done = run("mnist.py", "--epochs", 15, cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"), **OFFLINE)
    assert done.returncode == 0, done.stderr
    assert "No network" in done.stdout and "1437 pictures of 8 x 8" in done.stdout
    assert done.stdout.count(": test accuracy ") == 15
    assert accuracy_of(done.stdout) >= 95
    assert "loss=" in done.stderr and "accuracy=" in done.stderr and "samples/s" in done.stderr
    assert not list((tmp_path / "cache").rglob("*.gz"))
    weights = safetensors.numpy.load_file(tmp_path / "outputs" / "mnist-cnn.safetensors")
    assert weights["0.weight"].shape == (16, 1, 3, 3) and all(np.isfinite(w).all() for w in weights.values())
    for name in ("mnist-loss.png", "mnist-misread.png"):
        picture = image.imread(tmp_path / "outputs" / name)
        assert picture.shape[0] > 300 and picture.std() > 0.01
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == [
        "mnist-cnn.safetensors",
        "mnist-loss.png",
        "mnist-misread.png",
    ]


def test_same_seed_same_result(tmp_path: Path, small_mnist: Path) -> None:
    arguments = ["--data", small_mnist, "--model", "mlp", "--epochs", "1", "--plot", "loss.png"]
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        done = run("mnist.py", *arguments, "--seed", seed, "--save", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        weights.append((tmp_path / name).read_bytes())
    assert weights[0] == weights[1] != weights[2]
    assert (tmp_path / "loss.png").exists() and (tmp_path / "loss-misread.png").exists()


def test_options(tmp_path: Path, small_mnist: Path) -> None:
    options = ["--limit", "100", "--batch-size", "7", "--lr", "1e-3", "--epochs", "1", "--device", "cpu"]
    done = run("mnist.py", *options, cwd=tmp_path, DUMBTORCH_DATA=str(small_mnist))
    assert done.returncode == 0, done.stderr
    assert "100 pictures of 12 x 10 to train on, 40 to test" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [["--epochs", "0"], ["--batch-size", "-1"], ["--lr", "nan"], ["--model", "rnn"], ["--limit", "x"]],
    ids=" ".join,
)
def test_bad_options(arguments: list[str], tmp_path: Path) -> None:
    done = run("mnist.py", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and f"argument {arguments[0]}" in done.stderr


@pytest.mark.skipif(dumbtorch.cuda.is_available(), reason="shows what happens without a GPU")
def test_cuda_without_a_gpu(tmp_path: Path, small_mnist: Path) -> None:
    done = run("mnist.py", "--data", small_mnist, "--device", "cuda", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr


@pytest.mark.skipif(not dumbtorch.cuda.is_available(), reason="needs a GPU")
def test_cuda(tmp_path: Path, small_mnist: Path) -> None:
    done = run("mnist.py", "--data", small_mnist, "--device", "cuda", "--epochs", 1, cwd=tmp_path)
    assert done.returncode == 0 and "on cuda" in done.stdout, done.stderr


def test_damaged_file_is_named(tmp_path: Path, small_mnist: Path) -> None:
    file = small_mnist / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-20])
    done = run("mnist.py", "--data", small_mnist, cwd=tmp_path)
    assert done.returncode == 1 and str(file) in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "outputs").exists()


@pytest.mark.skipif(not MNIST.is_dir(), reason="needs MNIST in DUMBTORCH_DATA or beside the repository")
@pytest.mark.parametrize(("model", "epochs", "target"), [("cnn", 2, 98.5), ("mlp", 3, 97.5)])
def test_mnist_reaches_its_target(model: str, epochs: int, target: float, tmp_path: Path) -> None:
    done = run("mnist.py", "--data", MNIST, "--model", model, "--epochs", epochs, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert accuracy_of(done.stdout) >= target


def test_basic_autograd(tmp_path: Path) -> None:
    done = run("basic_autograd.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all gradients agree\n") and done.stdout.count("by hand") == 8


@pytest.mark.parametrize("method", ["actor-critic", "reinforce"])
def test_policy_gradient(method: str, tmp_path: Path) -> None:
    done = run("policy_gradient.py", "--method", method, "--seed", 1, "--target", 195, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "solved" and int(lines[-2].split()[2]) >= 195, done.stdout


def test_tour(tmp_path: Path) -> None:
    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    (last,) = notebook.cells[-1].outputs
    assert last.text.startswith("test accuracy: ")


def loss_of(output: str) -> float:
    last = output.splitlines()[-1]
    found = re.fullmatch(r"validation loss: (\d+\.\d{4})", last)
    assert found, f"last line: {last!r}"
    return float(found[1])


def test_language_model(tmp_path: Path) -> None:
    options = ["--epochs", 8, "--hidden", 64, "--length", 64, "--lr", "1e-2", "--write", 40, "--dropout", 0]
    done = [run("lstm_language_model.py", *options, "--save", f"{n}.safetensors", cwd=tmp_path) for n in "ab"]
    assert all(one.returncode == 0 for one in done), done[0].stderr
    assert done[0].stdout.replace("a.safe", "b.safe") == done[1].stdout  # the same seed
    assert loss_of(done[0].stdout) < 2.6 < math.log(50) - 1  # well below a guess
    assert done[0].stdout.count(": validation loss ") == 8 and "Shall I compare thee" in done[0].stdout
    assert "loss=" in done[0].stderr and "characters/s" in done[0].stderr
    weights = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    assert weights["lstm.weight_hh_l0"].shape == (256, 64) and all(np.isfinite(w).all() for w in weights.values())


def test_language_model_of_a_text(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question; " * 100)
    options = ["--epochs", 3, "--hidden", 32, "--layers", 2, "--length", 32, "--batch-size", 3, "--limit", 4000]
    done = run("lstm_language_model.py", *options, cwd=tmp_path, DUMBTORCH_TEXT=str(text))
    assert done.returncode == 0, done.stderr
    assert "3600 characters to train on, 399 to validate" in done.stdout and loss_of(done.stdout) < 2.5
    for bad, message in ((["--data", tmp_path / "none"], "No such file"), (["--batch-size", 5000], "too few")):
        done = run("lstm_language_model.py", *bad, cwd=tmp_path)
        assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert run("lstm_language_model.py", "--dropout", "1", cwd=tmp_path).returncode == 2
