"""pixi.toml is what pixi reads, and tools/pixiw.py makes of every task what pixi does."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT.parent / "shared" / "pixi-schema.json"
MANIFEST = tomllib.loads((ROOT / "pixi.toml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

sys.path.insert(0, str(ROOT / "tools"))
try:
    import pixiw
finally:
    sys.path.pop(0)


def launch(*arguments: str, root: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ./pixiw where there is no pixi on PATH."""
    folders = [folder for folder in os.environ["PATH"].split(os.pathsep) if not shutil.which("pixi", path=folder)]
    environment = os.environ | {"PATH": os.pathsep.join(folders)} | variables
    return subprocess.run([root / "pixiw", *arguments], env=environment, capture_output=True, text=True, check=False)


def manifest(content: dict[str, Any]) -> pixiw.Manifest:
    return pixiw.Manifest(content, ["ninja"])


# pixi publishes the schema; where no copy is at hand the other tests still say what this project relies on.
if SCHEMA.exists():

    def test_manifest_matches_the_schema_of_pixi() -> None:
        jsonschema.validate(MANIFEST, json.loads(SCHEMA.read_text(encoding="utf-8")))

    def test_the_schema_refuses_a_wrong_manifest() -> None:
        wrong = MANIFEST | {"tasks": {"test": {"cmd": 3}}}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_the_promised_tasks_are_there() -> None:
    assert {"build", "train-mnist", "test", "bench", "bench-kernels", "lint", "docs"} <= MANIFEST["tasks"].keys()
    assert {"dev", "examples", "docs", "oracle"} <= MANIFEST["feature"].keys()
    assert MANIFEST["pypi-dependencies"]["max"] == "==26.7.0"


@pytest.mark.parametrize("task", MANIFEST["tasks"])
def test_every_task_resolves(task: str) -> None:
    done = launch("run", "--dry-run", task)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == MANIFEST["tasks"][task]["cmd"]
    assert lines[:-1] == [MANIFEST["tasks"][first]["cmd"] for first in MANIFEST["tasks"][task].get("depends-on", [])]


@pytest.mark.parametrize("task", MANIFEST["tasks"])
def test_what_a_task_runs_is_in_the_repository(task: str) -> None:
    """`python FILE` names a file, `python -m MODULE` a folder of ours or a package that the extras bring."""
    words = MANIFEST["tasks"][task]["cmd"].split()
    assert words[0] == "python"
    if words[1] == "-m":
        module = words[2].replace(".", "/")
        required = [name for extra in PROJECT["project"]["optional-dependencies"].values() for name in extra]
        assert (ROOT / module).is_dir() or any(name.startswith(words[2]) for name in required)
    else:
        assert (ROOT / words[1]).is_file()


@pytest.mark.parametrize("feature", MANIFEST["feature"])
def test_every_feature_installs_the_extra_of_its_name(feature: str) -> None:
    assert MANIFEST["feature"][feature]["pypi-dependencies"]["dumbtorch"]["extras"] == [feature]
    assert feature in PROJECT["project"]["optional-dependencies"]


def test_packages_of_the_test_environment() -> None:
    read = pixiw.Manifest(MANIFEST, PROJECT["build-system"]["requires"])
    requirements, extras = read.packages(read.features("test"))
    assert {"max==26.7.0", "mojo-compiler==1.2.0"} <= set(requirements)
    assert set(extras) == {"dev", "examples", "docs", "oracle"}
    assert "torch==2.13.0" in PROJECT["project"]["optional-dependencies"]["oracle"]


def test_arguments_are_passed_on() -> None:
    with_dashes = launch("run", "--dry-run", "test", "--", "-k", "a b", "--", "c")
    assert with_dashes.stdout == "python tools/build.py --all\npython -m pytest -k 'a b' -- c\n"
    assert launch("run", "--dry-run", "bench", "-x").stdout == "python -m benchmarks -x\n"


def test_dependencies_come_first_and_once() -> None:
    tasks = {
        "a": {"cmd": "echo a"},
        "b": {"cmd": "echo b", "depends-on": "a"},
        "c": {"cmd": ["echo", "a b"], "depends-on": ["b", "a"]},
        "all": {"depends-on": ["c"]},
    }
    read = manifest({"tasks": tasks})
    assert read.order("all") == ["a", "b", "c", "all"]
    assert read.command("c", ["x y"]) == "echo 'a b' 'x y'"
    assert read.command("all", []) == ""


@pytest.mark.parametrize(
    ("tasks", "task", "sentence"),
    [
        ({"a": "echo"}, "b", "there is no task 'b' in pixi.toml; there are: a"),
        ({"a": {"depends-on": "b"}, "b": {"depends-on": "a"}}, "a", "the tasks a -> b -> a depend on each other"),
        (
            {"a": {"cmd": "echo {{ x }}", "args": ["x"]}},
            "a",
            "the task 'a' uses args, which only pixi itself understands",
        ),
    ],
)
def test_wrong_tasks_are_named(tasks: dict[str, Any], task: str, sentence: str) -> None:
    with pytest.raises(SystemExit, match=sentence):
        manifest({"tasks": tasks}).order(task)


def test_a_conda_package_is_refused() -> None:
    with pytest.raises(SystemExit, match="conda package 'gcc'"):
        manifest({"dependencies": {"python": "*", "gcc": "*"}}).packages(set())


def test_pypi_versions_become_requirements() -> None:
    wanted = {"x": "*", "y": ">=1,<2", "z": {"version": "==3", "extras": ["e", "f"]}}
    assert manifest({"pypi-dependencies": wanted}).packages(set()) == (["ninja", "x", "y>=1,<2", "z[e,f]==3"], [])


def test_unknown_task_exits_with_one_sentence() -> None:
    done = launch("run", "no-such-task")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "train-mnist" in done.stderr


def test_without_python_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "dirname").symlink_to(shutil.which("dirname") or "")
    done = launch("run", "test", PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("pixiw: Python 3.11")
    assert done.stderr.count("\n") == 1


def test_pixi_is_used_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "pixi").write_text('#!/bin/sh\nprintf "%s|" "$@"\n', encoding="utf-8")
    (tmp_path / "pixi").chmod(0o755)
    done = launch("run", "test", "--", "-k", "a b", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert done.stdout == "run|test|-k|a b|"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with a ready .venv, so that its tasks start at once."""
    (tmp_path / "tools").mkdir()
    for name in ("pixiw", "tools/pixiw.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "pixi.toml").write_text(
        """
[tasks]
first = { cmd = "echo first $WHO >> log", cwd = "sub", env = { WHO = "me" } }
second = { cmd = "echo second >> sub/log && test -n \\"$VIRTUAL_ENV\\"", depends-on = ["first"] }
bad = "exit 7"
after-bad = { cmd = "echo never", depends-on = ["bad"] }
""",
        encoding="utf-8",
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "build" / "dev").mkdir(parents=True)
    (tmp_path / "build" / "dev" / "build.ninja").touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    files = b"".join((tmp_path / name).read_bytes() for name in ("pyproject.toml", "pixi.toml"))
    stamp = {"digest": pixiw.hashlib.sha256(files).hexdigest(), "features": []}
    (tmp_path / ".venv" / "pixiw.json").write_text(json.dumps(stamp), encoding="utf-8")
    return tmp_path


def test_a_task_runs_with_its_folder_and_variables(project: Path) -> None:
    done = launch("run", "second", root=project)
    assert done.returncode == 0, done.stderr
    assert (project / "sub" / "log").read_text(encoding="utf-8") == "first me\nsecond\n"


def test_a_failing_task_stops_the_run(project: Path) -> None:
    done = launch("run", "after-bad", root=project)
    assert (done.returncode, done.stdout) == (7, "")


def test_without_network_one_sentence(project: Path) -> None:
    """pip is real here; the index it is pointed at refuses every connection."""
    shutil.rmtree(project / ".venv")
    index = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "1"}
    done = launch("run", "second", root=project, PIP_NO_CACHE_DIR="1", PIP_FIND_LINKS="", **index)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("pixiw: pip reaches no package index")
