"""Finds the extension of an editable dumbtorch in its build folder, after compiling what has changed.

tools/backend.py fills in the three paths and installs this file. Set DUMBTORCH_NO_REBUILD=1 to import what is there.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

BUILD = "@BUILD@"
NINJA = "@NINJA@"
PACKAGE = "@PACKAGE@"


class ExtensionFinder:
    """Answers for `dumbtorch._C_*` of this working tree, and for nothing else."""

    rebuilt = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where the extension lies, up to date."""
        if not name.startswith("dumbtorch._C_") or path is None or PACKAGE not in path:
            return None
        # Imported late: this file runs at the start of every interpreter, this function in few of them.
        import os
        from importlib.util import spec_from_file_location

        if not os.environ.get("DUMBTORCH_NO_REBUILD"):
            self.rebuild()
        file = os.path.join(BUILD, name.removeprefix("dumbtorch.") + ".abi3.so")
        return spec_from_file_location(name, file) if os.path.exists(file) else None

    def rebuild(self) -> None:
        """Run ninja, one process at a time. Raises ImportError with the compiler's words."""
        if self.rebuilt:
            return
        import fcntl
        import os
        import subprocess

        if not os.path.exists(NINJA):
            raise ImportError(
                "dumbtorch: the editable install was made in a build environment that is gone; "
                "run `pip install --no-build-isolation -e .` with the build requirements installed"
            )
        with open(os.path.join(BUILD, ".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            ninja = subprocess.Popen(
                [NINJA, "-C", BUILD], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            )
            try:
                output, _ = ninja.communicate(timeout=1)
            except subprocess.TimeoutExpired:
                print("dumbtorch: compiling what has changed in mojo/ ...", file=sys.stderr, flush=True)
                output, _ = ninja.communicate()
        if ninja.returncode:
            raise ImportError(f"dumbtorch: the extension does not build:\n{output}")
        self.rebuilt = True


def install() -> None:
    """Ask the finder first."""
    sys.meta_path.insert(0, ExtensionFinder())
