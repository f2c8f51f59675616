"""The tools that build: which files an object is made of, and the editable wheel."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "dev"

TOOL = ROOT / "tools" / "mojo_object.py"

sys.path.insert(0, str(ROOT / "tools"))
try:
    import backend
    import mojo_object
finally:
    sys.path.pop(0)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    texts = {
        "core/__init__.mojo": "from .shape import Shape\n",
        "core/shape.mojo": "from std.memory import Pointer\n",
        "core/pool.mojo": "",
        "core/deep/__init__.mojo": "",
        "core/deep/low.mojo": "from ..pool import get\nfrom . import side\n",
        "core/deep/side.mojo": "",
        "helper.mojo": "import core.pool as pool, std.os\n",
        "other.mojo": "",
        "one.mojo": "from core import (\n    Shape,\n    Rank,\n)\n",
        "two.mojo": "def f():\n    from helper import g  # late\n",
        "three.mojo": "from core.deep import low\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "made_of"),
    [
        ("one.mojo", {"one.mojo", "core/__init__.mojo", "core/shape.mojo"}),
        ("two.mojo", {"two.mojo", "helper.mojo", "core/__init__.mojo", "core/shape.mojo", "core/pool.mojo"}),
        (
            "three.mojo",
            {"three.mojo", "core/__init__.mojo", "core/shape.mojo", "core/deep/__init__.mojo", "core/deep/low.mojo"}
            | {"core/pool.mojo", "core/deep/side.mojo"},
        ),
    ],
)
def test_imports_are_followed(tree: Path, name: str, made_of: set[str]) -> None:
    found = [str(file.relative_to(tree)) for file in mojo_object.closure(tree / name, tree)]
    assert set(found) == made_of
    assert len(found) == len(made_of)


def test_the_depfile_names_them(tree: Path) -> None:
    (tree / "mojo").write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    (tree / "mojo").chmod(0o755)
    command = [
        sys.executable,
        ROOT / "tools" / "mojo_object.py",
        tree / "mojo",
        tree / "one.mojo",
        tree,
        "x.o",
        tree / "x.d",
    ]
    subprocess.run(command, check=True)
    target, _, files = (tree / "x.d").read_text(encoding="utf-8").partition(": ")
    assert target == "x.o"
    assert files.split() == [str(tree / name) for name in ("one.mojo", "core/__init__.mojo", "core/shape.mojo")]


def test_a_failing_compiler_fails_the_build(tree: Path) -> None:
    command = [sys.executable, TOOL, "false", tree / "one.mojo", tree, "x.o", tree / "x.d"]
    assert subprocess.run(command, check=False).returncode == 1
    assert not (tree / "x.d").exists()


def test_a_file_of_a_wheel_is_replaced_with_its_sum(tmp_path: Path) -> None:
    wheel = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("x.py", "old")
        archive.writestr("x-1.dist-info/RECORD", "x.py,sha256=wrong,3\nx-1.dist-info/RECORD,,\n")
    backend.replace_in_wheel(wheel, {"x.py": "new!"})
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("x.py") == b"new!"
        record = archive.read("x-1.dist-info/RECORD").decode().splitlines()
    # printf 'new!' | openssl dgst -sha256 -binary | base64
    assert "x.py,sha256=vdHlJOXJC-6RpPGsSgh8oAEuNiNasktRNtKmOI561Ys,4" in record
    with pytest.raises(RuntimeError, match="holds no y.py"):
        backend.replace_in_wheel(wheel, {"y.py": ""})


@pytest.mark.skipif(not (BUILD / "build.ninja").exists(), reason="this dumbtorch was not built in its source tree")
def test_touching_one_family_rebuilds_that_and_at_most_one_other() -> None:
    """ninja's own record of what each object was made from."""

    def ask(*question: str) -> str:
        command = ["ninja", "-C", str(BUILD), "-t", *question]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    objects: dict[str, list[str]] = {}
    for line in ask("deps").splitlines():
        if line and not line.startswith((" ", "ninja:")):
            objects[line.split(":")[0]] = current = []
        elif line.strip():
            current.append(line.strip())
    # The record keeps what families that are gone left behind.
    targets = {line.split(":")[0] for line in ask("targets", "all").splitlines()}
    # What accelerators run is compiled from the same functors, by those who ask for it.
    objects = {
        name: files for name, files in objects.items() if name in targets and not name.startswith(("gpu_", "_G."))
    }
    assert any(name.startswith("_C.") for name in objects)
    families = {name.split(".")[0] for name in objects} - {"_C"}
    readers: dict[str, set[str]] = {family: set() for family in families}
    for name, files in objects.items():
        assert any("/mojo/tensor/" in file for file in files)
        for file in map(Path, files):
            if file.parent.name == "kernels" and file.stem in families:
                readers[file.stem].add(name.split(".")[0])
    for family, names in readers.items():
        assert family in names
        assert len(names) <= 2, f"{family}.mojo is read by the families {names}"
