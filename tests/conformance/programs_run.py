"""Runs a program under PyTorch or dumbtorch with the random numbers of NumPy, and writes its first losses as JSON.

    python programs_run.py FRAMEWORK REPORT STEPS DOUBLE SCRIPT ARGUMENTS...

The two libraries draw different numbers for a seed. So what a program draws by the public functions comes from NumPy,
the parameters of a module are drawn anew, in their order, before the module is first moved or trained, dropout takes
its masks from NumPy, and so do the random samplers; attention and recurrent layers,
which drop out inside, drop nothing. Nothing else is touched.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import random
import runpy
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np


def generator(name: str) -> np.random.Generator:
    return np.random.default_rng(list(name.encode()))


class Draws:
    """What replaces the random functions of a framework."""

    def __init__(self, m: Any) -> None:
        self.m = m
        self.drawn: set[int] = set()
        self.weights = generator("weights")

    def parameters(self, parameters: Any) -> None:
        """Draw parameters anew: what is constant stays, the rest keeps about its spread."""
        for p in parameters:
            if id(p) in self.drawn:
                continue
            self.drawn.add(id(p))
            value = p.detach().numpy()
            if value.size == 0 or (value.min() == value.max() and value.flat[0] in (0, 1)):
                continue
            fan = value.shape[1] * int(np.prod(value.shape[2:])) if value.ndim > 1 else value.size
            drawn = self.weights.standard_normal(value.shape) * (0.5 / np.sqrt(fan))
            with self.m.no_grad():
                p.copy_(self.m.tensor(drawn.astype(value.dtype)))

    def function(self, name: str, draw: Any, like: bool = False) -> None:
        """Replace a public function of sizes, or of a tensor."""
        rng, m = generator(name), self.m

        def drawn(*args: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **kwargs: Any) -> Any:
            kwargs.pop("generator", None)
            kwargs.pop("out", None)
            if like:
                dtype = dtype or args[0].dtype
                args = (tuple(args[0].shape),)
            values = draw(rng, *args, **kwargs)
            whole = np.issubdtype(np.asarray(values).dtype, np.integer)
            made = m.tensor(np.asarray(values)).to(dtype or (m.int64 if whole else m.get_default_dtype()))
            return made.requires_grad_() if requires_grad else made

        setattr(self.m, name, drawn)

    def filling(self, owner: Any, name: str, normal: bool, first: float, second: float) -> None:
        """Replace a function that fills a tensor; the numbers depend on the tensor's shape alone."""
        m = self.m

        def fill(tensor: Any, a: float = first, b: float = second, generator: Any = None, **names: float) -> Any:
            a = names.get("mean", names.get("from", names.get("a", a)))
            b = names.get("std", names.get("to", names.get("b", b)))
            rng = np.random.default_rng([*name.encode(), *tensor.shape])
            shape = tuple(tensor.shape)
            values = a + b * rng.standard_normal(shape) if normal else a + (b - a) * rng.random(shape)
            with m.no_grad():
                return tensor.copy_(m.tensor(values).to(tensor.dtype))

        setattr(owner, name, fill)

    def dropout(self, name: str, channels: bool) -> None:
        """Replace a dropout function."""
        rng, m = generator(name), self.m

        def dropped(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
            if not training or p == 0:
                return input
            shape = tuple(input.shape)
            if channels:
                shape = shape[:2] + (1,) * (len(shape) - 2)
            mask = (rng.random(shape) >= p) / (1 - p)
            return input * m.tensor(mask.astype("float32")).to(input.dtype)

        setattr(m.nn.functional, name, dropped)


def sizes(*args: Any, size: Any = None) -> tuple[int, ...]:
    if size is not None:
        return tuple(size)
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], (tuple, list)) else tuple(map(int, args))


def spread(rng: np.random.Generator, mean: Any, std: Any = 1.0, size: Any = ()) -> Any:
    mean, std = (np.asarray(v.detach() if hasattr(v, "detach") else v) for v in (mean, std))
    return mean + std * rng.standard_normal(tuple(size) or np.broadcast_shapes(mean.shape, std.shape))


def integers(rng: np.random.Generator, *args: Any, size: Any = None, low: int = 0, high: int | None = None) -> Any:
    args = list(args)
    if size is None:
        size = args.pop()
    if len(args) == 2:
        low, high = args
    elif args:
        high = args[0]
    return rng.integers(low, high, tuple(size))


def install(m: Any, steps: int, report: str) -> None:
    draws = Draws(m)
    draws.function("randn", lambda rng, *a, **k: rng.standard_normal(sizes(*a, **k)))
    draws.function("rand", lambda rng, *a, **k: rng.random(sizes(*a, **k)))
    draws.function("randn_like", lambda rng, shape, **k: rng.standard_normal(shape), like=True)
    draws.function("rand_like", lambda rng, shape, **k: rng.random(shape), like=True)
    draws.function("normal", spread)
    draws.function("randint", integers)
    draws.function("randperm", lambda rng, n: rng.permutation(n))
    for owner in (m.Tensor, m.nn.init):
        draws.filling(owner, "normal_", True, 0.0, 1.0)
        draws.filling(owner, "uniform_", False, 0.0, 1.0)
    for name in ("dropout", "dropout1d", "dropout2d", "dropout3d"):
        draws.dropout(name, name != "dropout")

    if importlib.util.find_spec(f"{m.__name__}.distributions") is not None:
        distributions = importlib.import_module(f"{m.__name__}.distributions")
        chance = generator("categorical")

        def sample(self: Any, sample_shape: Any = ()) -> Any:
            probabilities = self.probs.detach().numpy().astype("float64").reshape(-1, self.probs.shape[-1])
            drawn = [int((chance.random() > np.cumsum(row)).sum()) for row in probabilities]
            return m.tensor(drawn).reshape(tuple(self.probs.shape[:-1]))

        distributions.Categorical.sample = sample

    def visit(self: Any) -> Iterator[int]:
        rng, count = generator("sampler"), len(self.data_source)
        if self.replacement:
            for _ in range(self.num_samples):
                yield int(rng.integers(count))
        else:
            yield from rng.permutation(count)[: self.num_samples].tolist()

    m.utils.data.RandomSampler.__iter__ = visit

    def hooked(name: str) -> None:
        method = getattr(m.nn.Module, name)

        def first(self: Any, *args: Any, **kwargs: Any) -> Any:
            draws.parameters(self.parameters())
            for module in self.modules():
                if isinstance(getattr(module, "dropout", None), float):
                    module.dropout = 0.0
            return method(self, *args, **kwargs)

        setattr(m.nn.Module, name, first)

    for name in ("to", "train", "zero_grad"):
        hooked(name)
    begin = m.optim.Optimizer.__init__

    def init(self: Any, params: Any, defaults: Any) -> None:
        params = list(params)
        flat = [p for group in params for p in (list(group["params"]) if isinstance(group, dict) else [group])]
        draws.parameters(p[1] if isinstance(p, tuple) else p for p in flat)
        begin(self, params, defaults)

    m.optim.Optimizer.__init__ = init

    losses: list[float] = []
    backward = m.Tensor.backward

    def noted(self: Any, *args: Any, **kwargs: Any) -> None:
        backward(self, *args, **kwargs)
        if self.numel() == 1:
            losses.append(float(self.detach()))
        with open(report, "w") as file:
            json.dump(losses, file)
        if len(losses) >= steps:
            sys.stdout.flush()
            os._exit(0)

    m.Tensor.backward = noted


def stand_in(name: str, **values: Any) -> None:
    """Put a module where a framework has none that can be imported, and names that it lacks into one that it has."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        module = types.ModuleType(name)
        sys.modules[name] = module
        parent, _, last = name.rpartition(".")
        setattr(sys.modules[parent], last, module)
    for key, value in values.items():
        if not hasattr(module, key):
            setattr(module, key, value)


class Writer:
    """TensorBoard's writer: takes all and writes nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def absent(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("a program on one device must not come here")


def main() -> None:
    framework, report, steps, double, script, *arguments = sys.argv[1:]
    if framework == "dumbtorch":
        import dumbtorch

        dumbtorch.install_as_torch()
    import torch
    import torch.nn.functional
    import torch.optim
    import torch.utils.data

    stand_in("torch.utils.tensorboard", SummaryWriter=Writer)
    stand_in("torch.nn.parallel", DistributedDataParallel=absent, data_parallel=absent)
    stand_in("torch.onnx", export=absent)
    stand_in("torch.distributed", init_process_group=absent, destroy_process_group=absent)
    stand_in("torch.utils.data.distributed", DistributedSampler=absent)
    torch.set_num_threads(1)
    if int(double):
        torch.set_default_dtype(torch.float64)
    install(torch, int(steps), report)
    random.seed(0)
    np.random.seed(0)
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(script)
    found = runpy.run_path(script, run_name="__main__")
    # a file of tests: run them
    for name, value in found.items():
        if name.startswith("test_") and callable(value):
            value()


if __name__ == "__main__":
    main()
