"""A training loop with a progress bar, logs, checkpoints and exact resumption.

Example::

    from dumbtorch.training import CSVLogger, Trainer, accuracy, supervised

    trainer = Trainer(model, optimizer, supervised(nn.CrossEntropyLoss(), accuracy=accuracy), folder="run")
    trainer.fit(train_loader, valid_loader, epochs=10, resume=True)
"""

from dumbtorch.training.loggers import CSVLogger, Logger, TensorBoardLogger
from dumbtorch.training.objectives import accuracy, supervised
from dumbtorch.training.trainer import Trainer

__all__ = [
    "CSVLogger",
    "Logger",
    "TensorBoardLogger",
    "Trainer",
    "accuracy",
    "supervised",
]
