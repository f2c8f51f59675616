"""``save``."""

from __future__ import annotations

import io
import os
import pickle
import sys
from pathlib import Path
from typing import Any

from dumbtorch import _files
from dumbtorch.serialization import _legacy
from dumbtorch.serialization._archive import Writer
from dumbtorch.serialization._pickler import Pickler
from dumbtorch.serialization._restore import location_tag
from dumbtorch.storage import UntypedStorage

__all__ = ["DEFAULT_PROTOCOL", "save"]

DEFAULT_PROTOCOL = 2


def save(
    obj: Any,
    f: Any,
    pickle_module: Any = pickle,
    pickle_protocol: int = DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Writes an object with tensors in it to a path or a file open for writing; PyTorch reads it as its own.

    What shares memory still does when it is loaded. A path gets the new file in one step once all of it is on the disk:
    a crash leaves what was there. Raises RuntimeError where the folder is missing, ``pickle.PicklingError`` for what
    cannot be pickled. Reference: ``torch.save``.

        >>> dumbtorch.save(model.state_dict(), "model.pt")
    """
    if pickle_module is not pickle:
        raise RuntimeError("save(): the only pickle_module that dumbtorch can teach PyTorch's names is pickle itself")
    if isinstance(f, (str, bytes, os.PathLike)):
        name = Path(os.fsdecode(f)).stem or "archive"
        with _files.atomic(f) as file:
            _write(obj, file, name, pickle_protocol, _use_new_zipfile_serialization, _disable_byteorder_record)
        return
    if not hasattr(f, "write"):
        raise AttributeError(
            f"expected 'f' to be string, path, or a file-like object with a 'write' attribute, got {f!r}"
        )
    _write(obj, f, "archive", pickle_protocol, _use_new_zipfile_serialization, _disable_byteorder_record)


def _write(obj: Any, file: Any, name: str, protocol: int, archive: bool, no_order: bool) -> None:
    if not archive:
        _legacy.save(obj, file, protocol)
        return

    def identify(memory: UntypedStorage, kind: Any, key: str, dtype: Any, count: int) -> Any:
        return "storage", kind, key, location_tag(memory), count

    # all of the pickle first: what cannot be pickled raises before anything is written
    data = io.BytesIO()
    pickler = Pickler(data, protocol, identify)
    pickler.dump(obj)
    writer = Writer(file, name)
    writer.write("data.pkl", data.getbuffer())
    if not no_order:
        writer.write("byteorder", sys.byteorder.encode())
    for key, memory in pickler.storages.items():
        writer.write(f"data/{key}", memoryview(memory.cpu().bytes))
    writer.write("version", b"3\n")
    writer.close()
