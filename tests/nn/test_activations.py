"""Every activation beside PyTorch: values, gradients, special values, in place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dumbtorch
from tests.nn.support import as_numpy, assert_close, compare_function, compare_module, random, same_outcome, tensor_of

ACTIVATIONS = {
    "ReLU": lambda T: T.nn.ReLU(),
    "ReLU6": lambda T: T.nn.ReLU6(),
    "LeakyReLU": lambda T: T.nn.LeakyReLU(0.2),
    "PReLU": lambda T: T.nn.PReLU(),
    "RReLU": lambda T: T.nn.RReLU(),
    "ELU": lambda T: T.nn.ELU(1.3),
    "SELU": lambda T: T.nn.SELU(),
    "CELU": lambda T: T.nn.CELU(1.7),
    "CELU of 1": lambda T: T.nn.CELU(),
    "GELU": lambda T: T.nn.GELU(),
    "GELU tanh": lambda T: T.nn.GELU("tanh"),
    "SiLU": lambda T: T.nn.SiLU(),
    "Mish": lambda T: T.nn.Mish(),
    "Sigmoid": lambda T: T.nn.Sigmoid(),
    "LogSigmoid": lambda T: T.nn.LogSigmoid(),
    "Hardsigmoid": lambda T: T.nn.Hardsigmoid(),
    "Hardswish": lambda T: T.nn.Hardswish(),
    "Hardtanh": lambda T: T.nn.Hardtanh(-0.7, 1.2),
    "Hardshrink": lambda T: T.nn.Hardshrink(0.3),
    "Softshrink": lambda T: T.nn.Softshrink(0.3),
    "Tanhshrink": lambda T: T.nn.Tanhshrink(),
    "Threshold": lambda T: T.nn.Threshold(0.1, 20),
    "Tanh": lambda T: T.nn.Tanh(),
    "Softmax": lambda T: T.nn.Softmax(dim=1),
    "LogSoftmax": lambda T: T.nn.LogSoftmax(dim=0),
    "Softmin": lambda T: T.nn.Softmin(dim=-1),
    "Softmax2d": lambda T: T.nn.Softmax2d(),
    "Softplus": lambda T: T.nn.Softplus(2.0, 3.0),
    "Softsign": lambda T: T.nn.Softsign(),
    "GLU": lambda T: T.nn.GLU(dim=2),
}
INPLACE = ["ReLU", "ReLU6", "LeakyReLU", "ELU", "SELU", "CELU", "SiLU", "Mish", "Hardsigmoid", "Hardswish", "Hardtanh"]
POINTWISE = [name for name in ACTIVATIONS if name not in ("Softmax", "LogSoftmax", "Softmin", "Softmax2d", "GLU")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_equals_pytorch(name: str, dtype: str) -> None:
    compare_module(ACTIVATIONS[name], [random((3, 4, 6, 2), 1, dtype) * 3], training=False)


@pytest.mark.parametrize("name", POINTWISE)
def test_special_values(name: str) -> None:
    values = np.array([np.nan, np.inf, -np.inf, 100.0, -100.0, 1e30, -1e30, 25.0, -25.0, 1e-30, -1e-30])
    mine, reference = ACTIVATIONS[name](dumbtorch).double().eval(), ACTIVATIONS[name](torch).double().eval()
    assert_close(mine(tensor_of(dumbtorch, values)), reference(tensor_of(torch, values)))


@pytest.mark.parametrize("name", POINTWISE)
def test_gradient_at_the_corners(name: str) -> None:
    # Zero, and where each piecewise activation bends.
    corners = np.array([0.0, 6.0, 3.0, -3.0, -0.7, 1.2, 0.3, -0.3, 0.1, 1.5])
    compare_module(ACTIVATIONS[name], [corners], training=False)


@pytest.mark.parametrize("name", POINTWISE)
def test_gradient_at_extremes_is_finite(name: str) -> None:
    extremes = np.array([1e4, -1e4, 800.0, -800.0, 41.0, -41.0, 39.0, -39.0])
    compare_module(ACTIVATIONS[name], [extremes], training=False)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,)])
@pytest.mark.parametrize("name", POINTWISE)
def test_scalar_and_empty(name: str, shape: tuple[int, ...]) -> None:
    compare_module(ACTIVATIONS[name], [random(shape)], training=False)


@pytest.mark.parametrize("name", INPLACE)
def test_in_place(name: str) -> None:
    def function(T):
        module = getattr(T.nn, name)(inplace=True)

        def call(x):
            inner = x * 2
            out = module(inner)
            assert out is inner
            return out * 1.5

        return call

    compare_function(function, [random((5, 6)) * 3])


@pytest.mark.parametrize("name", ["relu_", "elu_", "selu_", "celu_", "leaky_relu_", "hardtanh_"])
def test_underscored_functions_work_in_place(name: str) -> None:
    def function(T):
        def call(x):
            inner = x * 2
            assert getattr(T.nn.functional, name)(inner) is inner
            return inner

        return call

    compare_function(function, [random((4, 5))])


def test_threshold_in_place() -> None:
    def function(T):
        return lambda x: T.nn.functional.threshold_(x * 1, 0.2, -3.0)

    compare_function(function, [random((4, 5))])


def test_strided_input() -> None:
    for name in POINTWISE:
        module = ACTIVATIONS[name]
        if name == "PReLU":
            continue

        def function(T, module=module):
            layer = module(T).double().eval()
            return lambda x: layer(x.t()[::2, 1:])

        compare_function(function, [random((6, 8))])


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3), (3,)])
def test_prelu_of_several_channels(shape: tuple[int, ...]) -> None:
    weight = np.array([0.1, 0.2, 0.3]) if len(shape) > 1 else np.array([0.3])
    compare_function(lambda T: T.nn.functional.prelu, [random(shape), weight])


def test_rrelu_in_training_draws_slopes_in_range() -> None:
    x = -dumbtorch.ones(10000)
    x.requires_grad_()
    out = dumbtorch.nn.RReLU(0.1, 0.4).train()(x)
    out.sum().backward()
    slopes = -as_numpy(out)
    assert slopes.min() >= 0.1 and slopes.max() <= 0.4
    assert abs(slopes.mean() - 0.25) < 0.01
    np.testing.assert_allclose(as_numpy(x.grad), slopes, rtol=1e-6)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 3, 4, 5)])
def test_implicit_dim_warns_and_is_the_same(name: str, shape: tuple[int, ...]) -> None:
    def function(T):
        def call(x):
            with pytest.warns(UserWarning, match="Implicit dimension choice"):
                return getattr(T.nn.functional, name)(x)

        return call

    compare_function(function, [random(shape)])


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_softmax_in_another_dtype(name: str) -> None:
    def scenario(T):
        out = getattr(T.nn.functional, name)(T.ones(2, 3, dtype=T.float32), dim=1, dtype=T.float64)
        return str(out.dtype).split(".")[1], [round(v, 9) for v in out.flatten().tolist()]

    same_outcome(scenario)


def test_gumbel_softmax() -> None:
    dumbtorch.manual_seed(1)
    logits = dumbtorch.from_numpy(np.log(np.array([[0.1, 0.2, 0.7]]).repeat(20000, 0))).requires_grad_()
    hard = dumbtorch.nn.functional.gumbel_softmax(logits, hard=True)
    assert set(np.unique(as_numpy(hard).round(12))) == {0.0, 1.0}
    np.testing.assert_allclose(as_numpy(hard).mean(0), [0.1, 0.2, 0.7], atol=0.02)
    (hard * tensor_of(dumbtorch, np.array([1.0, 2.0, 3.0]))).sum().backward()
    assert np.abs(as_numpy(logits.grad)).max() > 0
    soft = dumbtorch.nn.functional.gumbel_softmax(logits.detach(), tau=0.5)
    np.testing.assert_allclose(as_numpy(soft).sum(1), 1.0, rtol=1e-9)


@pytest.mark.parametrize(
    "scenario",
    [
        lambda T: T.nn.GLU()(T.ones(2, 3)),
        lambda T: T.nn.Softmax2d()(T.ones(2, 3)),
        lambda T: T.nn.functional.celu(T.ones(2), 0.0),
        lambda T: T.nn.Softshrink(-1.0)(T.ones(2)),
        lambda T: T.nn.Hardtanh(2.0, 1.0),
        lambda T: T.nn.PReLU(3)(T.ones(2, 4)),
        lambda T: T.nn.GELU("fast")(T.ones(2)),
    ],
)
def test_errors_are_of_the_same_type(scenario) -> None:
    same_outcome(scenario, message=False)


@pytest.mark.parametrize(
    "make",
    [
        lambda T: T.nn.ReLU(inplace=True),
        lambda T: T.nn.ReLU6(True),
        lambda T: T.nn.LeakyReLU(0.1, True),
        lambda T: T.nn.RReLU(0.1, 0.2, True),
        lambda T: T.nn.ELU(inplace=True),
        lambda T: T.nn.Hardtanh(inplace=True),
        lambda T: T.nn.Threshold(1, 2, True),
        lambda T: T.nn.Softmax(),
        lambda T: T.nn.Hardswish(True),
        lambda T: T.nn.PReLU(4),
    ],
)
def test_repr(make) -> None:
    assert repr(make(dumbtorch)) == repr(make(torch))
