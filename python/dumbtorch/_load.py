"""Choose the extension module for this machine's CPU and make it importable as ``dumbtorch._C``.

A wheel holds the whole extension once for each level of CPU (``_C_v3`` for x86-64-v3: AVX2 and FMA, ``_C_v4`` for
x86-64-v4: AVX-512, ``_C_neon`` for arm64). One of them is loaded. The environment variable ``DUMBTORCH_CPU`` names
another than the best, for a test or a measurement: ``DUMBTORCH_CPU=x86-64-v3 python ...``.
"""

import ctypes
import importlib
import importlib.util
import os
import sys
from types import ModuleType

from dumbtorch._cpu import candidates, cpu_flags

#: The module that `load` has chosen.
chosen = ""


def _preload_runtime() -> None:
    """Load Mojo's run-time library from the installed compiler package.

    The extension names it as its dependency and finds it by itself when both lie in the same site-packages; loading it
    first also serves an extension that lies elsewhere, in a build folder.
    """
    spec = importlib.util.find_spec("modular")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        library = os.path.join(folder, "lib", "libKGENCompilerRTShared.so")
        if os.path.exists(library):
            ctypes.CDLL(library)
            return


def load() -> ModuleType:
    """Import the extension for this CPU and register it as ``dumbtorch._C``."""
    global chosen
    levels = candidates(os.uname().machine, cpu_flags(), os.environ.get("DUMBTORCH_CPU"))
    _preload_runtime()
    # Without this the Mojo run time searches PATH for a `python3` to embed, and aborts if there is none.
    before = os.environ.get("MOJO_PYTHON_LIBRARY")
    os.environ["MOJO_PYTHON_LIBRARY"] = ""
    try:
        for level in levels:
            name = f"dumbtorch.{level.module}"
            try:
                module = importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name != name:
                    raise
                continue
            sys.modules["dumbtorch._C"] = module
            chosen = name
            # What `from dumbtorch import _C` reads. A plain assignment is no attribute of ModuleType to mypy.
            setattr(sys.modules["dumbtorch"], "_C", module)  # noqa: B010
            return module
    finally:
        if before is None:
            del os.environ["MOJO_PYTHON_LIBRARY"]
        else:
            os.environ["MOJO_PYTHON_LIBRARY"] = before
    names = " or ".join(level.module for level in levels)
    raise ImportError(f"dumbtorch: the extension {names} is not built; in a source tree run `./pixiw run build`")


load()
