"""Optimizers and learning-rate schedules."""

from dumbtorch.optim import lr_scheduler, swa_utils
from dumbtorch.optim.adadelta import Adadelta
from dumbtorch.optim.adafactor import Adafactor
from dumbtorch.optim.adagrad import Adagrad
from dumbtorch.optim.adam import Adam
from dumbtorch.optim.adamax import Adamax
from dumbtorch.optim.adamw import AdamW
from dumbtorch.optim.asgd import ASGD
from dumbtorch.optim.lbfgs import LBFGS
from dumbtorch.optim.muon import Muon
from dumbtorch.optim.nadam import NAdam
from dumbtorch.optim.optimizer import Optimizer
from dumbtorch.optim.radam import RAdam
from dumbtorch.optim.rmsprop import RMSprop
from dumbtorch.optim.rprop import Rprop
from dumbtorch.optim.sgd import SGD
from dumbtorch.optim.sparse_adam import SparseAdam

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Muon", "NAdam",
    "Optimizer", "RAdam", "RMSprop", "Rprop", "SparseAdam", "lr_scheduler", "swa_utils",
]  # fmt: skip
