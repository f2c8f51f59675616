"""dumbtorch under PyTorch's name, for programs that are to run unchanged."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from multiprocessing import spawn
from types import ModuleType
from typing import Any

from dumbtorch.torch_version import TorchVersion

__all__ = ["install_as_torch", "uninstall_as_torch"]

#: What programs read as ``torch.__version__``: the version whose interface this is.
VERSION = TorchVersion("2.13.0+dumbtorch")
_GUIDE = "docs/guide/coming-from-pytorch.md says what dumbtorch has not, and what to write instead"


class _Loader(importlib.abc.Loader):
    """Puts our module where the import system looks for PyTorch's."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__spec__.name if module.__spec__ is not None else module.__name__
        # the import system returns what stands here: our module itself, whose own spec and name stay as they are
        sys.modules[name] = importlib.import_module(_ours(name))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds ``torch`` and everything below it in dumbtorch."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != "torch":
            return None
        ours = _ours(fullname)
        # a module that is no file: the extension, which import of the package has put there
        found = sys.modules.get(ours) or importlib.util.find_spec(ours)
        if found is None:
            raise ModuleNotFoundError(f"dumbtorch has no module {fullname!r}: {_GUIDE}", name=fullname)
        return importlib.machinery.ModuleSpec(fullname, _Loader(), is_package=hasattr(found, "__path__"))


_command_line = spawn.get_command_line


def _command_with_alias(**options: Any) -> list[str]:
    """How ``multiprocessing`` starts a new interpreter, which is to know the alias before it reads the program."""
    command = _command_line(**options)
    place = command.index("-c") + 1 if "-c" in command else 0
    if place:
        command[place] = f"import dumbtorch; dumbtorch.install_as_torch(); {command[place]}"
    return command


def _ours(name: str) -> str:
    return "dumbtorch" + name.removeprefix("torch")


_finder = _Finder()
_version: dict[str, str] = {}


def _set_version(version: dict[str, str]) -> None:
    for name, value in version.items():
        setattr(sys.modules[name], "__version__", value)  # noqa: B010  # no attribute of ModuleType to mypy


def installed() -> bool:
    """Whether ``import torch`` gives dumbtorch."""
    return _finder in sys.meta_path


def install_as_torch() -> None:
    """From here on ``import torch``, and every module below it, gives dumbtorch: programs run unchanged.

    ``torch.__version__`` is that of the PyTorch whose interface this is. Modules are imported when they are asked for;
    one that dumbtorch lacks raises ModuleNotFoundError, a name that it lacks AttributeError, both saying where to look.
    Installing twice is harmless; `uninstall_as_torch` undoes it.
    Raises RuntimeError where PyTorch itself is imported already: the two cannot answer to one name.

        >>> dumbtorch.install_as_torch()
        >>> import torch.nn.functional as F
    """
    if installed():
        return
    present = sys.modules.get("torch")
    if present is not None:
        raise RuntimeError(
            "install_as_torch(): PyTorch is imported already, and its objects would meet dumbtorch's under one name. "
            "Call this before anything imports torch, or run the program with `python -m dumbtorch program.py`"
        )
    sys.meta_path.insert(0, _finder)
    setattr(spawn, "get_command_line", _command_with_alias)  # noqa: B010  # mypy allows no assignment
    names = ("dumbtorch", "dumbtorch.version")
    _version.update({name: vars(sys.modules[name])["__version__"] for name in names})
    _set_version(dict.fromkeys(names, VERSION))


def uninstall_as_torch() -> None:
    """Undoes `install_as_torch`: the next ``import torch`` looks for PyTorch. What programs hold stays dumbtorch's."""
    if not installed():
        return
    sys.meta_path.remove(_finder)
    setattr(spawn, "get_command_line", _command_line)  # noqa: B010
    _set_version(_version)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        del sys.modules[name]


def missing(module: str, name: str) -> AttributeError:
    """The error for a name that a module of dumbtorch lacks, in the words of the program that asks."""
    shown = "torch" + module.removeprefix("dumbtorch") if installed() else module
    return AttributeError(f"module {shown!r} has no attribute {name!r}: {_GUIDE}", name=name)
