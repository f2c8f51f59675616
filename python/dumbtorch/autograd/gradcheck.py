"""Derivatives checked against finite differences."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from dumbtorch.autograd import forward_ad, graph
from dumbtorch.autograd.backward import grad as grad_of
from dumbtorch.autograd.graph import TensorBase
from dumbtorch.autograd.modes import enable_grad, no_grad


class GradcheckError(RuntimeError):
    """Raised by ``gradcheck`` and ``gradgradcheck`` when a derivative is wrong."""


def _by_parts(func: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The function and its inputs with real tensors, of the parts, in place of complex ones."""
    split = [isinstance(value, TensorBase) and value.dtype.is_complex for value in inputs]
    if not any(split):
        return func, inputs
    given = [
        graph.parts_of(value.detach()).requires_grad_(value.requires_grad) if is_split else value
        for value, is_split in zip(inputs, split, strict=True)
    ]

    def of_parts(*arguments: Any) -> Any:
        return func(*(graph.complex_of(a) if is_split else a for a, is_split in zip(arguments, split, strict=True)))

    return of_parts, tuple(given)


def _tensors(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, TensorBase) else tuple(value)


def _outputs(func: Callable[..., Any], inputs: Sequence[Any]) -> list[Any]:
    outputs = [out for out in _tensors(func(*inputs)) if isinstance(out, TensorBase)]
    outputs = [graph.parts_of(out) if out.dtype.is_complex else out for out in outputs]
    return [out for out in outputs if out.dtype.is_floating_point]


def _numeric(func: Callable[..., Any], inputs: tuple[Any, ...], which: int, eps: float) -> list[list[list[float]]]:
    """For each output the columns d out / d input element, by central differences."""
    base = inputs[which]
    columns: list[list[list[float]]] = []
    with no_grad():
        for place in range(base.numel()):
            sides = []
            for step in (eps, -eps):
                moved = base.detach().clone().contiguous()
                flat = moved.view(-1)
                flat[place] = flat[place].item() + step
                arguments = list(inputs)
                arguments[which] = moved
                sides.append([out.detach().reshape(-1).tolist() for out in _outputs(func, arguments)])
            plus, minus = sides
            columns.append(
                [[(p - m) / (2 * eps) for p, m in zip(a, b, strict=True)] for a, b in zip(plus, minus, strict=True)]
            )
    count = len(columns[0]) if columns else 0
    return [[column[out] for column in columns] for out in range(count)]


def _analytic(output: Any, source: Any, nondet_tol: float) -> list[list[float]]:
    """The columns d out / d input element, from one backward for each element of the output."""
    rows = []
    for place in range(output.numel()):
        direction = output.detach().new_zeros(output.shape).contiguous()
        direction.view(-1)[place] = 1.0
        got = []
        for _ in range(2):  # twice: a derivative has to be reproducible
            if not output.requires_grad:
                got.append([0.0] * source.numel())
                continue
            (value,) = grad_of([output], [source], [direction], retain_graph=True, allow_unused=True)
            if value is None:
                got.append([0.0] * source.numel())
                continue
            if value.shape != source.shape:
                raise GradcheckError(f"gradient has shape {list(value.shape)}, its input {list(source.shape)}")
            if value.dtype is not source.dtype:
                raise GradcheckError(f"gradient has dtype {value.dtype}, its input {source.dtype}")
            got.append(value.detach().reshape(-1).tolist())
        if any(abs(a - b) > nondet_tol for a, b in zip(*got, strict=True)):
            raise GradcheckError(
                "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                "gives different values, although analytical gradient matches numerical gradient. The tolerance for "
                f"nondeterminism was {nondet_tol}."
            )
        rows.append(got[0])
    return [list(column) for column in zip(*rows, strict=True)] if rows else []


def _compare(
    numeric: list[list[float]], analytic: list[list[float]], atol: float, rtol: float, out: int, source: int
) -> None:
    for column_n, column_a in zip(numeric, analytic, strict=True):
        for n, a in zip(column_n, column_a, strict=True):
            both_nan = n != n and a != a
            if not both_nan and not (n == a or abs(a - n) <= atol + rtol * abs(n)):
                raise GradcheckError(
                    f"Jacobian mismatch for output {out} with respect to input {source},\nnumerical:{numeric}\n"
                    f"analytical:{analytic}\n"
                )


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compares the derivatives of ``func`` at ``inputs`` with central differences of step ``eps``.

    Inputs that require a gradient should be float64 or complex128; it warns where they are not, for a coarser type
    does not tell a wrong derivative from rounding. Complex ones are compared by their parts. Differences above
    ``atol + rtol * |numeric|`` raise GradcheckError, or return False with ``raise_exception=False``. With
    ``check_undefined_grad`` a missing output gradient must count as zeros. ``fast_mode`` compares one random projection
    of each Jacobian instead of every element. ``check_forward_ad`` compares forward mode as well,
    ``check_batched_grad`` and ``check_batched_forward_grad`` both of them under vmap; ``check_backward_ad=False``
    leaves reverse mode out. Reference: ``torch.autograd.gradcheck``.

    >>> x = ones(3, dtype=float64, requires_grad=True)
    >>> gradcheck(lambda x: x * x, (x,))
    True
    """
    try:
        func, inputs = _by_parts(func, _tensors(inputs))
        if not check_forward_ad and not check_backward_ad:
            raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
        if check_batched_grad and not check_backward_ad:
            raise AssertionError("Setting check_batched_grad=True requires check_backward_ad to be True")
        if check_batched_forward_grad and not check_forward_ad:
            raise AssertionError("Setting check_batched_forward_grad=True requires check_forward_ad to be True")
        if check_backward_ad:
            _check(func, inputs, eps, atol, rtol, nondet_tol, check_undefined_grad, fast_mode)
            if check_batched_grad:
                _check_batched(func, inputs, atol, rtol)
        if check_forward_ad:
            _check_forward(func, inputs, eps, atol, rtol, check_batched_forward_grad)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check(
    func: Callable[..., Any],
    inputs: tuple[Any, ...],
    eps: float,
    atol: float,
    rtol: float,
    nondet_tol: float,
    undefined: bool,
    fast: bool,
) -> None:
    checked = [n for n, value in enumerate(inputs) if isinstance(value, TensorBase) and value.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
        )
    for n in checked:
        if inputs[n].dtype.itemsize < 8:
            warnings.warn(
                f"Input #{n} requires gradient and is not a double precision floating point or complex. This check "
                "will likely fail if all the inputs are not of double precision floating point or complex. ",
                stacklevel=3,
            )
    with enable_grad():
        outputs = _outputs(func, inputs)
        if not any(out.requires_grad for out in outputs):
            _check_constant(func, inputs, checked, eps)
            return
        if fast:
            _check_fast(func, inputs, checked, outputs, eps, atol, rtol)
        else:
            for n in checked:
                numeric = _numeric(func, inputs, n, eps)
                for place, out in enumerate(outputs):
                    if inputs[n].numel() and out.numel():
                        _compare(numeric[place], _analytic(out, inputs[n], nondet_tol), atol, rtol, place, n)
        if undefined:
            _check_undefined(func, inputs, checked)


def _check_constant(func: Callable[..., Any], inputs: tuple[Any, ...], checked: list[int], eps: float) -> None:
    """A function none of whose results requires a gradient has to be constant."""
    for n in checked:
        if any(value for columns in _numeric(func, inputs, n, eps) for column in columns for value in column):
            raise GradcheckError("Numerical gradient for function expected to be zero")


def _differentiated(inputs: Sequence[Any]) -> list[int]:
    return [n for n, value in enumerate(inputs) if isinstance(value, TensorBase) and value.requires_grad]


def _units(tensor: Any) -> Any:
    """All unit vectors of a tensor's space, along a new first dimension."""
    count = tensor.numel()
    return tensor.detach().new_zeros((count, count)).fill_diagonal_(1).reshape(count, *tensor.shape)


def _check_forward(
    func: Callable[..., Any], inputs: tuple[Any, ...], eps: float, atol: float, rtol: float, batched: bool
) -> None:
    """Forward mode against the differences, a direction at a time, and with ``batched`` all of them together."""
    for n in _differentiated(inputs):
        source = inputs[n]
        if not source.numel():
            continue

        def push(direction: Any, n: int = n) -> tuple[Any, ...]:
            with forward_ad.dual_level():
                given = list(inputs)
                given[n] = forward_ad.make_dual(inputs[n].detach(), direction)
                pairs = [forward_ad.unpack_dual(out) for out in _outputs(func, given)]
                return tuple(
                    primal.new_zeros(primal.shape) if tangent is None else tangent for primal, tangent in pairs
                )

        units = _units(source)
        columns = [[t.detach().reshape(-1).tolist() for t in push(units[k])] for k in range(source.numel())]
        numeric = _numeric(func, inputs, n, eps)
        for place in range(len(columns[0])):
            if columns[0][place]:
                _compare(numeric[place], [column[place] for column in columns], atol, rtol, place, n)
        if batched:
            vmap = importlib.import_module("dumbtorch.func").vmap
            for place, whole in enumerate(vmap(push)(units)):
                if columns[0][place]:
                    flat = whole.detach().reshape(source.numel(), -1).tolist()
                    _compare([column[place] for column in columns], flat, atol, rtol, place, n)


def _check_batched(func: Callable[..., Any], inputs: tuple[Any, ...], atol: float, rtol: float) -> None:
    """Reverse mode for all unit vectors together against one after the other."""
    sources = [inputs[n] for n in _differentiated(inputs)]
    with enable_grad():
        outputs = [out for out in _outputs(func, inputs) if out.requires_grad and out.numel()]
    for place, out in enumerate(outputs):
        units = _units(out)
        wholes = grad_of([out], sources, [units], True, allow_unused=True, is_grads_batched=True)
        for k in range(out.numel()):
            each = grad_of([out], sources, [units[k]], True, allow_unused=True)
            for n, (whole, one) in enumerate(zip(wholes, each, strict=True)):
                if whole is not None and one is not None:
                    pair = [one.detach().reshape(-1).tolist()], [whole[k].detach().reshape(-1).tolist()]
                    _compare(*pair, atol, rtol, place, n)


def _check_undefined(func: Callable[..., Any], inputs: tuple[Any, ...], checked: list[int]) -> None:
    """Gradients of outputs that were not used are zero, whatever the derivative does with them."""
    outputs = [out for out in _outputs(func, inputs) if out.requires_grad]
    sources = [inputs[n] for n in checked]
    for out in outputs:
        got = grad_of([out * 0], sources, [out.detach().new_ones(out.shape)], retain_graph=True, allow_unused=True)
        for value in got:
            if value is not None and any(v != 0 and v == v for v in value.detach().reshape(-1).tolist()):
                raise GradcheckError("Expected backward function to handle undefined output grads as zeros")


def _check_fast(
    func: Callable[..., Any],
    inputs: tuple[Any, ...],
    checked: list[int],
    outputs: list[Any],
    eps: float,
    atol: float,
    rtol: float,
) -> None:
    """One projection u' J v for each pair, the directions fixed and without zeros."""

    def direction(like: Any) -> Any:
        made = like.detach().new_zeros(like.shape).contiguous()
        flat = made.view(-1)
        for place in range(like.numel()):
            flat[place] = 0.5 + (place * 0.6180339887498949) % 1.0
        return made

    for n in checked:
        v = direction(inputs[n])
        sides = []
        with no_grad():
            for step in (eps, -eps):
                arguments = list(inputs)
                arguments[n] = inputs[n].detach() + v * step
                sides.append(_outputs(func, arguments))
        for place, out in enumerate(outputs):
            u = direction(out)
            numeric = (((sides[0][place] - sides[1][place]) / (2 * eps)) * u).sum().item()
            analytic = 0.0
            if out.requires_grad:
                (value,) = grad_of([out], [inputs[n]], [u], retain_graph=True, allow_unused=True)
                analytic = 0.0 if value is None else (value.detach() * v).sum().item()
            _compare([[numeric]], [[analytic]], atol, rtol, place, n)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Compares the second derivatives of ``func`` with differences of the first ones.

    ``grad_outputs`` are the points in the space of output gradients (default: fixed values between 0.5 and 1.5).
    ``check_fwd_over_rev`` differentiates the first derivatives in forward mode as well. The rest as ``gradcheck``.
    Reference: ``torch.autograd.gradgradcheck``.
    """
    func, sources = _by_parts(func, _tensors(inputs))
    outputs = [out for out in _outputs(func, sources) if out.requires_grad]
    if grad_outputs is None:
        seeds = []
        for out in outputs:
            seed = out.detach().new_zeros(out.shape).contiguous()
            flat = seed.view(-1)
            for place in range(out.numel()):
                flat[place] = 0.5 + (place * 0.7548776662466927) % 1.0
            if gen_non_contig_grad_outputs and seed.dim() >= 2:
                seed = seed.transpose(0, 1).contiguous().transpose(0, 1)
            seeds.append(seed.requires_grad_())
    else:
        seeds = [
            (graph.parts_of(g.detach()) if g.dtype.is_complex else g.detach()).requires_grad_()
            for g in _tensors(grad_outputs)
        ]
    count = len(seeds)

    def first(*arguments: Any) -> Any:
        values, directions = arguments[:-count], arguments[-count:]
        values = tuple(
            v.requires_grad_() if _wants(s) and not v.requires_grad else v  # a tangent stays
            for v, s in zip(values, sources, strict=True)
        )
        with enable_grad():
            results = [out for out in _outputs(func, values) if out.requires_grad]
            wanted = [v for v, s in zip(values, sources, strict=True) if _wants(s)]
            grads = grad_of(results, wanted, directions, create_graph=True, allow_unused=True)
        return tuple(g for g in grads if g is not None)

    if not any(g.requires_grad for g in first(*sources, *seeds)):
        return True  # the first derivative is constant
    return gradcheck(
        first, (*sources, *seeds), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
        nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad, check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev, check_backward_ad=check_rev_over_rev, fast_mode=fast_mode,
    )  # fmt: skip


def _wants(value: Any) -> bool:
    return isinstance(value, TensorBase) and bool(value.requires_grad)
