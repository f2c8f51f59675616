"""Files that are broken or meant to do harm, by the thousand: each is refused or loaded, and nothing else happens.

    python -m tests.serialization.fuzz [COUNT] [SEED]

Prints, for each kind of file, how many were loaded and refused, then what the worst cost in memory. Ends with status 1
where a file ran code, raised what is no error of a file, or took more memory than files of a few kilobytes may take.
"""

from __future__ import annotations

import codecs
import collections
import io
import json
import pickle
import random
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dumbtorch

#: What a load may raise.
ERRORS = (RuntimeError, pickle.UnpicklingError, EOFError)
#: Bytes of address space that all loads together may add.
LIMIT = 96 << 20
FORBIDDEN = ("os.system", "subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "os.remove", "os.rename", "exec")
HUGE = (-1, 0, 1, 2, 7, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**64, 2**100, -(2**40))


def tensors() -> dict[str, Any]:
    x = dumbtorch.arange(24.0).reshape(4, 6)
    return {
        "x": x, "t": x.t(), "row": x[1], "p": dumbtorch.nn.Parameter(dumbtorch.ones(3)),
        "n": {"lr": 0.1, "b": (1, None)},
        "h": dumbtorch.ones(5, dtype=dumbtorch.bfloat16), "u": dumbtorch.ones(5, dtype=dumbtorch.uint16),
    }  # fmt: skip


def saved(obj: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    dumbtorch.save(obj, file, **options)
    return file.getvalue()


def touch(value: Any, depth: int = 0) -> None:
    """Use all that was loaded."""
    if isinstance(value, dumbtorch.Tensor):
        if value.numel() < 1 << 20:
            value.detach().clone().tolist()
    elif isinstance(value, dict) and depth < 50:
        for part in value.values():
            touch(part, depth + 1)
    elif isinstance(value, (list, tuple, set)) and depth < 50:
        for part in value:
            touch(part, depth + 1)


# ---------------------------------------------------------------- broken files


def truncated(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


# ---------------------------------------------------------------- hostile pickles

GLOBALS = (
    "os system", "posix system", "builtins eval", "builtins exec", "builtins getattr", "builtins __import__",
    "builtins open", "subprocess Popen", "torch.storage UntypedStorage", "torch FloatStorage", "torch LongStorage",
    "torch Size", "torch._utils _rebuild_sparse_tensor",
    "torch device", "torch.nn.parameter Parameter", "collections OrderedDict", "collections Counter", "builtins set",
    "builtins bytearray", "builtins complex", "_codecs encode", "torch Tensor", "torch float32", "torch FloatTensor",
    "torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3",
    "torch._utils _rebuild_parameter", "torch._tensor _rebuild_from_type_v2", "torch.serialization _get_layout",
    "torch.hub load", "torch.nn.modules.linear Linear", "functools partial", "operator attrgetter", "pickle loads",
)  # fmt: skip


def number(value: int) -> bytes:
    data = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes((len(data),)) + data


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def storage(rng: random.Random, numel: int, key: str = "0") -> bytes:
    kind = rng.choice(
        ("torch FloatStorage", "torch DoubleStorage", "torch ByteStorage", "torch.storage UntypedStorage")
    )
    named = b"c" + kind.replace(" ", "\n").encode() + b"\n"
    return b"(" + text("storage") + named + text(key) + text("cpu") + number(numel) + b"tQ"


def tensor(rng: random.Random) -> bytes:
    """A tensor with an offset, sizes and strides of its own."""
    version = rng.choice((2, 2, 3))
    dims = rng.choice((0, 1, 2, 3, 70))
    size = [rng.choice((*HUGE, 3, 4)) for _ in range(dims)]
    stride = [rng.choice((*HUGE, 3, 4)) for _ in range(rng.choice((dims, dims, dims, 1)))]
    out = f"ctorch._utils\n_rebuild_tensor_v{version}\n(".encode()
    out += storage(rng, rng.choice((*HUGE, 24)), rng.choice(("0", "0", "9", "../data.pkl", "\u0000", "/etc/passwd")))
    out += number(rng.choice((*HUGE, 3)))
    for numbers in (size, stride):
        out += b"(" + b"".join(map(number, numbers)) + b"t"
    out += rng.choice((b"\x88", b"\x89", b"N", number(2))) + b"ccollections\nOrderedDict\n)R"
    if version == 3:
        out += rng.choice((b"ctorch\nfloat32\n", b"ctorch\ncomplex128\n", b"N"))
    if rng.random() < 0.2:
        out += b"}" + text(rng.choice(("conj", "neg", "x"))) + b"\x88s"
    return out + b"tR"


def value(rng: random.Random, depth: int = 0) -> bytes:
    """One value; a third of them are made by a call."""
    kind = rng.randrange(14 if depth < 4 else 8)
    if kind < 2:
        return number(rng.choice(HUGE))
    if kind == 2:
        return text(rng.choice(("storage", "cpu", "0", "a" * 100, "__class__", "torch.strided", "echo")))
    if kind == 3:
        return b"c" + rng.choice(GLOBALS).replace(" ", "\n").encode() + b"\n"
    if kind == 4:
        # lengths that the file has not
        size = rng.choice((2**31 - 1, 2**32 - 1, 1 << 20))
        return rng.choice((
            b"\x8e" + struct.pack("<Q", size * 1000), b"\x96" + struct.pack("<Q", size * 1000),
            b"X" + struct.pack("<I", size), b"\x8d" + struct.pack("<Q", size << 20), b"B" + struct.pack("<I", size),
            b"\x8b" + struct.pack("<i", 2**31 - 1), b"\x95" + struct.pack("<Q", size << 20) + b"N",
            b"Nr" + struct.pack("<I", size), b"j" + struct.pack("<I", size),
        ))  # fmt: skip
    if kind == 5:
        return rng.choice(
            (b"N", b"\x88", b"]", b"}", b")", b"\x8f", b"G" + rng.randbytes(8), b"I10\n", b"Qq", b"0", b"2")
        )
    if kind < 8:
        return tensor(rng)
    parts = b"".join(value(rng, depth + 1) for _ in range(rng.randrange(4)))
    if kind == 8:
        return b"(" + parts + rng.choice((b"t", b"l", b"d", b"\x91"))
    if kind == 9:
        return b"](" + parts + b"e"
    if kind == 10:
        return b"}(" + parts + b"u"
    call = rng.choice((b"R", b"R", b"\x81", b"}\x92"))
    named = b"c" + rng.choice(GLOBALS).replace(" ", "\n").encode() + b"\n"
    if kind == 13:
        return named + b"(" + parts + b"tR" + value(rng, depth + 1) + b"b"
    return named + b"(" + parts + b"t" + call


def program(rng: random.Random) -> bytes:
    """The code of a pickle, or random opcodes, or values nested so deeply that hashing them would take for ever."""
    kind = rng.randrange(8)
    if kind == 0:
        codes = b"()]}NtlduaesbR\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94021QcKMJXhqjr\x8a\x8bGC.IV"
        return bytes(rng.choice(codes) for _ in range(rng.randrange(1, 200))) + b"."
    if kind == 1:
        nest = rng.choice((b"2\x86", b"\x85", b"2\x86\x85")) * rng.choice((10, 60, 20000))
        return b"\x80\x02}K\x01" + nest + b"Ns."
    return b"\x80\x02" + value(rng) + b"."


# ---------------------------------------------------------------- hostile archives


def archive(records: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as target:
        for name, data in records:
            target.writestr(zipfile.ZipInfo(name) if compression == 0 else name, data)
    return file.getvalue()


def hostile_pickle(data: bytes, rng: random.Random) -> bytes:
    return archive([("a/data.pkl", program(rng)), ("a/byteorder", b"little"), ("a/data/0", bytes(96))])


def hostile_legacy(data: bytes, rng: random.Random) -> bytes:
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    code = program(rng).replace(b"tQ", b"NtQ")
    return (
        head
        + code
        + pickle.dumps(rng.choice((["0"], [], [1], "0")), 2)
        + struct.pack("<q", rng.choice((24, 2**60, -1)))
    )


def hostile_archive(data: bytes, rng: random.Random) -> bytes:
    """Records with other names, sizes and places."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        records = [(name, source.read(name)) for name in source.namelist()]
    kind = rng.randrange(6)
    if kind == 0:
        place = rng.randrange(len(records))
        bad = rng.choice(
            ("../../evil", "/etc/passwd", "archive/../x", "", "a\x00b", "archive", records[0][0], "x" * 60000)
        )
        records[place] = (bad, records[place][1])
        return archive(records)
    if kind == 1:
        return archive([*records, ("archive/bomb", bytes(rng.choice((1 << 20, 1 << 24))))], zipfile.ZIP_DEFLATED)
    if kind == 2:
        rng.shuffle(records)
        return archive(records[: rng.randrange(1, len(records) + 1)])
    # fields of the directory: sizes, places, flags, method
    changed = bytearray(data)
    entries = [place for place in range(len(data) - 46) if data[place : place + 4] == b"PK\x01\x02"]
    for _ in range(rng.choice((1, 2, 4))):
        place = rng.choice(entries)
        offset, form = rng.choice(((8, "<H"), (10, "<H"), (20, "<I"), (24, "<I"), (28, "<H"), (30, "<H"), (42, "<I")))
        top = 0xFFFF if form == "<H" else 0xFFFFFFFF
        number = rng.choice((0, 1, 8, 0x63, top, top - 1, top // 2, rng.randrange(len(data))))
        struct.pack_into(form, changed, place + offset, number & top)
    if kind == 3:
        end = data.rindex(b"PK\x05\x06")
        struct.pack_into(
            "<I", changed, end + rng.choice((12, 16)), rng.choice((0, 2**32 - 1, len(data), rng.randrange(len(data))))
        )
    return bytes(changed)


def hostile_safetensors(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.2:
        return struct.pack("<Q", rng.choice((0, 1, 2**31, 2**62, 2**64 - 1, 100_000_000))) + data[8:]
    if rng.random() < 0.1:
        body = b"[" * 100_000
        return struct.pack("<Q", len(body)) + body
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    entry = header[rng.choice([name for name in header if name != "__metadata__"])]
    field = rng.choice(("dtype", "shape", "data_offsets"))
    entry[field] = rng.choice((
        "F64", "F4", [], [0, 2**70], [2**40, 2**40], [1, -1], [0, 2**31], {"a": 1}, None, [1.5, 2], ["a"],
        [rng.randrange(99)] * 2,
    ))  # fmt: skip
    if rng.random() < 0.2:
        header["__metadata__"] = rng.choice((1, {"a": 1}, [], {"a": {"b": "c"}}))
    body = json.dumps(header).encode()
    return struct.pack("<Q", len(body)) + body + data[8 + length :]


def hostile_npz(data: bytes, rng: random.Random) -> bytes:
    head = rng.choice((
        f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rng.choice(HUGE)}, {rng.choice(HUGE)})}}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<V99999999', 'fortran_order': 1, 'shape': (1,)}",
        "__import__('os').system('true')", "(" * 5000, "{'descr': '<f4'}", "[" * 100,
    )).encode() + b"\n"  # fmt: skip
    body = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(24)
    return archive([("a.npy", body)], rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


# ---------------------------------------------------------------- running them

Change = Callable[[bytes, random.Random], bytes]


def kinds(folder: Path) -> Iterator[tuple[str, bytes, Change, Callable[[bytes], Any]]]:
    """A name, a good file, how to change it and how to load it."""
    path = folder / "file"

    def at(function: Callable[..., Any], **options: Any) -> Callable[[bytes], Any]:
        def run(data: bytes) -> Any:
            path.write_bytes(data)
            return function(path, **options)

        return run

    good = tensors()
    plain = {name: t.detach().contiguous().clone() for name, t in good.items() if isinstance(t, dumbtorch.Tensor)}
    dumbtorch.save_safetensors(plain, folder / "s", {"a": "b"})
    dumbtorch.save_npz({name: t for name, t in plain.items() if name != "h"}, folder / "n")
    zipped, legacy = saved(good), saved(good, _use_new_zipfile_serialization=False)
    safe, npz = (folder / "s").read_bytes(), (folder / "n").read_bytes()
    memory = lambda data: dumbtorch.load(io.BytesIO(data))  # noqa: E731
    formats = (
        ("pt", zipped, memory), ("pt mapped", zipped, at(dumbtorch.load, mmap=True)), ("legacy", legacy, memory),
        ("safetensors", safe, at(dumbtorch.load_safetensors)), ("npz", npz, at(dumbtorch.load_npz)),
    )  # fmt: skip
    for name, data, load in formats:
        yield f"{name}, truncated", data, truncated, load
        yield f"{name}, flipped", data, flipped, load
    yield "pt, hostile pickle", zipped, hostile_pickle, memory
    yield "pt, hostile archive", zipped, hostile_archive, memory
    yield "pt mapped, hostile archive", zipped, hostile_archive, formats[1][2]
    yield "legacy, hostile pickle", legacy, hostile_legacy, memory
    yield "safetensors, hostile header", safe, hostile_safetensors, formats[3][2]
    yield "npz, hostile header", npz, hostile_npz, formats[4][2]


def address_space() -> int:
    """The most bytes of address space that this process ever had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmPeak"):
            return int(line.split()[1]) << 10
    raise RuntimeError("no VmPeak in /proc/self/status")


def main(count: int = 1000, seed: int = 0) -> int:
    watched: list[str] = []
    active = [False]
    bad: list[str] = []

    def audit(event: str, args: Any) -> None:
        if active[0] and event in FORBIDDEN:
            watched.append(f"{event} {str(args)[:200]}")

    sys.addaudithook(audit)
    with tempfile.TemporaryDirectory() as name:
        cases = list(kinds(Path(name)))
        for _, data, _, load in cases:  # what is loaded once and for all is no cost of a file
            touch(load(data))
        codecs.lookup("raw_unicode_escape")
        before = address_space()
        for title, data, change, load in cases:
            rng = random.Random(f"{title} {seed}")
            results: collections.Counter[str] = collections.Counter()
            for place in range(count):
                file = change(data, rng)
                active[0] = True
                try:
                    touch(load(file))
                    results["loaded"] += 1
                except ERRORS:
                    results["refused"] += 1
                except BaseException as error:
                    results["wrong"] += 1
                    bad.append(f"{title}, file {place}: {type(error).__name__}: {str(error)[:200]}")
                finally:
                    active[0] = False
            print(f"{title:28} {dict(results)}")
    grown = address_space() - before
    print(f"address space grew by {grown >> 20} MiB at most, for files of at most a few MiB")
    for line in [*bad[:20], *(f"ran: {event}" for event in watched[:20])]:
        print(line)
    return 1 if bad or watched or grown > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
