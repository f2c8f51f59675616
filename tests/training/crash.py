"""A training run for test_resume.py: goes on from its folder, prints each step, writes the final weights.

python tests/training/crash.py FOLDER WORKERS
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import dumbtorch as torch
from dumbtorch import nn, optim
from dumbtorch.training import CSVLogger, Trainer
from dumbtorch.utils.data import DataLoader, Dataset


class Noisy(Dataset[Any]):
    """Pictures that are changed at random each time, by every generator that there is."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(50, 6, generator=generator)
        self.y = (self.x[:, :3].sum(1) > 0).long()

    def __getitem__(self, index: int) -> Any:
        return self.x[index] + 0.1 * torch.randn(6) + 0.01 * random.random(), self.y[index]

    def __len__(self) -> int:
        return len(self.x)


def loss(model: nn.Module, batch: Any) -> Any:
    """Cross-entropy; says that a batch is done, so that the test can aim."""
    x, y = batch
    print("batch", flush=True)
    return nn.functional.cross_entropy(model(x), y)


def main() -> None:
    """Train for three epochs in all."""
    folder, workers = Path(sys.argv[1]), int(sys.argv[2])
    torch.manual_seed(1)
    random.seed(1)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2))
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    trainer = Trainer(
        model,
        optimizer,
        loss,
        scheduler=optim.lr_scheduler.OneCycleLR(optimizer, 3e-2, total_steps=40),
        accumulate=2,
        clip_norm=1.0,
        ema=0.9,
        folder=folder,
        save_every=2,
        log_every=3,
        loggers=[CSVLogger(folder / "log.csv")],
        progress=False,
    )
    data = Noisy()
    train = DataLoader(data, 4, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    trainer.fit(train, DataLoader(data, 10), epochs=3, resume=True)
    assert trainer.average is not None
    torch.save([model.state_dict(), trainer.average.state_dict(), optimizer.state_dict()], folder / "final.pt")
    print("done", flush=True)


if __name__ == "__main__":
    main()
