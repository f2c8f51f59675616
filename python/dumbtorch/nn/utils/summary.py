"""A table of a model's layers: shapes, parameters, multiplications and additions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dumbtorch import ops
from dumbtorch._dtypes import float32
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import no_grad
from dumbtorch.nn.modules.module import Module

__all__ = ["LayerSummary", "ModelSummary", "summary"]


@dataclass
class LayerSummary:
    """One call of one layer. `parameters` and `flops` are those of what lies below it too."""

    name: str
    kind: str
    depth: int
    input_shape: Any = None
    output_shape: Any = None
    parameters: int = 0
    trainable: int = 0
    flops: int = 0
    leaf: bool = True


@dataclass
class ModelSummary:
    """What `summary` returns; printing it gives the table."""

    layers: list[LayerSummary] = field(default_factory=list)
    total_params: int = 0
    trainable_params: int = 0
    total_flops: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    param_bytes: int = 0

    def __str__(self) -> str:
        titles = ("Layer (type)", "Input shape", "Output shape", "Parameters", "FLOPs")
        rows = [
            (
                "  " * layer.depth + (f"{layer.name} ({layer.kind})" if layer.name else layer.kind),
                _shape_text(layer.input_shape),
                _shape_text(layer.output_shape),
                f"{layer.parameters:,}" if layer.parameters else "--",
                f"{layer.flops:,}" if layer.flops else "--",
            )
            for layer in self.layers
        ]
        widths = [max(len(row[i]) for row in (titles, *rows)) for i in range(5)]
        lines = [_line(row, widths) for row in (titles, *rows)]
        rule = "=" * max(map(len, lines))
        totals = [
            f"Parameters: {self.total_params:,} ({self.trainable_params:,} trainable)",
            f"FLOPs of a forward pass: {self.total_flops:,}",
            f"Memory: input {_size(self.input_bytes)}, layers' outputs {_size(self.output_bytes)}, "
            f"parameters {_size(self.param_bytes)}",
        ]
        return "\n".join([rule, lines[0], rule, *lines[1:], rule, *totals, rule])

    __repr__ = __str__


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    left = [text.ljust(width) for text, width in zip(row[:3], widths[:3], strict=True)]
    right = [text.rjust(width) for text, width in zip(row[3:], widths[3:], strict=True)]
    return "  ".join(left + right).rstrip()


def _size(count: int) -> str:
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= scale:
            return f"{count / scale:.2f} {unit}"
    return f"{count} B"


def _shape_text(shape: Any) -> str:
    if shape is None:
        return "--"
    if isinstance(shape, tuple) and shape and isinstance(shape[0], tuple):
        return ", ".join(map(_shape_text, shape))
    return str(list(shape))


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for item in value for t in _tensors(item)] if isinstance(value, list | tuple) else []


def _shapes(value: Any) -> Any:
    found = [tuple(t.shape) for t in _tensors(value)]
    return None if not found else found[0] if len(found) == 1 else tuple(found)


def _flops(module: Any, given: Any, result: Any) -> int:
    """Multiplications and additions (two for each product that is added up) of a layer's own work.

    Of products, convolutions, recurrences, norms, pools; 0 for layers that have no weights and of which nothing is
    known, and twice the weights for each element of the result of a layer's last dimension otherwise.
    """
    outputs, inputs = _tensors(result), _tensors(given)
    if not outputs or not inputs:
        return 0
    names = {cls.__name__ for cls in type(module).__mro__}
    produced = outputs[0].numel()
    own = [p for p in module._parameters.values() if p is not None]
    if names & {"Linear", "Bilinear"}:
        each = math.prod(module.weight.shape[1:])
        return produced * (2 * each + (module.bias is not None))
    if "_ConvTransposeNd" in names:
        each = math.prod(module.weight.shape[1:])
        return inputs[0].numel() * 2 * each + (produced if module.bias is not None else 0)
    if "_ConvNd" in names:
        return produced * (2 * math.prod(module.weight.shape[1:]) + (module.bias is not None))
    if "RNNBase" in names:
        steps = produced // max(1, outputs[0].shape[-1]) if outputs[0].ndim else 1
        return steps * 2 * sum(p.numel() for p in own if p.ndim > 1)
    if "RNNCellBase" in names:
        return (produced // max(1, outputs[0].shape[-1])) * 2 * sum(p.numel() for p in own if p.ndim > 1)
    if "MultiheadAttention" in names:
        return _attention_flops(module, inputs)
    if names & {"Embedding", "EmbeddingBag"}:
        return 0
    if "Norm" in type(module).__name__:
        return produced * (4 if own else 2)
    if "Pool" in type(module).__name__:
        return max(inputs[0].numel(), produced)
    return produced * 2 if own else 0


def _attention_flops(module: Any, inputs: list[Tensor]) -> int:
    """Four projections, and the two products of scores and values."""
    query = inputs[0]
    key = inputs[1] if len(inputs) > 1 else query
    width = query.shape[-1]
    rows, keys = query.numel() // width, key.numel() // key.shape[-1]
    length = key.shape[1 if module.batch_first else 0] if key.ndim == 3 else key.shape[0]
    return 2 * width * width * (2 * rows + 2 * keys) + 4 * rows * length * width


def summary(
    model: Module,
    input_size: Any = None,
    *,
    input_data: Any = None,
    dtypes: Any = None,
    depth: int = 3,
    device: Any = None,
    **kwargs: Any,
) -> ModelSummary:
    """Run the model once on ones of `input_size` (a shape, or a list of shapes) and describe every layer's call.

    `input_data` (a tensor, or a tuple of arguments) is given in its place; `dtypes` are those of the inputs (default
    float32), `kwargs` go to the model. Layers deeper than `depth` are counted but not listed. The model is run in
    evaluation mode without gradients and left as it was. ValueError if neither input is given.
    FLOPs count additions and multiplications of one forward pass on this input.

        >>> print(nn.utils.summary(nn.Linear(4, 3), input_size=(2, 4)))
        ==========================================================
        Layer (type)  Input shape  Output shape  Parameters  FLOPs
        ==========================================================
        Linear        [2, 4]       [2, 3]                15     54
        ==========================================================
        Parameters: 15 (15 trainable)
        FLOPs of a forward pass: 54
        Memory: input 32 B, layers' outputs 24 B, parameters 60 B
        ==========================================================
    """
    arguments = _arguments(input_size, input_data, dtypes, device)
    found = ModelSummary(input_bytes=sum(t.numel() * t.element_size() for t in _tensors(arguments)))
    stack: list[LayerSummary] = []
    handles = []

    def before(module: Module, args: Any, kwargs: Any, name: str, level: int) -> None:
        layer = LayerSummary(name, type(module).__name__, level, _shapes((args, kwargs)))
        if stack:
            stack[-1].leaf = False
        stack.append(layer)
        found.layers.append(layer)

    def after(module: Module, args: Any, kwargs: Any, result: Any, name: str) -> None:
        layer = stack.pop()
        layer.output_shape = _shapes(result)
        params = list(module.parameters())
        layer.parameters = sum(p.numel() for p in params)
        layer.trainable = sum(p.numel() for p in params if p.requires_grad)
        layer.flops += _flops(module, (args, kwargs), result)
        if stack:
            stack[-1].flops += layer.flops
        if layer.leaf:
            found.output_bytes += sum(t.numel() * t.element_size() for t in _tensors(result))

    modes = {module: module.training for module in model.modules()}
    try:
        for path, module in model.named_modules():
            name, level = path.rpartition(".")[2], path.count(".") + bool(path)
            handles.append(
                module.register_forward_pre_hook(
                    lambda m, a, k, name=name, level=level: before(m, a, k, name, level), with_kwargs=True
                )
            )
            handles.append(
                module.register_forward_hook(lambda m, a, k, r, name=name: after(m, a, k, r, name), with_kwargs=True)
            )
        model.eval()
        with no_grad():
            model(*arguments, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    found.total_flops = found.layers[0].flops if found.layers else 0
    found.layers = [layer for layer in found.layers if layer.depth <= depth]
    for param in model.parameters():
        found.total_params += param.numel()
        found.trainable_params += param.numel() if param.requires_grad else 0
        found.param_bytes += param.numel() * param.element_size()
    return found


def _arguments(input_size: Any, input_data: Any, dtypes: Any, device: Any) -> tuple[Any, ...]:
    if input_data is not None:
        return tuple(input_data) if isinstance(input_data, tuple | list) else (input_data,)
    if input_size is None:
        raise ValueError("summary: give input_size, a shape or a list of shapes, or input_data")
    sizes = [input_size] if all(isinstance(n, int) for n in input_size) else list(input_size)
    kinds = dtypes if isinstance(dtypes, list | tuple) else [float32 if dtypes is None else dtypes] * len(sizes)
    return tuple(ops.ones(tuple(size), dtype=kind, device=device) for size, kind in zip(sizes, kinds, strict=True))
