"""``load``."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_COPY, ACCESS_WRITE, MAP_SHARED
from typing import Any

from dumbtorch.serialization import _legacy
from dumbtorch.serialization._archive import Reader
from dumbtorch.serialization._globals import Allowed
from dumbtorch.serialization._machine import Machine, Source, UnpicklingError
from dumbtorch.serialization._options import get_default_mmap_options
from dumbtorch.serialization._pickler import Unpickler
from dumbtorch.serialization._restore import Storages

__all__ = ["load", "opened"]

_TRUE = ("1", "y", "yes", "true")


def load(
    f: Any,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Reads what ``save``, here or in PyTorch, has written to a path or a file open for reading.

    ``weights_only`` (the default) makes tensors, parameters, storages, dtypes, sizes, devices, plain containers,
    numbers and text, and what `serialization.add_safe_globals` allows, and nothing else: it raises
    ``pickle.UnpicklingError`` for a file that wants more. ``weights_only=False`` lets the file run any code it likes.
    ``map_location`` (a device, its name, a dict of names, or a function of a storage and its location) says where
    storages go; by default they go where they were, and RuntimeError is raised without such a device. ``mmap=True``
    maps a path's storages instead of reading them. Damaged files raise RuntimeError. Reference: ``torch.load``.

        >>> model.load_state_dict(dumbtorch.load("model.pt"))
    """
    if os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0").lower() in _TRUE:
        weights_only = True
    elif weights_only is None:
        forced = os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0").lower() in _TRUE
        weights_only = pickle_module is None and not forced
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    if pickle_module is not None and pickle_module is not pickle:
        raise RuntimeError("load(): the only pickle_module that dumbtorch can teach PyTorch's names is pickle itself")
    pickle_load_args.setdefault("encoding", "utf-8")
    shared = bool(mmap) and get_default_mmap_options() == MAP_SHARED
    with opened(f, "r+b" if shared else "rb") as file:
        start = file.tell()
        archive = file.read(4) == b"PK\x03\x04"
        file.seek(start)
        if mmap and not isinstance(f, (str, os.PathLike)):
            raise ValueError("f must be a file path in order to use the mmap argument")
        if mmap and not archive:
            raise RuntimeError(
                "mmap can only be used with files saved with `torch.save(_use_new_zipfile_serialization=True), please "
                "torch.save your checkpoint with this option in order to use mmap."
            )
        run = _Run(weights_only, pickle_load_args)
        if not archive:
            return _legacy.load(file, map_location, run)
        reader = Reader(file, (ACCESS_WRITE if shared else ACCESS_COPY) if mmap else None)
        if "constants.pkl" in reader:
            raise RuntimeError(
                "load(): the file is a TorchScript archive, which holds a program and not only tensors. Load it in "
                "PyTorch with torch.jit.load and save its state_dict()."
            )
        return run(io.BytesIO(reader.read("data.pkl")), Storages(reader, map_location))


@contextmanager
def opened(f: Any, mode: str = "rb") -> Iterator[Any]:
    """A path's file, or the file given. Raises AttributeError for what is neither."""
    if isinstance(f, (str, bytes, os.PathLike)):
        with open(f, mode) as file:
            yield file
        return
    missing = [name for name in ("read", "readline", "seek", "tell") if not hasattr(f, name)]
    if missing:
        raise AttributeError(
            f"{type(f).__name__} has no {missing[0]!r}: load() needs a path or a file. You can only "
            "torch.load from a file that is seekable. Please pre-load the data into a buffer like io.BytesIO "
            "and try to load from it instead."
        )
    yield f


class _Run:
    """Reads the next pickle of a file, in the way that was asked for."""

    def __init__(self, weights_only: bool, options: dict[str, Any]) -> None:
        self._options = options
        self._allowed = Allowed() if weights_only else None
        unknown = set(options) - {"encoding", "errors", "fix_imports", "buffers"}
        if unknown:
            raise TypeError(f"load() got an unexpected keyword argument {min(unknown)!r}")

    def __call__(self, file: Any, persistent: Any) -> Any:
        allowed = self._allowed
        if allowed is None:
            return Unpickler(file, persistent, **self._options).load()
        encoding = self._options["encoding"]
        machine = Machine(Source(file), allowed.find, persistent, allowed.build, allowed.state, encoding)
        try:
            return machine.run()
        except UnpicklingError as error:
            raise UnpicklingError(
                "Weights only load failed. Re-running `torch.load` with `weights_only` set to `False` will likely "
                "succeed, but it can result in arbitrary code execution. Do it only if you got the file from a trusted "
                f"source. WeightsUnpickler error: {error}"
            ) from error.__cause__
