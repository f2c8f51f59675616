"""gradcheck and gradgradcheck find wrong derivatives and accept right ones."""

from __future__ import annotations

from typing import Any

import pytest

import dumbtorch as torch
from dumbtorch.autograd import Function, gradcheck, gradgradcheck
from dumbtorch.autograd.gradcheck import GradcheckError


class Wrong(Function):
    factor = 2.5

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * ctx.saved_tensors[0] * Wrong.factor


class WrongTwice(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * ctx.saved_tensors[0].detach() * 2


def point() -> Any:
    return torch.tensor([0.5, -1.5, 2.0], dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("fast", [False, True])
def test_right_and_wrong(fast: bool) -> None:
    assert gradcheck(lambda x: (x * x).sin(), (point(),), fast_mode=fast)
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0"):
        gradcheck(Wrong.apply, (point(),), fast_mode=fast)
    assert gradcheck(Wrong.apply, (point(),), fast_mode=fast, raise_exception=False) is False


@pytest.mark.parametrize("fast", [False, True])
def test_second_derivatives(fast: bool) -> None:
    assert gradgradcheck(lambda x: x.exp() * x, (point(),), fast_mode=fast)
    assert gradcheck(WrongTwice.apply, (point(),))
    with pytest.raises(GradcheckError):
        gradgradcheck(WrongTwice.apply, (point(),), fast_mode=fast)


def test_several_inputs_and_outputs() -> None:
    a, b = point(), torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda a, b, k: (a * b * k, a + b), (a, b, 3))
    assert gradgradcheck(lambda a, b: (a * b * b, a.sum() * b), (a, b), gen_non_contig_grad_outputs=True)


def test_unusable_inputs() -> None:
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(lambda x: x, (torch.ones(2, dtype=torch.float64),))
    with pytest.warns(UserWarning, match="not a double precision"), pytest.raises(GradcheckError):
        gradcheck(lambda x: x * x, (torch.full((2,), 1.3, requires_grad=True),))
    with pytest.raises(GradcheckError, match="expected to be zero"):
        gradcheck(lambda x: x.detach() * 2, (point(),))
    assert gradcheck(lambda x: torch.ones(2, dtype=torch.float64), (point(),))
