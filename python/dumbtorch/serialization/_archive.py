"""The zip archives of ``.pt`` files: records that are stored as they are, each at a multiple of 64 bytes.

A reader trusts nothing: every record must lie inside the file, apart from all others, uncompressed, and its bytes must
have the checksum that the archive notes. What it allocates is never more than the file has bytes.
"""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from typing import IO, Any

from dumbtorch import ops
from dumbtorch._dtypes import uint8

__all__ = ["ALIGNMENT", "ArchiveError", "Reader", "Writer"]

ALIGNMENT = 64
_BIG = 1 << 30  # records from here on get 64-bit sizes
_LOCAL = struct.Struct("<4s5H3I2H")


class ArchiveError(RuntimeError):
    """An archive that is broken or made to do harm."""


class Writer:
    """Writes an archive into an open file, which need not be seekable; `name` is the folder of all records."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
        self._name = name

    def write(self, record: str, data: Any) -> None:
        """Adds one record: bytes, or a contiguous buffer."""
        view = memoryview(data)
        info = zipfile.ZipInfo(f"{self._name}/{record}", date_time=(1980, 1, 1, 0, 0, 0))
        info.file_size = view.nbytes
        big = view.nbytes >= _BIG
        encoded = info.filename.encode("ascii" if info.filename.isascii() else "utf-8")
        # the local header: 30 bytes, the name, 20 bytes for 64-bit sizes, and our padding as a field of its own
        before = self._zip.start_dir + _LOCAL.size + len(encoded) + 20 * big + 4
        padding = -before % ALIGNMENT
        info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
        with self._zip.open(info, "w", force_zip64=big) as stream:
            stream.write(view.cast("B") if view.nbytes else b"")

    def close(self) -> None:
        """Writes the list of the records; the file stays open."""
        self._zip.close()


class Reader:
    """Reads the records of an archive, by their names inside its folder.

    With `access` (of ``mmap``) the contents of records are slices of the file's memory map.
    Raises ArchiveError for everything that a file of PyTorch's cannot be.
    """

    def __init__(self, file: Any, access: int | None = None) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        try:
            infos = zipfile.ZipFile(file).infolist()
        except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError, EOFError) as error:
            raise ArchiveError(
                f"PytorchStreamReader failed reading zip archive: {error} (is the file whole?)"
            ) from None
        if not infos:
            raise ArchiveError("PytorchStreamReader failed reading zip archive: it has no records")
        self.folder = infos[0].filename.split("/", 1)[0]
        self._infos: dict[str, zipfile.ZipInfo] = {}
        self._starts: dict[str, int] = {}
        for info in infos:
            folder, slash, record = info.filename.partition("/")
            if not slash or folder != self.folder or record in self._infos:
                raise ArchiveError(f"the archive holds the record {info.filename[:80]!r}, which no .pt file has")
            self._infos[record] = info
        self._locate()
        self._map = None if access is None else mmap.mmap(file.fileno(), 0, access=access)

    def _locate(self) -> None:
        """Find where the bytes of each record are; no two records may have bytes in common."""
        ranges = []
        for record, info in self._infos.items():
            if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                raise ArchiveError(
                    f"the record {record[:80]!r} is compressed, which torch.save never does: unpack the archive and "
                    "pack it again without compression (zip -0)"
                )
            if info.flag_bits & 0x1:
                raise ArchiveError(f"the record {record[:80]!r} is encrypted")
            start = info.header_offset
            if start < 0:
                raise ArchiveError(f"the record {record[:80]!r} lies outside of the file")
            header = self._bytes(start, _LOCAL.size)
            magic, *_, name_length, extra_length = _LOCAL.unpack(header)
            begin = start + _LOCAL.size + name_length + extra_length
            if magic != b"PK\x03\x04" or begin + info.file_size > self._size:
                raise ArchiveError(f"the record {record[:80]!r} lies outside of the file or has no header")
            self._starts[record] = begin
            ranges.append((start, begin + info.file_size))
        ranges.sort()
        for (_, end), (start, _) in zip(ranges, ranges[1:], strict=False):
            if start < end:
                raise ArchiveError("two records of the archive overlap")

    def _bytes(self, start: int, size: int) -> bytes:
        if start + size > self._size:
            raise ArchiveError("the archive is truncated")
        self._file.seek(start)
        data: bytes = self._file.read(size)
        if len(data) != size:
            raise ArchiveError("the file ended early")
        return data

    def __contains__(self, record: object) -> bool:
        return record in self._infos

    def size(self, record: str) -> int:
        """The number of bytes of a record. Raises ArchiveError if there is none of that name."""
        info = self._infos.get(record)
        if info is None:
            raise ArchiveError(f"PytorchStreamReader failed locating file {record[:80]}: file not found")
        return info.file_size

    def _check(self, record: str, crc: int) -> None:
        noted = self._infos[record].CRC
        # 0: written by PyTorch without checksums (torch.serialization.set_crc32_options)
        if noted not in (0, crc):
            raise ArchiveError(f"the record {record[:80]!r} is damaged: its checksum is {crc:#x}, not {noted:#x}")

    def read(self, record: str) -> bytes:
        """The bytes of a record."""
        size = self.size(record)
        data = self._bytes(self._starts[record], size)
        self._check(record, zlib.crc32(data))
        return data

    def tensor(self, record: str) -> Any:
        """The bytes of a record as a tensor of uint8."""
        size, start = self.size(record), self._starts[record]
        if self._map is not None and size and start % 16 == 0:
            return ops.frombuffer(memoryview(self._map)[start : start + size], dtype=uint8)
        made = ops.empty(size, dtype=uint8)
        if size:
            view = memoryview(made)
            fill(self._file, start, view)
            self._check(record, zlib.crc32(view))
        return made


def fill(file: Any, start: int | None, view: memoryview) -> None:
    """Read bytes from a place of a file (None: where it stands) into memory; ArchiveError where it ends early."""
    if start is not None:
        file.seek(start)
    done, total = 0, view.nbytes
    into = getattr(file, "readinto", None)
    while done < total:
        if into is not None:
            count = into(view[done:])
        else:
            data = file.read(min(total - done, 1 << 24))
            count = len(data)
            view[done : done + count] = data
        if not count:
            raise ArchiveError("the file ended early")
        done += count
