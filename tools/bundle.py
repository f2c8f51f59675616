"""Gather dumbtorch and what it needs at run time into a folder that runs on a machine without Mojo.

    python tools/bundle.py FOLDER [--nvidia]
    PYTHONPATH=FOLDER python3 -c "import dumbtorch"

The extension must be built. Its run path begins with $ORIGIN: it finds the libraries beside it.
--nvidia adds the library that compiles for NVIDIA devices at run time (40 MB).
"""

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The first is what the CPU extension is linked with, the next two what that needs; the last serves devices.
LIBRARIES = ["KGENCompilerRTShared", "AsyncRTRuntimeGlobals", "MSupportGlobals", "AsyncRTMojoBindings"]


def main() -> None:
    """Copy the package, the extensions and the libraries."""
    parser = argparse.ArgumentParser(description="Gather dumbtorch into a folder that runs without Mojo.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nvidia", action="store_true", help="add the compiler for NVIDIA devices")
    options = parser.parse_args()
    built = ROOT / "build" / "dev"
    extensions = sorted(built.glob("_C_*.so"))
    if not extensions:
        sys.exit("bundle: the extension is not built; run `./pixiw run build`")
    spec = importlib.util.find_spec("modular")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("bundle: the package mojo-compiler is not installed for this Python")
    libraries = Path(spec.submodule_search_locations[0]) / "lib"
    package = options.folder / "dumbtorch"
    leave = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "python" / "dumbtorch", package, ignore=leave, dirs_exist_ok=True)
    # with the kernels for accelerators that are built: `python tools/build.py -Daccelerators=sm_90a`
    files = [*extensions, *sorted(built.glob("_G_*.so")), *(libraries / f"lib{name}.so" for name in LIBRARIES)]
    if options.nvidia:
        files.append(libraries / "libNVPTX.so")
    for file in files:
        if file.exists():
            shutil.copy2(file, package)
        else:
            print(f"bundle: without {file.name}, which the package max-core would bring", file=sys.stderr)
    size = sum(file.stat().st_size for file in options.folder.rglob("*") if file.is_file())
    print(f"{options.folder}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
