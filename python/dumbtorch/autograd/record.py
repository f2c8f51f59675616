"""Recording: turns a row of the op table into the functions that the extension calls when an operation is recorded.

What a derivative needs is read from its parameter names. For each row the exact code that checks what was kept and
computes the gradients is written out and compiled once, when the row is first recorded; so is the code that keeps it,
for in-place operations and for rows with several results or a list of inputs. The common case, one result of several
arguments, is recorded by the extension itself (`make_recorder`), from a plan made of the same names.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

from dumbtorch import _C
from dumbtorch.autograd import graph, views, watch
from dumbtorch.autograd.graph import Node, TensorBase, edge_of, with_history


class Row(Protocol):
    """What recording needs to know of a row of the op table."""

    name: str
    params: tuple[str, ...]
    #: one letter a parameter: t (carries gradient), T (list of such), i (other tensor), I (list of them), . (others)
    kinds: str
    grad: dict[str, Callable[..., Any]]
    outputs: tuple[str, ...]  # names of the results; one is called "out"
    differentiable: tuple[int, ...]  # which of them carry gradient
    broadcast: bool  # whether inputs may have another shape or dtype than the result
    casts: bool  # whether the result may have a dtype that carries no gradient
    op: Any
    inplace_op: Any


def same_history(tensor: Any, edge: Any) -> Any:
    """A saved input as it was in the graph: itself, unless it was written into the graph anew since."""
    if not isinstance(tensor, TensorBase):
        return tensor
    now = edge_of(tensor)
    if now is edge or (type(now) is tuple and type(edge) is tuple and now[0] is edge[0] and now[1] == edge[1]):
        return tensor
    return with_history(tensor, edge)


def versions_of(tensors: Any) -> tuple[int, ...]:
    """The versions of a list of tensors; -1 for anything else in it."""
    return tuple(t._version if isinstance(t, TensorBase) else -1 for t in tensors)


def stale_list(node: Node, tensors: Any, versions: Any) -> RuntimeError:
    """The error of a list of index tensors one of which was written to since."""
    for tensor, version in zip(tensors, versions, strict=True):
        if isinstance(tensor, TensorBase) and tensor._version != version:
            return graph.stale(node, tensor, version)
    raise AssertionError("none of the tensors was written to")


def zeros_for(grads: Any, metas: Any) -> Any:
    """The output gradients of a row with several outputs, with zeros for those that nothing used."""
    grads = [*grads, *[None] * (len(metas) - len(grads))]
    return tuple(
        like.new_zeros(shape) if grad is None else grad for grad, (like, shape) in zip(grads, metas, strict=True)
    )


# kinds of entries of a recorder's plan, as in mojo/tensor/node.mojo
_OBJECT, _TENSOR, _RESULT, _VERSIONS = 0, 1, 2, 8
_FACTS = {"_shape": 3, "_dtype": 4, "_stride": 5, "_offset": 6, "_device": 7}


class _Writer:
    """Writes the source of one row's functions."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.inputs = [p for p in row.params if p in row.grad]  # in the order of the edges
        self.names = {p: fn.__code__.co_varnames[: fn.__code__.co_argcount] for p, fn in row.grad.items()}
        self.kind = dict(zip(row.params, row.kinds, strict=True))
        # one function for all inputs: it is called once and returns all gradients
        self.joint = len(self.inputs) > 1 and len({id(row.grad[p]) for p in self.inputs}) == 1
        self.sole = len(self.inputs) == 1 and self.kind[self.inputs[0]] == "t"
        self.lists = any(self.kind[p] == "T" for p in self.inputs)
        if self.lists and len(self.inputs) > 1:
            raise TypeError(f"row {row.name}: a list of tensors must be the only input that carries gradient")
        wanted: list[str] = []
        for p in self.inputs:
            wanted += [n for n in self.names[p] if n not in ("g", "gs", "needed") and n not in wanted]
        self.tensors = [n for n in wanted if self.kind.get(n) in ("t", "T", "i") or n in row.outputs]
        self.plain = [n for n in wanted if n not in self.tensors]
        # lists of index tensors, guarded like tensors
        self.lists_kept = [n for n in self.plain if self.kind.get(n) == "I"]
        self.plain = [n for n in self.plain if n not in self.lists_kept]
        self.users = {n: [p for p in self.inputs if n in self.names[p]] for n in wanted}

    def kept_names(self) -> tuple[str | None, ...]:
        """A name for each entry of what a node keeps; None for a version."""
        names: list[str | None] = []
        for name in (*self.tensors, *self.lists_kept):
            names += [name, None]
        return (*names, *self.plain)

    def edges(self) -> list[str]:
        """Code that finds the edge of each input."""
        code: list[str] = []
        for p in self.inputs:
            if self.kind[p] == "T":
                code += [f"e_{p} = [edge_of(t) for t in {p}]"]
                continue
            lines = [
                f"e_{p} = {p}.grad_fn",
                f"if e_{p} is None:",
                f"    e_{p} = {p}" if self.sole else f"    if {p}.requires_grad: e_{p} = {p}",
                f"elif e_{p}.several and {p}.output_nr: e_{p} = (e_{p}, {p}.output_nr)",
            ]
            if not self.sole:
                lines = [
                    f"if isinstance({p}, TensorBase):",
                    *("    " + line for line in lines),
                    f"else: e_{p} = None",
                ]
            code += lines
        return code

    def keep(self, name: str, inplace: bool) -> tuple[list[str], str]:
        """Code before the operation that prepares a value to keep, and the expression(s) to keep."""
        row = self.row
        used = "" if self.sole or self.lists else " or ".join(f"e_{p} is not None" for p in self.users[name])
        when = f" if {used} else None" if used else ""
        if name in row.outputs:
            alias = f"{name}._alias()" if not used else f"({name}._alias() if {used} else None)"
            return [], f"{alias}, {name}._version"
        if name in self.lists_kept:
            return [], f"{name}, versions_of({name})"
        if name in self.tensors:
            if self.kind[name] == "T":
                return [], f"tuple({name}), [t._version for t in {name}]"
            if inplace and name == row.params[0]:
                version = f"(0 if {used} else -1)" if used else "0"
                return [f"k_{name} = raw_clone({name}){when}"], f"k_{name}, {version}"
            code = [f"v_{name} = {name}._version if isinstance({name}, TensorBase) else -1"]
            if used:
                code = [
                    f"if ({used}) and isinstance({name}, TensorBase): v_{name} = {name}._version",
                    f"else: v_{name} = -1",
                ]
            elif self.sole and name == self.inputs[0]:
                code = [f"v_{name} = {name}._version"]
            if inplace:  # the same tensor given twice must not keep itself alive
                code += [f"k_{name} = {name}._alias() if {name} is {row.params[0]} else {name}"]
                return code, f"k_{name}{when}, v_{name}"
            return code, f"{name}{when}, v_{name}"
        for suffix, code_of in (
            ("_shape", "{0}.shape"),
            ("_dtype", "{0}.dtype"),
            ("_stride", "{0}._strides"),
            ("_offset", "{0}._offset"),
            ("_device", "{0}.device"),
        ):
            source = name[: -len(suffix)]
            if name.endswith(suffix) and source in self.kind:
                expression = code_of.format(source)
                if self.kind[source] == "T":
                    expression = f"[{code_of.format('t')} for t in {source}]"
                elif not self.sole:
                    expression = f"({expression} if isinstance({source}, TensorBase) else None)"
                return [f"k_{name} = {expression}"], f"k_{name}"
        if name not in self.kind:
            raise TypeError(f"row {row.name}: derivative parameter {name!r} is neither g, an input nor an output")
        return [], name

    def metas(self, out: str) -> list[str]:
        """Code that notes the inputs whose shape or dtype differs from the result's."""
        if not self.row.broadcast:
            return ["meta = None"]
        code = []
        for p in self.inputs:
            code += [f"m_{p} = None if e_{p} is None or {p}._same({out}) else ({p}.shape, {p}.dtype)"]
        none = " and ".join(f"m_{p} is None" for p in self.inputs)
        return [*code, f"meta = None if {none} else ({''.join(f'm_{p}, ' for p in self.inputs)})"]

    def finish(self, kept: list[str], out: str) -> list[str]:
        """Code that fills the node in."""
        edges = f"tuple(e_{self.inputs[0]})" if self.lists else f"({''.join(f'e_{p}, ' for p in self.inputs)})"
        saved = "".join(f"{k}, " for k in kept)
        if len(self.row.outputs) > 1 or self.row.outputs == ("*",):
            saved += f"[(t, t.shape) for t in map(detach, {out})], "
        return [
            "node = cls()",
            f"node.edges = {edges}",
            f"node.saved = ({saved})",
            "node.meta = meta",
            "node.extra = None",
            "node.seq = tick()",
        ]

    def plan(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The slots that carry gradient, and what to keep, for the extension's recorder."""
        params = self.row.params
        kept = []
        for name in (*self.tensors, *self.lists_kept, *self.plain):
            users = 0 if self.sole else sum(1 << self.inputs.index(p) for p in self.users[name])
            if name in self.row.outputs:
                kind, slot = _RESULT, 0
            elif name in self.lists_kept:
                kept.append(_OBJECT | params.index(name) << 8 | users << 16)
                kind, slot = _VERSIONS, params.index(name)
            elif name in params:
                kind, slot = (_TENSOR if name in self.tensors else _OBJECT), params.index(name)
            else:
                suffix = name[name.rindex("_") :]
                if suffix not in _FACTS or name[: -len(suffix)] not in params:
                    raise TypeError(
                        f"row {self.row.name}: derivative parameter {name!r} is neither g, an input nor an output"
                    )
                kind, slot = _FACTS[suffix], params.index(name[: -len(suffix)])
            kept.append(kind | slot << 8 | users << 16)
        return tuple(params.index(p) for p in self.inputs), tuple(kept)

    def record(self) -> str:
        """``record(out, slots)``: called after the kernel of an out-of-place operation."""
        row = self.row
        code = []
        whole = "results" if len(row.outputs) > 1 else "out"  # one of the results may be called "out"
        if row.casts:
            code += ["kind = out.dtype", "if not (kind.is_floating_point or kind.is_complex): return"]
        code += [f"{''.join(f'{p}, ' for p in row.params)} = slots"]
        code += self.edges()
        if len(row.outputs) > 1:
            code += [f"{', '.join(row.outputs)} = {whole}"]
        kept = []
        for name in (*self.tensors, *self.lists_kept, *self.plain):
            before, expression = self.keep(name, inplace=False)
            code += before
            kept.append(expression)
        code += self.metas(whole)
        code += self.finish(kept, whole)
        if row.outputs == ("*",):
            code += ["for number, result in enumerate(out): result._attach(node, number)"]
        elif len(row.outputs) > 1:
            code += [f"{row.outputs[n]}._attach(node, {n})" for n in row.differentiable]
        else:
            code += ["out._attach(node, 0)"]
        return _function(f"record({whole}, slots)", code)

    def inplace(self) -> str:
        """``inplace(slots)``: called instead of the kernel of an in-place operation."""
        row = self.row
        first = row.params[0]
        code = [f"{''.join(f'{p}, ' for p in row.params)} = slots"]
        code += [f"if not check_inplace({first}): return raw(*slots)"]
        sole, self.sole = self.sole, False  # self may not require a gradient before the operation
        code += self.edges()
        after: list[str] = []
        kept = []
        for name in (*self.tensors, *self.lists_kept, *self.plain):
            if name == "out":
                after.append(name)
            before, expression = self.keep(name, inplace=True)
            code += before
            kept.append(expression)
        code += [f"out = {first}"]
        code += self.metas("out")
        code += ["raw(*slots)"]
        code += self.finish(kept, "out")
        code += ["rebase(out, node)", "return out"]
        self.sole = sole
        return _function("inplace(slots)", code)

    def apply(self) -> str:
        """``apply(self, g, edges, create)``: the gradients of the inputs."""
        row = self.row
        places = {p: n for n, p in enumerate(self.inputs)}
        several = len(row.outputs) > 1 or row.outputs == ("*",)
        code = ["saved = self.saved", "if saved is None: raise freed(self)"]
        unpack = "".join(f"{n}, v_{n}, " for n in (*self.tensors, *self.lists_kept)) + "".join(
            f"{n}, " for n in self.plain
        )
        unpack += "metas, " if several else ""
        if unpack:
            code += [f"{unpack} = saved"]
        if several:
            asked = {name for names in self.names.values() for name in names}
            code += ["gs = (*g, *[None] * (len(metas) - len(g)))"] * ("gs" in asked)
            code += ["g = zeros_for(g, metas)"] * ("g" in asked)
        history = []
        for n in self.lists_kept:
            code += [f"if versions_of({n}) != v_{n}: raise stale_list(self, {n}, v_{n})"]
        for n in self.tensors:
            if self.kind.get(n) == "T":
                code += [
                    f"for t, v in zip({n}, v_{n}, strict=True):",
                    "    if t._version != v: raise stale(self, t, v)",
                ]
                continue
            if n in row.outputs:
                number = row.outputs.index(n)
                code += [f"if {n} is not None and {n}._version != v_{n}: raise stale(self, {n}, v_{n}, True)"]
                if number in row.differentiable:
                    history += [
                        f"if {n} is not None: {n} = with_history({n}, {f'(self, {number})' if number else 'self'})"
                    ]
                continue
            check = f"{n}._version != v_{n}"
            if not (self.sole and n == self.inputs[0]):
                check = f"v_{n} >= 0 and {check}"
            code += [f"if {check}: raise stale(self, {n}, v_{n})"]
            if n in places:
                history += [f"{n} = same_history({n}, self.edges[{places[n]}])"]
        if history:
            code += ["if create:", *("    " + line for line in history)]
        calls = [f"d_{p}({', '.join(self.names[p])})" for p in self.inputs]
        if self.lists:
            code += [f"return {calls[0]}"]
        elif len(calls) == 1:
            code += [f"r_0 = {calls[0]}"]
        elif self.joint:
            if "needed" in self.names[self.inputs[0]]:
                code += ["needed = [edge is not None for edge in edges]"]
            code += [f"{', '.join(f'r_{n}' for n in range(len(calls)))} = {calls[0]}"]
        else:
            code += [f"r_{n} = None if edges[{n}] is None else {call}" for n, call in enumerate(calls)]
        if not self.lists:
            if row.broadcast:
                code += ["meta = self.meta", "if meta is not None:"]
                code += [f"    r_{n} = reduce_to(r_{n}, meta[{n}])" for n in range(len(calls))]
            code += [f"return ({''.join(f'r_{n}, ' for n in range(len(calls)))})"]
        return _function("apply(self, g, edges, create)", code)


def _function(signature: str, code: list[str]) -> str:
    return f"def {signature}:\n" + "".join(f"    {line}\n" for line in code)


def node_name(name: str) -> str:
    """The class name of a row's nodes, as PyTorch forms it: ``log_softmax`` -> ``LogSoftmaxBackward0``."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_")) + "Backward0"


def compile_row(row: Row) -> dict[str, Any]:
    """Writes and compiles the row's functions: ``record``, ``inplace`` (where it has one), the node class ``cls``."""
    writer = _Writer(row)
    several = len(row.outputs) > 1 or row.outputs == ("*",)
    cls = type(
        node_name(row.name),
        (Node,),
        {
            "__slots__": (),
            "keeps": bool(writer.tensors or writer.lists_kept),
            "several": several,
            "kept": writer.kept_names(),
            "__module__": __name__,
        },
    )
    scope: dict[str, Any] = {
        "cls": cls,
        "TensorBase": TensorBase,
        "detach": TensorBase._alias,
        "tick": graph.tick,
        "freed": graph.freed,
        "stale": graph.stale,
        "edge_of": edge_of,
        "with_history": with_history,
        "same_history": same_history,
        "reduce_to": graph.reduce_to,
        "zeros_for": zeros_for,
        "versions_of": versions_of,
        "stale_list": stale_list,
        "check_inplace": views.check_inplace,
        "rebase": views.rebase,
        "raw_clone": views.raw_clone,
    }
    scope.update({f"d_{p}": fn for p, fn in row.grad.items()})
    native = row.outputs == ("out",) and not writer.lists
    source = writer.apply() if native else writer.record() + writer.apply()
    if row.inplace_op is not None:
        source += writer.inplace()
        scope["raw"] = _C.raw(row.inplace_op)
    exec(compile(source, f"<row {row.name}>", "exec"), scope)
    if native:
        scope["record"] = _C.make_recorder(cls, *writer.plan(), int(row.broadcast), int(row.casts))
    cls.apply = scope["apply"]  # type: ignore[attr-defined]
    cls.source = source  # type: ignore[attr-defined]  # for people who debug a row
    return scope


_COMPILED: dict[Any, dict[str, Any]] = {}


def recorder(row: Row) -> Callable[[Any, Any], Any]:
    """The function ``record(result, args)`` of a row, for a call that was computed in another way."""
    if row not in _COMPILED:
        _COMPILED[row] = compile_row(row)
    record: Callable[[Any, Any], Any] = _COMPILED[row]["record"]
    return record


def attach_row(row: Row) -> None:
    """Gives the row's ops their recording functions, to be compiled when first needed."""

    ops = [
        (op, functools.partial(watch.traced, row, op is row.inplace_op))
        for op in (row.op, row.inplace_op)
        if op is not None
    ]

    def prepare() -> dict[str, Any]:
        recorder(row)
        scope = _COMPILED[row]
        for op, traced in ops:
            _C.set_hooks(op, scope["record"], scope.get("inplace"), traced)
        return scope

    def record(out: Any, slots: Any) -> Any:
        return prepare()["record"](out, slots)

    def inplace(slots: Any) -> Any:
        return prepare()["inplace"](slots)

    for op, traced in ops:
        _C.set_hooks(op, record, inplace, traced)
