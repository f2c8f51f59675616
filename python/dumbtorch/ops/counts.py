"""Random numbers with a parameter for each element: Poisson, binomial, gamma, Dirichlet."""

from __future__ import annotations

from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.ops.table import FUNCTIONS, composite, row

_POISSON: Any = row("poisson", "input, generator=None", out=False, method=False,
    grad={"input": lambda g: g.new_zeros(g.shape)},
    doc="Poisson numbers with the rates in ``input``. RuntimeError for a negative rate.")  # fmt: skip
_BINOMIAL: Any = row("binomial", "count, prob, generator=None", out=False, function=False, method=False,
    doc="How many of ``count`` trials succeed, each with probability ``prob``.")  # fmt: skip
_GAMMA: Any = row("standard_gamma", "input, generator=None", out=False, function=False, method=False,
    doc="Gamma numbers of the shapes in ``input``, with scale 1.")  # fmt: skip


@composite(method=False)
def binomial(count: Any, prob: Any, generator: Any = None) -> Any:
    """How many of ``count`` trials succeed, each with probability ``prob``: tensors that broadcast.

    Both are floating-point tensors of one dtype, else ValueError or RuntimeError. Reference: ``torch.binomial``.
    """
    for name, value in (("count", count), ("prob", prob)):
        if not isinstance(value, _C.TensorBase):
            raise TypeError(f"binomial(): argument '{name}' must be Tensor, not {type(value).__name__}")
        if not value.dtype.is_floating_point:
            kind = _dtypes.TYPE_NAMES[value.dtype]
            raise ValueError(f"binomial only supports floating-point dtypes for {name}, got: {kind}")
    if count.dtype is not prob.dtype:
        raise RuntimeError(
            f"Found dtype {_dtypes.TYPE_NAMES[prob.dtype]} but expected {_dtypes.TYPE_NAMES[count.dtype]}"
        )
    if count.shape != prob.shape:
        shape = FUNCTIONS["broadcast_shapes"](count.shape, prob.shape)
        count, prob = count.expand(shape), prob.expand(shape)
    return _BINOMIAL(count.detach(), prob.detach(), generator)


@composite("_standard_gamma", method=False)
def standard_gamma(input: Any, generator: Any = None) -> Any:
    """Gamma numbers of the given shapes, with scale 1; the result carries no gradient."""
    return _GAMMA(input.detach(), generator)


@composite("_sample_dirichlet", method=False)
def sample_dirichlet(input: Any, generator: Any = None) -> Any:
    """Points of the simplex of the last dimension with the given concentrations; they carry no gradient."""
    drawn = _GAMMA(input.detach(), generator)
    return drawn / drawn.sum(-1, keepdim=True)
