"""Tensors from Python data, NumPy, buffers and DLPack, and back: values, errors and lifetimes beside PyTorch."""

import copy
import ctypes
import gc
import io
import math
import pickle
import subprocess
import sys
import threading
import weakref

import pytest

import dumbtorch
from dumbtorch import _interop, memory

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
KINDS = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "complex32", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2",
]  # fmt: skip
NUMPY_KINDS = [k for k in KINDS if k not in ("bfloat16", "complex32") and not k.startswith("float8")]


class Items:
    """A sequence of another kind."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, i: int) -> int:
        return [1, 2][i]


class Broken(Items):
    def __getitem__(self, i: int) -> int:
        raise KeyError(i)


class AsFloat:
    def __float__(self) -> float:
        return 2.5


class AsIndex:
    def __index__(self) -> int:
        return 2


def itself() -> list:
    made: list = [1]
    made.append(made)
    return made


def outcome(expression: str, package) -> tuple:
    scope = {"t": package, "np": np, "nan": math.nan, "inf": math.inf, **globals()}
    try:
        made = eval(expression, scope)
    except Exception as error:
        return type(error).__name__, str(error).split("\n")[0]
    return str(made.dtype), list(made.shape), str(made.tolist()), made.requires_grad


DATA = """
[[1, 2], [3, 4]] | [] | [[], []] | [[], [1]] | 5 | 2.5
True | 1j | (1, 2.5) | [True, 2] | [True, 2.5] | [1, 2j] | [True, False]
range(3) | bytearray(b'ab') | memoryview(b'ab') | Items()
[Items(), (3, 4)] | -2**63 | 2**63 - 1 | [2**64, 1.0] | [[[[[1]]]]]
[[1, 2], [1, 2, 3]] | [[1, 2], 3] | [1, [2, 3]] | [[1, 2], [[1], [2]]]
[[1, 2], []] | ['a'] | 'a' | b'a' | [['a', 'b']]
[1, 'a'] | [1, None] | None | {1: 2} | {1, 2} | Broken()
object() | itself() | [[1, 2], 'ab'] | 2**63 | -2**63 - 1 | 2**64
[t.tensor(1), t.tensor(2.5)] | [t.tensor([1]), t.tensor([2])] | [t.tensor([1, 2]), t.tensor([2, 3])]
[t.tensor(1.5, dtype=t.float64), 2] | [t.tensor(1.5, dtype=t.float16), 2] | [t.tensor(3, dtype=t.int8)]
[1.5, t.tensor(2., dtype=t.float16)] | [t.tensor(2, dtype=t.uint16), 3]
[np.float32(1), np.float64(2)] | [np.float32(1)]
[np.int8(1), 2] | [np.bool_(True)] | [np.float16(1)] | [np.complex64(1j)] | np.float64(1) | np.int16(1) | np.bool_(1)
np.complex128(1j) | [np.ones(2), np.zeros(2)]
[np.ones(2, 'i')] | np.ones((2, 3))[:, ::2] | np.asfortranarray(np.eye(3))
np.array(1.5) | np.ones((0, 3)) | np.ones((2, 3))[:, ::-1]
np.ones(3, '>f4') | np.array(['a']) | np.array([object()])
np.array([1], dtype='M8[s]') | np.ones(3, dtype=np.longdouble) | AsFloat() | [AsFloat()] | AsIndex()
"""
EXPRESSIONS = [f"t.tensor({part.strip()})" for line in DATA.strip().splitlines() for part in line.split(" | ")]
TYPED = """
[1.5, -2.5]:int64 | [1.5]:uint8 | [300]:uint8 | [-1]:uint8
[-129]:int8 | [2**40]:int32 | [2**17]:uint16 | [-1]:uint32
[2**63]:uint64 | [2**64]:uint64 | [-1]:uint64 | [1e30]:int64
[nan]:int64 | [inf]:uint8 | [300.5]:uint8 | [2**64]:int32
[2**100]:float32 | [10**400]:float32 | [1j]:int64 | [1j]:float32
[1j]:bool | [2.5, 0, 3]:bool | [nan]:bool | [2**70]:bool
[1e30]:float16 | [1e300]:float32
[1e30, 5]:bfloat16 | [1e30, 1000, -1000, inf, nan]:float8_e4m3fn | [1 + 1e30j]:complex32
[1e30, -1e9, 61439, 61440]:float8_e5m2 | True:float32 | True:complex64
'abc':float32 | ['abc']:float32 | [1, 'a']:float32
None:float32 | [None, 1]:int32 | AsFloat():float32 | AsIndex():int64 | AsIndex():float32 | [AsFloat()]:complex64
[t.tensor(1.5)]:int32 | [t.tensor(1j)]:complex64 | [t.tensor(1j)]:float32 | np.ones(3):int8 | np.eye(3).T:float16
[[1, 2], {1: 2, 3: 4}]:int64 | [1, 2]:float | np.array([1.5, -0.0]):complex64 | [np.float32(1.5)]:float64
"""
for _line in TYPED.strip().splitlines():
    for _part in _line.split(" | "):
        _value, _, _kind = _part.rpartition(":")
        EXPRESSIONS.append(f"t.tensor({_value}, dtype={'' if _kind.strip() == 'float' else 't.'}{_kind.strip()})")
EXPRESSIONS += [
    *(f"t.from_numpy({x})" for x in ("np.ones(3)", "np.ones((2, 3)).T", "np.array(2)", "[1]", "np.float32(1)",
      "np.ones(3)[::-1]", "np.ones(3, '>f4')", "np.zeros(3, dtype=[('a', 'f4'), ('b', 'f8')])['b']",
      "np.broadcast_to(np.ones(3), (2, 3))", "np.ones((0, 3))")),
    *(f"t.frombuffer({x})" for x in ("b'abcdefgh', dtype=t.int16", "bytearray(9), dtype=t.int16, offset=1",
      "bytearray(8), dtype=t.int32, offset=1", "bytearray(8), dtype=t.int32, offset=8",
      "bytearray(8), dtype=t.int32, offset=-1", "bytearray(8), dtype=t.int32, count=3",
      "bytearray(8), dtype=t.int32, count=0", "bytearray(8), dtype=t.int32, count=-5", "bytearray(7), dtype=t.int32",
      "bytearray(7), dtype=t.int32, count=1", "bytearray(), dtype=t.int32", "[1], dtype=t.int32",
      "array.array('d', [1.5, 2.5]), dtype=t.float64", "bytearray(4), dtype=t.int32, requires_grad=True",
      "bytearray(4), dtype=t.float32, requires_grad=True", "np.ones((2, 2), 'f'), dtype=t.float32")),
    *(f"t.asarray({x})" for x in ("[1, 2]", "bytearray(8)", "b'abcd', dtype=t.int32", "'abcd'", "np.float32(2)",
      "np.ones(2, 'i'), copy=False", "[1, 2], copy=False", "np.ones(2, 'i'), dtype=t.float32, copy=False",
      "3, dtype=t.float64", "t.ones(2, requires_grad=True)", "t.ones(2, requires_grad=True), requires_grad=False")),
    *(f"t.as_tensor({x})" for x in ("[1, 2], dtype=t.float64", "np.ones(2)", "np.ones(2), dtype=t.int8", "t.ones(2)")),
    "t.tensor([1], requires_grad=True)", "t.tensor([1.], requires_grad=True)",
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_as_pytorch(expression: str) -> None:
    assert outcome(expression, dumbtorch) == outcome(expression, torch)


def test_data_that_changes_while_it_is_read() -> None:
    class Clearing:
        def __float__(self) -> float:
            rows[0].clear()
            rows[1].clear()
            return 1.0

    rows: list = [[1.0, Clearing(), 2.0], [3.0, 4.0, 5.0]]
    with pytest.raises(RuntimeError, match="changed its length"):
        dumbtorch.tensor(rows, dtype=dumbtorch.float32)
    deep: list = [1]
    for _ in range(20):
        deep = [deep]
    with pytest.raises(ValueError, match="too many dimensions 'list'"):
        dumbtorch.tensor(deep)


def test_array_protocols() -> None:
    class Array:
        def __array__(self, dtype=None, copy=None):
            return np.ones(3, "f")

    class Interface:
        data = np.arange(3)
        __array_interface__ = data.__array_interface__

    assert dumbtorch.tensor(Array()).tolist() == [1.0, 1.0, 1.0]
    shared = dumbtorch.as_tensor(Interface())
    shared[0] = 7
    assert Interface.data[0] == 7


@pytest.mark.parametrize("kind", KINDS)
def test_item_and_tolist(kind: str) -> None:
    numbers = [[0, 1, 2], [3, 5, 100]]
    t, reference = (p.tensor(numbers, dtype=getattr(p, kind)) for p in (dumbtorch, torch))
    assert t.tolist() == reference.tolist()
    assert t.T[::2].tolist() == reference.T[::2].tolist()
    one, other = t[1, 1].item(), reference[1, 1].item()
    assert one == other and type(one) is type(other)
    for shape in ((), (1,), (1, 1)):
        assert t[1, 1].reshape(shape).item() == other
    for wrong in (t, t[:0]):
        with pytest.raises(RuntimeError, match=f"a Tensor with {wrong.numel()} elements cannot be converted to Scalar"):
            wrong.item()


@pytest.mark.parametrize("value", [2**64 - 1, 2**63, 0])
def test_large_unsigned(value: int) -> None:
    assert dumbtorch.tensor(value, dtype=dumbtorch.uint64).item() == value


@pytest.mark.parametrize("kind", NUMPY_KINDS)
def test_numpy_shares_memory_both_ways(kind: str) -> None:
    a = (np.arange(24).reshape(2, 3, 4) % 7).astype(kind)
    for view in (a, a.transpose(2, 0, 1), a[:, ::2, 1:], a[1, 2, 3:], a[0, 0, 0, ...], a[:0]):
        t = dumbtorch.from_numpy(view)
        back = t.numpy()
        assert str(t.dtype) == f"torch.{kind}" and back.dtype == view.dtype
        assert back.dtype.char == torch.from_numpy(view).numpy().dtype.char
        assert t.tolist() == view.tolist() == back.tolist()
        if view.size:
            assert back.ctypes.data == view.ctypes.data and back.strides == view.strides
            back[...] = 1
            assert t.tolist() == np.ones(view.shape).tolist()
        assert dumbtorch.from_dlpack(view).tolist() == np.from_dlpack(t).tolist() == view.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (1, 3)])
def test_dlpack_with_pytorch(kind: str, version) -> None:
    ours = dumbtorch.tensor([[0, 1, 2], [3, 4, 5]], dtype=getattr(dumbtorch, kind)).T
    capsule = ours.__dlpack__() if version is None else ours.__dlpack__(max_version=version)
    name = "dltensor_versioned" if version is not None and version[0] else "dltensor"
    assert f'"{name}"' in repr(capsule)
    theirs = torch.from_dlpack(capsule)
    assert f'"used_{name}"' in repr(capsule)
    assert theirs.dtype == getattr(torch, kind) and theirs.data_ptr() == ours.data_ptr()
    assert theirs.tolist() == ours.tolist() and theirs.stride() == ours.stride()
    again = dumbtorch.from_dlpack(theirs)
    assert again.dtype is ours.dtype and again.data_ptr() == ours.data_ptr() and again.tolist() == ours.tolist()
    with pytest.raises(RuntimeError, match="consumed only once"):
        dumbtorch.from_dlpack(capsule)


def test_dlpack_errors_and_options() -> None:
    t = dumbtorch.ones(3)
    with pytest.raises(BufferError, match="require gradient"):
        dumbtorch.ones(3, requires_grad=True).__dlpack__()
    with pytest.raises(BufferError, match="no type for BComplex32"):
        dumbtorch.tensor([1j], dtype=dumbtorch.bcomplex32).__dlpack__()
    with pytest.raises(BufferError, match="negative strides"):
        dumbtorch.from_dlpack(np.ones(3)[::-1])
    with pytest.raises(AssertionError, match="stream should be None"):
        t.__dlpack__(stream=1)
    with pytest.raises(RuntimeError, match="invalid capsule"):
        dumbtorch.from_dlpack(3)
    assert t.__dlpack_device__() == (1, 0)
    for copied in (dumbtorch.from_dlpack(t.__dlpack__(copy=True)), dumbtorch.from_dlpack(np.ones(3), copy=True)):
        assert copied.data_ptr() != t.data_ptr() and copied.sum().item() == 3
    frozen = np.ones(3)
    frozen.flags.writeable = False
    assert dumbtorch.from_dlpack(frozen).tolist() == [1, 1, 1]
    with pytest.raises(TypeError, match="not writable"):
        (ctypes.c_char * 24).from_buffer(dumbtorch.from_dlpack(frozen))


def counters() -> tuple[int, int, int]:
    gc.collect()
    stats = memory.memory_stats()
    return tuple(stats[f"{name}.current"] for name in ("allocated_bytes", "active_blocks", "live_tensors"))


def test_no_exchange_leaks() -> None:
    source = np.ones(2000)
    references = sys.getrefcount(source)
    before = counters()
    for _ in range(200):
        t = dumbtorch.tensor(source)
        chain = np.from_dlpack(dumbtorch.from_dlpack(torch.from_dlpack(t)))
        unused = t.__dlpack__(), t.__dlpack__(max_version=(1, 0))
        shared = dumbtorch.from_numpy(source), dumbtorch.frombuffer(source, dtype=dumbtorch.int64), t.numpy()
        with pytest.raises(ValueError):
            dumbtorch.from_numpy(source[::-1])
    del t, chain, unused, shared
    assert counters() == before
    assert sys.getrefcount(source) == references


def test_memory_lives_as_long_as_somebody_looks() -> None:
    a = np.arange(1000.0)
    alive = weakref.ref(a)
    t = dumbtorch.from_numpy(a)[10:]
    del a
    assert alive() is not None and t[0].item() == 10
    array_view = t.numpy()
    del t
    assert alive() is not None and array_view[0] == 10
    del array_view
    assert alive() is None

    t = dumbtorch.ones(5000)
    view = t.numpy()
    t.data = dumbtorch.zeros(1)
    del t
    junk = dumbtorch.zeros(5000)
    assert view.sum() == 5000 and junk.sum().item() == 0


def test_capsule_dropped_in_another_thread() -> None:
    before = counters()
    theirs = [torch.from_dlpack(dumbtorch.ones(5000))]
    thread = threading.Thread(target=theirs.clear)
    thread.start()
    thread.join()
    assert counters() == before


def test_clone_after_export_is_not_shared() -> None:
    t = dumbtorch.ones(5000)
    view = t.numpy()
    copied = t.clone()
    view[0] = 9
    assert t[0].item() == 9 and copied[0].item() == 1
    del view
    theirs = torch.from_dlpack(t)
    copied = t.clone()
    theirs[1] = 5
    assert t[1].item() == 5 and copied[1].item() == 1
    copied = t.clone()
    ctypes.cast(t.data_ptr(), ctypes.POINTER(ctypes.c_float))[2] = 7.0
    copied_after = t.clone()
    ctypes.cast(t.data_ptr(), ctypes.POINTER(ctypes.c_float))[2] = 8.0
    assert copied[2].item() == 1 and copied_after[2].item() == 7 and t[2].item() == 8


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in NUMPY_KINDS])
def test_numpy_lacks_the_type(kind: str) -> None:
    for package in (torch, dumbtorch):
        t = package.zeros(2, dtype=getattr(package, kind))
        name = {"bfloat16": "BFloat16", "complex32": "ComplexHalf"}.get(kind, kind.capitalize())
        with pytest.raises(TypeError, match=f"Got unsupported ScalarType {name}"):
            t.numpy()
        with pytest.raises(TypeError, match="Got unsupported ScalarType"):
            np.asarray(t)


def test_numpy_and_gradients() -> None:
    for package in (torch, dumbtorch):
        t = package.ones(2, requires_grad=True)
        for convert in (t.numpy, lambda t=t: np.asarray(t)):
            with pytest.raises(RuntimeError, match=r"Use tensor.detach\(\).numpy\(\) instead"):
                convert()
        assert t.numpy(force=True).tolist() == [1, 1]
        with package.no_grad():
            assert np.asarray(t).tolist() == [1, 1]
        assert t.detach().__array__(np.float64).dtype == np.float64
        assert np.array(t.detach(), dtype="i4").tolist() == [1, 1]


def test_buffer_protocol() -> None:
    t = dumbtorch.arange(6, dtype=dumbtorch.int32).reshape(2, 3)
    view = memoryview(t)
    assert (view.shape, view.strides, view.format, view.nbytes) == ((2, 3), (12, 4), "i", 24)
    assert view.tolist() == [[0, 1, 2], [3, 4, 5]] and bytes(t) == np.arange(6, dtype="i4").tobytes()
    assert memoryview(t.T).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert io.BytesIO(t).read() == bytes(t)


def test_read_only_memory_warns_once() -> None:
    frozen = np.ones(2)
    frozen.flags.writeable = False
    _interop._WARNED.clear()
    with pytest.warns(UserWarning, match="not writable"):
        t = dumbtorch.from_numpy(frozen)
    assert not t.numpy().flags.writeable
    with pytest.warns(UserWarning, match="buffer is not writable"):
        dumbtorch.frombuffer(b"ab", dtype=dumbtorch.uint8)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [*KINDS, "bcomplex32"])
def test_pickle(kind: str, protocol: int) -> None:
    t = dumbtorch.tensor([[0, 1, 2], [3, 4, 5]], dtype=getattr(dumbtorch, kind)).T
    again = pickle.loads(pickle.dumps(t, protocol))
    assert again.dtype is t.dtype and again.stride() == t.stride() and again.tolist() == t.tolist()
    assert again.data_ptr() != t.data_ptr()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_keep_what_is_shared(duplicate) -> None:
    base = dumbtorch.zeros(3, 4)
    weight = dumbtorch.ones(2, requires_grad=True)
    weight.note = "kept"
    made, row, same, other = duplicate((base, base[1], base, weight))
    row.fill_(5)
    assert made.tolist() == [[0] * 4, [5] * 4, [0] * 4] and same is made
    assert base.sum().item() == 0
    assert other.requires_grad and other.is_leaf and other.note == "kept"
    empty, zero = duplicate([dumbtorch.zeros(0, 3), dumbtorch.tensor(2.5)])
    assert tuple(empty.shape) == (0, 3) and zero.item() == 2.5


def test_deepcopy_of_gradients_and_history() -> None:
    w = dumbtorch.ones(2, requires_grad=True)
    (w * 3).sum().backward()
    again = copy.deepcopy(w)
    assert again.grad.tolist() == [3, 3] and again.grad is not w.grad
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(w * 2)
    parameter = dumbtorch.nn.Parameter(dumbtorch.ones(2))
    assert type(copy.deepcopy(parameter)) is dumbtorch.nn.Parameter
    assert type(pickle.loads(pickle.dumps(parameter))) is dumbtorch.nn.Parameter


def test_without_numpy() -> None:
    code = """
import sys; sys.modules['numpy'] = None
import dumbtorch as t, pickle, copy
x = t.tensor([[1, 2], [3, 4]])
assert t.as_tensor(x) is x and t.asarray([1.5]).tolist() == [1.5]
assert pickle.loads(pickle.dumps(x)).tolist() == copy.deepcopy(x).tolist() == t.from_dlpack(x).tolist() == x.tolist()
assert t.frombuffer(bytearray(4), dtype=t.int32).item() == 0
try: t.from_numpy([1])
except TypeError: pass
else: raise SystemExit('from_numpy took a list')
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_array_interface() -> None:
    t = dumbtorch.arange(6).reshape(2, 3).T
    interface = t.__array_interface__
    assert interface["data"] == (t.data_ptr(), False) and interface["shape"] == (3, 2)

    class Only:
        __array_interface__ = interface

    shared = np.asarray(Only())
    t[0, 0] = 7
    assert shared[0, 0] == 7 and shared.strides == (8, 24)
    with pytest.raises(RuntimeError, match="requires grad"):
        _ = dumbtorch.ones(2, requires_grad=True).__array_interface__
    with pytest.raises(TypeError, match="BFloat16"):
        _ = dumbtorch.ones(2, dtype=dumbtorch.bfloat16).__array_interface__


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_pending_conjugates(duplicate) -> None:
    t = dumbtorch.tensor([[1 + 2j, 3], [4j, 5 - 1j]])
    for shown in (t.conj(), t.conj().imag, t.imag, t.conj()[1], t.T.conj()):
        assert duplicate(shown).tolist() == shown.tolist()
