"""Build the extension in the working tree: compile what has changed, link the result into python/dumbtorch.

    python tools/build.py [-Dlevels=v4 -Daccelerators=sm_80,sm_90a ...]

Arguments are options for meson (see meson.options) and are remembered. After it, `PYTHONPATH=python` or an editable
install finds the extension.
"""

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


def main() -> None:
    """Configure if need be, compile, and leave links in python/dumbtorch."""
    # The tools of the environment that this Python belongs to, activated or not.
    os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], str(Path(sys.executable).parent)])
    for tool in ("meson", "ninja", "mojo"):
        if shutil.which(tool) is None:
            sys.exit(f"build: the command {tool} is missing; `./pixiw run build` installs it")
    if not (BUILD / "build.ninja").exists():
        run("meson", "setup", BUILD, *sys.argv[1:])
    elif len(sys.argv) > 1:
        run("meson", "configure", BUILD, *sys.argv[1:])
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
