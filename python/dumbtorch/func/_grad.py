"""``grad``, ``vjp``, ``jvp`` and the Jacobians: derivatives as transforms of functions.

Reverse mode differentiates by fresh places in the one graph that lies below all levels (`_wrappers.leaf`). Whether the
derivative itself is recorded depends on whether anything outside of the function asks for it: an argument that
requires a gradient already, or a tensor that the function closes over.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dumbtorch import _C
from dumbtorch._pytree import tree_flatten, tree_map, tree_map_only, tree_unflatten
from dumbtorch.autograd import watch
from dumbtorch.autograd.graph import Node, TensorBase, edge_of
from dumbtorch.autograd.modes import NO_GRAD, enable_grad
from dumbtorch.func._forward import Forward
from dumbtorch.func._vmap import vmap
from dumbtorch.func._wrappers import Batched, Dual, batched, dual, grads, leaf, split
from dumbtorch.ops.table import FUNCTIONS

argnums_t = int | tuple[int, ...]

# ---------------------------------------------------------------- arguments


def _argument(argnum: Any, count: int) -> int:
    if not isinstance(argnum, int):
        raise RuntimeError(f"argnum must be int, got: {type(argnum)}")
    if not -count <= argnum < count:
        raise RuntimeError(f"Got argnum={argnum}, but only {count} positional inputs")
    return argnum % count


def _chosen(args: tuple[Any, ...], argnums: Any) -> tuple[int, ...]:
    """The places of the arguments to differentiate by."""
    if isinstance(argnums, int):
        return (_argument(argnums, len(args)),)
    if not isinstance(argnums, tuple):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    if not argnums:
        raise RuntimeError("argnums must be non-empty")
    places = tuple(_argument(n, len(args)) for n in argnums)
    if len(set(places)) != len(places):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return places


def _replaced(args: tuple[Any, ...], places: Sequence[int], values: Sequence[Any]) -> tuple[Any, ...]:
    made = list(args)
    for place, value in zip(places, values, strict=True):
        made[place] = value
    return tuple(made)


def _tensors(leaves: Sequence[Any], api: str, what: str) -> None:
    if not leaves:
        raise RuntimeError(f"{api}: Expected {what} to contain at least one Tensor.")
    for value in leaves:
        if not isinstance(value, TensorBase):
            raise RuntimeError(f"{api}: Expected {what} to only contain Tensors, got unsupported type {type(value)}")


def _outputs(output: Any, api: str) -> list[Any]:
    flat = tree_flatten(output)[0]
    if not flat:
        raise RuntimeError(f"{api}: Expected f to be a function that has non-empty output (got output = {output})")
    for value in flat:
        if not isinstance(value, TensorBase):
            raise RuntimeError(
                f"{api}: expected f(*primals) to return only tensors, got unsupported type {type(value)}"
            )
    return flat


def _with_aux(output: Any, has_aux: bool, api: str) -> tuple[Any, Any]:
    if not has_aux:
        return output, None
    if not (isinstance(output, tuple) and len(output) == 2):
        raise RuntimeError(f"{api}: output of function f should be a tuple: (output, aux) if has_aux is True")
    return output


def _no_complex(name: str, values: Any, is_input: bool) -> None:
    for value in tree_flatten(values)[0]:
        if isinstance(value, TensorBase) and value.dtype.is_complex:
            what = "inputs" if is_input else "outputs"
            raise RuntimeError(
                f"{name}: Expected all {what} to be real but received complex tensor at flattened input idx: 0"
            )


# ---------------------------------------------------------------- reverse mode


def _physical(value: Any) -> Iterator[Any]:
    """The plain tensors that a wrapper stands for."""
    if isinstance(value, Batched):
        yield from _physical(value._whole)
    elif isinstance(value, Dual):
        yield from _physical(value._primal)
        yield from _physical(value._tangent)
    else:
        yield value


def detached(value: Any) -> Any:
    """A tensor outside of the graph, with the same wrappers."""
    if not isinstance(value, TensorBase):
        return value
    if isinstance(value, Batched) and value._level.alive:
        return batched(value._level, detached(value._whole))
    if isinstance(value, Dual) and value._level.alive:
        return dual(value._level, detached(value._primal), detached(value._tangent))
    return value._alias()


class _Tape:
    """One function call to be differentiated: its leaves, its outputs, and whether others look at the derivative."""

    def __init__(self, inputs: Sequence[Any]) -> None:
        for value in inputs:
            if not isinstance(value, TensorBase):
                raise ValueError(f"Thing passed to transform API must be Tensor, got {type(value)}")
        self.outer = not _C.get_mode() & NO_GRAD
        levels = list(watch.STATE.levels)
        self.leaves = [leaf(value, levels) for value in inputs]
        self.roots: list[Any] = []

    def watched(self, outputs: Sequence[Any]) -> bool:
        """Whether the graph of the outputs leads anywhere but to the leaves."""
        if not self.outer:
            return False
        own = {
            id(edge_of(part)): part.grad_fn for value in self.leaves for part in _physical(value) if part.requires_grad
        }
        if any(node is not None for node in own.values()):
            return True
        stack = [edge_of(part) for value in outputs for part in _physical(value)]
        seen = set()
        while stack:
            edge = stack.pop()
            if type(edge) is tuple:
                edge = edge[0]
            if edge is None or id(edge) in own or id(edge) in seen:
                continue
            if not isinstance(edge, Node):
                return True
            seen.add(id(edge))
            stack.extend(edge.edges)
        return False

    def close(self, value: Any, create: bool) -> Any:
        """Results as the caller sees them."""
        return value if create else tree_map_only(TensorBase, detached, value)

    def pull(self, outputs: Sequence[Any], given: Sequence[Any], retain: bool, create: bool) -> list[Any]:
        """The gradients of the leaves, zeros where the outputs do not depend on one."""
        found = grads(outputs, self.leaves, given, retain, create)
        return [(value.new_zeros(value.shape) if g is None else g) for g, value in zip(found, self.leaves, strict=True)]


def grad_and_value(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Callable[..., tuple[Any, Any]]:
    """A function that returns the gradient of ``func`` and its value (with ``has_aux`` a pair of value and the rest).

    As `grad`. Reference: ``torch.func.grad_and_value``.

    >>> import dumbtorch as torch
    >>> torch.func.grad_and_value(lambda x: (x * x).sum())(torch.ones(2))
    (tensor([2., 2.]), tensor(2.))
    """
    api = "grad_and_value(f)(*args)"

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        places = _chosen(args, argnums)
        flat, spec = tree_flatten([args[n] for n in places])
        tape = _Tape(flat)
        with enable_grad():
            output = func(*_replaced(args, places, tree_unflatten(tape.leaves, spec)), **kwargs)
            output, aux = _with_aux(output, has_aux, api)
            if not isinstance(output, TensorBase):
                raise RuntimeError(f"{api}: Expected f(*args) to return a Tensor, got {type(output)}")
            if output.ndim:
                raise RuntimeError(
                    f"{api}: Expected f(*args) to return a scalar Tensor, got tensor with {output.ndim} dims. Maybe "
                    f"you "
                    "wanted to use the vjp or jacrev APIs instead?"
                )
            create = tape.watched([output])
            found = tape.pull([output], [output.new_ones(())], create, create)
        gradient = tree_unflatten(found, spec)
        gradient = gradient[0] if isinstance(argnums, int) else tuple(gradient)
        output = tape.close(output, create)
        return gradient, (output, tape.close(aux, create)) if has_aux else output

    return wrapper


def grad(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradient of ``func``, a scalar, by its argument(s) ``argnums``.

    Arguments may be nested containers of tensors; for several ``argnums`` a tuple is returned. With ``has_aux``
    ``func`` returns a pair, and so does the result: the gradient, and the second as it is. Raises RuntimeError unless
    ``func`` returns a tensor without dimensions. Reference: ``torch.func.grad``.

    >>> import dumbtorch as torch
    >>> torch.func.grad(torch.sin)(torch.tensor(0.0))
    tensor(1.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapper


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """``func(*primals)``, and a function from gradients of its results to gradients of the primals.

    Reference: ``torch.func.vjp``.

    >>> import dumbtorch as torch
    >>> value, pull = torch.func.vjp(torch.sin, torch.zeros(2))
    >>> pull(torch.ones(2))
    (tensor([1., 1.]),)
    """
    return _vjp(func, primals, None, has_aux)


def _vjp(func: Callable[..., Any], args: tuple[Any, ...], argnums: Any, has_aux: bool) -> tuple[Any, ...]:
    api = "vjp(f, *primals)"
    places = tuple(range(len(args))) if argnums is None else _chosen(args, argnums)
    flat, spec = tree_flatten(tuple(args[n] for n in places))
    tape = _Tape(flat)
    with enable_grad():
        output = func(*_replaced(args, places, tree_unflatten(tape.leaves, spec)))
        output, aux = _with_aux(output, has_aux, api)
        outputs = _outputs(output, api)
        outputs_spec = tree_flatten(output)[1]
        watched = tape.watched(outputs)

    def pull(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        given, given_spec = tree_flatten(cotangents)
        if given_spec != outputs_spec:
            raise RuntimeError(
                f"Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
                f"function. cotangents: {given_spec}, primal output: {outputs_spec}"
            )
        for out, g in zip(outputs, given, strict=True):
            if g.shape != out.shape:
                raise RuntimeError(
                    f"Mismatch in shape: grad_output has a shape of {g.shape} and output has a shape of {out.shape}."
                )
        create = create_graph
        if create is None:
            create = not _C.get_mode() & NO_GRAD and (watched or any(g.requires_grad for g in given))
        found = tape.pull(outputs, given, retain_graph, create)
        gradient = tree_unflatten(found, spec)
        return gradient[0] if isinstance(argnums, int) else gradient

    value = tape.close(output, watched)
    return (value, pull, tape.close(aux, watched)) if has_aux else (value, pull)


# ---------------------------------------------------------------- forward mode


def jvp(
    func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False
) -> tuple[Any, ...]:
    """``func(*primals)`` and its derivative in the direction of ``tangents``, in one pass of forward mode.

    With ``strict`` a result that does not depend on the primals raises RuntimeError; else its tangent is zeros.
    Reference: ``torch.func.jvp``.

    >>> import dumbtorch as torch
    >>> torch.func.jvp(torch.sin, (torch.zeros(2),), (torch.ones(2),))
    (tensor([0., 0.]), tensor([1., 1.]))
    """
    return _jvp(func, primals, tangents, None, strict, has_aux)


def _jvp(
    func: Callable[..., Any], primals: Any, tangents: Any, argnums: Any, strict: bool, has_aux: bool
) -> tuple[Any, ...]:
    api = "jvp(f, primals, tangents)"
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{api}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals).")
    places = tuple(range(len(primals))) if argnums is None else _chosen(primals, argnums)
    flat, spec = tree_flatten(tuple(primals[n] for n in places))
    moves, moves_spec = tree_flatten(tangents)
    if spec != moves_spec:
        raise RuntimeError(
            f"{api}: Expected primals and tangents to have the same python structure. For example, if primals is a "
            f"tuple of 3 tensors, tangents also must be. Got primals with structure {spec} and tangents with structure "
            f"{moves_spec}"
        )
    _tensors(flat, api, "primals")
    _tensors(moves, api, "tangents")
    with Forward() as level:
        duals = [_dual(level, p, t) for p, t in zip(flat, moves, strict=True)]
        output = func(*_replaced(primals, places, tree_unflatten(duals, spec)))
        output, aux = _with_aux(output, has_aux, api)
        values = _outputs(output, api)
        out_spec = tree_flatten(output)[1]
        pairs = [_unpacked(level, value, strict, api) for value in values]
        result = tuple(tree_unflatten(column, out_spec) for column in zip(*pairs, strict=True))
        if has_aux:
            aux = tree_map_only(TensorBase, lambda t: split(t, level)[0], aux)
    return (*result, aux) if has_aux else result


def _dual(level: Forward, primal: Any, tangent: Any) -> Any:
    check_tangent(primal, tangent)
    return dual(level, primal, tangent)


def check_tangent(primal: Any, tangent: Any) -> None:
    """Raises unless a tangent fits its primal."""
    if not (primal.dtype.is_floating_point or primal.dtype.is_complex):
        raise ValueError(f"Expected primal to be floating point or complex, but got: {primal.dtype}")
    if not (tangent.dtype.is_floating_point or tangent.dtype.is_complex):
        raise ValueError(f"Expected tangent to be floating point or complex, but got: {tangent.dtype}")
    if tangent.shape != primal.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
            f"supported. Tensor is of size {list(primal.shape)} while the given forward gradient is of size "
            f"{list(tangent.shape)}."
        )
    if tangent.dtype is not primal.dtype:
        raise RuntimeError(
            "Expected tangent to have the same dtype as its primal: the primal is of "
            f"{primal.dtype}, the tangent of {tangent.dtype}"
        )


def _unpacked(level: Forward, value: Any, strict: bool, api: str) -> tuple[Any, Any]:
    primal, tangent = split(value, level)
    if tangent is None:
        if strict:
            raise RuntimeError(
                "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not "
                "allowed with strict=True."
            )
        tangent = primal.new_zeros(primal.shape)
    return primal, tangent


# ---------------------------------------------------------------- Jacobians


def _basis(tensors: Sequence[Any]) -> list[Any]:
    """Unit vectors of the space of several tensors, a batch of them for each."""
    sizes = [t.numel() for t in tensors]
    total, start = sum(sizes), 0
    made = []
    for tensor, size in zip(tensors, sizes, strict=True):
        unit = FUNCTIONS["zeros"](total, size, dtype=tensor.dtype, device=tensor.device)
        unit[start : start + size].fill_diagonal_(1)
        made.append(unit.reshape(total, *tensor.shape))
        start += size
    return made


def jacrev(
    func: Callable[..., Any],
    argnums: Any = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[..., Any]:
    """A function that returns the Jacobian of ``func`` by its argument(s) ``argnums``, in reverse mode.

    Each result's shape is that of the output followed by that of the input. The rows are computed together, or
    ``chunk_size`` at a time. Reference: ``torch.func.jacrev``.

    >>> import dumbtorch as torch
    >>> torch.func.jacrev(torch.square)(torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapper(*args: Any) -> Any:
        _no_complex("jacrev", args, True)
        made = _vjp(func, args, argnums, has_aux)
        output, pull = made[0], made[1]
        _no_complex("jacrev", output, False)
        outputs, out_spec = tree_flatten(output)
        places = _chosen(args, argnums)
        inputs, in_spec = tree_flatten(tuple(args[n] for n in places))
        sizes = [t.numel() for t in outputs]

        def rows(*units: Any) -> Any:
            return tuple(tree_flatten(pull(tree_unflatten(list(units), out_spec)))[0])

        columns = vmap(rows, chunk_size=chunk_size)(*_basis(outputs)) if sum(sizes) else [
            t.new_zeros((0, *t.shape)) for t in inputs]  # fmt: skip
        jacobians = []
        for number, out in enumerate(outputs):
            start = sum(sizes[:number])
            parts = [
                column.narrow(0, start, sizes[number]).reshape(*out.shape, *value.shape)
                for column, value in zip(columns, inputs, strict=True)
            ]
            jacobians.append(_nested(parts, in_spec, argnums))
        result = tree_unflatten(jacobians, out_spec)
        return (result, made[2]) if has_aux else result

    return wrapper


def _nested(parts: list[Any], spec: Any, argnums: Any) -> Any:
    tree = tree_unflatten(parts, spec)
    return tree[0] if isinstance(argnums, int) else tree


def jacfwd(
    func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable[..., Any]:
    """A function that returns the Jacobian of ``func`` by its argument(s) ``argnums``, in forward mode.

    As `jacrev`, which is better where there are fewer outputs than inputs. Reference: ``torch.func.jacfwd``.

    >>> import dumbtorch as torch
    >>> torch.func.jacfwd(torch.square)(torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """

    @functools.wraps(func)
    def wrapper(*args: Any) -> Any:
        _no_complex("jacfwd", args, True)
        places = tuple(range(len(args))) if argnums is None else _chosen(args, argnums)
        inputs, in_spec = tree_flatten(tuple(args[n] for n in places))
        _tensors(inputs, "jacfwd", "primals")
        sizes = [t.numel() for t in inputs]

        def push(*units: Any) -> Any:
            moved = _jvp(func, args, tree_unflatten(list(units), in_spec), argnums, False, has_aux)
            _no_complex("jacfwd", moved[0], False)
            return moved[1:] if has_aux else moved[1]

        made = vmap(push, randomness=randomness)(*_basis(inputs))
        aux = None
        if has_aux:
            made, aux = made
            aux = tree_map(lambda t: t[0], aux)
        outputs, out_spec = tree_flatten(made)
        jacobians = []
        for out in outputs:
            last = out.movedim(0, -1)
            parts = []
            for number, value in enumerate(inputs):
                part = last.narrow(-1, sum(sizes[:number]), sizes[number])
                parts.append(part.reshape(*out.shape[1:], *value.shape))
            jacobians.append(_nested(parts, in_spec, argnums))
        result = tree_unflatten(jacobians, out_spec)
        return (result, aux) if has_aux else result

    return wrapper


def hessian(func: Callable[..., Any], argnums: Any = 0) -> Callable[..., Any]:
    """A function that returns the matrix of second derivatives of ``func`` by its argument(s) ``argnums``.

    The gradient is recorded once and all its rows are differentiated together. Reference: ``torch.func.hessian``.

    >>> import dumbtorch as torch
    >>> torch.func.hessian(lambda x: (x ** 3).sum())(torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacrev(jacrev(func, argnums), argnums)


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """``func(*primals)`` and a function that maps tangents of the primals to those of the results.

    ``func`` runs once; each call of the function is linear in its tangents and does not run it again.
    Reference: ``torch.func.linearize``.

    >>> import dumbtorch as torch
    >>> value, push = torch.func.linearize(torch.sin, torch.zeros(2))
    >>> push(torch.ones(2))
    tensor([1., 1.])
    """
    flat, spec = tree_flatten(primals)
    tape = _Tape(flat)
    with enable_grad():
        output = func(*tree_unflatten(tape.leaves, spec))
        outputs = _outputs(output, "linearize(f, *primals)")
        out_spec = tree_flatten(output)[1]
        levels = list(watch.STATE.levels)
        seeds = [leaf(t.new_ones(t.shape), levels) for t in outputs]
        pulled = grads(outputs, tape.leaves, seeds, True, True)
        create = tape.watched(outputs)

    def push(*tangents: Any) -> Any:
        moves, moves_spec = tree_flatten(tangents)
        if moves_spec != spec:
            raise RuntimeError(f"Expected the tangents {moves_spec} to have the same argspec as the primals {spec}")
        for place, (t, p) in enumerate(zip(moves, flat, strict=True)):
            for what in ("shape", "device", "dtype"):
                if getattr(t, what) != getattr(p, what):
                    raise RuntimeError(
                        f"tangent:{place} with {what} {getattr(t, what)} in flattened pytree doesn't match the {what} "
                        f"{getattr(p, what)} of the corresponding primal."
                    )
        used = [(y, t) for y, t in zip(pulled, moves, strict=True) if y is not None and y.requires_grad]
        record = not _C.get_mode() & NO_GRAD and (create or any(t.requires_grad for t in moves))
        found: list[Any] = [None] * len(seeds)
        if used:
            found = grads([y for y, _ in used], seeds, [t for _, t in used], True, record)
        values = [s.new_zeros(s.shape) if g is None else g for g, s in zip(found, seeds, strict=True)]
        return tree_unflatten(values, out_spec)

    return tape.close(output, create), push


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Callable[..., Any]:
    """``func`` as it is: writes inside of it show outside only where an argument is written to, and there they are
    meant.

    Reference: ``torch.func.functionalize``, which prepares a function for tracing: a trace of dumbtorch needs none.
    Raises RuntimeError for other values of ``remove`` than "mutations" and "mutations_and_views".
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            f"functionalize(f, remove='mutations'): received invalid argument for remove={remove}. Valid options are:\n"
            "     remove='mutations': all inplace and out= operators will be removed from the program, and replaced "
            "with their out-of-place equivalents.\n     remove='mutations_and_views': In addition to the above, all "
            "aliasing operators {view} will be replaced with their non-aliasing counterparts, {view}_copy.\n"
        )

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapper


def debug_unwrap(tensor: Any, *, recurse: bool = True) -> Any:
    """The tensor that a wrapper of a transform holds (with ``recurse`` down to a plain one); for debugging only."""
    while isinstance(tensor, (Batched, Dual)):
        tensor = tensor._whole if isinstance(tensor, Batched) else tensor._primal
        if not recurse:
            break
    return tensor
