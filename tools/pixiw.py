"""Run a task of pixi.toml without pixi: in .venv, made with `python3 -m venv` and pip.

    ./pixiw run [--dry-run] TASK [-- ARGUMENTS]

Of a task it knows what pixi does with `cmd` (run by the shell, the arguments appended), `depends-on`, `env`, `cwd` and
`default-environment`. Conda packages cannot be had here; pixi.toml asks for none but Python. One virtual environment
serves all: a task whose environment has features that are not installed yet adds them.
"""

import hashlib
import json
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "pixiw.json"
TASK_KEYS = {"cmd", "description", "depends-on", "env", "cwd", "default-environment"}


def fail(sentence: str) -> NoReturn:
    """Stop with one sentence."""
    sys.exit(f"pixiw: {sentence}")


def read(name: str) -> dict[str, Any]:
    """Read a TOML file of the repository."""
    with open(ROOT / name, "rb") as file:
        return tomllib.load(file)


class Manifest:
    """pixi.toml, as far as tasks and PyPI packages go."""

    def __init__(self, content: dict[str, Any], build_requires: list[str]) -> None:
        self.content = content
        self.build_requires = build_requires
        self.tasks: dict[str, dict[str, Any]] = {
            name: {"cmd": task} if isinstance(task, str) else task for name, task in content.get("tasks", {}).items()
        }

    def order(self, name: str, above: tuple[str, ...] = ()) -> list[str]:
        """Return the tasks to run for `name`, which comes last, after what it depends on."""
        if name in above:
            fail(f"the tasks {' -> '.join([*above, name])} depend on each other")
        task = self.tasks.get(name)
        if task is None:
            fail(f"there is no task {name!r} in pixi.toml; there are: {', '.join(sorted(self.tasks))}")
        unknown = task.keys() - TASK_KEYS
        if unknown:
            fail(f"the task {name!r} uses {', '.join(sorted(unknown))}, which only pixi itself understands")
        first = task.get("depends-on", [])
        names: list[str] = []
        for other in [first] if isinstance(first, str) else first:
            names += self.order(other, (*above, name))
        return list(dict.fromkeys([*names, name]))

    def features(self, name: str) -> set[str]:
        """Return the features of the environment that the task runs in."""
        environment = self.tasks[name].get("default-environment", "default")
        environments = {"default": [], **self.content.get("environments", {})}
        if environment not in environments:
            fail(f"the task {name!r} names the environment {environment!r}, which pixi.toml does not define")
        chosen = environments[environment]
        return set(chosen if isinstance(chosen, list) else chosen.get("features", []))

    def packages(self, features: set[str]) -> tuple[list[str], list[str]]:
        """Return the requirements to install from PyPI, and the extras of the project itself."""
        tables = [self.content, *(self.content["feature"][name] for name in sorted(features))]
        requirements, extras = list(self.build_requires), []
        for table in tables:
            for name in table.get("dependencies", {}):
                if name != "python":
                    fail(f"pixi.toml asks for the conda package {name!r}, which pip cannot install")
            for name, wanted in table.get("pypi-dependencies", {}).items():
                wanted = {"version": wanted} if isinstance(wanted, str) else wanted
                if "path" in wanted:
                    extras += wanted.get("extras", [])
                else:
                    version = wanted["version"].replace("*", "")
                    requirements.append(
                        name + (f"[{','.join(wanted['extras'])}]" if "extras" in wanted else "") + version
                    )
        return requirements, extras

    def command(self, name: str, arguments: list[str]) -> str:
        """Return the line that the shell runs; empty for a task that only gathers others."""
        line = self.tasks[name].get("cmd", "")
        return (
            shlex.join(line + arguments) if isinstance(line, list) else " ".join([line, *map(shlex.quote, arguments)])
        )


def environment() -> dict[str, str]:
    """Return the variables of an activated .venv."""
    changed = {
        "VIRTUAL_ENV": str(VENV),
        "PATH": os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)]),
        "PIXI_PROJECT_ROOT": str(ROOT),
    }
    return {name: value for name, value in os.environ.items() if name != "PYTHONHOME"} | changed


def pip(*arguments: str) -> None:
    """Install packages into .venv; one clear sentence if that fails."""
    python = str(VENV / "bin" / "python")
    command = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode == 0:
        return
    sys.stderr.write(done.stderr)
    if "connection broken by" in done.stderr:
        fail(
            "pip reaches no package index: connect this machine to the network, or point pip at a mirror, and try again"
        )
    fail(f"pip could not install {' '.join(arguments)}; its words are above")


def prepare(manifest: Manifest, features: set[str]) -> None:
    """Make .venv and bring it up to date; at once if it is."""
    files = ("pyproject.toml", "pixi.toml")
    digest = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in files)).hexdigest()
    stamp = json.loads(STAMP.read_text(encoding="utf-8")) if STAMP.exists() else {}
    works = (VENV / "bin" / "python").exists() and (ROOT / "build" / "dev" / "build.ninja").exists()
    if works and stamp.get("digest") == digest and features <= set(stamp["features"]):
        return
    if not (VENV / "bin" / "python").exists():
        print("pixiw: making .venv", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.stderr.write(done.stdout + done.stderr)
            fail("`python3 -m venv` failed; on Debian and Ubuntu, install the package python3-venv")
    features |= set(stamp.get("features", [])) & set(manifest.content.get("feature", {}))
    requirements, extras = manifest.packages(features)
    print(f"pixiw: installing packages for {', '.join(sorted(features)) or 'the build'} into .venv", flush=True)
    pip(*requirements)
    print("pixiw: compiling the kernels; later runs compile only what has changed", flush=True)
    built = subprocess.run([VENV / "bin" / "python", "tools/build.py"], cwd=ROOT, env=environment(), check=False)
    if built.returncode:
        fail("the extension does not build; the compiler's words are above")
    pip("--no-build-isolation", "--editable", f".[{','.join(dict.fromkeys(extras))}]" if extras else ".")
    STAMP.write_text(json.dumps({"digest": digest, "features": sorted(features)}), encoding="utf-8")


def main() -> int:
    """Run what the command line asks for and return its exit status."""
    arguments = sys.argv[1:]
    manifest = Manifest(read("pixi.toml"), read("pyproject.toml")["build-system"]["requires"])
    if arguments[:1] != ["run"] or len(arguments) < 2:
        print("usage: ./pixiw run [--dry-run] TASK [-- ARGUMENTS]\n\ntasks:")
        for name in sorted(manifest.tasks):
            print(f"  {name:14} {manifest.tasks[name].get('description', '')}")
        return 0 if arguments in (["--help"], ["task", "list"]) else 2
    dry = arguments[1] == "--dry-run"
    target, *rest = arguments[2 if dry else 1 :] or [""]
    if rest[:1] == ["--"]:
        rest = rest[1:]
    tasks = manifest.order(target)
    features = set[str]().union(*map(manifest.features, tasks))
    if not dry:
        prepare(manifest, features)
    for name in tasks:
        line = manifest.command(name, rest if name == target else [])
        if dry:
            print(line)
        elif line:
            settings = manifest.tasks[name]
            folder, variables = ROOT / settings.get("cwd", "."), environment() | settings.get("env", {})
            status = subprocess.run(["/bin/sh", "-c", line], cwd=folder, env=variables, check=False).returncode
            if status:
                return status
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
