"""Optimizers and learning-rate schedules."""

from dumbtorch.optim import lr_scheduler
from dumbtorch.optim.adam import Adam
from dumbtorch.optim.adamw import AdamW
from dumbtorch.optim.optimizer import Optimizer
from dumbtorch.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler"]
