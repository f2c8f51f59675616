"""``.pt`` files: what PyTorch writes is read, what is written is read by PyTorch, and nothing in a file runs."""

import collections
import copy
import io
import mmap
import os
import pickle
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dumbtorch
from dumbtorch import serialization

torch = pytest.importorskip("torch")

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16",
          "float32", "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2")  # fmt: skip
LEGACY = {"_use_new_zipfile_serialization": False}


def objects(m: Any) -> dict[str, Any]:
    x = m.arange(12.0).reshape(3, 4)
    z = m.tensor([1 + 2j, 3 - 1j])
    found = {
        "x": x, "transposed": x.t(), "row": x[1], "column": x[:, 2:3], "expanded": m.ones(3, 1).expand(3, 4),
        "empty": m.empty(0, 3), "scalar": m.tensor(3.0), "grad": m.ones(3, requires_grad=True),
        "parameter": m.nn.Parameter(m.ones(2, 3)), "frozen": m.nn.Parameter(m.ones(2), requires_grad=False),
        "buffer": m.nn.Buffer(m.ones(2)), "conjugate": z.conj(), "negative": m.tensor([2 - 1j]).conj().imag,
        "plain": {"i": 1, "big": 2**70, "f": 1.5, "nested": (1, 2, (3, [None, True])), "text": "h\u00e9"},
        "bytes": b"abc\xff", "bytearray": bytearray(b"xy"), "set": {1, 2}, "complex": 1 + 2j,
        "dtype": m.float32, "size": m.Size([1, 2]), "device": m.device("cpu"), "layout": m.strided,
        "counter": collections.Counter("aab"), "ordered": collections.OrderedDict(a=1),
    }  # fmt: skip
    found |= {name: m.tensor([0, 1, 1]).to(getattr(m, name)) for name in DTYPES}
    return found


def values(t: Any) -> Any:
    t = t.detach()
    return (t.float() if "float8" in str(t.dtype) else t).tolist()


def same(theirs: Any, ours: Any) -> None:
    # a buffer is a plain tensor with attributes in PyTorch, and so it is in files
    assert type(theirs).__name__ == type(ours).__name__.replace("Buffer", "Tensor")
    if isinstance(theirs, torch.Tensor):
        for name in ("dtype", "shape", "requires_grad", "device"):
            assert str(getattr(theirs, name)) == str(getattr(ours, name)), name
        assert theirs.stride() == ours.stride()
        assert (theirs.is_conj(), theirs.is_neg()) == (ours.is_conj(), ours.is_neg())
        assert str(values(theirs)) == str(values(ours))
    elif isinstance(theirs, dict):
        assert list(theirs) == list(ours)
        for name in theirs:
            same(theirs[name], ours[name])
    else:
        assert str(theirs) == str(ours)


def saved(m: Any, obj: Any, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    m.save(obj, file, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("weights_only", (True, False))
@pytest.mark.parametrize("options", ({}, LEGACY, {"pickle_protocol": 4}), ids=("zip", "legacy", "protocol4"))
@pytest.mark.parametrize("writer", (torch, dumbtorch), ids=("torch", "dumbtorch"))
def test_a_file_is_read_as_it_was_written(writer: Any, options: dict[str, Any], weights_only: bool) -> None:
    file = saved(writer, objects(writer), **options)
    same(objects(torch), dumbtorch.load(file, weights_only=weights_only))


@pytest.mark.parametrize("options", ({}, LEGACY), ids=("zip", "legacy"))
def test_pytorch_reads_ours_with_weights_only(options: dict[str, Any]) -> None:
    same(torch.load(saved(dumbtorch, objects(dumbtorch), **options)), objects(dumbtorch))


@pytest.mark.filterwarnings("ignore:TypedStorage")
@pytest.mark.parametrize("writer", (torch, dumbtorch), ids=("torch", "dumbtorch"))
def test_what_shares_memory_still_does(writer: Any) -> None:
    x = writer.arange(6.0)
    found = dumbtorch.load(saved(writer, [x, x.view(2, 3).t(), x[2:], writer.nn.Parameter(x), x.storage()]))
    found[0][3] = 100
    assert [float(t.flatten()[place]) for t, place in zip(found[:4], (3, 1, 1, 3), strict=True)] == [100] * 4
    assert found[4].untyped().data_ptr() == found[0].data_ptr()


def network(m: Any) -> Any:
    nn = m.nn
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3),
        nn.GroupNorm(4, 16), nn.GELU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10), nn.LayerNorm(10),
    )  # fmt: skip


def loss(m: Any, model: Any) -> Any:
    x = np.random.default_rng(1).standard_normal((4, 1, 14, 14)).astype("float32")
    return m.nn.functional.cross_entropy(model(m.tensor(x)), m.tensor([0, 1, 2, 3]))


def output(m: Any, model: Any) -> np.ndarray:
    model.eval()
    x = np.random.default_rng(0).standard_normal((4, 1, 14, 14)).astype("float32")
    result: np.ndarray = model(m.tensor(x)).detach().numpy()
    return result


@pytest.mark.parametrize(("source", "target"), ((torch, dumbtorch), (dumbtorch, torch)), ids=("read", "write"))
def test_a_convolutional_network_is_exchanged(source: Any, target: Any) -> None:
    model, other = network(source), network(target)
    optimizer = source.optim.Adam(model.parameters(), 1e-2)
    for _ in range(2):
        loss(source, model).backward()
        optimizer.step()
    loaded = target.load(saved(source, {"model": model.state_dict(), "optimizer": optimizer.state_dict()}))
    assert str(other.load_state_dict(loaded["model"])) == "<All keys matched successfully>"
    assert loaded["model"]._metadata["1"] == {"version": 2}
    np.testing.assert_allclose(output(source, model), output(target, other), atol=1e-5)
    again = target.optim.Adam(other.parameters(), 1)
    again.load_state_dict(loaded["optimizer"])
    for m, net, opt in ((source, model, optimizer), (target, other, again)):
        opt.zero_grad()
        net.train()
        loss(m, net).backward()
        opt.step()
    np.testing.assert_allclose(output(source, model), output(target, other), atol=1e-4)


class Recurrent:
    """Letters in, letters out, by an LSTM of two layers and two directions."""

    def __new__(cls, m: Any) -> Any:
        class Net(m.nn.Module):  # type: ignore[name-defined,misc]
            def __init__(self) -> None:
                super().__init__()
                self.embedding = m.nn.Embedding(20, 8)
                self.lstm = m.nn.LSTM(8, 6, num_layers=2, bidirectional=True, batch_first=True)
                self.out = m.nn.Linear(12, 20)

            def forward(self, x: Any) -> Any:
                return self.out(self.lstm(self.embedding(x))[0])

        return Net()


class Attentive:
    """Letters in, letters out, by an encoder and a decoder of a transformer."""

    def __new__(cls, m: Any) -> Any:
        class Net(m.nn.Module):  # type: ignore[name-defined,misc]
            def __init__(self) -> None:
                super().__init__()
                self.embedding = m.nn.Embedding(20, 8)
                self.transformer = m.nn.Transformer(8, 2, 2, 2, 16, batch_first=True)
                self.out = m.nn.Linear(8, 20)

            def forward(self, x: Any) -> Any:
                y = self.embedding(x)
                mask = m.nn.Transformer.generate_square_subsequent_mask(x.shape[1])
                return self.out(self.transformer(y, y, tgt_mask=mask))

        return Net()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("source", "target"), ((torch, dumbtorch), (dumbtorch, torch)), ids=("read", "write"))
@pytest.mark.parametrize("form", ("pt", "safetensors", "npz"))
@pytest.mark.parametrize("kind", (Recurrent, Attentive))
def test_networks_of_sequences_are_exchanged(kind: Any, form: str, source: Any, target: Any, tmp_path: Path) -> None:
    model, other = kind(source).eval(), kind(target).eval()
    path = tmp_path / "file"
    weights = model.state_dict()
    if form == "pt":
        source.save(weights, path)
        loaded = target.load(path)
    elif form == "safetensors":
        theirs = pytest.importorskip("safetensors.torch")
        (theirs.save_file if source is torch else dumbtorch.save_safetensors)(weights, path)
        loaded = (theirs.load_file if target is torch else dumbtorch.load_safetensors)(path)
    elif source is torch:
        with open(path, "wb") as file:
            np.savez(file, **{name: t.numpy() for name, t in weights.items()})
        loaded = dumbtorch.load_npz(path)
    else:
        dumbtorch.save_npz(weights, path)
        with np.load(path) as arrays:
            loaded = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    other.load_state_dict(loaded)
    x = np.random.default_rng(0).integers(0, 20, (3, 7))
    expected = model(source.tensor(x)).detach().numpy()
    np.testing.assert_allclose(other(target.tensor(x)).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("source", "target"), ((torch, dumbtorch), (dumbtorch, torch)), ids=("read", "write"))
def test_a_whole_module_is_exchanged_when_asked_for(source: Any, target: Any) -> None:
    model = network(source)
    with pytest.raises(pickle.UnpicklingError, match="add_safe_globals"):
        target.load(saved(source, model))
    found = target.load(saved(source, model), weights_only=False)
    np.testing.assert_allclose(output(source, model), output(target, found), atol=1e-5)


class Point:
    """A class of a program."""

    def __init__(self, x: int) -> None:
        self.x = x


class Special(dumbtorch.Tensor):
    """A tensor with a name."""


def test_what_a_program_trusts_is_made() -> None:
    special = dumbtorch.ones(2).as_subclass(Special)
    special.label = "a"
    data = saved(dumbtorch, [Point(3), special]).getvalue()
    assert serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data)) == [
        f"{__name__}.Point", f"{__name__}.Special"
    ]  # fmt: skip
    with pytest.raises(pickle.UnpicklingError, match=r"add_safe_globals\(\[.*Point\]\)"):
        dumbtorch.load(io.BytesIO(data))
    with serialization.safe_globals([Point, Special]):
        point, found = dumbtorch.load(io.BytesIO(data))
    assert point.x == 3 and type(found) is Special and found.label == "a" and found.tolist() == [1, 1]
    assert serialization.get_safe_globals() == []
    with pytest.raises(pickle.UnpicklingError):
        dumbtorch.load(io.BytesIO(data))


class Evil:
    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("options", ({}, LEGACY, {"pickle_protocol": 4}), ids=("zip", "legacy", "protocol4"))
@pytest.mark.parametrize(
    "call", ((os.system, "touch {}"), (eval, "open('{}', 'w')"), (open, "{}", "w"), (Path.touch, Path("{}")))
)
def test_code_in_a_file_does_not_run(call: tuple[Any, ...], options: dict[str, Any], tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    function, *args = call
    args = [type(a)(str(a).format(mark)) for a in args]
    for writer in (torch, dumbtorch):
        with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
            dumbtorch.load(saved(writer, {"a": Evil(function, *args)}, **options))
    assert not mark.exists()


def test_weights_only_false_is_needed_for_code_and_the_environment_can_forbid_it(monkeypatch: Any) -> None:
    data = saved(torch, Evil(len, "abc")).getvalue()
    assert dumbtorch.load(io.BytesIO(data), weights_only=False) == 3
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(pickle.UnpicklingError):
        dumbtorch.load(io.BytesIO(data), weights_only=False)


def test_a_path_is_mapped_read_and_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": torch.ones(1000), "b": torch.arange(3)}, path)
    mapped = dumbtorch.load(path, mmap=True)
    assert mapped["a"].data_ptr() % 64 == 0
    mapped["a"].zero_()  # pages of our own
    assert dumbtorch.load(str(path))["a"].sum() == 1000
    path.chmod(0o640)
    dumbtorch.save({"a": mapped["a"]}, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert mapped["b"].tolist() == [0, 1, 2]  # the old file is still mapped
    assert torch.load(path, mmap=True)["a"].sum() == 0
    with serialization.set_default_mmap_options(mmap.MAP_SHARED):
        dumbtorch.load(path, mmap=True)["a"][0] = 7
    assert serialization.get_default_mmap_options() == mmap.MAP_PRIVATE
    assert torch.load(path, mmap=True)["a"].tolist() == [7] + [0] * 999
    with pytest.raises(ValueError, match="MAP_SHARED"):
        serialization.set_default_mmap_options(77)
    dumbtorch.save({"a": mapped["a"]}, path)
    with pytest.raises(pickle.PicklingError):
        dumbtorch.save({"a": lambda: 1}, path)
    assert dumbtorch.load(path)["a"].sum() == 0
    assert os.listdir(tmp_path) == ["model.pt"]
    with pytest.raises(RuntimeError, match="Parent directory .*nowhere does not exist"):
        dumbtorch.save(1, tmp_path / "nowhere" / "a.pt")
    with pytest.raises(ValueError, match="must be a file path"):
        dumbtorch.load(io.BytesIO(path.read_bytes()), mmap=True)
    dumbtorch.save(1, "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_crash_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    dumbtorch.save(dumbtorch.ones(3), path)
    script = f"""
import os, dumbtorch
from dumbtorch.serialization._archive import Writer
write = Writer.write
def broken(self, record, data):
    write(self, record, data)
    if record == "data/0":
        os._exit(1)
Writer.write = broken
dumbtorch.save(dumbtorch.zeros(3), {str(path)!r})
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 1
    assert dumbtorch.load(path).tolist() == [1, 1, 1]


def test_storages_go_where_map_location_says() -> None:
    data = saved(dumbtorch, dumbtorch.ones(3)).getvalue()

    def load(place: Any) -> Any:
        return dumbtorch.load(io.BytesIO(data), map_location=place)

    seen = []
    for place in (None, "cpu", dumbtorch.device("cpu"), {"cpu": "cpu"}, lambda s, where: seen.append(where)):
        assert load(place).tolist() == [1, 1, 1]
    assert seen == ["cpu"]
    assert load(lambda s, where: dumbtorch.UntypedStorage(12).fill_(0)).tolist() == [0, 0, 0]
    with pytest.raises(RuntimeError, match="don't know how to restore data location .*moon"):
        load("moon")
    if not dumbtorch.cuda.is_available():
        elsewhere = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:1")
        moved = io.BytesIO(repacked(data, {"data.pkl": pickle_of(elsewhere)}))
        with pytest.raises(RuntimeError, match=r"Attempting to deserialize object on a CUDA device.*map_location"):
            dumbtorch.load(moved)
        moved.seek(0)
        assert dumbtorch.load(moved, map_location="cpu").tolist() == [1, 1, 1]


def pickle_of(data: bytes) -> bytes:
    start = data.index(b"\x80\x02ctorch")
    return data[start : data.index(b"PK", start)]


def repacked(data: bytes, changes: dict[str, bytes]) -> bytes:
    """An archive with some records replaced or added."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        records = {name.split("/", 1)[1]: source.read(name) for name in source.namelist()} | changes
        for name, content in records.items():
            target.writestr(f"archive/{name}", content)
    return out.getvalue()


def test_foreign_byte_order_is_swapped() -> None:
    tensors = {
        "f": dumbtorch.arange(3.0),
        "i": dumbtorch.arange(3),
        "c": dumbtorch.tensor([1 + 2j]).to(dumbtorch.complex128),
    }
    data = saved(dumbtorch, tensors).getvalue()
    changes = {"byteorder": b"big"}
    for place, t in enumerate(tensors.values()):
        array = t.numpy()
        changes[f"data/{place}"] = array.astype(array.dtype.newbyteorder(">")).tobytes()
    data = repacked(data, changes)
    ours, theirs = dumbtorch.load(io.BytesIO(data)), torch.load(io.BytesIO(data))
    assert {k: v.tolist() for k, v in ours.items()} == {k: v.tolist() for k, v in tensors.items()}
    assert {k: v.tolist() for k, v in theirs.items()} == {k: v.tolist() for k, v in tensors.items()}


def test_files_that_cannot_be_searched_are_written() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as out:
        dumbtorch.save(dumbtorch.ones(3), out)
    with os.fdopen(reader, "rb") as back:
        data = back.read()
    for m in (torch, dumbtorch):
        assert m.load(io.BytesIO(data)).tolist() == [1, 1, 1]
    with pytest.raises(AttributeError, match="seekable"):
        dumbtorch.load(object())
    with pytest.raises(AttributeError, match="'write' attribute"):
        dumbtorch.save(1, object())


def test_an_object_that_reads_one_memory_as_two_dtypes_is_refused() -> None:
    x = dumbtorch.ones(4)
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        dumbtorch.save([x, x.view(dumbtorch.int32)], io.BytesIO())


def test_modules_and_optimizers_pickle_and_copy() -> None:
    model = network(dumbtorch)
    optimizer = dumbtorch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(2):
        model(dumbtorch.ones(2, 1, 14, 14)).sum().backward()
        optimizer.step()
    pair = pickle.loads(pickle.dumps((model, optimizer)))
    for net, opt in (pair, copy.deepcopy((model, optimizer))):
        assert net[0].weight is opt.param_groups[0]["params"][0]
        np.testing.assert_array_equal(output(dumbtorch, net), output(dumbtorch, model))
        model.train()
        assert opt.state[net[0].weight]["step"] == 2


@pytest.mark.parametrize("size", (0, 1, 4, 100))
def test_a_file_that_is_none_says_so(size: int) -> None:
    with pytest.raises((RuntimeError, EOFError, pickle.UnpicklingError)):
        dumbtorch.load(io.BytesIO(b"PK\x03\x04"[:size].ljust(size, b"x")))
