"""Functions with hand-written derivatives."""

from __future__ import annotations

from typing import Any

import pytest

import dumbtorch as torch
from dumbtorch.autograd import Function, grad, gradcheck, gradgradcheck
from dumbtorch.autograd.function import once_differentiable


def leaf(*values: float) -> Any:
    return torch.tensor([float(v) for v in values], dtype=torch.float64, requires_grad=True)


class Cube(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        assert not torch.is_grad_enabled()
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


class Scale(Function):
    @staticmethod
    def forward(x: Any, factor: float) -> Any:
        return x * factor

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * ctx.factor, None


class Exp(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        result = x.exp()
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * ctx.saved_tensors[0]


def test_values_and_derivatives() -> None:
    x = leaf(1, 2)
    y = Cube.apply(x)
    assert y.tolist() == [1, 8]
    assert type(y.grad_fn).__name__ == "CubeBackward"
    assert y.grad_fn.name() == "CubeBackward"
    y.sum().backward()
    assert x.grad.tolist() == [3, 12]
    assert gradcheck(Cube.apply, (leaf(0.5, -1.5),))
    assert gradgradcheck(Cube.apply, (leaf(0.5, -1.5),))


def test_setup_context() -> None:
    x = leaf(1, 2)
    Scale.apply(x, 5.0).sum().backward()
    assert x.grad.tolist() == [5, 5]
    assert gradcheck(lambda x: Scale.apply(x, 3.0), (x.detach().requires_grad_(),))


def test_a_saved_output_differentiates_twice() -> None:
    x = leaf(0.3)
    assert gradgradcheck(Exp.apply, (x,))


def test_without_gradient_nothing_is_recorded() -> None:
    assert Cube.apply(torch.ones(2)).grad_fn is None
    with torch.no_grad():
        assert Cube.apply(leaf(1)).grad_fn is None


def test_needs_input_grad() -> None:
    seen = []

    class Two(Function):
        @staticmethod
        def forward(ctx: Any, a: Any, k: int, b: Any) -> Any:
            return a * b * k

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            seen.append(ctx.needs_input_grad)
            return g, None, g

    a, b = leaf(1), torch.ones(1, dtype=torch.float64)
    Two.apply(a, 2, b).sum().backward()
    assert seen == [(True, False, False)]
    assert b.grad is None


def test_several_outputs_and_materialised_gradients() -> None:
    got = []

    class Parts(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2, x * 3, torch.tensor([1])

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any, c: Any) -> Any:
            got.append((a.tolist(), b.tolist()))
            return a * 2 + b * 3

    x = leaf(1, 2)
    first, second, third = Parts.apply(x)
    assert not third.requires_grad
    second.sum().backward()
    assert got == [([0, 0], [1, 1])]
    assert x.grad.tolist() == [3, 3]


def test_gradients_left_as_none() -> None:
    got = []

    class Parts(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any) -> Any:
            got.append(a)
            return b * 3

    x = leaf(1)
    Parts.apply(x)[1].sum().backward()
    assert got == [None]


def test_mark_non_differentiable() -> None:
    class Sorted(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            places = x * 0
            ctx.mark_non_differentiable(places)
            return x * 1, places

        @staticmethod
        def backward(ctx: Any, g: Any, unused: Any) -> Any:
            return g

    values, places = Sorted.apply(leaf(1, 2))
    assert values.requires_grad and not places.requires_grad


def test_mark_dirty() -> None:
    class Double(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    x = leaf(1, 2)
    y = x * 1
    z = Double.apply(y)
    assert z is y and y.grad_fn.name() == "DoubleBackward"
    (y * 5).sum().backward()
    assert x.grad.tolist() == [10, 10]
    with pytest.raises(RuntimeError, match="leaf Variable"):
        Double.apply(leaf(1))
    base = leaf(1, 2) * 1
    Double.apply(base[1:])
    assert base.tolist() == [1, 4]
    assert base.grad_fn.name() == "CopySlices"


def test_an_input_returned_as_it_came() -> None:
    class Same(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 7

    x = leaf(1)
    y = Same.apply(x)
    assert y is not x and x.is_leaf
    y.sum().backward()
    assert x.grad.tolist() == [7]


def test_saved_tensors_are_guarded() -> None:
    x = leaf(1, 2)
    y = x * 1
    z = Cube.apply(y)
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation.*CubeBackward"):
        z.sum().backward()


def test_saved_tensors_are_freed() -> None:
    x = leaf(1)
    y = Cube.apply(x)
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()
    with pytest.raises(TypeError, match="save_for_backward can only save variables"):

        class Bad(Cube):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                ctx.save_for_backward(3)
                return x

        Bad.apply(x)


def _returning(value: Any) -> Any:
    class Returns(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return value

    return Returns


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            (torch.ones(3), torch.ones(3)),
            r"function ReturnsBackward returned an incorrect number of gradients \(expected 1, got 2\)",
        ),
        (
            torch.ones(5),
            r"Function ReturnsBackward returned an invalid gradient at index 0 - got \[5\] but expected shape",
        ),
        (3, r"expected Variable or None \(got int\)"),
    ],
)
def test_wrong_backwards(value: Any, words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        _returning(value).apply(leaf(1, 2, 3)).sum().backward()


def test_trailing_nones_are_fine_and_gradients_are_fitted() -> None:
    x = leaf(1, 2, 3)
    _returning((torch.ones(2, 3), None, None)).apply(x).sum().backward()
    assert x.grad.tolist() == [2, 2, 2]
    assert x.grad.dtype is torch.float64


def test_once_differentiable() -> None:
    class Once(Cube):
        @staticmethod
        @once_differentiable
        def backward(ctx: Any, g: Any) -> Any:
            assert not torch.is_grad_enabled()
            return g * 3 * ctx.saved_tensors[0] ** 2

    x = leaf(2)
    Once.apply(x).sum().backward()
    assert x.grad.tolist() == [12]
    y = Once.apply(x) * x
    (g,) = grad(y.sum(), [x], create_graph=True)
    with pytest.raises(RuntimeError, match="marked with @once_differentiable"):
        g.sum().backward()


def test_instances_are_discouraged() -> None:
    with pytest.warns(DeprecationWarning, match="should not be instantiated"):
        Cube()


def test_missing_methods() -> None:
    class Nothing(Function):
        pass

    with pytest.raises(NotImplementedError, match="implement the forward"):
        Nothing.apply(leaf(1))
