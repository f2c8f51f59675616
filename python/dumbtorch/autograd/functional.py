"""Jacobians, Hessians and their products with vectors, of functions of tensors. Reference:
``torch.autograd.functional``.

`torch.func` composes better; these take and return tensors or tuples of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from dumbtorch.autograd.backward import grad
from dumbtorch.autograd.graph import TensorBase
from dumbtorch.autograd.modes import enable_grad, is_grad_enabled, set_grad_enabled

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _tuple(value: Any, what: str, function: str) -> tuple[bool, tuple[Any, ...]]:
    """Whether a value is a tuple, and the tensors in it."""
    several = isinstance(value, tuple)
    tensors = tuple(value) if several else (value,)
    for place, tensor in enumerate(tensors):
        if not isinstance(tensor, TensorBase):
            given = (
                f"value at index {place} has type {type(tensor)}."
                if several
                else f"given {what} has type {type(tensor)}."
            )
            raise TypeError(
                f"The {what} given to {function} must be either a Tensor or a tuple of Tensors but the {given}"
            )
    return several, tensors


def _prepared(inputs: Sequence[Any], create: bool, needs: bool = True) -> tuple[Any, ...]:
    """Inputs to differentiate by: with ``create`` as they hang in the graph, else cut off from it."""
    if create:
        return tuple(t.view_as(t) if t.requires_grad or not needs else t.detach().requires_grad_(needs) for t in inputs)
    return tuple(t.detach().requires_grad_(needs) for t in inputs)


def _finished(values: Any, create: bool) -> Any:
    if isinstance(values, tuple):
        return tuple(_finished(v, create) for v in values)
    return values if create or not values.requires_grad else values.detach()


def _strictly(values: Sequence[Any], strict: bool, kind: str) -> None:
    if not strict:
        return
    texts = {
        "outputs": "Output {0} of the user-provided function does not require gradients. The outputs must be "
        "computed in a differentiable manner from the input when running in strict mode.",
        "grad_inputs": "The gradient with respect to input {0} is independent of the inputs of the user-provided "
        "function. This is not allowed in strict mode.",
        "jacobian": "While computing the hessian, found that the jacobian of the user-provided function with respect "
        "to input {0} is independent of the input. This is not allowed in strict mode. You should ensure that your "
        "function is twice differentiable and that the jacobian depends on the inputs (this would be violated by a "
        "linear function for example).",
    }
    for place, value in enumerate(values):
        if value is None or (kind != "outputs" and value is None):
            raise RuntimeError(
                f"The output of the user-provided function is independent of input {place}. This is not allowed in "
                "strict mode."
            )
        if not value.requires_grad:
            raise RuntimeError(texts[kind].format(place))


def _vector(v: Any, like: Sequence[Any], several: bool, function: str, alone: str) -> tuple[Any, ...]:
    """The vector of a product, checked, or a one where it may be left out."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(f"The vector v can only be None if {alone}.")
        return (like[0].detach().new_ones(like[0].shape),)
    _, vectors = _tuple(v, "v", function)
    if len(vectors) != len(like):
        if several:
            raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(vectors)}.")
        raise RuntimeError("The given v should contain a single Tensor.")
    for place, (vector, tensor) in enumerate(zip(vectors, like, strict=True)):
        if vector.shape != tensor.shape:
            entry = f"Entry {place} in " if several else ""
            raise RuntimeError(f"{entry}v has invalid size: should be {tensor.shape} but got {vector.shape}.")
    return vectors


def _pull(
    outputs: Sequence[Any], inputs: Sequence[Any], given: Sequence[Any], create: bool, strict: bool, what: str
) -> tuple[Any, ...]:
    """Gradients, with zeros where there is no dependence; in strict mode that is an error."""
    used = [(y, g) for y, g in zip(outputs, given, strict=True) if y is not None and y.requires_grad]
    found: Sequence[Any] = (None,) * len(inputs)
    if used:
        found = grad([y for y, _ in used], inputs, [g for _, g in used], True, create, allow_unused=True)
    result = []
    for place, (value, tensor) in enumerate(zip(found, inputs, strict=True)):
        if value is None:
            if strict:
                raise RuntimeError(what.format(place))
            value = tensor.detach().new_zeros(tensor.shape)
        result.append(value)
    return tuple(result)


_BACK = "The output of the user-provided function is independent of input {0}. This is not allowed in strict mode."
_TRICK = (
    "The gradient with respect to the input is independent of entry {0} in the grad_outputs when using the double "
    "backward trick to compute forward mode gradients. This is not allowed in strict mode."
)
_DOUBLE = "The jacobian of the user-provided function is independent of input {0}. This is not allowed in strict mode."


def vjp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """``func(inputs)`` and the product of ``v`` with its Jacobian. Reference: ``torch.autograd.functional.vjp``.

    ``v`` may be None where there is one output of one element. With ``strict`` an independence raises RuntimeError.
    """
    with enable_grad():
        several, given = _tuple(inputs, "inputs", "vjp")
        given = _prepared(given, create_graph)
        many, outputs = _tuple(func(*given), "outputs of the user-provided function", "vjp")
        _strictly(outputs, strict, "outputs")
        vector = _vector(v, outputs, many, "vjp",
                         "the user-provided function returns a single Tensor with a single element")  # fmt: skip
    with set_grad_enabled(create_graph or is_grad_enabled()):
        products = _pull(outputs, given, vector, create_graph, strict, _BACK)
    outputs, products = _finished(outputs, create_graph), _finished(products, create_graph)
    return outputs if many else outputs[0], products if several else products[0]


def jvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """``func(inputs)`` and the product of its Jacobian with ``v``. Reference: ``torch.autograd.functional.jvp``."""
    with enable_grad():
        several, given = _tuple(inputs, "inputs", "jvp")
        given = _prepared(given, create_graph)
        vector = _vector(v, given, several, "jvp", "the input to the user-provided function is a single Tensor with a "
                         "single element")  # fmt: skip
        many, outputs = _tuple(func(*given), "outputs of the user-provided function", "jvp")
        _strictly(outputs, strict, "outputs")
        seeds = tuple(y.detach().new_ones(y.shape).requires_grad_() for y in outputs)
        pulled = _pull(outputs, given, seeds, True, strict, _BACK)
        _strictly(pulled, strict, "grad_inputs")
    products = _pull(pulled, seeds, vector, create_graph, strict, _TRICK)
    outputs, products = _finished(outputs, create_graph), _finished(products, create_graph)
    return (outputs, products) if many else (outputs[0], products[0])


def _rows(output: Any, inputs: Sequence[Any], create: bool, strict: bool, vectorize: bool) -> list[Any]:
    """The Jacobian of one output by each input."""
    count = output.numel()
    if vectorize and count and output.requires_grad:
        unit = output.detach().new_zeros((count, count)).fill_diagonal_(1).reshape(count, *output.shape)
        found = grad([output], inputs, [unit], True, create, allow_unused=True, is_grads_batched=True)
        columns = [
            t.detach().new_zeros((count, *t.shape)) if g is None else g for g, t in zip(found, inputs, strict=True)
        ]
        return [c.reshape(*output.shape, *t.shape) for c, t in zip(columns, inputs, strict=True)]
    rows: list[tuple[Any, ...]] = []
    flat = output.reshape(-1)
    for place in range(count):
        element = flat[place]
        values = _pull([element], inputs, [element.detach().new_ones(())], create, strict, _BACK)
        if strict and create:
            _strictly(values, strict, "jacobian")
        rows.append(values)
    stack = importlib.import_module("dumbtorch.ops").FUNCTIONS["stack"]
    return [
        (stack([r[n] for r in rows]) if rows else t.detach().new_zeros((0, *t.shape))).reshape(*output.shape, *t.shape)
        for n, t in enumerate(inputs)
    ]


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of ``func`` at ``inputs``: the output's shape followed by the input's.

    Tuples of outputs and of inputs give tuples (of outputs) of tuples (of inputs). ``vectorize`` computes all rows
    together; ``strategy="forward-mode"`` (only with it) computes columns. Reference:
    ``torch.autograd.functional.jacobian``.
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs '
            'than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode":
        return _jacobian_forward(func, inputs, create_graph, strict, vectorize)
    with enable_grad():
        several, given = _tuple(inputs, "inputs", "jacobian")
        given = _prepared(given, create_graph)
        many, outputs = _tuple(func(*given), "outputs of the user-provided function", "jacobian")
        _strictly(outputs, strict, "outputs")
        if vectorize and strict:
            raise RuntimeError(
                "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. "
                "Please either set `strict=False` or `vectorize=False`."
            )
        made = tuple(tuple(_rows(y, given, create_graph, strict, vectorize)) for y in outputs)
    made = _finished(made, create_graph)
    picked = tuple(row if several else row[0] for row in made)
    return picked if many else picked[0]


def _jacobian_forward(func: Callable[..., Any], inputs: Any, create: bool, strict: bool, vectorize: bool) -> Any:
    if strict:
        raise RuntimeError(
            'torch.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` are not supported '
            'together (yet). Please either set `strict=False` or `strategy="reverse-mode"`.'
        )
    if not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only implemented for "
            "`vectorize=True`."
        )
    several, given = _tuple(inputs, "inputs", "jacobian")
    given = _prepared(given, create, create)
    many = False

    def checked(*args: Any) -> Any:
        nonlocal many
        many, outputs = _tuple(func(*args), "outputs of the user-provided function", "jacobian")
        return outputs

    jacfwd = importlib.import_module("dumbtorch.func").jacfwd
    made = _finished(jacfwd(checked, argnums=tuple(range(len(given))))(*given), create)
    picked = tuple(row if several else row[0] for row in made)
    return picked if many else picked[0]


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of ``func``, which returns one element, at ``inputs``; for a tuple a tuple of tuples.

    Reference: ``torch.autograd.functional.hessian``.
    """
    several, given = _tuple(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')

    def scalar(*args: Any) -> Any:
        many, outputs = _tuple(func(*args), "outputs of the user-provided function", "hessian")
        _strictly(outputs, strict, "outputs")
        if many:
            raise RuntimeError("The function given to hessian should return a single Tensor")
        if outputs[0].numel() != 1:
            raise RuntimeError("The Tensor returned by the function given to hessian should contain a single element")
        return outputs[0].squeeze()

    def first(*args: Any) -> Any:
        if outer_jacobian_strategy == "forward-mode":
            args = tuple(t.detach().requires_grad_() if not t.requires_grad else t for t in args)
        made = jacobian(scalar, args, create_graph=True)
        _strictly(made, strict, "jacobian")
        return made

    if outer_jacobian_strategy == "forward-mode":
        func_module = importlib.import_module("dumbtorch.func")
        if not vectorize or strict:
            return _jacobian_forward(first, inputs, create_graph, strict, vectorize)
        given = _prepared(given, create_graph, create_graph)
        places = tuple(range(len(given)))
        made = _finished(func_module.hessian(scalar, argnums=places)(*given), create_graph)
    else:
        made = jacobian(first, given, create_graph, strict, vectorize)
    return made if several else made[0][0]


def vhp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """``func(inputs)``, which is one element, and the product of ``v`` with its Hessian.

    Reference: ``torch.autograd.functional.vhp``.
    """
    with enable_grad():
        several, given, vector, output, pulled = _first_order(func, inputs, v, create_graph, strict, "vhp")
        products = _pull(pulled, given, vector, create_graph, strict, _DOUBLE)
    output, products = _finished(output, create_graph), _finished(products, create_graph)
    return output, products if several else products[0]


def hvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """``func(inputs)``, which is one element, and the product of its Hessian with ``v``.

    As `vhp` for a function whose second derivatives are continuous, at a higher cost: it differentiates the product of
    the gradient with a vector of variables. Reference: ``torch.autograd.functional.hvp``.
    """
    with enable_grad():
        several, given, vector, output, pulled = _first_order(func, inputs, v, create_graph, strict, "hvp")
        seeds = tuple(t.detach().new_ones(t.shape).requires_grad_() for t in given)
        double = _pull(pulled, given, seeds, True, strict, _DOUBLE)
        _strictly(double, strict, "grad_inputs")
    products = _pull(double, seeds, vector, create_graph, strict, _TRICK)
    output, products = _finished(output, create_graph), _finished(products, create_graph)
    return output, products if several else products[0]


def _first_order(
    func: Callable[..., Any], inputs: Any, v: Any, create: bool, strict: bool, name: str
) -> tuple[bool, tuple[Any, ...], tuple[Any, ...], Any, tuple[Any, ...]]:
    several, given = _tuple(inputs, "inputs", name)
    given = _prepared(given, create)
    vector = _vector(v, given, several, name, "the input to the user-provided function is a single Tensor with a "
                     "single element")  # fmt: skip
    many, outputs = _tuple(func(*given), "outputs of the user-provided function", name)
    _strictly(outputs, strict, "outputs")
    if many:
        raise RuntimeError(f"The function given to {name} should return a single Tensor")
    if outputs[0].numel() != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {name} should contain a single element")
    one = outputs[0].detach().new_ones(outputs[0].shape)
    pulled = _pull(outputs, given, [one], True, strict, _BACK)
    _strictly(pulled, strict, "jacobian")
    return several, given, vector, outputs[0], pulled
