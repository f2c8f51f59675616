"""The op table: what a row is, and what is made of it.

A row declares one primitive: its signature, the kernel that computes it, its derivative, samples for the tests. From it
come the function, the method, the in-place and ``out=`` forms, recording, the documentation and the tests. A derivative
is a plain function written in dumbtorch operations, one for each differentiable input; what has to be kept for it is
read from its parameter names:

- ``g``: the gradient of the result (a tuple of them for a row with several results, where ``gs`` is the same tuple
  with None for results that nothing used);
- the name of an input: that input, guarded against later writes; ``NAME_shape``, ``NAME_dtype``: only these;
- ``out`` (or a result's name): the result; any other parameter of the signature: its value.

One function under the names of several inputs is called once and returns their gradients in order; the parameter
``needed`` tells it which of them are asked for.

A sum over broadcast dimensions and a cast back to an input's dtype are done by the engine where ``broadcast`` says so.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from dumbtorch import _C
from dumbtorch.autograd import record, watch
from dumbtorch.autograd.modes import NO_GRAD

DIFFERENTIABLE, INPLACE, HAS_OUT, VIEW, TAKES_LAZY = 1, 2, 4, 8, 16
Samples = Callable[[], Iterable[Any]]

TABLE: dict[str, Row] = {}
#: Python functions of ops, by the names they are exported under.
FUNCTIONS: dict[str, Any] = {}
#: What becomes a method of Tensor: rows' ops and composites.
METHODS: dict[str, Any] = {}
#: Rows whose kernel no family of the extension has registered.
MISSING: list[str] = []

_KERNELS = frozenset(_C.kernels())
_WORDS: dict[str, Any] = {"None": None, "True": True, "False": False, "()": (), "inf": float("inf")}


def _value(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "'\"":
        return text[1:-1]
    try:
        return int(text)
    except ValueError:
        return float(text)


class Row:
    """One primitive. See the module's docstring; the fields are the arguments of `row`."""

    __slots__ = (
        "aliases", "broadcast", "casts", "defaults", "differentiable", "doc", "dtypes", "errors", "flags", "grad",
        "inplace_op", "kernel", "kinds", "name", "op", "outputs", "params", "positional", "ref", "reference", "samples",
        "signature",
    )  # fmt: skip
    name: str
    signature: str
    params: tuple[str, ...]
    defaults: tuple[Any, ...]
    positional: int
    kinds: str
    grad: dict[str, Callable[..., Any]]
    outputs: tuple[str, ...]
    differentiable: tuple[int, ...]
    broadcast: bool
    casts: bool
    kernel: str
    aliases: tuple[str, ...]
    flags: int
    doc: str
    dtypes: str
    samples: Samples | None
    errors: Samples | None
    ref: str | None
    op: Any
    inplace_op: Any

    def __repr__(self) -> str:
        return f"<row {self.name}({self.signature})>"


def _parse(made: Row, signature: str, lists: str) -> None:
    """Reads ``"input, other:i, *, alpha=1"``: names, defaults, how many may be positional, kinds."""
    names: list[str] = []
    defaults: list[Any] = []
    kinds: list[str] = []
    positional = -1
    for part in signature.split(", "):
        if part == "*":
            positional = len(names)
            continue
        name, equals, default = part.partition("=")
        name, _, kind = name.partition(":")
        names.append(name)
        defaults.append(_value(default) if equals else _C.required)
        if name in made.grad:
            kind = "T" if name == lists else "t"
        kinds.append(kind or ".")
    made.params = tuple(names)
    made.defaults = tuple(defaults)
    made.positional = len(names) if positional < 0 else positional
    made.kinds = "".join(kinds)


def row(
    name: str,
    signature: str,
    *,
    grad: dict[str, Callable[..., Any]] | None = None,
    kernel: str | None = None,
    doc: str,
    outputs: tuple[str, ...] = ("out",),
    differentiable: tuple[int, ...] | None = None,
    broadcast: bool = False,
    casts: bool = False,
    view: bool = False,
    out: bool = True,
    lazy: bool = False,
    inplace: bool = False,
    only_inplace: bool = False,
    function: bool = True,
    method: bool = True,
    aliases: tuple[str, ...] = (),
    lists: str = "",
    dtypes: str = "float",
    samples: Samples | None = None,
    errors: Samples | None = None,
    ref: str | None = None,
) -> Any:
    """Declares a primitive and returns its op.

    ``outputs`` names the results and ``differentiable`` those that carry gradient (default: all, if there is a
    derivative). ``lists`` is the parameter that is a sequence of tensors. ``only_inplace`` declares an op that exists
    only as ``NAME_``. ``lazy``: the kernel minds pending conjugations itself (others get resolved copies). ``dtypes``
    is the set that it supports (see ``ops/samples.py``), ``ref`` the name of its reference in PyTorch where it differs.
    """
    made = Row()
    made.name = name
    made.signature = signature
    made.grad = grad or {}
    _parse(made, signature, lists)
    made.kernel = kernel or name
    made.outputs = outputs
    made.differentiable = tuple(range(len(outputs))) if differentiable is None else differentiable
    made.broadcast = broadcast
    made.casts = casts
    made.aliases = aliases
    made.dtypes = dtypes
    made.samples = samples
    made.errors = errors
    made.ref = ref
    made.doc = doc
    made.op = made.inplace_op = None
    made.flags = (
        (DIFFERENTIABLE if made.grad else 0) | (VIEW if view else 0) | (HAS_OUT if out and not view else 0)
        | (INPLACE if inplace or only_inplace else 0) | (TAKES_LAZY if lazy else 0)
    )  # fmt: skip
    TABLE[name] = made
    if made.kernel not in _KERNELS:
        MISSING.append(name)
        return None
    kinds = made.kinds.replace("i", ".").replace("I", ".")
    if not only_inplace:
        made.op = _make(made, name, kinds, made.flags & ~INPLACE)
        _export(made.op, (name, *aliases), function, method)
    if inplace or only_inplace:
        made.inplace_op = _make(made, name + "_", kinds, made.flags & ~(HAS_OUT | VIEW))
        _export(made.inplace_op, [f"{n}_" for n in (name, *aliases)], function and inplace, method)
    record.attach_row(made)
    return made.op or made.inplace_op


def _make(made: Row, name: str, kinds: str, flags: int) -> Any:
    return _C.make_op(
        name,
        made.kernel,
        made.params,
        made.defaults,
        made.positional,
        kinds,
        flags,
        f"{name}({made.signature})\n\n{made.doc}",
    )


def _export(op: Any, names: Iterable[str], function: bool, method: bool) -> None:
    for name in names:
        if function:
            FUNCTIONS[name] = op
        if method:
            METHODS[name] = _C.as_method(op)


def composite(
    *names: str, function: bool = True, method: bool = True, numpy: bool = True
) -> Callable[[Any], Any]:  # fmt: skip
    """Exports a Python function of ops, under its own name or the given ones.

    ``numpy``: the exported function knows the parameters by NumPy's names too, as PyTorch's compiled functions do and
    those that it has in Python do not. What is called too often for the wrapper takes ``axis`` itself.
    """

    def export(made: Any) -> Any:
        public = numpy_names(made) if numpy else made
        for name in names or (made.__name__,):
            if function:
                FUNCTIONS[name] = public
            if method:
                METHODS[name] = public
        return made

    return export


#: NumPy's names of parameters.
NUMPY = {"axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input", "x1": "input", "x2": "other"}


def numpy_names(function: Any) -> Any:
    """A function with a ``dim`` or ``keepdim`` that takes its arguments by NumPy's names too; others as they are."""
    code = function.__code__
    parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if "dim" not in parameters and "keepdim" not in parameters:
        return function
    known = {alias: name for alias, name in NUMPY.items() if name in parameters and alias not in parameters}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs and not known.keys().isdisjoint(kwargs):
            for alias in known.keys() & kwargs.keys():
                if known[alias] in kwargs:
                    raise TypeError(f"{function.__name__}() got multiple values for argument '{known[alias]}'")
                kwargs[known[alias]] = kwargs.pop(alias)
        return function(*args, **kwargs)

    return call


def primitive(
    name: str,
    signature: str,
    forward: Callable[..., Any],
    grad: dict[str, Callable[..., Any]],
    *,
    doc: str,
    outputs: tuple[str, ...] = ("out",),
    differentiable: tuple[int, ...] | None = None,
    lists: str = "",
    dtypes: str = "float",
    samples: Samples | None = None,
    errors: Samples | None = None,
    ref: str | None = None,
) -> Callable[..., Any]:
    """A differentiable operation computed in Python by other operations, with a derivative of its own.

    For what is simpler to write than to compile, mostly derivatives of views and indexing. Takes its arguments by
    position. ``outputs=("*",)`` is a tuple of any length. With ``samples`` it is a row of the table like any other.
    """
    made = Row()
    made.name = name
    made.signature = signature
    made.grad = grad
    _parse(made, signature, lists)
    made.outputs = outputs
    made.differentiable = tuple(range(len(outputs))) if differentiable is None else differentiable
    made.broadcast = made.casts = False
    made.kernel = ""
    made.flags = DIFFERENTIABLE
    made.aliases = ()
    made.dtypes, made.samples, made.errors, made.ref, made.doc = dtypes, samples, errors, ref, doc
    made.inplace_op = None
    carriers = tuple(n for n, kind in enumerate(made.kinds) if kind in "tT")
    is_list = "T" in made.kinds
    first = carriers[0]
    get, change, tensor = _C.get_mode, _C.set_mode, _C.TensorBase
    recorder: list[Any] = []
    several = outputs == ("*",)
    defaults = made.defaults

    def call(*args: Any) -> Any:
        args += defaults[len(args) :]
        if not is_list and not isinstance(args[first], tensor):
            kind = type(args[first]).__name__
            raise TypeError(f"{name}(): argument '{made.params[first]}' must be Tensor, not {kind}")
        mode = get()
        if mode & watch.TRACE:
            return watch.call(made, False, args)
        if mode & NO_GRAD:
            return forward(*args)
        given = args[first] if is_list else [args[n] for n in carriers]
        if not any(isinstance(a, tensor) and a.requires_grad for a in given):
            return forward(*args)
        change(mode | NO_GRAD)
        try:
            out = forward(*args)
        finally:
            change(mode)
        if not recorder:
            recorder.append(record.recorder(made))
        if several:
            out = tuple(out)
            for result in out:
                result._flags &= ~8  # a view made here is not one made by a user under no_grad
        recorder[0](out, args)
        return out

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    made.op = call
    if samples is not None:
        TABLE[name] = made
    return call
