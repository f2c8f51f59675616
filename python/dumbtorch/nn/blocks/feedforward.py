"""Feed-forward layers, plain and gated, and the ways to put layers together: residual and parallel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dumbtorch._tensor import Tensor
from dumbtorch.nn import functional as F
from dumbtorch.nn.modules.dropout import Dropout
from dumbtorch.nn.modules.linear import Linear
from dumbtorch.nn.modules.module import Module


class FeedForward(Module):
    """down(activation(up(x))): (..., dim) -> (..., dim); `hidden` is 4 * dim by default, the activation GELU."""

    def __init__(
        self, dim: int, hidden: int | None = None, activation: Callable[[Tensor], Tensor] = F.gelu, bias: bool = True
    ) -> None:
        super().__init__()
        hidden = 4 * dim if hidden is None else hidden
        self.up = Linear(dim, hidden, bias)
        self.down = Linear(hidden, dim, bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))


class _Gated(Module):
    """down(activation(gate(x)) * up(x)); `hidden` is 8/3 * dim by default: the weights of a plain one of 4 * dim."""

    activation: Callable[[Tensor], Tensor]

    def __init__(self, dim: int, hidden: int | None = None, bias: bool = False) -> None:
        super().__init__()
        hidden = 8 * dim // 3 if hidden is None else hidden
        self.gate = Linear(dim, hidden, bias)
        self.up = Linear(dim, hidden, bias)
        self.down = Linear(hidden, dim, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(type(self).activation(self.gate(x)) * self.up(x))


class SwiGLU(_Gated):
    """down(silu(gate(x)) * up(x)): (..., dim) -> (..., dim); `hidden` is 8/3 * dim by default.

    Reference: Shazeer, "GLU variants improve transformer", 2020.

        >>> nn.blocks.SwiGLU(24)(dumbtorch.rand(2, 5, 24)).shape
        torch.Size([2, 5, 24])
    """

    activation = staticmethod(F.silu)


class GeGLU(_Gated):
    """down(gelu(gate(x)) * up(x)): (..., dim) -> (..., dim); `hidden` is 8/3 * dim by default.

    Reference: Shazeer, "GLU variants improve transformer", 2020.
    """

    activation = staticmethod(F.gelu)


class Residual(Module):
    """x + dropout(module(norm(x))); further arguments go to the module.

    >>> nn.blocks.Residual(nn.Linear(8, 8), nn.LayerNorm(8))(dumbtorch.rand(3, 8)).shape
    torch.Size([3, 8])
    """

    def __init__(self, module: Module, norm: Module | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.module = module
        self.norm = norm
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Tensor:
        return x + self.dropout(self.module(x if self.norm is None else self.norm(x), *args, **named))


class Parallel(Module):
    """The sum of what several modules make of the same input, as where attention and feed-forward run side by side.

    Reference: Wang and Komatsuzaki, "GPT-J-6B", 2021.
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        if not modules:
            raise ValueError("Parallel: at least one module")
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.children()
        total: Tensor = first(x)
        for module in others:
            total = total + module(x)
        return total
