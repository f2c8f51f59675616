"""Print, one a line, what meson.build links with.

    toolchain.py linker       the linker of the package mojo-compiler
    toolchain.py libraries    the run-time library of that package, libc and libm
    toolchain.py device-libraries    the same and what an accelerator's extension needs; of the package max

libc and libm are named as they lie on this machine, so that the
extension binds to the current versions of their symbols; without them it would bind to the oldest.
"""

import ctypes
import importlib.util
import re
import sys
from pathlib import Path


def main() -> None:
    """Print the files asked for, or stop with a sentence that says what is missing."""
    spec = importlib.util.find_spec("modular")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("build: the package mojo-compiler is not installed for this Python")
    modular = Path(spec.submodule_search_locations[0])
    if sys.argv[1:] == ["linker"]:
        print(modular / "bin" / "lld")
        return
    ctypes.CDLL("libm.so.6")
    loaded = Path("/proc/self/maps").read_text(encoding="utf-8")
    system = sorted(set(re.findall(r"/.+/lib[cm]\.so\.6$", loaded, re.MULTILINE)))
    names = ["KGENCompilerRTShared"]
    if sys.argv[1:] == ["device-libraries"]:
        names += ["AsyncRTMojoBindings", "AsyncRTRuntimeGlobals", "MSupportGlobals"]
    print(*(modular / "lib" / f"lib{name}.so" for name in names), *system, sep="\n")


if __name__ == "__main__":
    main()
