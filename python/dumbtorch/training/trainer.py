"""The loop itself."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import random
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dumbtorch._tensor import Tensor
from dumbtorch.autograd import no_grad
from dumbtorch.nn import Module
from dumbtorch.nn.utils import clip_grad_norm_, clip_grad_value_
from dumbtorch.optim import Optimizer
from dumbtorch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from dumbtorch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from dumbtorch.random import get_rng_state, set_rng_state
from dumbtorch.serialization import load, save
from dumbtorch.training.loggers import Logger
from dumbtorch.training.objectives import Objective
from dumbtorch.utils.data import DataLoader
from dumbtorch.utils.data._utils.collate import map_structure


class Trainer:
    """Trains a model: batches to gradients to steps, with what belongs around that.

    loss: a function of the model and a batch that returns the loss, or the loss and a dictionary of further numbers to
    report (:func:`supervised` makes one). scheduler: stepped after each optimizer step, or each epoch with
    ``scheduler_interval="epoch"`` (a ReduceLROnPlateau is given ``monitor``). accumulate: batches whose gradients are
    averaged for one step, default 1. clip_norm, clip_value: limits of the gradients. ema: the decay of an exponential
    average of the weights, ``average``, that is validated instead of the model. patience: epochs without a better
    ``monitor`` (default "valid/loss", or "train/loss" without validation; ``mode`` "min" or "max") until training
    ends. folder: where ``last.pt`` (everything that is needed to go on) and ``best.pt`` (the weights of the best epoch)
    go; without it nothing is saved. save_every: steps between two checkpoints; each epoch ends with one in any case.
    log_every: steps between two reports, default 20. loggers: see :class:`CSVLogger`, :class:`TensorBoardLogger`.
    progress: show a bar, default True (needs tqdm). device: where batches go, default that of the model.

    A run that was killed at any point goes on with ``fit(..., resume=True)`` and ends with the same weights, bit for
    bit, as one that was not: a checkpoint holds the model, the optimizer, the schedule, all random states, the place in
    the data and the logs' lengths, and is replaced in one step. FloatingPointError for a loss that is no finite number.

    Example::

        trainer = Trainer(model, optimizer, supervised(nn.CrossEntropyLoss()), folder="run", clip_norm=1.0)
        trainer.fit(train_loader, valid_loader, epochs=10)
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss: Objective,
        *,
        scheduler: LRScheduler | None = None,
        scheduler_interval: str = "step",
        accumulate: int = 1,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        ema: float | None = None,
        patience: int | None = None,
        monitor: str | None = None,
        mode: str = "min",
        folder: str | os.PathLike[str] | None = None,
        save_every: int | None = None,
        log_every: int = 20,
        loggers: Sequence[Logger] = (),
        progress: bool = True,
        device: Any = None,
    ) -> None:
        _check_choice("scheduler_interval", scheduler_interval, ("step", "epoch"))
        _check_choice("mode", mode, ("min", "max"))
        for name, value in (("accumulate", accumulate), ("log_every", log_every), ("save_every", save_every)):
            if value is not None and value < 1:
                raise ValueError(f"Trainer: {name} must be at least 1, got {value}")
        if isinstance(scheduler, ReduceLROnPlateau) and scheduler_interval == "step":
            raise ValueError('Trainer: a ReduceLROnPlateau needs scheduler_interval="epoch"')
        if save_every is not None and folder is None:
            raise ValueError("Trainer: save_every needs a folder to save to")
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.average = None if ema is None else AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema))
        self.patience = patience
        self.monitor = monitor
        self.mode = mode
        self.folder = None if folder is None else Path(folder)
        self.save_every = save_every
        self.log_every = log_every
        self.loggers = list(loggers)
        self._log_states: list[Any] = [None] * len(self.loggers)
        self.progress = progress
        self.device = next((parameter.device for parameter in model.parameters()), None) if device is None else device
        self.state = _State()
        self._stopping = False
        self._recent = _Means()  # since the last report
        self._whole = _Means()  # since the epoch began, up to the last report

    # ------------------------------------------------------------ the loop

    def fit(
        self, train: DataLoader[Any], valid: Iterable[Any] | None = None, epochs: int = 1, resume: bool = False
    ) -> list[dict[str, float]]:
        """Train until ``epochs`` epochs are done in all; returns the numbers of each epoch.

        resume: go on from ``folder/last.pt`` if it is there, else begin (FileNotFoundError without a folder).
        """
        saved = self._load(train) if resume else None
        if saved is not None:
            self._log_states = saved["loggers"]
        self._stopping = False
        opened: list[Logger] = []
        try:
            for logger, state in zip(self.loggers, self._log_states, strict=True):
                logger.open(state, self.state.step)
                opened.append(logger)
            while self.state.epoch < epochs and not self.state.ended and not self._stopping:
                with self._bar(train, f"epoch {self.state.epoch + 1}/{epochs}") as bar:
                    whole = self._train(train, bar)
                    if whole:
                        self._end_epoch(valid, bar)
                self._save(train)
        finally:
            for i, logger in enumerate(opened):
                self._log_states[i] = logger.state()  # where the next call goes on
                logger.close()
        return self.state.history

    def stop(self) -> None:
        """End ``fit`` after the step under way, with a checkpoint. May be called by a signal handler."""
        self._stopping = True

    def evaluate(self, batches: Iterable[Any]) -> dict[str, float]:
        """The means of the loss and of what it reports, over samples; with the averaged weights where there are."""
        model: Module = self.model if self.average is None else self.average.module
        training = [module for module in model.modules() if module.training]
        means = _Means()
        model.eval()
        try:
            with no_grad():
                for batch in batches:
                    moved = self._move(batch)
                    means.add(self._numbers(self.loss(model, moved))[1], _size_of(moved))
        finally:
            for module in training:
                module.training = True
        return means.take()

    def _train(self, train: DataLoader[Any], bar: Any) -> bool:
        """The rest of an epoch; False if it was stopped before its end."""
        for sampler in (train.sampler, getattr(train.batch_sampler, "sampler", None)):
            set_epoch = getattr(sampler, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(self.state.epoch)
        self.model.train()
        self.optimizer.zero_grad()
        pending = 0
        for batch in train:
            moved = self._move(batch)
            loss, numbers = self._numbers(self.loss(self.model, moved))
            (loss / self.accumulate if self.accumulate > 1 else loss).backward()
            self._recent.add(numbers, _size_of(moved))
            pending += 1
            bar.update(1)
            if pending < self.accumulate:
                continue
            pending = 0
            self._step(bar)
            if self._stopping:
                return False
            if self.save_every is not None and self.state.step % self.save_every == 0:
                self._save(train)
        if pending:  # fewer batches than make up a step: their average
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(self.accumulate / pending)
            self._step(bar)
        return True

    def _step(self, bar: Any) -> None:
        """From gradients to new weights."""
        if self.clip_value is not None:
            clip_grad_value_(self.model.parameters(), self.clip_value)
        if self.clip_norm is not None:
            clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.scheduler is not None and self.scheduler_interval == "step":
            self.scheduler.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.state.step += 1
        if self.state.step % self.log_every == 0:
            self._report(bar)

    def _report(self, bar: Any) -> None:
        values = {f"train/{name}": value for name, value in self._recent.take(into=self._whole).items()}
        self._check_finite(values["train/loss"])
        bar.set_postfix({"loss": f"{values['train/loss']:.4g}"}, refresh=False)
        self._log(values | {"lr": float(self.optimizer.param_groups[0]["lr"])})

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} around step {self.state.step}: lower the learning rate, clip the gradients "
                "(clip_norm), or look for zeros under a logarithm, a root or a division"
            )

    def _end_epoch(self, valid: Iterable[Any] | None, bar: Any) -> None:
        self._recent.take(into=self._whole)
        values = {f"train/{name}": value for name, value in self._whole.take().items()}
        if "train/loss" not in values:
            raise ValueError("Trainer.fit: the training data has no batches")
        self._check_finite(values["train/loss"])
        if valid is not None:
            found = {f"valid/{name}": value for name, value in self.evaluate(valid).items()}
            self._log(found)
            values |= found
        self.state.epoch += 1
        self.state.history.append(values)
        bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()})
        watched = self.monitor or ("train/loss" if valid is None else "valid/loss")
        if watched not in values:
            raise KeyError(f"Trainer: monitor={watched!r} is not among the numbers of an epoch: {', '.join(values)}")
        if self.scheduler is not None and self.scheduler_interval == "epoch":
            if isinstance(self.scheduler, ReduceLROnPlateau):
                self.scheduler.step(values[watched])
            else:
                self.scheduler.step()
        self._judge(values[watched])

    def _judge(self, value: float) -> None:
        """Whether this epoch was the best, and whether it is time to stop."""
        best = self.state.best
        if best is None or (value < best if self.mode == "min" else value > best):
            self.state.best, self.state.waited = value, 0
            if self.folder is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                model = self.model if self.average is None else self.average.module
                save(model.state_dict(), self.folder / "best.pt")
            return
        self.state.waited += 1
        self.state.ended = self.patience is not None and self.state.waited >= self.patience

    # ------------------------------------------------------------ checkpoints

    def _parts(self) -> dict[str, Any]:
        """What keeps a state dict of its own."""
        parts = {
            "model": self.model,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "average": self.average,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def _save(self, train: DataLoader[Any]) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint = {name: part.state_dict() for name, part in self._parts().items()} | {
            "progress": asdict(self.state),
            "means": [self._recent.state_dict(), self._whole.state_dict()],
            "loader": train.state_dict(),
            "loggers": [logger.state() for logger in self.loggers],
            "random": _random_states(),
        }
        save(checkpoint, self.folder / "last.pt")

    def _load(self, train: DataLoader[Any]) -> dict[str, Any] | None:
        if self.folder is None:
            raise FileNotFoundError("Trainer: resume=True needs the folder that checkpoints are in")
        for half_written in self.folder.glob(".*.pt.*.tmp"):  # by a process that was killed
            half_written.unlink()
        file = self.folder / "last.pt"
        if not file.exists():
            return None
        saved: dict[str, Any] = load(file)
        parts = self._parts()
        other = (saved.keys() & {"model", "optimizer", "scheduler", "average"}) ^ parts.keys()
        if other:
            raise ValueError(f"{file} is of a trainer with or without another part than this one: {sorted(other)}")
        if len(saved["loggers"]) != len(self.loggers):
            raise ValueError(f"{file} is of a trainer with {len(saved['loggers'])} loggers, not {len(self.loggers)}")
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        self.state = _State(**saved["progress"])
        for means, state in zip((self._recent, self._whole), saved["means"], strict=True):
            means.load_state_dict(state)
        train.load_state_dict(saved["loader"])
        _set_random_states(saved["random"])
        return saved

    # ------------------------------------------------------------ small parts

    def _numbers(self, result: Any) -> tuple[Tensor, dict[str, Any]]:
        loss, further = result if isinstance(result, tuple) else (result, {})
        return loss, {"loss": loss.detach(), **further}

    def _move(self, data: Any) -> Any:
        if isinstance(data, Tensor):
            return data if self.device is None else data.to(self.device)
        return map_structure(self._move, data)

    def _log(self, values: Mapping[str, float]) -> None:
        for logger in self.loggers:
            logger.log(self.state.step, self.state.epoch, values)

    @contextlib.contextmanager
    def _bar(self, train: DataLoader[Any], title: str) -> Iterator[Any]:
        if not self.progress:
            yield _NoBar()
            return
        try:
            tqdm = importlib.import_module("tqdm").tqdm
        except ImportError as error:
            raise ImportError("the progress bar needs tqdm: pip install tqdm, or Trainer(progress=False)") from error
        try:
            total = len(train)
        except TypeError:  # a stream
            total = None
        done = train.state_dict()["batches"]
        with tqdm(total=total, initial=done, desc=title, unit=" batches", dynamic_ncols=True) as bar:
            yield bar


@dataclass
class _State:
    """How far the training is."""

    epoch: int = 0
    step: int = 0
    best: float | None = None
    waited: int = 0  # epochs since the best one
    ended: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


class _Means:
    """Means of numbers, weighted by the sizes of their batches. Tensors are looked at when the means are taken."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}
        self._fresh: list[tuple[dict[str, Any], int]] = []  # on the device still

    def add(self, numbers: dict[str, Any], weight: int) -> None:
        self._fresh.append((numbers, weight))
        if len(self._fresh) >= 256:  # as much as need be held
            self._settle()

    def take(self, into: _Means | None = None) -> dict[str, float]:
        """The means so far; begins anew. ``into``: others that go on with them."""
        self._settle()
        means = {name: total / weight for name, (total, weight) in self._sums.items() if weight}
        if into is not None:
            for name, pair in self._sums.items():
                into._count(name, *pair)
        self._sums = {}
        return means

    def _count(self, name: str, total: float, weight: float) -> None:
        pair = self._sums.setdefault(name, [0.0, 0.0])
        pair[0] += total
        pair[1] += weight

    def state_dict(self) -> dict[str, list[float]]:
        self._settle()
        return {name: list(pair) for name, pair in self._sums.items()}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        self._sums, self._fresh = {name: list(pair) for name, pair in state.items()}, []

    def _settle(self) -> None:
        for numbers, weight in self._fresh:
            for name, value in numbers.items():
                self._count(name, float(value) * weight, weight)
        self._fresh.clear()


class _NoBar:
    def update(self, count: int) -> None:
        pass

    def set_postfix(self, *_: Any, **__: Any) -> None:
        pass


def _size_of(batch: Any) -> int:
    """How many samples: the length of the first tensor in the batch."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.dim() else 1
    values = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, Sequence) else ()
    for value in values:
        if not isinstance(value, str | bytes):
            return _size_of(value)
    return 1


def _random_states() -> dict[str, Any]:
    """Of every generator that a program may draw from without naming one."""
    version, numbers, gauss = random.getstate()
    states: dict[str, Any] = {"dumbtorch": get_rng_state(), "python": [version, list(numbers), gauss]}
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        name, keys, place, has_gauss, cached = numpy.random.get_state()
        states["numpy"] = [name, keys.tolist(), place, has_gauss, cached]
    return states


def _set_random_states(states: dict[str, Any]) -> None:
    set_rng_state(states["dumbtorch"])
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    if "numpy" in states:
        name, keys, place, has_gauss, cached = states["numpy"]
        importlib.import_module("numpy").random.set_state((name, keys, place, has_gauss, cached))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"Trainer: {name} must be one of {', '.join(choices)}, got {value!r}")
