"""Build the extension in the working tree: compile what has changed, link the result into python/dumbtorch.

    python tools/build.py [--all] [-Dlevels=v4 -Daccelerators=sm_80,sm_90a ...]

A new build folder is for the level of CPU that this machine is of, which is all that it needs; `--all` builds every
level of its architecture, as a wheel has them. The other arguments are options for meson (see meson.options). All are
remembered. After it, `PYTHONPATH=python` or an editable install finds the extension.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "dev"
PACKAGE = ROOT / "python" / "dumbtorch"


def run(*command: str | Path) -> None:
    """Run a command in the repository and stop with its exit status if it fails."""
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status != 0:
        sys.exit(status)


def native_level() -> str:
    """Return meson's name for the best level of CPU that this machine can run, such as `v4`."""
    # dumbtorch itself can't be imported before its extension is there.
    spec = importlib.util.spec_from_file_location("_cpu", PACKAGE / "_cpu.py")
    assert spec is not None and spec.loader is not None
    cpu = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cpu)
    module: str = cpu.candidates(os.uname().machine, cpu.cpu_flags())[0].module
    return module.removeprefix("_C_")


def main() -> None:
    """Configure if need be, compile, and leave links in python/dumbtorch."""
    # The tools of the environment that this Python belongs to, activated or not.
    os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], str(Path(sys.executable).parent)])
    for tool in ("meson", "ninja", "mojo"):
        if shutil.which(tool) is None:
            sys.exit(f"build: the command {tool} is missing; `./pixiw run build` installs it")
    options = ["-Dlevels=" if argument == "--all" else argument for argument in sys.argv[1:]]
    if not (BUILD / "build.ninja").exists():
        if not any(option.startswith("-Dlevels=") for option in options):
            options.append(f"-Dlevels={native_level()}")
        run("meson", "setup", BUILD, *options)
    elif options:
        run("meson", "configure", BUILD, *options)
    # A family that meson.build lists and that was not there when it was read.
    known, listed = (BUILD / "build.ninja").read_text(), (ROOT / "meson.build").read_text()
    if any(f"'{f.stem}'," in listed and f"/{f.stem}.mojo" not in known for f in ROOT.glob("mojo/kernels/*.mojo")):
        run("meson", "setup", "--reconfigure", BUILD)
    run("ninja", "-C", BUILD)
    for extension in [*BUILD.glob("_C_*.so"), *BUILD.glob("_G_*.so")]:
        link = PACKAGE / extension.name
        link.unlink(missing_ok=True)
        link.symlink_to(extension)


if __name__ == "__main__":
    main()
