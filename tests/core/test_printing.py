"""repr(tensor): the same characters as PyTorch over a generated corpus."""

import random
import subprocess
import sys

import pytest

import dumbtorch
from dumbtorch import _printing
from tests.core import printing_corpus

torch = pytest.importorskip("torch")

FLOATS = ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"]
INTS = ["uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"]
COMPLEX = ["complex32", "complex64", "complex128"]
SPECIAL = [0.0, -0.0, float("nan"), float("inf"), float("-inf"), 1.0, -1.0, 1e-5, 1e9, 123456.75, 1e-40, 65504.0]
SHAPES = [(), (1,), (3,), (7,), (40,), (0,), (2, 3), (0, 3), (3, 0), (1, 1, 1), (2, 3, 4), (2, 2, 2, 2), (12, 20)]
LARGE = [(1001,), (1, 1001), (7, 200), (2000, 1), (11, 11, 11), (2, 600, 2), (1, 2, 3, 400), (6, 6, 30)]


@pytest.fixture(autouse=True)
def default_options():
    yield
    for package in (torch, _printing):
        package.set_printoptions(profile="default")


def values(kind: str, shape: tuple[int, ...], seed: int, style: str):
    """A torch tensor of the dtype, with numbers of one style."""
    rng = random.Random(f"{kind}{shape}{seed}{style}")
    count = 1
    for size in shape:
        count *= size

    def real() -> float:
        if style == "special" and rng.random() < 0.4:
            return rng.choice(SPECIAL)
        if style == "whole":
            return float(rng.randint(-20, 20))
        if style == "wide":
            return rng.uniform(-1, 1) * 10.0 ** rng.randint(-9, 9)
        if style == "small":
            return rng.uniform(-1, 1) * 1e-3
        return rng.uniform(-3, 3)

    if kind == "bool":
        data = [rng.random() < 0.5 for _ in range(count)]
    elif kind in INTS:
        low, high = (0, 200) if kind[0] == "u" else (-100, 120)
        data = [rng.randint(low, high) for _ in range(count)]
    elif kind in COMPLEX:
        data = [complex(real(), real()) for _ in range(count)]
    else:
        data = [real() for _ in range(count)]
    return torch.tensor(data, dtype=getattr(torch, kind)).reshape(shape)


def ours(t):
    return dumbtorch.from_dlpack(t)


def check(t) -> None:
    assert repr(ours(t)) == repr(t)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["bool", *INTS, *FLOATS, *COMPLEX])
@pytest.mark.parametrize("style", ["plain", "whole", "wide", "small", "special"])
def test_small(kind: str, style: str) -> None:
    for seed, shape in enumerate(SHAPES):
        check(values(kind, shape, seed, style))


@pytest.mark.parametrize("kind", ["bool", "int64", "float32", "float64", "complex64", "bfloat16"])
def test_large_tensors_are_cut(kind: str) -> None:
    for seed, shape in enumerate(LARGE):
        for style in ("plain", "wide", "special"):
            check(values(kind, shape, seed, style))


OPTIONS = [
    {"precision": 0},
    {"precision": 2, "linewidth": 40},
    {"precision": 8, "sci_mode": True},
    {"sci_mode": False},
    {"threshold": 5, "edgeitems": 1},
    {"threshold": 5, "edgeitems": 0},
    {"threshold": 2, "edgeitems": 2, "linewidth": 20},
    {"profile": "short"},
    {"profile": "full", "linewidth": 200},
    {"linewidth": 5},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(options: dict) -> None:
    for package in (torch, _printing):
        package.set_printoptions(**options)
    assert _printing.get_printoptions() == torch._tensor_str.get_printoptions()
    for seed, shape in enumerate([*SHAPES, (7, 200), (1001,)]):
        for kind in ("float32", "int64", "complex64", "bool"):
            for style in ("plain", "special", "whole"):
                check(values(kind, shape, seed, style))


def test_printoptions_restores() -> None:
    before = _printing.get_printoptions()
    with _printing.printoptions(precision=1, sci_mode=True):
        assert repr(dumbtorch.tensor([0.25])) == "tensor([2.5e-01])"
    assert _printing.get_printoptions() == before
    with pytest.raises(ValueError, match="unknown profile"):
        _printing.set_printoptions(profile="wide")


@pytest.mark.parametrize("stride", [2, -3])
def test_views(stride: int) -> None:
    t = torch.arange(60.0).reshape(6, 10)
    for view in (t.T, t[::2, 1::3], t[2], t[:, 3], t.expand(2, 6, 10), t[3, 3], t[1:1]):
        check(view)
    check(torch.arange(5000.0).reshape(50, 100).T[:, :: abs(stride)])


def test_history_and_classes() -> None:
    for package in (torch, dumbtorch):
        x = package.tensor([1.0, 2.0], requires_grad=True)
        assert repr(x) == "tensor([1., 2.], requires_grad=True)"
        assert repr(x * 2) == "tensor([2., 4.], grad_fn=<MulBackward0>)"
        assert repr(x.detach()) == "tensor([1., 2.])"
        wide = package.tensor([1.5] * 5, dtype=package.float64, requires_grad=True)
        assert repr(wide).endswith("1.5000], dtype=torch.float64,\n       requires_grad=True)")
    parameter = dumbtorch.nn.Parameter(dumbtorch.tensor([1.0]))
    assert repr(parameter) == repr(torch.nn.Parameter(torch.tensor([1.0])))

    class Special(dumbtorch.Tensor):
        pass

    class TorchSpecial(torch.Tensor):
        pass

    TorchSpecial.__name__ = "Special"
    numbers = [[float(i + j) for j in range(20)] for i in range(3)]
    mine = dumbtorch.tensor(numbers)._as_class(Special)
    assert repr(mine) == repr(torch.tensor(numbers).as_subclass(TorchSpecial))


def test_default_dtype_decides_the_suffix() -> None:
    try:
        for package in (torch, dumbtorch):
            package.set_default_dtype(package.float64)
        for kind in ("float32", "float64", "complex64", "complex128"):
            for shape in ((2,), (0,), (0, 2)):
                check(values(kind, shape, 0, "plain"))
    finally:
        for package in (torch, dumbtorch):
            package.set_default_dtype(package.float32)


def test_needs_no_numpy() -> None:
    code = (
        "import sys; sys.modules['numpy'] = None; import dumbtorch; x = dumbtorch.tensor([[1.0, 2.5]]);"
        " print(repr(x), x.tolist())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "tensor([[1.0000, 2.5000]]) [[1.0, 2.5]]\n"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("seed", range(4))
def test_generated(seed: int) -> None:
    assert list(printing_corpus.differences(150, seed)) == []
