"""``torch.fft``: discrete Fourier transforms, with their derivatives (transforms again).

The kernels are mojo/kernels/fft.mojo, which asks ducc0 where a length has a prime factor above 13. A normalization is 0
for none, 1 by the root of the number of points, 2 by that number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch import _dtypes
from dumbtorch.ops.linalg_base import real_part, type_name
from dumbtorch.ops.results import done
from dumbtorch.ops.samples import S, T
from dumbtorch.ops.shape import wrap_dim
from dumbtorch.ops.table import FUNCTIONS as F
from dumbtorch.ops.table import row

_REAL = {_dtypes.complex64: _dtypes.float32, _dtypes.complex128: _dtypes.float64}
_COMPLEX = {real: kind for kind, real in _REAL.items()}


def _half_back(g: Any, dims: Sequence[int], norm: int, shape: Any) -> Any:
    """Zeros for the points that were left out, the transform back, its real part."""
    last = dims[-1]
    missing = shape[last] - g.shape[last]
    if missing:
        rest = list(g.shape)
        rest[last] = missing
        g = F["cat"]([g, g.new_zeros(rest)], last)
    return real_part(c2c(g, dims, norm, False))


def _real_back(g: Any, dims: Sequence[int], norm: int, shape: Any) -> Any:
    """Points that stand for two count twice."""
    last = dims[-1]
    half = r2c(g, dims, norm)
    twice = g.shape[last] - half.shape[last]
    weights = F["ones"](half.shape[last], dtype=g.dtype)
    if twice > 0:
        weights.narrow(0, 1, twice).fill_(2)
    view = [1] * g.ndim
    view[last] = half.shape[last]
    return half * weights.reshape(view)


def _internal(name: str, signature: str, **kwargs: Any) -> Any:
    return row(name, signature, function=False, method=False, out=False, **kwargs)


c2c: Any = _internal(
    "fft_c2c", "input, dims, norm, forward", grad={
        "input": lambda g, dims, norm, forward, input_dtype: _of_kind(c2c(g, dims, norm, not forward), input_dtype)},
    doc="The complex transform over dimensions.", dtypes="complex",
    samples=lambda: (S(T(3, 5), (1,), 0, True), S(T(3, 4), (0, 1), 2, False), S(T(2, 17), (1,), 0, True)),
)  # fmt: skip
r2c: Any = _internal(
    "fft_r2c", "input, dims, norm", grad={
        "input": lambda g, dims, norm, input_shape: _half_back(g, dims, norm, input_shape)},
    doc="The transform of real numbers over dimensions: half of the last one.", dtypes="single",
    samples=lambda: (S(T(3, 5), (1,), 0), S(T(3, 4), (0, 1), 1), S(T(2, 17), (1,), 0)),
)  # fmt: skip
c2r: Any = _internal(
    "fft_c2r", "input, dims, norm, size", grad={
        "input": lambda g, dims, norm, input_shape: _real_back(g, dims, norm, input_shape)},
    doc="The real transform back of half of the points.", dtypes="complex",
    samples=lambda: (S(T(3, 3), (1,), 2, 5), S(T(3, 3), (0, 1), 1, 4), S(T(2, 9), (1,), 0, 17)),
)  # fmt: skip


def _of_kind(g: Any, dtype: Any) -> Any:
    return g if dtype.is_complex else real_part(g)


# ---------------------------------------------------------------- arguments


def _norm(norm: Any, forward: bool) -> int:
    if norm in (None, "backward"):
        return 0 if forward else 2
    if norm == "forward":
        return 2 if forward else 0
    if norm == "ortho":
        return 1
    raise RuntimeError(f'Invalid normalization mode: "{norm}"')


def as_numbers(input: Any, need_complex: bool = False) -> Any:
    """The input in a type that transforms have."""
    kind = input.dtype
    if not (kind.is_floating_point or kind.is_complex):
        kind = _dtypes.get_default_dtype()
    if kind not in _REAL and kind not in _COMPLEX:
        raise RuntimeError(f"Unsupported dtype {type_name(input)}")
    if need_complex and not kind.is_complex:
        kind = _COMPLEX[kind]
    return input if input.dtype is kind else input.to(kind)


def _resized(input: Any, dims: Sequence[int], sizes: Sequence[int]) -> Any:
    """The input cut, or padded with zeros at the end, to sizes (-1: as it is)."""
    for d, n in zip(dims, sizes, strict=True):
        if n in (-1, input.shape[d]):
            continue
        if input.shape[d] > n:
            input = input.narrow(d, 0, n)
        else:
            rest = list(input.shape)
            rest[d] = n - input.shape[d]
            input = F["cat"]([input, input.new_zeros(rest)], d)
    return input


def _one(input: Any, n: Any, dim: int) -> tuple[int, int]:
    """The dimension and the number of points of a transform of one dimension."""
    d = wrap_dim(dim, input.ndim)
    if input.ndim == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    points = input.shape[d] if n is None else n
    if points < 1:
        raise RuntimeError(f"Invalid number of data points ({points}) specified")
    return d, points


def _many(input: Any, s: Any, dim: Any) -> tuple[list[int], list[int]]:
    """The dimensions and sizes of a transform of several."""
    if isinstance(s, int):
        s = (s,)
    if isinstance(dim, int):
        dim = (dim,)
    if dim is not None:
        dims = [wrap_dim(d, input.ndim) for d in dim]
        if len(set(dims)) < len(dims):
            raise RuntimeError("FFT dims must be unique")
        if s is not None and len(s) != len(dims):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
        sizes = [-1] * len(dims) if s is None else list(s)
    elif s is not None:
        if len(s) > input.ndim:
            raise RuntimeError(f"Got shape with {len(s)} values but input tensor only has {input.ndim} dimensions.")
        dims = list(range(input.ndim - len(s), input.ndim))
        sizes = list(s)
    else:
        dims = list(range(input.ndim))
        sizes = [-1] * input.ndim
    sizes = [input.shape[d] if n == -1 else n for d, n in zip(dims, sizes, strict=True)]
    for n in sizes:
        if n < 1:
            raise RuntimeError(f"Invalid number of data points ({n}) specified")
    return dims, sizes


def _real_input(input: Any, name: str, words: str = "a real") -> Any:
    if input.is_complex():
        raise RuntimeError(f"{name} expects {words} input tensor, but got {type_name(input)}")
    return as_numbers(input)


# ---------------------------------------------------------------- one dimension


def _complex_1d(name: str, forward: bool, text: str) -> Any:
    def transform(input: Any, n: Any = None, dim: int = -1, norm: Any = None, *, out: Any = None) -> Any:
        x = as_numbers(input)
        d, points = _one(x, n, dim)
        return done(
            c2c(x if n is None else _resized(x, (d,), (points,)), (d,), _norm(norm, forward), forward), out, name
        )

    return _named(transform, name, text)


def _named(function: Any, name: str, text: str) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{text} ``norm`` is backward (default), ortho or forward. Reference: ``torch.fft.{name}``."
    return function


fft = _complex_1d("fft", True, "The transform along a dimension, cut or padded to ``n`` points.")
ifft = _complex_1d("ifft", False, "The inverse transform along a dimension, cut or padded to ``n`` points.")


def rfft(input: Any, n: Any = None, dim: int = -1, norm: Any = None, *, out: Any = None) -> Any:
    """The transform of real numbers: the ``n // 2 + 1`` points that determine it. Reference: ``torch.fft.rfft``."""
    x = _real_input(input, "rfft")
    d, points = _one(x, n, dim)
    return done(r2c(x if n is None else _resized(x, (d,), (points,)), (d,), _norm(norm, True)), out, "rfft")


def ihfft(input: Any, n: Any = None, dim: int = -1, norm: Any = None, *, out: Any = None) -> Any:
    """The inverse of `hfft`: half of the points. Reference: ``torch.fft.ihfft``."""
    x = _real_input(input, "ihfft")
    d, points = _one(x, n, dim)
    return done(r2c(_resized(x, (d,), (points,)), (d,), _norm(norm, False)).conj(), out, "ihfft")


def _half_1d(input: Any, n: Any, dim: int, norm: int) -> Any:
    x = as_numbers(input, True)
    d = wrap_dim(dim, x.ndim)
    if x.ndim == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    points = 2 * (x.shape[d] - 1) if n is None else n
    if points < 1:
        raise RuntimeError(f"Invalid number of data points ({points}) specified")
    return c2r(_resized(x, (d,), (points // 2 + 1,)), (d,), norm, points)


def irfft(input: Any, n: Any = None, dim: int = -1, norm: Any = None, *, out: Any = None) -> Any:
    """The inverse of `rfft`: ``n`` real numbers (default ``2 * (size - 1)``). Reference: ``torch.fft.irfft``."""
    return done(_half_1d(input, n, dim, _norm(norm, False)), out, "irfft")


def hfft(input: Any, n: Any = None, dim: int = -1, norm: Any = None, *, out: Any = None) -> Any:
    """The real transform of a Hermitian signal given by half of it. Reference: ``torch.fft.hfft``."""
    return done(_half_1d(as_numbers(input, True).conj(), n, dim, _norm(norm, True)), out, "hfft")


# ---------------------------------------------------------------- several dimensions


def _complex_nd(name: str, forward: bool, text: str) -> Any:
    def transform(input: Any, s: Any = None, dim: Any = None, norm: Any = None, *, out: Any = None) -> Any:
        x = as_numbers(input)
        dims, sizes = _many(x, s, dim)
        return done(c2c(_resized(x, dims, sizes), tuple(dims), _norm(norm, forward), forward), out, name)

    return _named(transform, name, text)


fftn = _complex_nd("fftn", True, "The transform over several (default: all) dimensions.")
ifftn = _complex_nd("ifftn", False, "The inverse transform over several (default: all) dimensions.")


def rfftn(input: Any, s: Any = None, dim: Any = None, norm: Any = None, *, out: Any = None) -> Any:
    """The transform of real numbers over dimensions: half of the last one. Reference: ``torch.fft.rfftn``."""
    x = _real_input(input, "rfftn", "a real-valued")
    dims, sizes = _many(x, s, dim)
    if not dims:
        raise RuntimeError("rfftn must transform at least one axis")
    return done(r2c(_resized(x, dims, sizes), tuple(dims), _norm(norm, True)), out, "rfftn")


def _half_sizes(x: Any, s: Any, dim: Any, name: str) -> tuple[list[int], list[int], int]:
    """Dimensions and sizes of the input of a transform to real numbers, and its last size."""
    given = None if s is None else (s,) if isinstance(s, int) else tuple(s)
    open_end = given is None or not given or given[-1] == -1
    dims, sizes = _many(x, s, dim)
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")
    size = 2 * (x.shape[dims[-1]] - 1) if open_end else sizes[-1]
    if size < 1:
        raise RuntimeError(f"Invalid number of data points ({size}) specified")
    sizes[-1] = size // 2 + 1
    return dims, sizes, size


def irfftn(input: Any, s: Any = None, dim: Any = None, norm: Any = None, *, out: Any = None) -> Any:
    """The inverse of `rfftn`: real numbers. Reference: ``torch.fft.irfftn``."""
    x = as_numbers(input, True)
    dims, sizes, size = _half_sizes(x, s, dim, "irfftn")
    return done(c2r(_resized(x, dims, sizes), tuple(dims), _norm(norm, False), size), out, "irfftn")


def hfftn(input: Any, s: Any = None, dim: Any = None, norm: Any = None, *, out: Any = None) -> Any:
    """The real transform of a Hermitian signal over dimensions. Reference: ``torch.fft.hfftn``."""
    x = as_numbers(input, True)
    dims, sizes, size = _half_sizes(x, s, dim, "hfftn")
    scale = _norm(norm, True)
    x = c2c(_resized(x, dims, sizes), tuple(dims[:-1]), scale, True)
    return done(c2r(x.conj(), (dims[-1],), scale, size), out, "hfftn")


def ihfftn(input: Any, s: Any = None, dim: Any = None, norm: Any = None, *, out: Any = None) -> Any:
    """The inverse of `hfftn`: half of the last dimension. Reference: ``torch.fft.ihfftn``."""
    x = _real_input(input, "ihfftn", "a real-valued")
    dims, sizes = _many(x, s, dim)
    if not dims:
        raise RuntimeError("ihfftn must transform at least one axis")
    scale = _norm(norm, False)
    x = r2c(_resized(x, dims, sizes), (dims[-1],), scale).conj()
    return done(c2c(x, tuple(dims[:-1]), scale, False) if len(dims) > 1 else x, out, "ihfftn")


def _two(name: str, transform: Any) -> Any:
    def function(input: Any, s: Any = None, dim: Any = (-2, -1), norm: Any = None, *, out: Any = None) -> Any:
        return transform(input, s, dim, norm, out=out)

    return _named(function, name, f"As `{transform.__name__}` over two dimensions.")


fft2, ifft2, rfft2 = _two("fft2", fftn), _two("ifft2", ifftn), _two("rfft2", rfftn)
irfft2, hfft2, ihfft2 = _two("irfft2", irfftn), _two("hfft2", hfftn), _two("ihfft2", ihfftn)


# ---------------------------------------------------------------- frequencies and order


def _frequencies(values: Any, n: int, d: float, out: Any, requires_grad: bool, name: str) -> Any:
    result = values * (1.0 / (n * d)) if n else values
    if requires_grad:
        result.requires_grad_()
    return done(result, out, name)


def fftfreq(
    n: int, d: float = 1.0, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Any:  # fmt: skip
    """The frequencies of the points of `fft`: 0, 1, ..., -2, -1 over ``n * d``. Reference: ``torch.fft.fftfreq``."""
    kind = dtype or (out.dtype if out is not None else _dtypes.get_default_dtype())
    half = (n + 1) // 2
    parts = [F["arange"](half, dtype=kind, device=device), F["arange"](-(n // 2), 0, dtype=kind, device=device)]
    return _frequencies(F["cat"](parts), n, d, out, requires_grad, "fftfreq")


def rfftfreq(
    n: int, d: float = 1.0, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Any:  # fmt: skip
    """The frequencies of the points of `rfft`: 0, 1, ..., n // 2 over ``n * d``. Reference: ``torch.fft.rfftfreq``."""
    kind = dtype or (out.dtype if out is not None else _dtypes.get_default_dtype())
    return _frequencies(F["arange"](n // 2 + 1, dtype=kind, device=device), n, d, out, requires_grad, "rfftfreq")


def _shift(input: Any, dim: Any, extra: int) -> Any:
    dims = list(range(input.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    return F["roll"](input, [(input.shape[d] + extra) // 2 for d in dims], dims) if dims else input.clone()


def fftshift(input: Any, dim: Any = None) -> Any:
    """The points with frequency 0 in the middle. Reference: ``torch.fft.fftshift``."""
    return _shift(input, dim, 0)


def ifftshift(input: Any, dim: Any = None) -> Any:
    """The inverse of `fftshift`. Reference: ``torch.fft.ifftshift``."""
    return _shift(input, dim, 1)


__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ifftshift",
    "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip
