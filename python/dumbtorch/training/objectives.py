"""What a :class:`Trainer` minimizes: functions of the model and a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dumbtorch._tensor import Tensor

#: From the model and a batch to the loss, or to the loss and a dictionary of further numbers to report.
Objective = Callable[[Any, Any], Any]


def supervised(criterion: Callable[[Any, Any], Tensor], **metrics: Callable[[Any, Any], Any]) -> Objective:
    """The objective of batches ``(input, target)``: ``criterion(model(input), target)``.

    metrics: further functions of the output and the target, reported under their names.

    Example::

        supervised(nn.CrossEntropyLoss(), accuracy=accuracy)
    """

    def objective(model: Any, batch: Any) -> tuple[Tensor, dict[str, Any]]:
        inputs, target = batch
        output = model(inputs)
        loss = criterion(output, target)
        return loss, {name: metric(output.detach(), target) for name, metric in metrics.items()}

    return objective


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """The share of rows of scores (count, classes, ...) whose largest is that of the class ``target`` (count, ...)."""
    return (output.argmax(1) == target).float().mean()
