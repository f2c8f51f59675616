"""dumbtorch under PyTorch's name: each test runs a program in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

import dumbtorch

PROGRAM = """
import sys
import torch
import torch.nn as nn, torch.nn.functional as F, torch.backends.cudnn as cudnn
import torch.cuda, torch.autograd, torch.version, torch.types, torch._C, torch.optim.lr_scheduler
from torch import Tensor, optim
from torch.nn.modules.linear import Linear
from torch.utils.data import DataLoader, TensorDataset

cudnn.benchmark = True
assert torch.backends.cudnn.benchmark and nn.Linear is Linear and nn.functional is F
assert torch.__version__ >= "2.4" and torch.__version__ > (1, 13) and torch.version.cuda is None
device = torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).to(device)
optimizer = optim.SGD(model.parameters(), lr=0.1)
for x, y in DataLoader(TensorDataset(torch.randn(8, 4), torch.arange(8) % 2), batch_size=4):
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
print(torch.__name__, __name__, sys.argv[1:])
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_a_program_runs_unchanged(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("import torch\nassert torch.__name__ == 'dumbtorch'")
    program = tmp_path / "program.py"
    program.write_text("import neighbour" + PROGRAM)
    done = python("-m", "dumbtorch", str(program), "a", "--b")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "dumbtorch __main__ ['a', '--b']\n"
    done = python("-m", "dumbtorch", "-c", "import sys, torch; print(torch.__name__, sys.argv)", "x")
    assert done.stdout == "dumbtorch ['-c', 'x']\n", done.stderr
    done = python("-m", "dumbtorch", "-m", "this")
    assert "Beautiful" in done.stdout, done.stderr
    done = python("-m", "dumbtorch")
    assert done.returncode == 2 and "program.py" in done.stderr


@pytest.mark.parametrize(
    ("line", "error"),
    (
        ("import torch.onnx", "ModuleNotFoundError: dumbtorch has no module 'torch.onnx': docs/guide"),
        ("import torch; torch.compile(1)", "AttributeError: module 'torch' has no attribute 'compile': docs/guide"),
        ("from torch import nothing", "ImportError: cannot import name 'nothing'"),
        ("raise SystemExit(3)", ""),
    ),
)
def test_what_is_missing_says_so(line: str, error: str) -> None:
    done = python("-m", "dumbtorch", "-c", line)
    assert done.returncode == (3 if not error else 1)
    assert error in done.stderr


def test_the_alias_is_undone() -> None:
    done = python(
        "-c",
        "import sys, dumbtorch as d; v = d.__version__; d.install_as_torch(); d.install_as_torch(); "
        "import torch.nn.functional, torch; assert torch is d and torch.nn is d.nn;"
        "assert d.nn.__spec__.name == 'dumbtorch.nn';"
        "d.uninstall_as_torch(); d.uninstall_as_torch(); assert d.__version__ == v == d.version.__version__;"
        "assert not [n for n in sys.modules if n.split('.')[0] == 'torch']; "
        "import types; sys.modules['torch'] = types.ModuleType('torch'); d.install_as_torch()",
    )
    assert "RuntimeError: install_as_torch(): PyTorch is imported already" in done.stderr


def test_new_processes_know_the_alias(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing as mp\nimport torch\n"
        "def work(queue, t):\n    queue.put((torch.__name__, float(t.sum())))\n"
        "if __name__ == '__main__':\n"
        "    context = mp.get_context('spawn')\n    queue = context.Queue()\n"
        "    process = context.Process(target=work, args=(queue, torch.ones(3)))\n"
        "    process.start()\n    print(queue.get())\n    process.join()\n"
    )
    done = python("-m", "dumbtorch", str(program))
    assert done.stdout == "('dumbtorch', 3.0)\n", done.stderr


def test_the_safetensors_library_works_under_the_alias(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    program = tmp_path / "program.py"
    program.write_text(
        "import torch\nfrom safetensors import safe_open\n"
        "from safetensors.torch import load, load_file, load_model, save, save_file, save_model\n"
        "t = {'a': torch.arange(6.0).reshape(2, 3), 'b': torch.ones(3, dtype=torch.bfloat16), 'c': torch.empty(0, 2)}\n"
        "save_file(t, 'x.safetensors')\n"
        "for found in (load_file('x.safetensors'), load(save(t))):\n"
        "    assert all(torch.equal(found[n], v) and found[n].dtype == v.dtype for n, v in t.items())\n"
        "with safe_open('x.safetensors', framework='pt') as file:\n"
        "    assert file.get_slice('a')[:1].tolist() == [[0, 1, 2]]\n"
        "model, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)\n"
        "save_model(model, 'm.safetensors')\n"
        "assert load_model(other, 'm.safetensors') == (set(), []) and (other.weight == model.weight).all()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "dumbtorch", str(program)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_versions_compare_by_their_numbers() -> None:
    version = dumbtorch.torch_version.TorchVersion("2.13.0+cpu")
    assert version > "2.4" and version >= (2, 13) and version == "2.13" and version < "10.0" and version <= "2.13.0"
    assert version != "nonsense" and hash(version) == hash("2.13.0+cpu")
