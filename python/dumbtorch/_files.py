"""Writing files so that a crash leaves the old file or the new one, never half of one."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

__all__ = ["atomic"]


@contextmanager
def atomic(path: str | bytes | os.PathLike[Any]) -> Iterator[IO[bytes]]:
    """A file to write: once the block ends it takes the place of ``path``, in one step and after it reached the disk.

    Where the block raises, ``path`` stays what it was. A link is followed; what is no regular file (a device, a pipe)
    is written directly. Raises RuntimeError where the folder is missing, OSError where it cannot be written.
    """
    target = os.path.realpath(os.fsdecode(path))
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {folder} does not exist.")
    mode = None
    if os.path.lexists(target):
        mode = os.stat(target).st_mode
        if not stat.S_ISREG(mode):
            with open(target, "wb") as stream:
                yield stream
            return
    beside = os.path.join(folder, f".{name[:100]}.{secrets.token_hex(8)}.tmp")
    # "x" and not mkstemp: the file gets the permissions that every new file gets
    try:
        with open(beside, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if mode is not None:
                os.chmod(beside, stat.S_IMODE(mode))
        os.replace(beside, target)
    except BaseException:
        if os.path.exists(beside):
            os.unlink(beside)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Let the rename reach the disk, too, where the file system can do that for a folder."""
    try:
        handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
