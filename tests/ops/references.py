"""What each row is compared with in PyTorch, where it is not the function of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from dumbtorch import ops
from tests.ops import sequence_references


def _gradient(function: Callable[..., Any], at: Any, grad: Any) -> Any:
    """PyTorch's own derivative of a function at a point, differentiable again."""
    with torch.enable_grad():
        point = at if at.requires_grad else at.detach().requires_grad_()
        return torch.autograd.grad(function(point), point, grad, create_graph=True)[0]


def _both_gradients(function: Callable[..., Any], a: Any, b: Any, grad: Any) -> Any:
    with torch.enable_grad():
        a, b = a.detach().requires_grad_(), b.detach().requires_grad_()
        return torch.autograd.grad(function(a, b), (a, b), grad)


def _conv(weight: Any) -> Any:
    return (F.conv1d, F.conv2d, F.conv3d)[weight.ndim - 3]


_RESIZES = ("nearest", "nearest-exact", "linear", "bicubic", "bilinear", "bicubic", "area", "lanczos")


def _resample(input: Any, size: Any, mode: int, align: bool, *factors: float) -> Any:
    """By PyTorch's `interpolate`; factors only where they agree with the size."""
    name = _RESIZES[mode]
    if name == "linear":
        name = ("linear", "bilinear", "trilinear")[len(size) - 1]
    options: dict[str, Any] = {"align_corners": align} if mode in (2, 3, 4, 5) else {}
    if mode in (4, 5, 7) and input.dtype in (torch.float16, torch.bfloat16):  # PyTorch has none
        return _resample(input.float(), size, mode, align, *factors).to(input.dtype)
    given = {"scale_factor": factors[: len(size)]} if any(factors) else {"size": size}
    return F.interpolate(input, mode=name, antialias=mode in (4, 5, 7), **given, **options)


def _max_regions(input: Any, starts: Any, ends: Any, size: Any) -> Any:
    if int(ends.max()) > max(input.shape[-2:]) or int(ends[0, -1]) > input.shape[-1]:
        raise RuntimeError("a region does not lie in the plane")
    rows = [(s, e) for s, e in zip(starts[0, 1:].tolist(), ends[0, 1:].tolist(), strict=True)]
    height, width = input.shape[-2:]
    flat, values, places = input.flatten(-2), [], []
    for y0, y1 in rows[: size[0]]:
        for x0, x1 in rows[size[0] :]:
            inside = torch.zeros(height, width, dtype=torch.bool)
            inside[y0:y1, x0:x1] = True
            value, place = flat.masked_fill(~inside.flatten(), -torch.inf).max(-1)
            values.append(value)
            places.append(place)
    return tuple(torch.stack(all_, -1).unflatten(-1, size) for all_ in (values, places))


def _cross_entropy(input: Any, target: Any, ignore_index: int = -100, reduction: str = "mean") -> Any:
    return F.cross_entropy(input, target, ignore_index=ignore_index, reduction=reduction)


def _topk(input: Any, k: int, dim: int = -1, largest: bool = True) -> Any:
    """Of equal elements the first: torch.topk leaves open which."""
    result = torch.sort(input, dim=dim, descending=largest, stable=True)
    return tuple(t.narrow(dim, 0, k) if input.ndim else t for t in result)


def _kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    torch.kthvalue(input, k, dim, keepdim)  # raises what it raises
    result = torch.sort(input, dim=dim, stable=True)
    return tuple(t.narrow(dim, k - 1, 1) if keepdim else t.select(dim, k - 1) if t.ndim else t for t in result)


def _median(input: Any, dim: int = -1, keepdim: bool = False) -> Any:
    """Of samples without NaN."""
    return _kthvalue(input, ((input.shape[dim] if input.ndim else 1) + 1) // 2, dim, keepdim)


def _row_norm(input: Any, weight: Any, bias: Any, n: int, inner: int, weights: int, eps: float, rms: bool) -> Any:
    wide = torch.float64 if input.dtype == torch.float64 else torch.float32
    x = input.to(wide).reshape(-1, n // inner, inner)
    mean = torch.zeros(len(x), dtype=wide) if rms else x.mean((1, 2))
    centred = x - mean[:, None, None]
    rstd = (centred.square().mean((1, 2)) + eps).rsqrt()
    y = (centred * rstd[:, None, None]).reshape(-1, weights, inner)
    y = y if weight is None else y * weight.to(wide)[:, None]
    y = y if bias is None else y + bias.to(wide)[:, None]
    return y.reshape(input.shape).to(input.dtype), mean, rstd


def _channel_norm(
    input: Any, mean: Any, rstd: Any, weight: Any, bias: Any, channels: int, inner: int, *rest: Any
) -> Any:
    shape = (1, channels, *(1,) * (input.ndim - 2))
    y = (input - mean.reshape(shape)) * rstd.reshape(shape)
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def _laid(input: Any, src: Any, *layout: Any) -> Any:
    made = input.clone(memory_format=torch.contiguous_format)
    made.as_strided(*layout).copy_(src)
    return made


def _row_norm_backward(
    grad: Any, input: Any, mean: Any, rstd: Any, weight: Any, n: int, inner: int, weights: int, rms: bool, affine: bool
) -> Any:
    wide = torch.float64 if input.dtype == torch.float64 else torch.float32
    mean, rstd = (v.to(wide)[:, None, None] for v in (mean, rstd))
    g, x = (t.to(wide).reshape(-1, n // inner, inner) for t in (grad, input))
    z = (x - mean) * rstd
    sums = [t.reshape(-1, weights, inner).sum((0, 2)) if affine else torch.zeros(0, dtype=wide) for t in (g * z, g)]
    h = g if weight is None else (g.reshape(-1, weights, inner) * weight.to(wide)[:, None]).reshape(g.shape)
    back = h - z * (h * z).mean((1, 2), True)
    back = back if rms else back - h.mean((1, 2), True)
    return (back * rstd).reshape(input.shape).to(input.dtype), *sums


def _channel_statistics(input: Any, channels: int, inner: int) -> Any:
    wide = torch.float64 if input.dtype == torch.float64 else torch.float32
    x = input.to(wide).reshape(-1, channels, inner)
    return x.mean((0, 2)), x.var((0, 2), correction=0)


def _channel_norm_backward(
    grad: Any, input: Any, mean: Any, rstd: Any, weight: Any, channels: int, inner: int, own: bool
) -> Any:
    g, x = (t.reshape(-1, channels, inner) for t in (grad, input))
    mean, rstd = mean[:, None], rstd[:, None]
    z = (x - mean) * rstd
    h = g if weight is None else g * weight[:, None]
    back = h - h.mean((0, 2), True) - z * (h * z).mean((0, 2), True) if own else h
    return (back * rstd).reshape(input.shape), (g * z).sum((0, 2)), g.sum((0, 2))


def _attention(
    query: Any, key: Any, value: Any, mask: Any = None, dropout: float = 0.0, low: int = -9, high: int = 9,
    scale: float = 1.0,
) -> Any:  # fmt: skip
    if not 0 <= dropout <= 1:
        raise RuntimeError(dropout)
    shared = query.shape[1] // key.shape[1]
    scores = scale * query @ key.repeat_interleave(shared, 1).mT
    distance = torch.arange(key.shape[2]) - torch.arange(query.shape[2])[:, None]
    hidden = (distance < low) | (distance > high)
    if mask is not None and mask.dtype == torch.bool:
        hidden = hidden | ~mask
    elif mask is not None:
        scores = scores + mask
    scores = scores.masked_fill(hidden, -1e4 if scores.dtype == torch.float16 else -1e30)
    weights = scores.softmax(-1) * ~hidden
    lse = scores.to(torch.float64 if scores.dtype == torch.float64 else torch.float32).logsumexp(-1)
    lse = lse.masked_fill(hidden.expand(scores.shape).all(-1), torch.inf)
    return weights @ value.repeat_interleave(shared, 1), lse, torch.zeros(2, dtype=torch.int64)


REFERENCES: dict[str, Callable[..., Any]] = {
    "attention": _attention,
    "softmax_backward": lambda grad, out, dim: out * (grad - (out * grad).sum(dim, True)),
    "log_softmax_backward": lambda grad, out, dim: grad - out.exp() * grad.sum(dim, True),
    "cross_entropy": _cross_entropy,
    "cross_entropy_backward": lambda grad, input, target, ignore, reduction: _gradient(
        lambda x: _cross_entropy(x, target, ignore, reduction), input, grad
    ),
    "convolution": lambda input, weight, *rest: _conv(weight)(input, weight, *rest),
    "convolution_input": lambda grad, weight, shape, stride, padding, dilation, groups, bias=None: (
        _gradient(
            lambda x: _conv(weight)(x, weight, None, stride, padding, dilation, groups),
            torch.zeros(shape, dtype=grad.dtype),
            grad,
        )
        + (0 if bias is None else bias.view(-1, *(1,) * (weight.ndim - 2)))
    ),
    "convolution_weight": lambda grad, input, shape, *rest: _gradient(
        lambda w: _conv(w)(input, w, None, *rest), torch.zeros(shape, dtype=grad.dtype), grad
    ),
    "max_pool2d_backward": lambda grad, indices, shape: (
        grad.new_zeros(shape).flatten(2).scatter_add(2, indices.flatten(2), grad.flatten(2)).reshape(shape)
    ),
    "max_regions": _max_regions,
    "resample": _resample,
    "resample_adjoint": lambda grad, size, *rest: _gradient(
        lambda x: _resample(x, tuple(grad.shape[2:]), *rest),
        torch.zeros((*grad.shape[:2], *size), dtype=grad.dtype),
        grad,
    ),
    "grid_sampler_backward": lambda grad, input, grid, *rest: _both_gradients(
        lambda x, at: torch.grid_sampler(x, at, *rest), input, grid, grad
    ),
    "avg_pool2d_backward": lambda grad, shape, *rest: _gradient(
        lambda x: F.avg_pool2d(x, *rest), torch.zeros(shape, dtype=grad.dtype), grad
    ),
    "embedding": lambda weight, index, padding=-1, scale=False: F.embedding(
        index, weight, padding if padding >= 0 else None, scale_grad_by_freq=scale
    ),
    "fft_c2c": torch.ops.aten._fft_c2c,
    "fft_r2c": lambda x, dims, norm: torch.ops.aten._fft_r2c(x, dims, norm, True),
    "fft_c2r": torch.ops.aten._fft_c2r,
    "cdist": lambda x, y, p=2.0: torch.cdist(x, y, p, "donot_use_mm_for_euclid_dist"),
    "linalg_solve_ex": lambda A, B: (torch.linalg.solve(A, B), *torch.linalg.lu_factor_ex(A)),
    "linalg_det": lambda A: (torch.linalg.det(A), *torch.linalg.lu_factor_ex(A)[:2]),
    "linalg_slogdet": lambda A: (*torch.linalg.slogdet(A), *torch.linalg.lu_factor_ex(A)[:2]),
    "linalg_lu_solve": lambda LU, pivots, B, adjoint=False: torch.linalg.lu_solve(LU, pivots, B, adjoint=adjoint),
    "index": torch.ops.aten.index,
    # PyTorch's own derivative of it gives the input the gradient of what was overwritten
    "as_strided_scatter": lambda input, src, *layout: _laid(input, src, *layout),
    "index_put": torch.ops.aten.index_put,
    "split": lambda input, lengths, dim: torch.split(input, lengths, dim),
    "pad_edges": lambda input, pad, kind: F.pad(input, pad, ("reflect", "replicate", "circular")[kind]),
    "embedding_backward": lambda grad, index, count, padding=-1, scale=False: torch.ops.aten.embedding_dense_backward(
        grad, index, count, padding, scale
    ),
    "recurrent": sequence_references.recurrent,
    "recurrent_backward": sequence_references.recurrent_backward,
    "ctc_forward": sequence_references.ctc_forward,
    "ctc_backward": sequence_references.ctc_backward,
    "row_norm": _row_norm,
    "row_norm_backward": _row_norm_backward,
    "channel_norm": _channel_norm,
    "channel_statistics": _channel_statistics,
    "channel_norm_backward": _channel_norm_backward,
    "max_dim": torch.max,
    "min_dim": torch.min,
    "norm": lambda input, p=2.0, dim=None, keepdim=False: torch.linalg.vector_norm(input, p, dim, keepdim),
    "copy": lambda input, src: input.clone().copy_(src),
    "fill": lambda input, value: input.clone().fill_(value),
    "topk": _topk,
    "kthvalue": _kthvalue,
    "median": _median,
    "nanmedian": _median,
    "sort": lambda input, dim=-1, descending=False: torch.sort(input, dim=dim, descending=descending, stable=True),
    "argsort": lambda input, dim=-1, descending=False: torch.argsort(
        input, dim=dim, descending=descending, stable=True
    ),
    "mode": torch.mode,
    "searchsorted": lambda bounds, input, sorter, right, short: torch.searchsorted(
        bounds.contiguous(), input.contiguous(), sorter=sorter, right=right, out_int32=short
    ),
    "_histogram": lambda input, edges, weight, lookup: torch.histogramdd(input, edges, weight=weight)[0],
    "_median": torch.median,
    "_nanmedian": torch.nanmedian,
    "_result": torch.clone,
    "_unique": lambda input, inverse, counts: torch.unique(input, True, inverse, counts),
    "_lexsort": lambda rows: (
        torch.from_numpy(np.lexsort(rows.double().numpy().T[::-1])) if rows.numel() else torch.arange(len(rows))
    ),
    "softmax": lambda input, dim: torch.softmax(input, dim),
    "log_softmax": lambda input, dim: torch.log_softmax(input, dim),
    "polygamma": lambda input, n: torch.polygamma(n, input),
    "elu": lambda input, alpha=1.0: F.elu(input, alpha),
}


def _loss(function: Any, number: str = "", **options: Any) -> Callable[..., Any]:
    """A loss of PyTorch with the parameters of our rows: its number has a name or does not count."""

    def loss(input: Any, target: Any, value: float, reduction: str) -> Any:
        return function(input, target, reduction=reduction, **options, **({number: value} if number else {}))

    return loss


def _divergence(input: Any, target: Any, reduction: str, log_target: bool = False) -> Any:
    return torch.kl_div(input, target, ("none", "mean", "sum").index(reduction), log_target=log_target)


def _soft_margin(input: Any, target: Any, reduction: str) -> Any:
    """With a derivative by the target, which PyTorch's has not."""
    loss = -F.logsigmoid(target * input)
    return loss if reduction == "none" else loss.sum() if reduction == "sum" else loss.mean()


def _nll(input: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
    return F.nll_loss(input, target, weight, ignore_index=ignore_index, reduction=reduction)


def _bags(weight: Any, indices: Any, offsets: Any, factors: Any = None, mode: int = 0, padding: int = -1) -> Any:
    mode_name = ("sum", "mean", "max")[mode]
    return F.embedding_bag(indices, weight, offsets, mode=mode_name, per_sample_weights=factors,
                           padding_idx=padding if padding >= 0 else None)  # fmt: skip


_LOSSES: dict[str, Callable[..., Any]] = {
    "fused_mse_loss": _loss(F.mse_loss),
    "fused_l1_loss": _loss(F.l1_loss),
    "fused_smooth_l1_loss": _loss(F.smooth_l1_loss, "beta"),
    "fused_huber_loss": _loss(F.huber_loss, "delta"),
    "fused_binary_cross_entropy": _loss(F.binary_cross_entropy),
    "fused_binary_cross_entropy_with_logits": _loss(F.binary_cross_entropy_with_logits),
    "fused_kl_div": _loss(_divergence),
    "fused_kl_div_log_target": _loss(_divergence, log_target=True),
    "fused_soft_margin_loss": _loss(_soft_margin),
    "fused_poisson_nll_log_input": _loss(F.poisson_nll_loss),
    "fused_poisson_nll": _loss(F.poisson_nll_loss, "eps", log_input=False),
    "nll": _nll,
}


def _loss_gradient(name: str) -> Callable[..., Any]:
    return lambda grad, input, *rest: _gradient(lambda x: _LOSSES[name](x, *rest), input, grad)


REFERENCES |= _LOSSES | {f"{name}_backward": _loss_gradient(name) for name in _LOSSES}
REFERENCES["bags_of_rows"] = _bags
REFERENCES["bags_of_rows_backward"] = lambda grad, weight, *rest: _gradient(lambda w: _bags(w, *rest), weight, grad)


def reference(name: str) -> Callable[..., Any]:
    """The function of PyTorch that a row must agree with."""
    if name in REFERENCES:
        return REFERENCES[name]
    path = ops.TABLE[name].ref
    if path is not None:
        found: Any = torch
        for part in path.split("."):
            found = getattr(found, part)
        return found
    for module in (torch, F, torch.special):
        if hasattr(module, name):
            return getattr(module, name)
    raise LookupError(f"row {name}: no reference in PyTorch; name one in tests/ops/references.py")


def _activation_backward(name: str) -> Callable[..., Any]:
    def backward(grad: Any, input: Any, *numbers: Any) -> Any:
        function = getattr(F, name)
        if name == "gelu":
            return _gradient(lambda x: function(x, approximate=numbers[0]), input, grad)
        if name == "elu":  # the scales of elu are not public in PyTorch
            return _gradient(lambda x: torch.ops.aten.elu(x, *numbers), input, grad)
        return _gradient(lambda x: function(x, *numbers), input, grad)

    return backward


for _name in (
    "gelu", "silu", "mish", "logsigmoid", "hardsigmoid", "hardswish", "softplus", "elu", "leaky_relu", "hardtanh",
    "softshrink", "hardshrink",
):  # fmt: skip
    REFERENCES[f"{_name}_backward"] = _activation_backward(_name)
REFERENCES["tanh_backward"] = torch.ops.aten.tanh_backward
REFERENCES["sigmoid_backward"] = torch.ops.aten.sigmoid_backward
REFERENCES["threshold_backward"] = torch.ops.aten.threshold_backward
REFERENCES["hardsigmoid_backward"] = lambda grad, x: torch.where((x > -3) & (x < 3), grad / 6, grad * 0)
