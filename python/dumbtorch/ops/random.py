"""Random numbers: fills, factory functions, permutations, sampling, dropout.

``generator=`` takes a `dumbtorch.Generator`; without one the default generator is used, which
``manual_seed`` seeds. The numbers depend only on the generator's state, never on the number of threads.
"""

from __future__ import annotations

import math
from typing import Any

from dumbtorch import _C, _dtypes
from dumbtorch.autograd.watch import beneath
from dumbtorch.ops.creation import _EMPTY, _place, _resized, _size, empty_as, into, made
from dumbtorch.ops.table import FUNCTIONS, TABLE, VIEW, composite, row


def _written(g: Any) -> Any:
    """The gradient of what a random fill overwrites."""
    return g.new_zeros(g.shape)


row("uniform", "input, from_=0.0, to=1.0, *, generator=None", only_inplace=True, function=False,
    grad={"input": lambda g: _written(g)}, doc="Uniform numbers in [from_, to).")  # fmt: skip
row("normal", "input, mean=0.0, std=1.0, *, generator=None", only_inplace=True, function=False,
    grad={"input": lambda g: _written(g)}, doc="Normal numbers.")  # fmt: skip
row("log_normal", "input, mean=1.0, std=2.0, *, generator=None", only_inplace=True, function=False,
    grad={"input": lambda g: _written(g)}, doc="Numbers whose logarithm is normal.")  # fmt: skip
row("exponential", "input, lambd=1.0, *, generator=None", only_inplace=True, function=False,
    grad={"input": lambda g: _written(g)}, doc="Exponential numbers with the rate ``lambd``; never 0.")  # fmt: skip
row("cauchy", "input, median=0.0, sigma=1.0, *, generator=None", only_inplace=True, function=False,
    grad={"input": lambda g: _written(g)}, doc="Numbers of the Cauchy distribution.")  # fmt: skip
row("geometric", "input, p, *, generator=None", only_inplace=True, function=False, dtypes="number",
    grad={"input": lambda g: _written(g)}, doc="Trials of probability ``p`` until the first success.")  # fmt: skip
row("bernoulli", "input, p=0.5, *, generator=None", only_inplace=True, function=False, dtypes="real",
    grad={"input": lambda g: _written(g)}, doc="1 with probability ``p`` (number or tensor), else 0.")  # fmt: skip
row("random", "input, low, high, *, generator=None", only_inplace=True, function=False, method=False, dtypes="real",
    grad={"input": lambda g: _written(g)}, doc="Integers of [low, high], both included.")  # fmt: skip
row("randperm", "n, *, generator=None", method=False, function=False, out=False, dtypes="int",
    doc="The numbers below ``n`` in random order.")  # fmt: skip
row("multinomial", "input, num_samples, replacement=False, *, generator=None", function=False, method=False, out=False,
    doc="Category numbers drawn with the weights in each row, with or without putting them back.")  # fmt: skip
row("native_dropout", "input, p, *, generator=None", method=False, function=False, out=False, outputs=("out", "mask"),
    differentiable=(0,),
    grad={"input": lambda g, mask, p: _DROPOUT_BACKWARD(g[0], mask, 1 / (1 - p) if p < 1 else 0.0)},
    doc="The input with elements dropped and the rest over ``1 - p``, and the mask of the rest.")  # fmt: skip
row("dropout_backward", "grad, mask:i, scale", method=False, function=False, out=False,
    grad={"grad": lambda g, mask, scale: _DROPOUT_BACKWARD(g, mask, scale)},
    doc="``grad * scale`` where the mask holds, 0 elsewhere.")  # fmt: skip
UNIFORM_, NORMAL_, EXPONENTIAL_, BERNOULLI_, RANDOM_ = (
    TABLE[name].inplace_op for name in ("uniform", "normal", "exponential", "bernoulli", "random")
)
_RANDPERM, NATIVE_DROPOUT = (TABLE[name].op for name in ("randperm", "native_dropout"))
_DROPOUT_BACKWARD: Any = TABLE["dropout_backward"].op
# what the kernels use where no generator is given: set by dumbtorch.random
SET_DEFAULT_STATE = _C.make_op(
    "_set_default_state", "_set_default_state", ("state",), (_C.required,), 1, ".", 0, "Sets the default generator."
)
_AS_REAL = _C.make_op(
    "view_as_real", "view_as_real", ("input",), (_C.required,), 1, ".", VIEW, "The parts of complex numbers."
)


# ---------------------------------------------------------------- in place


def _bounds(kind: Any) -> tuple[int, int]:
    """The integers that an element can be, as far as ``random_`` draws them."""
    if kind is _dtypes.bool:
        return 0, 1
    if kind.is_floating_point:
        digits = round(-math.log2(_dtypes.finfo(kind).eps)) + 1
        return -(2**digits), 2**digits
    info = _dtypes.iinfo(kind)
    return info.min, min(info.max, 2**63 - 1)


@composite(function=False)
def random_(self: Any, *args: Any, generator: Any = None, **named: Any) -> Any:
    """Integers of ``[from, to)`` in place: ``random_(to)``, ``random_(from, to)``; without bounds from 0 up.

    ``random_(from, None)`` goes up to the largest that the dtype holds; for floating-point dtypes that is the largest
    up to which all integers are exact. RuntimeError for an empty range and for bounds that the dtype cannot hold.
    Reference: ``torch.Tensor.random_``.
    """
    if unknown := set(named) - {"from", "to"} or len(args) > 2:
        raise TypeError(f"random_() takes from, to and generator, got {args} and {sorted(named)}: {unknown}")
    low, high = named.get("from", 0), named.get("to")
    if len(args) == 2:
        low, high = args
    elif args:
        low, high = (args[0], high) if "to" in named else (low, args[0])
    low = int(low)
    least, most = _bounds(self.dtype)
    if high is not None:
        high = int(high)
        if low >= high:
            raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
        if not self.dtype.is_floating_point:
            name = _C_NAMES.get(self.dtype, str(self.dtype).removeprefix("torch."))
            if not least <= low <= most:
                raise RuntimeError(f"from is out of bounds for {name}")
            if not least <= high - 1 <= most:
                raise RuntimeError(f"to - 1 is out of bounds for {name}")
        elif low < -(2**63) or high > 2**63:
            raise RuntimeError(f"random_: the bounds {low} and {high} are past 64 bits")
    elif low > most:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={most + 1}")
    return RANDOM_(self, low, most if high is None else high - 1, generator=generator)


@composite("uniform_", function=False)
def uniform_(self: Any, *args: Any, generator: Any = None, **named: Any) -> Any:
    """Uniform numbers in ``[from, to)`` (0, 1) in place, for both parts of complex ones.

    Reference: ``torch.Tensor.uniform_``.
    """
    if "from" in named:
        named["from_"] = named.pop("from")
    UNIFORM_(_parts(self), *args, generator=generator, **named)
    return self


@composite("normal_", function=False)
def normal_(self: Any, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Any:
    """Normal numbers in place; the parts of complex ones share the variance. Reference: ``torch.Tensor.normal_``."""
    if not self.dtype.is_complex:
        return NORMAL_(self, mean, std, generator=generator)
    NORMAL_(_parts(self), 0.0, std * math.sqrt(0.5), generator=generator)
    return self.add_(mean) if mean else self


_C_NAMES = {
    _dtypes.bool: "bool", _dtypes.uint8: "unsigned char", _dtypes.int8: "signed char", _dtypes.int16: "short",
    _dtypes.int32: "int", _dtypes.int64: "int64_t",
}  # fmt: skip


# ---------------------------------------------------------------- factories


def _new(size: Any, out: Any, dtype: Any, device: Any) -> Any:
    """The tensor that a factory function fills."""
    return _EMPTY(size, dtype, _place(device)) if out is None else into(out, size, dtype)


def _parts(t: Any) -> Any:
    """The real and imaginary parts of a complex tensor as one real tensor on its memory; a real tensor itself."""
    return _AS_REAL(t) if t.dtype.is_complex else t


def _uniform(t: Any, generator: Any) -> Any:
    UNIFORM_(_parts(t), generator=generator)
    return t


def _normal(t: Any, generator: Any) -> Any:
    # the parts of a complex number share its variance of 1
    NORMAL_(_parts(t), 0.0, math.sqrt(0.5) if t.dtype.is_complex else 1.0, generator=generator)
    return t


@composite(method=False)
def rand(
    *args: Any, size: Any = None, generator: Any = None, out: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False, names: Any = None,
) -> Any:  # fmt: skip
    """Uniform numbers in [0, 1). ``dtype`` defaults to the default dtype. Reference: ``torch.rand``.

    >>> rand(2, 3).shape
    torch.Size([2, 3])
    """
    t = _uniform(_new(_size("rand", args, size), out, dtype, device), generator)
    return made(t, requires_grad, layout, pin_memory)


@composite(method=False)
def randn(
    *args: Any, size: Any = None, generator: Any = None, out: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False, names: Any = None,
) -> Any:  # fmt: skip
    """Standard normal numbers; a complex one has variance 1. Reference: ``torch.randn``."""
    t = _normal(_new(_size("randn", args, size), out, dtype, device), generator)
    return made(t, requires_grad, layout, pin_memory)


@composite(method=False)
def randint(
    low: int, high: Any = None, size: Any = None, *, generator: Any = None, out: Any = None, dtype: Any = None,
    layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """Integers of [low, high), int64 unless ``dtype`` says otherwise; ``randint(high, size)`` starts at 0.

    Raises RuntimeError for an empty range. Reference: ``torch.randint``.
    """
    if size is None:
        if high is None:
            raise TypeError("randint() missing 1 required positional argument: 'size'")
        low, high, size = (0, low, high) if isinstance(high, (tuple, list)) else (low, high, size)
        if size is None:
            raise TypeError("randint() missing 1 required positional argument: 'size'")
    elif high is None:
        low, high = 0, low
    if out is None and dtype is None:
        dtype = _dtypes.int64
    t = _new(size, out, dtype, device)
    return made(random_(t, low, high, generator=generator), requires_grad, layout, pin_memory)


@composite(method=False)
def randperm(
    n: int, *, generator: Any = None, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """The integers below ``n`` in random order, all orders alike; int64 unless ``dtype`` says otherwise.

    Raises RuntimeError for a negative ``n`` and for one that the dtype cannot count to. Reference: ``torch.randperm``.
    """
    kind = dtype or (_dtypes.int64 if out is None else out.dtype)
    largest = _bounds(kind)[1]
    if n - 1 > largest:
        if kind.is_floating_point:
            raise RuntimeError(f"n cannot be greater than {largest + 1} for {_dtypes.TYPE_NAMES[kind]} type.")
        raise RuntimeError(f"value cannot be converted to type {str(kind).removeprefix('torch.')} without overflow")
    t = _RANDPERM(n, generator=generator)
    if out is not None:
        return _resized(out, (n,)).copy_(t)
    if kind is not _dtypes.int64 or device is not None:
        t = t.to(_place(device), kind)
    return made(t, requires_grad, layout, pin_memory)


@composite(method=False)
def rand_like(
    input: Any, *, generator: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None,
) -> Any:  # fmt: skip
    """As ``rand`` with the shape, dtype and device of ``input``. Reference: ``torch.rand_like``."""
    t = _uniform(empty_as(input, dtype, device, memory_format), generator)
    return made(t, requires_grad, layout, pin_memory)


@composite(method=False)
def randn_like(
    input: Any, *, generator: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None,
) -> Any:  # fmt: skip
    """As ``randn`` with the shape, dtype and device of ``input``. Reference: ``torch.randn_like``."""
    t = _normal(empty_as(input, dtype, device, memory_format), generator)
    return made(t, requires_grad, layout, pin_memory)


@composite(method=False)
def randint_like(
    input: Any, low: int, high: Any = None, *, generator: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None,
) -> Any:  # fmt: skip
    """As ``randint`` with the shape, dtype and device of ``input``. Reference: ``torch.randint_like``."""
    if high is None:
        low, high = 0, low
    t = random_(empty_as(input, dtype, device, memory_format), low, high, generator=generator)
    return made(t, requires_grad, layout, pin_memory)


# ---------------------------------------------------------------- of distributions


@composite("multinomial")
def multinomial(
    input: Any, num_samples: int, replacement: bool = False, *, generator: Any = None, out: Any = None
) -> Any:
    """Category numbers drawn with the weights in each row, with or without putting them back; int64.

    RuntimeError for weights that are negative, not finite or all 0. Reference: ``torch.multinomial``.
    """
    if out is not None and out.dtype is not _dtypes.int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {_dtypes.TYPE_NAMES[out.dtype]}")
    drawn = TABLE["multinomial"].op(input, num_samples, replacement, generator=generator)
    return drawn if out is None else _resized(out, drawn.shape).copy_(drawn)


@composite("bernoulli")
def bernoulli(input: Any, p: Any = None, *, generator: Any = None, out: Any = None) -> Any:
    """0 or 1 in the dtype of ``input``, 1 with the probability ``input`` (or ``p``). Its gradient is 0.

    Raises RuntimeError for probabilities outside of [0, 1]. Reference: ``torch.bernoulli``.
    """
    if p is None and not input.dtype.is_floating_point:
        name = _dtypes.TYPE_NAMES[input.dtype]
        raise NotImplementedError(f"\"bernoulli_tensor_cpu_p_\" not implemented for '{name}'")
    t = _EMPTY(input.shape, input.dtype, input.device) if out is None else _resized(out, input.shape)
    BERNOULLI_(t, input.detach() if p is None else p, generator=generator)
    return t


@composite("normal", method=False)
def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Any = None, out: Any = None, dtype: Any = None,
    layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """Normal numbers with the given means and deviations: tensors (of one shape), or numbers with ``size``.

    Raises RuntimeError for a negative deviation. Reference: ``torch.normal``.
    """
    tensors = [v for v in (mean, std) if isinstance(v, _C.TensorBase)]
    if not tensors or size is not None:
        if tensors:
            raise TypeError("normal(): size is for means and deviations that are numbers")
        if size is None:
            raise TypeError("normal() missing 1 required positional argument: 'size'")
        t = NORMAL_(_new(size, out, dtype, device), mean, std, generator=generator)
        return made(t, requires_grad, layout, pin_memory)
    if isinstance(std, _C.TensorBase):
        if std.dtype.is_complex:
            raise RuntimeError("normal expects standard deviation to be non-complex")
        if std.numel() and not bool((beneath(std) >= 0).all()):
            raise RuntimeError("normal expects all elements of std >= 0.0")
    elif not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    shape = FUNCTIONS["broadcast_shapes"](*(v.shape for v in tensors))
    t = _new(shape, out, tensors[0].dtype, tensors[0].device)
    NORMAL_(t, 0.0, 1.0, generator=generator)
    plain = [v.detach() if isinstance(v, _C.TensorBase) else v for v in (mean, std)]
    return t.mul_(plain[1]).add_(plain[0])


@composite("dropout", method=False)
def dropout(input: Any, p: float = 0.5, train: bool = True) -> Any:
    """While training, ``input`` with elements 0 with probability ``p`` and the others over ``1 - p``; else ``input``.

    The mask is one byte an element. Raises RuntimeError unless ``0 <= p <= 1``. Reference: ``torch.dropout``.
    """
    if not 0 <= p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not train or p == 0 or not input.numel():
        return input
    return NATIVE_DROPOUT(input, p)[0]


@composite("dropout_", function=True, method=False)
def dropout_(input: Any, p: float = 0.5, train: bool = True) -> Any:
    """``dropout`` in place."""
    dropped = dropout(input, p, train)
    return input if dropped is input else input.copy_(dropped)


@composite("native_dropout", method=False)
def native_dropout(input: Any, p: float, train: bool | None = True) -> tuple[Any, Any]:
    """``dropout`` and its mask (bool). Reference: ``torch.native_dropout``."""
    if train is False or not input.numel():
        return input.clone(), FUNCTIONS["ones_like"](input, dtype=_dtypes.bool)
    result: tuple[Any, Any] = NATIVE_DROPOUT(input, p)
    return result
