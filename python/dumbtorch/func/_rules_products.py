"""Batching rules of products, convolutions, pooling, normalization of rows, embeddings."""

from __future__ import annotations

import math
from typing import Any

from dumbtorch.func._batching import RULES, Call
from dumbtorch.func._rules import aligned
from dumbtorch.ops.table import FUNCTIONS, TABLE, primitive

# ---------------------------------------------------------------- products


def shared(whole: Any) -> bool:
    """Whether all samples of a whole are one tensor, stretched."""
    return bool(whole.shape[0] > 1 and whole._strides[0] == 0)


def _product(a: Any, b: Any) -> Any:
    """(B, n, k) @ (B, k, m), where one side may be one matrix for all samples: then as a single product."""
    if shared(b):
        return (a.flatten(0, 1) @ b.select(0, 0)).reshape(a.shape[0], a.shape[1], b.shape[2])
    if shared(a):
        flat = b.transpose(1, 2).flatten(0, 1) @ a.select(0, 0).t()
        return flat.reshape(b.shape[0], b.shape[2], a.shape[1]).transpose(1, 2)
    return a @ b


_PRODUCT: Any = primitive(
    "batched_product", "input, other", _product,
    {
        "input": lambda g, other: _PRODUCT(g, other.transpose(1, 2).conj()),
        "other": lambda g, input: _PRODUCT(input.transpose(1, 2).conj(), g),
    },
    doc="The products of two batches of matrices; a side whose samples are one tensor is read once.",
)  # fmt: skip


def _matmul(call: Call) -> Any:
    a, b = call.args[:2]
    whole_a, whole_b = call.is_whole[:2]
    rank_a, rank_b = call.rank(0), call.rank(1)
    if not rank_a or not rank_b:
        raise RuntimeError("both arguments to matmul need to be at least 1D, but they are 0D and 0D in a sample")
    if whole_a and not whole_b and rank_b <= 2:
        return a @ b
    a, b = call.whole(0), call.whole(1)
    vector_a, vector_b = rank_a == 1, rank_b == 1
    if vector_a:
        a = a.unsqueeze(1)
    if vector_b:
        b = b.unsqueeze(-1)
    rank = max(a.ndim, b.ndim) - 1
    made = _PRODUCT(a, b) if rank == 2 else aligned(a, rank) @ aligned(b, rank)
    if vector_a:
        made = made.squeeze(-2)
    return made.squeeze(-1) if vector_b else made


for _name in ("matmul", "mm", "bmm", "mv", "dot"):
    RULES[_name] = _matmul


def _outer(call: Call) -> Any:
    return call.whole(0).unsqueeze(2) * call.whole(1).unsqueeze(1)


def _linear(call: Call) -> Any:
    x, weight, bias = call.whole(0), *call.args[1:]
    if not call.is_whole[1]:
        made = x @ weight.t() if bias is None or call.is_whole[2] else call.run((x, weight, bias))
        return made if bias is None or not call.is_whole[2] else made + aligned(bias, made.ndim - 1)
    rank = call.rank(0)
    flat = x.reshape(call.size, math.prod(x.shape[1:-1]), x.shape[-1])
    made = _PRODUCT(flat, weight.transpose(1, 2)).reshape(*x.shape[:-1], weight.shape[1])
    if bias is None:
        return made
    return made + aligned(call.whole(2), rank)


def _added_product(call: Call) -> Any:
    base, a, b, beta, alpha = call.args
    made = _PRODUCT(call.whole(1), call.whole(2)) if call.rank(1) == 2 else call.whole(1) @ call.whole(2)
    made = made if alpha == 1 else made * alpha
    base = aligned(base, made.ndim - 1) if call.is_whole[0] else base
    result = made if beta == 0 else made + (base if beta == 1 else base * beta)
    if call.inplace:
        return call.args[0].copy_(result)
    return result


RULES.update(outer=_outer, linear=_linear, addmm=_added_product, baddbmm=_added_product)


# ---------------------------------------------------------------- convolution and pooling


def _folded(x: Any) -> Any:
    """(B, N, ...) as (B * N, ...)."""
    return x.flatten(0, 1)


def _channels(x: Any) -> Any:
    """(B, N, C, ...) as (N, B * C, ...)."""
    return x.transpose(0, 1).flatten(1, 2)


def _unchannels(x: Any, size: int) -> Any:
    return x.unflatten(1, (size, x.shape[1] // size)).transpose(0, 1)


_CONV, _CONV_INPUT, _CONV_WEIGHT = (TABLE[n].op for n in ("convolution", "convolution_input", "convolution_weight"))


def _conv_each(input: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """Convolutions of (B, N, C, H, W) with (B, O, C / groups, kH, kW): weights of one tensor once, else as groups."""
    size = input.shape[0]
    if shared(weight):
        made = _CONV(_folded(input), weight.select(0, 0), None, stride, padding, dilation, groups)
        return made.unflatten(0, input.shape[:2])
    made = _CONV(_channels(input), _folded(weight), None, stride, padding, dilation, groups * size)
    return _unchannels(made, size)


def _conv_each_input(g: Any, weight: Any, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    size, many = g.shape[:2]
    if shared(weight):
        whole = (size * many, *shape[1:])
        made = _CONV_INPUT(_folded(g), weight.select(0, 0), whole, stride, padding, dilation, groups)
        return made.reshape(size, many, *made.shape[1:])
    whole = (many, size * shape[1], *shape[2:])
    made = _CONV_INPUT(_channels(g), _folded(weight), whole, stride, padding, dilation, groups * size)
    return _unchannels(made, size)


def _conv_each_weight(g: Any, input: Any, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    size = g.shape[0]
    whole = (size * shape[0], *shape[1:])
    made = _CONV_WEIGHT(_channels(g), _channels(input), whole, stride, padding, dilation, groups * size)
    return made.reshape(size, *shape)


_EACH: Any = primitive(
    "convolution_each", "input, weight, stride, padding, dilation, groups", _conv_each,
    {
        "input": lambda g, weight, input_shape, stride, padding, dilation, groups: _EACH_INPUT(
            g, weight, input_shape[1:], stride, padding, dilation, groups),
        "weight": lambda g, input, weight_shape, stride, padding, dilation, groups: _EACH_WEIGHT(
            g, input, weight_shape[1:], stride, padding, dilation, groups),
    },
    doc="A convolution for each of a batch, with weights of its own.",
)  # fmt: skip
_EACH_INPUT: Any = primitive(
    "convolution_each_input", "grad_output, weight, shape, stride, padding, dilation, groups", _conv_each_input,
    {
        "grad_output": lambda g, weight, stride, padding, dilation, groups: _EACH(
            g, weight, stride, padding, dilation, groups),
        "weight": lambda g, grad_output, weight_shape, stride, padding, dilation, groups: _EACH_WEIGHT(
            grad_output, g, weight_shape[1:], stride, padding, dilation, groups),
    },
    doc="The derivative of convolution_each by its input.",
)  # fmt: skip
_EACH_WEIGHT: Any = primitive(
    "convolution_each_weight", "grad_output, input, shape, stride, padding, dilation, groups", _conv_each_weight,
    {
        "grad_output": lambda g, input, stride, padding, dilation, groups: _EACH(
            input, g, stride, padding, dilation, groups),
        "input": lambda g, grad_output, input_shape, stride, padding, dilation, groups: _EACH_INPUT(
            grad_output, g, input_shape[1:], stride, padding, dilation, groups),
    },
    doc="The derivative of convolution_each by its weights.",
)  # fmt: skip


def _images(call: Call, place: int, spatial: int) -> Any:
    """A whole of images (B, N, C, ...), from samples with or without N."""
    x = call.whole(place)
    return x.unsqueeze(1) if call.rank(place) == spatial + 1 else x


def _back(call: Call, made: Any, spatial: int) -> Any:
    return made.squeeze(1) if call.rank(0) == spatial + 1 else made


def _biased(call: Call, made: Any, place: int, spatial: int) -> Any:
    """A result of convolutions with the bias added."""
    bias = call.args[place]
    if bias is None:
        return made
    ones = (1,) * spatial
    return made + (bias.reshape(call.size, 1, -1, *ones) if call.is_whole[place] else bias.reshape(-1, *ones))


def _convolution(call: Call) -> Any:
    _, weight, bias, *rest = call.args
    spatial = call.rank(1) - 2
    x = _images(call, 0, spatial)
    if call.is_whole[1]:
        made = _biased(call, _EACH(x, weight, *rest), 2, spatial)
    elif call.is_whole[2]:
        made = _CONV(_folded(x), weight, None, *rest).unflatten(0, x.shape[:2])
        made = _biased(call, made, 2, spatial)
    else:
        made = _CONV(_folded(x), weight, bias, *rest).unflatten(0, x.shape[:2])
    return _back(call, made, spatial)


def _convolution_input(call: Call) -> Any:
    _, weight, shape, *rest = call.args
    rest.pop()  # the bias
    spatial = call.rank(1) - 2
    g = _images(call, 0, spatial)
    shape = (1, *shape) if len(shape) == spatial + 1 else tuple(shape)
    if call.is_whole[1]:
        made = _EACH_INPUT(g, weight, shape, *rest)
    else:
        made = _CONV_INPUT(_folded(g), weight, (call.size * shape[0], *shape[1:]), *rest)
        made = made.unflatten(0, (call.size, shape[0]))
    return _back(call, _biased(call, made, call.place("bias"), spatial), spatial)


def _convolution_weight(call: Call) -> Any:
    shape = tuple(call.args[2])
    spatial = len(shape) - 2
    return _EACH_WEIGHT(_images(call, 0, spatial), _images(call, 1, spatial), shape, *call.args[3:])


RULES.update(
    convolution=_convolution, convolution_input=_convolution_input, convolution_weight=_convolution_weight
)  # fmt: skip


def _pooled(call: Call) -> Any:
    """Images folded into one batch; a shape among the arguments grows as they do."""
    args = list(call.args)
    for n in call.tensors():
        args[n] = _folded(_images(call, n, 2))
    if "input_shape" in call.row.params:
        place = call.place("input_shape")
        shape = tuple(args[place])
        args[place] = (args[0].shape[0], *shape[-3:])

    def unfolded(t: Any) -> Any:
        return _back(call, t.unflatten(0, (call.size, t.shape[0] // max(1, call.size))), 2)

    result = call.run(args)
    return tuple(map(unfolded, result)) if isinstance(result, tuple) else unfolded(result)


for _name in ("max_pool2d_with_indices", "avg_pool2d", "max_pool2d_backward", "avg_pool2d_backward"):
    RULES[_name] = _pooled


# ---------------------------------------------------------------- normalization and embeddings


def _row_norm(call: Call) -> Any:
    x, weight, bias, n, inner, weights, eps, rms = call.args
    x = call.whole(0)
    if call.is_whole[1] or call.is_whole[2]:
        made, mean, rstd = call.run((x, None, None, n, inner, weights, eps, rms))
        flat = made.reshape(call.size, -1, weights, inner)
        for place, value in ((1, weight), (2, bias)):
            if value is not None:
                value = call.whole(place).reshape(call.size, 1, weights, 1)
                flat = flat * value if place == 1 else flat + value
        made = flat.reshape(x.shape)
    else:
        made, mean, rstd = call.run((x, *call.args[1:]))
    return made, mean.reshape(call.size, -1), rstd.reshape(call.size, -1)


def _row_norm_backward(call: Call) -> Any:
    given: list[Any] = [None if call.args[n] is None else call.whole(n) for n in range(5)]
    g, x, mean, rstd, weight = given
    n, inner, weights, rms, affine = call.args[5:]
    size, shape = call.size, x.shape
    x, h = (t.reshape(size, -1, n // inner, inner) for t in (x, g))
    mean, rstd = (t.reshape(size, -1, 1, 1) for t in (mean, rstd))
    z = (x if rms else x - mean) * rstd
    d_weight = d_bias = x.new_zeros((size, 0))
    if affine:
        d_weight = (h * z).sum(3).reshape(size, -1, weights).sum(1)
        d_bias = h.sum(3).reshape(size, -1, weights).sum(1)
    if weight is not None:
        h = (h.reshape(size, -1, weights, inner) * weight.reshape(size, 1, weights, 1)).reshape(h.shape)
    back = h - z * (h * z).mean((2, 3), True)
    back = back if rms else back - h.mean((2, 3), True)
    return (back * rstd).reshape(shape).to(call.args[1].dtype), d_weight, d_bias


RULES.update(row_norm=_row_norm, row_norm_backward=_row_norm_backward)


def _offsets(call: Call, indices: Any, count: int) -> Any:
    """Indices into a table for each sample as indices into all tables, one after the other."""
    steps = FUNCTIONS["arange"](call.size, device=indices.device) * count
    return indices + steps.reshape(-1, *(1,) * (indices.ndim - 1))


def _embedding(call: Call) -> Any:
    weight, indices, padding, scale, _ = call.args
    if not call.is_whole[0]:
        return call.run()
    rows = weight.shape[1]
    if padding >= 0:  # its row is not trained, that of every sample
        keep = FUNCTIONS["arange"](rows, device=weight.device) == padding
        weight = FUNCTIONS["where"](keep.unsqueeze(-1), weight.detach(), weight)
    return call.run((weight.reshape(-1, weight.shape[-1]), _offsets(call, call.whole(1), rows), -1, scale, False))


def _embedding_backward(call: Call) -> Any:
    _, _, rows, padding, scale = call.args
    g, indices = call.whole(0), call.whole(1)
    if padding >= 0:
        g = g.masked_fill((indices == padding).unsqueeze(-1), 0)
    made = call.run((g, _offsets(call, indices, rows), rows * call.size, -1, scale))
    return made.reshape(call.size, rows, -1)


RULES.update(embedding=_embedding, embedding_backward=_embedding_backward)
