"""Custom Functions: forward mode, vmap, and what their contexts keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as reference

import dumbtorch

BOTH = (dumbtorch, reference)


def _classes(t: Any) -> Any:
    class Cube(t.autograd.Function):
        @staticmethod
        def forward(x: Any) -> Any:
            return x**3, x**2

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(inputs[0], output[1])
            ctx.save_for_forward(inputs[0], output[1])

        @staticmethod
        def backward(ctx: Any, g: Any, h: Any) -> Any:
            x, square = ctx.saved_tensors
            return g * 3 * square + h * 2 * x

        @staticmethod
        def jvp(ctx: Any, dx: Any) -> Any:
            x, square = ctx.saved_tensors
            return 3 * square * dx, 2 * x * dx

    class Batched(Cube):
        @staticmethod
        def vmap(info: Any, in_dims: Any, x: Any) -> Any:
            assert info.batch_size == 3 and in_dims[0] is not None
            return Batched.apply(x), in_dims * 2

    class Generated(t.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Any, y: Any, factor: float) -> Any:
            return (x * y).sum() * factor

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            x, y, ctx.factor = inputs
            ctx.save_for_backward(x, y)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, y = ctx.saved_tensors
            return g * y * ctx.factor, g * x * ctx.factor, None

    return Cube, Batched, Generated


def _numbers(values: Any) -> list[Any]:
    values = values if isinstance(values, (tuple, list)) else [values]
    return [np.asarray(v.detach().tolist()) for v in values]


def _compare(run: Any) -> None:
    ours, theirs = (_numbers(run(t)) for t in BOTH)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def _x(t: Any) -> Any:
    return t.tensor([[0.5, -1.0], [2.0, 3.0], [1.5, 0.25]], dtype=t.float64)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_forward_mode() -> None:
    _compare(lambda t: t.func.jvp(lambda x: _classes(t)[0].apply(x)[0].sin(), (_x(t),), (_x(t) * 2,)))


def test_vmap_by_hand_and_generated() -> None:
    _compare(lambda t: t.func.vmap(lambda x: _classes(t)[1].apply(x)[0].sum())(_x(t)))
    _compare(lambda t: t.func.vmap(t.func.grad(lambda x: _classes(t)[1].apply(x)[0].sum()))(_x(t)))
    _compare(lambda t: t.func.vmap(lambda x, y: _classes(t)[2].apply(x, y, 2.0), (0, None))(_x(t), _x(t)[0]))
    _compare(
        lambda t: t.func.vmap(t.func.grad(lambda x, y: _classes(t)[2].apply(x, y, 2.0), (0, 1)), (0, None))(
            _x(t), _x(t)[0]
        )
    )
    _compare(lambda t: t.func.grad(lambda x: t.func.vmap(lambda r: _classes(t)[2].apply(r, r, 3.0))(x).sum())(_x(t)))
    _compare(lambda t: t.func.jacrev(lambda x: t.func.vmap(lambda r: _classes(t)[2].apply(r, r, 3.0))(x))(_x(t)))


@pytest.mark.parametrize("t", BOTH)
def test_what_is_missing_is_said(t: Any) -> None:
    class Plain(t.autograd.Function):
        @staticmethod
        def forward(x: Any) -> Any:
            return x * 2

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    with pytest.raises(RuntimeError, match="vmap staticmethod|generate_vmap_rule"):
        t.func.vmap(Plain.apply)(_x(t))


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_forward_mode_without_jvp_is_an_error() -> None:
    class Plain(dumbtorch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

    with pytest.raises(RuntimeError, match="jvp"):
        dumbtorch.func.jvp(Plain.apply, (_x(dumbtorch),), (_x(dumbtorch),))


def test_double_backward_and_dual_numbers() -> None:
    cube = _classes(dumbtorch)[0]
    x = _x(dumbtorch).requires_grad_()
    assert dumbtorch.autograd.gradgradcheck(lambda x: cube.apply(x), (x,))
    assert dumbtorch.autograd.gradcheck(lambda x: cube.apply(x), (x,), check_forward_ad=True)
    fw = dumbtorch.autograd.forward_ad
    with fw.dual_level():
        out = cube.apply(fw.make_dual(x.detach(), x.detach() * 0 + 1))
        assert dumbtorch.allclose(fw.unpack_dual(out[0]).tangent, 3 * x.detach() ** 2)
        with pytest.raises(RuntimeError, match="Nested"):
            fw.enter_dual_level()
    assert fw.unpack_dual(out[0]).tangent is None
    with pytest.raises(RuntimeError, match="no level exists"):
        fw.make_dual(x, x)
