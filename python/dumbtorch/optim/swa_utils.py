"""Averages of weights: `AveragedModel` (stochastic weight averaging and exponential averages), `SWALR`, `update_bn`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import set_grad_enabled
from dumbtorch.nn import Module
from dumbtorch.nn.modules.batchnorm import _BatchNorm
from dumbtorch.optim._composed import _per_group
from dumbtorch.optim._schedules import LRScheduler, Rate
from dumbtorch.optim.optimizer import Optimizer

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn",
    "update_bn",
]  # fmt: skip

Average = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverage = Callable[[list[Tensor], list[Tensor], Any], None]


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def _each(average: Average) -> MultiAverage:
    """The average of one parameter, over lists of them, in place."""

    def update(averaged: list[Tensor], current: list[Tensor], count: Any) -> None:
        with set_grad_enabled(False):
            for own, new in zip(averaged, current, strict=True):
                own.copy_(average(own, new, count))

    return update


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """An exponential average: decay times the average plus 1 - decay times the new value. ValueError outside [0, 1]."""
    _check_decay(decay)

    def average(own: Tensor, new: Tensor, count: Any) -> Tensor:
        with set_grad_enabled(False):
            return own * decay + new * (1 - decay)

    return average


def get_swa_avg_fn() -> Average:
    """The plain average of all values so far."""

    def average(own: Tensor, new: Tensor, count: Any) -> Tensor:
        with set_grad_enabled(False):
            return own + (new - own) / (count + 1)

    return average


def _moved(weight: Callable[[Any], Any], exact: MultiAverage) -> MultiAverage:
    """Moves the averages by a share of the way to the new values, one pass each; `exact` is for integers."""

    def update(averaged: list[Tensor], current: list[Tensor], count: Any) -> None:
        if not (averaged[0].dtype.is_floating_point or averaged[0].dtype.is_complex):
            exact(averaged, current, count)
            return
        share = weight(count)
        with set_grad_enabled(False):
            for own, new in zip(averaged, current, strict=True):
                own.lerp_(new, share)

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """`get_ema_avg_fn` over lists of parameters, in place."""
    return _moved(lambda count: 1 - decay, _each(get_ema_avg_fn(decay)))


def get_swa_multi_avg_fn() -> MultiAverage:
    """`get_swa_avg_fn` over lists of parameters, in place."""
    return _moved(lambda count: float(1 / (count + 1)), _each(get_swa_avg_fn()))


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's, moved by `update_parameters`.

    The average is the plain one unless `avg_fn` (of one parameter) or `multi_avg_fn` (of lists, in place) is given;
    both get the number of models so far. Buffers are copied, or averaged too if `use_buffers`.
    Reference: `torch.optim.swa_utils.AveragedModel` (Izmailov et al., 2018; Polyak and Juditsky, 1992).

        >>> average = optim.swa_utils.AveragedModel(model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.99))
        >>> average.update_parameters(model)
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", ops.tensor(0, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model computes."""
        return self.module(*args, **kwargs)

    def _tensors(self, model: Module) -> list[Tensor]:
        parts = (model.parameters(), model.buffers()) if self.use_buffers else (model.parameters(),)
        return [tensor.detach() for tensor in itertools.chain(*parts)]

    def update_parameters(self, model: Module) -> None:
        """Take the model's parameters into the average; the first time they are the average."""
        own = self._tensors(self.module)
        new = [b.to(a.device) for a, b in zip(own, self._tensors(model), strict=True)]
        if self.n_averaged.item() == 0:
            for a, b in zip(own, new, strict=True):
                a.copy_(b)
        else:
            update = self.multi_avg_fn or _each(self.avg_fn or get_swa_avg_fn())
            kinds: dict[Any, tuple[list[Tensor], list[Tensor]]] = {}
            for a, b in zip(own, new, strict=True):
                mine, theirs = kinds.setdefault((a.dtype, a.device), ([], []))
                mine.append(a)
                theirs.append(b)
            for (_, device), (mine, theirs) in kinds.items():
                update(mine, theirs, self.n_averaged.to(device))
        if not self.use_buffers:
            for a, b in zip(self.module.buffers(), model.buffers(), strict=True):
                a.detach().copy_(b.detach().to(a.device))
        self.n_averaged.add_(1)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of all batch norms anew, from one pass over `loader`.

    A batch is a tensor, or a list or tuple that begins with it. Reference: `torch.optim.swa_utils.update_bn`.
    """
    norms = {module: module.momentum for module in model.modules() if isinstance(module, _BatchNorm)}
    if not norms:
        return
    training = model.training
    model.train()
    for module in norms:
        module.reset_running_stats()
        module.momentum = None
    with set_grad_enabled(False):
        for batch in loader:
            first = batch[0] if isinstance(batch, list | tuple) else batch
            model(first if device is None else first.to(device))
    for module, momentum in norms.items():
        module.momentum = momentum
    model.train(training)


class SWALR(LRScheduler):
    """From the rate that a group has to `swa_lr` within `anneal_epochs` epochs, along half a cosine or a line.

    ValueError for another `anneal_strategy` or a negative length. Reference: `torch.optim.swa_utils.SWALR`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        for rate, group in zip(_per_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _part(self, step: int) -> float:
        """How much of the way is done."""
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self) -> list[Rate]:
        """The rates of this epoch."""
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._part(step - 1), self._part(step)
        rates = []
        for group in self.optimizer.param_groups:
            target = group["swa_lr"]
            start = target if before == 1 else (group["lr"] - before * target) / (1 - before)
            rates.append(target * now + start * (1 - now))
        return rates
