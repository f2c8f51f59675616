"""One module on several devices of one process: each gets a part of the batch. Reference: ``torch.nn.parallel``.

>>> import dumbtorch
>>> from dumbtorch import nn
>>> nn.DataParallel(nn.Linear(4, 2))(dumbtorch.ones(3, 4)).shape
torch.Size([3, 2])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch import cuda, ops
from dumbtorch._device import device as Device
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import is_grad_enabled
from dumbtorch.nn.modules.module import Module

__all__ = ["DataParallel", "data_parallel", "gather", "parallel_apply", "replicate", "scatter"]


def _place(device: Any) -> Device:
    return Device("cuda", device) if isinstance(device, int) else Device(device)


def scatter(inputs: Any, target_gpus: Sequence[Any], dim: int = 0) -> list[Any]:
    """Inputs for each device: tensors are cut along ``dim``, containers part by part, all else is passed to each."""
    places = [_place(device) for device in target_gpus]
    if isinstance(inputs, Tensor):
        parts = inputs.chunk(len(places), dim)
        return [part.to(place) for part, place in zip(parts, places, strict=False)]
    if isinstance(inputs, tuple) and hasattr(inputs, "_fields"):
        return [type(inputs)(*part) for part in zip(*(scatter(i, places, dim) for i in inputs), strict=False)]
    if isinstance(inputs, (tuple, list)) and inputs:
        made = type(inputs)
        return [made(part) for part in zip(*(scatter(i, places, dim) for i in inputs), strict=False)]
    if isinstance(inputs, dict) and inputs:
        columns = zip(*(scatter(value, places, dim) for value in inputs.values()), strict=False)
        return [type(inputs)(zip(inputs, column, strict=True)) for column in columns]
    return [inputs for _ in places]


def gather(outputs: Sequence[Any], target_device: Any, dim: int = 0) -> Any:
    """The outputs of all devices as one, on one device: the other way of `scatter`; numbers (0-dim) become a vector."""
    first, place = outputs[0], _place(target_device)
    if isinstance(first, Tensor):
        if all(t.ndim == 0 for t in outputs):
            outputs = [t.view(1) for t in outputs]
        return ops.cat([t.to(place) for t in outputs], dim)
    if first is None:
        return None
    if isinstance(first, dict):
        if any(len(output) != len(first) for output in outputs):
            raise ValueError("All dicts must have the same number of keys")
        return type(first)((key, gather([output[key] for output in outputs], place, dim)) for key in first)
    parts = [gather(part, place, dim) for part in zip(*outputs, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)


def replicate(network: Any, devices: Sequence[Any], detach: bool = False) -> list[Any]:
    """The module on each device: copies whose parameters come from the module's, to which gradients flow back."""

    def copied(module: Module, place: Device, known: dict[int, Any]) -> Module:
        own = getattr(module, "_replicate_for_data_parallel", None)
        made: Module = module.__new__(type(module)) if own is None else own()  # lazy modules refuse
        made.__dict__ = module.__dict__.copy()
        made._modules = {n: None if c is None else copied(c, place, known) for n, c in module._modules.items()}
        made._buffers = {n: None if b is None else b.to(place) for n, b in module._buffers.items()}
        # plain tensors in the place of parameters: they have a history
        made._parameters = {}
        for name, parameter in module._parameters.items():
            if parameter is None:
                moved = None
            else:
                if id(parameter) not in known:
                    moved = parameter.to(place)
                    known[id(parameter)] = moved.detach() if detach else moved.view(moved.shape)
                moved = known[id(parameter)]
            made.__dict__[name] = moved
        return made

    return [copied(network, _place(device), {}) for device in devices]


def parallel_apply(
    modules: Sequence[Module],
    inputs: Sequence[Any],
    kwargs_tup: Sequence[dict[str, Any]] | None = None,
    devices: Sequence[Any] | None = None,
) -> list[Any]:  # fmt: skip
    """Calls each module with its inputs, one after the other: work on a device is queued and does not wait."""
    if len(modules) != len(inputs):
        raise AssertionError(f"The number of modules {len(modules)} is not equal to the number of inputs {len(inputs)}")
    named = kwargs_tup or [{}] * len(modules)
    return [
        module(*(given if isinstance(given, (list, tuple)) else (given,)), **names)
        for module, given, names in zip(modules, inputs, named, strict=True)
    ]


def _all_devices() -> list[Any]:
    return list(range(cuda.device_count())) if cuda.is_available() else []


def data_parallel(
    module: Any,
    inputs: Any,
    device_ids: Sequence[Any] | None = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:  # fmt: skip
    """The module's output for inputs that are shared out among devices (default: all); see `DataParallel`."""
    given = inputs if isinstance(inputs, tuple) else (inputs,) if inputs is not None else ()
    wrapped = DataParallel(module, device_ids, output_device, dim)
    return wrapped(*given, **(module_kwargs or {}))


class DataParallel(Module):
    """Shares each batch out among devices, runs the module on each and puts the outputs together on ``output_device``.

    ``device_ids`` (default: all CUDA devices) are indices or devices; the module must be on the first. Without any
    device the module runs as it is. Gradients of all parts add up in the module's parameters; what a replica writes
    into buffers is lost but on the first device. Reference: ``torch.nn.DataParallel``.
    """

    def __init__(
        self, module: Any, device_ids: Sequence[Any] | None = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        self.dim = dim
        self.module = module
        self.device_ids = list(_all_devices() if device_ids is None else device_ids)
        self.output_device = output_device
        if self.device_ids:
            self.output_device = self.device_ids[0] if output_device is None else output_device
            if len(self.device_ids) == 1:
                self.module.to(_place(self.device_ids[0]))

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        if not self.device_ids:
            return self.module(*inputs, **kwargs)
        first = _place(self.device_ids[0])
        for t in (*self.module.parameters(), *self.module.buffers()):
            if t.device.type != first.type or (t.device.index or 0) != (first.index or 0):
                raise RuntimeError(
                    f"module must have its parameters and buffers on device {first} (device_ids[0]) but found one of "
                    f"them on device: {t.device}"
                )
        parts = scatter((inputs, kwargs), self.device_ids, self.dim) if inputs or kwargs else [((), {})]
        if len(parts) == 1:
            return self.module(*parts[0][0], **parts[0][1])
        devices = self.device_ids[: len(parts)]
        replicas = [self.module, *replicate(self.module, devices[1:], not is_grad_enabled())]
        outputs = parallel_apply(replicas, [part[0] for part in parts], [part[1] for part in parts], devices)
        return gather(outputs, self.output_device, self.dim)
