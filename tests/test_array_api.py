"""dumbtorch.array_api: where arrays differ from tensors. The public suite is run by tests/conformance/array_api.py."""

import subprocess
import sys

import numpy as np
import pytest

import dumbtorch
import dumbtorch.array_api as xp
from dumbtorch.array_api import Array


def test_a_tensor_names_its_namespace() -> None:
    x = dumbtorch.ones(2)
    assert x.__array_namespace__() is xp and x.__array_namespace__(api_version="2023.12") is xp
    with pytest.raises(ValueError, match="2030"):
        x.__array_namespace__(api_version="2030.12")
    assert {"int8", "uint8", "float64", "complex128", "bool"} <= xp.__array_namespace_info__().dtypes().keys()
    assert xp.__array_namespace_info__().devices()[0] == dumbtorch.device("cpu")


def test_zero_dimensional_arrays_promote_as_others() -> None:
    small, wide = xp.ones(2, dtype=xp.int8), xp.asarray(1)
    assert (small + wide).dtype is xp.int64 and (wide + small).dtype is xp.int64
    assert xp.result_type(small, wide) is xp.int64 and xp.multiply(small, wide).dtype is xp.int64
    assert (small + 1).dtype is xp.int8
    # a tensor keeps to PyTorch's rules
    assert (dumbtorch.ones(2, dtype=dumbtorch.int8) + dumbtorch.tensor(1)).dtype is dumbtorch.int8


def test_arrays_and_tensors_mix() -> None:
    t = dumbtorch.ones(2)
    for result in (xp.asarray([1.0, 2.0]) + t, t + xp.asarray([1.0, 2.0]), xp.add(t, t), xp.sin(t)):
        assert type(result) is Array
    assert type(t) is dumbtorch.Tensor and type(xp.asarray(t)) is Array
    assert xp.asarray(t).as_subclass(dumbtorch.Tensor).__class__ is dumbtorch.Tensor
    shared = xp.asarray(t)
    shared[0] = 5
    assert t[0].item() == 5


def test_gradients_flow_through() -> None:
    w = dumbtorch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    loss = xp.sum(xp.multiply(xp.asarray(w)[::-1], xp.asarray([1.0, 10.0, 100.0])) ** 2)
    loss.backward()
    assert w.grad.tolist() == [20000.0, 400.0, 6.0]


@pytest.mark.parametrize(
    "key",
    [
        slice(None, None, -1), (slice(None), slice(None, None, -2)), (Ellipsis, slice(3, 0, -1)),
        (None, slice(None, None, -1), 1), (slice(0, 5, -1),), (1, slice(None, None, -1)),
    ],
    ids=str,
)  # fmt: skip
def test_negative_steps(key: object) -> None:
    data = np.arange(20).reshape(4, 5)
    x = xp.asarray(data.tolist())
    assert np.array_equal(np.asarray(x[key]), data[key])
    data[key] = -1
    x[key] = -1
    assert x.tolist() == data.tolist()


def test_floor_division_of_infinities() -> None:
    x, y = xp.asarray([np.inf, 1.0, -1.0, 0.0]), xp.asarray([2.0, -np.inf, np.inf, -3.0])
    assert repr((x // y).tolist()) == "[inf, -0.0, -0.0, -0.0]"
    assert repr((x % y).tolist()) == "[nan, -inf, inf, -0.0]"


def test_in_place_keeps_dtype_and_shape() -> None:
    x = xp.ones(3, dtype=xp.int32)
    same = x
    x += 2
    assert x is same and x.tolist() == [3, 3, 3]
    for other in (xp.asarray(1.5), xp.ones((2, 3), dtype=xp.int32), xp.asarray(1)):
        with pytest.raises(TypeError, match="cannot be written"):
            x += other
    with pytest.raises(TypeError, match="unsupported operand"):
        x + "text"


def test_size_and_transposes() -> None:
    x = xp.zeros((2, 3))
    assert x.size == 6 and x.T.shape == (3, 2) and xp.zeros((4, 2, 3)).mT.shape == (4, 3, 2)
    with pytest.raises(ValueError, match="2-dim"):
        _ = xp.zeros(3).T


def test_unique() -> None:
    x = xp.asarray([[3, 1], [2, 3]])
    values, indices, inverse, counts = xp.unique_all(x)
    assert values.tolist() == [1, 2, 3] and indices.tolist() == [1, 2, 0]
    assert inverse.tolist() == [[2, 0], [1, 2]] and counts.tolist() == [1, 1, 2]
    nans = xp.unique_counts(xp.asarray([np.nan, 1.0, np.nan]))
    assert nans.counts.tolist() == [1, 1, 1] and nans.values[0].item() == 1
    assert xp.unique_values(xp.asarray([])).shape == (0,)


def test_errors() -> None:
    x = xp.ones((2, 3))
    with pytest.raises(TypeError, match="expected an array"):
        xp.sin([1.0])
    with pytest.raises(ValueError, match="axis is required"):
        xp.take(x, xp.asarray([0]))
    with pytest.raises(ValueError, match="twice"):
        xp.sum(x, axis=(0, 0))
    with pytest.raises(ValueError, match="unknown kind"):
        xp.isdtype(xp.int8, "whole")
    with pytest.raises(ValueError, match="not of size 1"):
        xp.squeeze(x, 0)


SCIPY = """
import os; os.environ["SCIPY_ARRAY_API"] = "1"
import subprocess
import sys

import numpy as np
from scipy import special, stats
import dumbtorch as torch
a, b = [1.0, 2.0, 4.0, 8.0], [1.0, 3.0, 2.0, 5.0]
for function, inputs in ((stats.zscore, (a,)), (stats.skew, (a,)), (stats.gmean, (a,)), (special.logsumexp, (a,)),
                         (special.softmax, (a,)), (lambda *x: stats.pearsonr(*x).statistic, (a, b)),
                         (lambda x: stats.ttest_1samp(x, 2.0).statistic, (a,))):
    ours = function(*(torch.tensor(x, dtype=torch.float64) for x in inputs))
    assert isinstance(ours, torch.array_api.Array), type(ours)
    np.testing.assert_allclose(np.asarray(ours), function(*map(np.asarray, inputs)))
print("passed")
"""


def test_scipy_computes_on_tensors() -> None:
    pytest.importorskip("scipy")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SCIPY], capture_output=True, text=True)
    assert done.stdout.strip() == "passed", done.stderr[-2000:]
