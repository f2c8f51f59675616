"""The Trainer: what it computes beside a loop written by hand, logs, early ends, errors, memory."""

from __future__ import annotations

import csv
import gc
import math
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

import dumbtorch as torch
from dumbtorch import nn, optim
from dumbtorch.training import CSVLogger, TensorBoardLogger, Trainer, accuracy, supervised
from dumbtorch.utils.data import DataLoader, IterableDataset, TensorDataset
from tests.training.tensorboard_reader import read_scalars

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def data(count: int = 40) -> TensorDataset:
    x = torch.randn(count, 5, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, (x[:, :2].sum(1) > 0).long())


def model(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 2))


def weights(network: nn.Module) -> list[Any]:
    return [parameter.tolist() for parameter in network.parameters()]


def trainer(network: nn.Module | None = None, lr: float = 0.05, **options: Any) -> Trainer:
    network = network or model()
    optimizer = options.pop("optimizer", None) or optim.SGD(network.parameters(), lr=lr)
    options.setdefault("progress", False)
    loss = options.pop("loss", supervised(nn.CrossEntropyLoss(), accuracy=accuracy))
    return Trainer(network, optimizer, loss, **options)


def test_same_as_a_loop_by_hand() -> None:
    by_hand = model()
    optimizer = optim.Adam(by_hand.parameters(), lr=0.01)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
    for _ in range(2):
        for x, y in DataLoader(data(), 8):
            optimizer.zero_grad()
            nn.functional.cross_entropy(by_hand(x), y).backward()
            nn.utils.clip_grad_value_(by_hand.parameters(), 0.05)
            nn.utils.clip_grad_norm_(by_hand.parameters(), 0.1)
            optimizer.step()
            scheduler.step()
    network = model()
    optimizer = optim.Adam(network.parameters(), lr=0.01)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
    one = trainer(network, optimizer=optimizer, scheduler=scheduler, clip_norm=0.1, clip_value=0.05)
    one.fit(DataLoader(data(), 8), epochs=2)
    assert weights(network) == weights(by_hand) and one.state.step == 10


@pytest.mark.parametrize("batch", [4, 5, 7])
def test_accumulation_is_a_larger_batch(batch: int) -> None:
    """Three batches a step; the last step of an epoch has what is left."""
    network, by_hand = model(), model()
    trainer(network, accumulate=3).fit(DataLoader(data(), batch), epochs=2)
    optimizer = optim.SGD(by_hand.parameters(), lr=0.05)
    for _ in range(2):
        batches = list(DataLoader(data(), batch))
        for i in range(0, len(batches), 3):
            optimizer.zero_grad()
            group = batches[i : i + 3]
            sum(nn.functional.cross_entropy(by_hand(x), y) / len(group) for x, y in group).backward()
            optimizer.step()
    for mine, expected in zip(network.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(mine, expected)


def test_numbers_are_means_over_samples(tmp_path: Path) -> None:
    network = model(0.5)
    one = trainer(network, lr=0.0, folder=tmp_path, log_every=2, loggers=[CSVLogger(tmp_path / "log.csv")])
    (numbers,) = one.fit(DataLoader(data(), 7), DataLoader(data(), 9))
    network.eval()
    scores = network(data().tensors[0])
    expected = nn.functional.cross_entropy(scores, data().tensors[1]).item()
    assert numbers["valid/loss"] == pytest.approx(expected, rel=1e-5)
    assert numbers["valid/accuracy"] == pytest.approx(accuracy(scores, data().tensors[1]).item(), rel=1e-6)
    assert set(numbers) == {"train/loss", "train/accuracy", "valid/loss", "valid/accuracy"}
    with (tmp_path / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows if row["name"] == "train/loss"] == ["2", "4", "6"]
    (row,) = [row for row in rows if row["name"] == "valid/loss"]
    assert float(row["value"]) == numbers["valid/loss"] and row["step"] == "6" and row["epoch"] == "0"
    assert one.evaluate(DataLoader(data(), 40)).keys() == {"loss", "accuracy"}
    network.train()
    network[2].eval()
    one.evaluate(DataLoader(data(), 40))
    assert network.training and not network[2].training  # as it was


def test_tensorboard(tmp_path: Path) -> None:
    one = trainer(log_every=1, folder=tmp_path, loggers=[TensorBoardLogger(tmp_path / "board")])
    numbers = one.fit(DataLoader(data(), 10), DataLoader(data(), 10), epochs=2)
    scalars = read_scalars(tmp_path / "board")
    assert [step for step, _ in scalars["train/loss"]] == list(range(1, 9))
    assert [value for _, value in scalars["valid/loss"]] == pytest.approx([n["valid/loss"] for n in numbers])
    assert scalars["lr"][0][1] == pytest.approx(0.05)


def test_average_is_validated_and_saved(tmp_path: Path) -> None:
    network = model()
    one = trainer(network, ema=0.5, folder=tmp_path, lr=1.0)
    (numbers,) = one.fit(DataLoader(data(), 10), DataLoader(data(), 40))
    assert one.average is not None
    average = one.average.module
    scores = average(data().tensors[0])
    assert numbers["valid/loss"] == pytest.approx(nn.functional.cross_entropy(scores, data().tensors[1]).item())
    saved = torch.load(tmp_path / "best.pt")
    assert {name: value.tolist() for name, value in saved.items()} == {
        name: value.tolist() for name, value in average.state_dict().items()
    }
    assert weights(network) != weights(average)


def test_early_end_and_plateau(tmp_path: Path) -> None:
    losses = iter([3.0, 2.0, 2.5, 2.5, 1.0, 1.5, 1.5, 1.5, 1.5, 9.0])

    class Scripted(Trainer):
        def evaluate(self, batches: Any) -> dict[str, float]:
            return {"loss": next(losses)}

    network = model()
    optimizer = optim.SGD(network.parameters(), lr=1.0)
    one = Scripted(
        network, optimizer, supervised(nn.CrossEntropyLoss()), patience=3, folder=tmp_path, progress=False,
        scheduler=optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5), scheduler_interval="epoch",
    )  # fmt: skip
    history = one.fit(DataLoader(data(), 20), [None], epochs=20)
    assert [numbers["valid/loss"] for numbers in history] == [3.0, 2.0, 2.5, 2.5, 1.0, 1.5, 1.5, 1.5]
    assert one.state.ended and one.state.best == 1.0 and optimizer.param_groups[0]["lr"] == 0.5**5
    assert len(one.fit(DataLoader(data(), 20), [None], epochs=20)) == 8  # it has ended


def test_largest_is_best() -> None:
    one = trainer(monitor="valid/accuracy", mode="max", patience=1, lr=0.0)
    assert len(one.fit(DataLoader(data(), 20), DataLoader(data(), 20), epochs=9)) == 2


def test_stop_and_go_on(tmp_path: Path) -> None:
    """A signal handler that stops: the rest comes with the next call, as if nothing had been."""

    def run(folder: Path, stop_at: int | None) -> list[Any]:
        network = model(0.3)
        optimizer = optim.Adam(network.parameters())

        def loss(network: nn.Module, batch: Any) -> Any:
            if one.state.step == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)
            return supervised(nn.CrossEntropyLoss())(network, batch)

        one = trainer(network, optimizer=optimizer, loss=loss, folder=folder)
        before = signal.signal(signal.SIGTERM, lambda *_: one.stop())
        try:
            one.fit(DataLoader(data(), 6, shuffle=True), epochs=3, resume=True)
        finally:
            signal.signal(signal.SIGTERM, before)
        if stop_at is not None:
            assert one.state.step == stop_at + 1
        return weights(network)

    whole = run(tmp_path / "whole", None)
    for stop_at in (0, 6, 7, 11):  # 7 steps an epoch
        run(tmp_path / "parts", stop_at)
    assert run(tmp_path / "parts", None) == whole


def test_more_epochs_later(tmp_path: Path) -> None:
    def run(folder: Path, *epochs: int) -> list[Any]:
        for count in epochs:
            network = model(0.3)
            history = trainer(network, folder=folder).fit(
                DataLoader(data(), 6, shuffle=True), epochs=count, resume=True
            )
            assert len(history) == count
        return weights(network)

    assert run(tmp_path / "a", 4) == run(tmp_path / "b", 1, 2, 2, 4)


def test_a_second_call_goes_on(tmp_path: Path) -> None:
    """Of one trainer, without checkpoints: the same training, and the log is continued."""

    def run(file: Path, *epochs: int) -> list[Any]:
        network = model()
        one = trainer(network, loggers=[CSVLogger(file)], log_every=2)
        for count in epochs:
            one.fit(DataLoader(data(), 6), DataLoader(data(), 40), epochs=count)
        return [weights(network), file.read_text()]

    assert run(tmp_path / "a", 3) == run(tmp_path / "b", 1, 3)


def test_logger_that_cannot_open(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    first = CSVLogger(tmp_path / "log.csv")
    with pytest.raises(OSError):
        trainer(loggers=[first, CSVLogger(tmp_path / "file" / "log.csv")]).fit(DataLoader(data(), 20))
    assert first._stream is None  # closed


def test_stream() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter([data()[i] for i in range(30)])

    one = trainer(progress=True)
    one.fit(DataLoader(Stream(), 8), epochs=2)
    assert one.state.step == 8


def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    trainer(progress=True, log_every=1).fit(DataLoader(data(), 8), DataLoader(data(), 8), epochs=2)
    shown = capsys.readouterr().err
    assert "epoch 2/2: 100%" in shown and "5/5" in shown and "valid/accuracy=" in shown


def test_batches_of_any_structure() -> None:
    def loss(network: nn.Module, batch: Any) -> Any:
        return network(batch["x"]).square().mean() + 0 * len(batch["name"]), {"constant": 2.5}

    rows = [{"name": f"row {i}", "x": x} for i, (x, _) in enumerate(data())]
    (numbers,) = trainer(loss=loss).fit(DataLoader(rows, 7))
    assert numbers["train/constant"] == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mode": "best"}, ValueError, "mode must be one of min, max, got 'best'"),
        ({"scheduler_interval": "day"}, ValueError, "scheduler_interval"),
        ({"accumulate": 0}, ValueError, "accumulate must be at least 1, got 0"),
        ({"log_every": 0}, ValueError, "log_every"),
        ({"save_every": 3}, ValueError, "needs a folder"),
        ({"monitor": "valid/score"}, KeyError, "monitor='valid/score' is not among"),
        ({"lr": math.inf, "log_every": 1}, FloatingPointError, "around step 2: lower the learning rate"),
    ],
)
def test_errors(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        trainer(**options).fit(DataLoader(data(), 20), DataLoader(data(), 20))


def test_more_errors(tmp_path: Path) -> None:
    network = model()
    optimizer = optim.SGD(network.parameters(), lr=0.1)
    plateau = optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match="needs scheduler_interval"):
        trainer(network, optimizer=optimizer, scheduler=plateau)
    with pytest.raises(FileNotFoundError, match="needs the folder"):
        trainer().fit(DataLoader(data(), 20), resume=True)
    with pytest.raises(ValueError, match="no batches"):
        trainer().fit(DataLoader(data(3), 20, drop_last=True))
    trainer(folder=tmp_path).fit(DataLoader(data(), 20))
    with pytest.raises(ValueError, match=r"another part than this one: \['average'\]"):
        trainer(folder=tmp_path, ema=0.9).fit(DataLoader(data(), 20), resume=True)
    with pytest.raises(ValueError, match="0 loggers, not 1"):
        trainer(folder=tmp_path, loggers=[CSVLogger(tmp_path / "log")]).fit(DataLoader(data(), 20), resume=True)


def test_memory_is_flat(tmp_path: Path) -> None:
    """A thousand steps with everything on take no more memory than a hundred."""
    process = psutil.Process()
    sizes = []

    def loss(network: nn.Module, batch: Any) -> Any:
        if one.state.step in (100, 1000) and one.state.step not in [step for step, _ in sizes]:
            gc.collect()
            sizes.append((one.state.step, process.memory_info().rss))
        return supervised(nn.CrossEntropyLoss(), accuracy=accuracy)(network, batch)

    network = model(0.1)
    options = {"ema": 0.9, "clip_norm": 1.0, "save_every": 100, "folder": tmp_path}
    one = trainer(network, loss=loss, loggers=[CSVLogger(tmp_path / "log.csv")], **options)
    one.fit(DataLoader(data(400), 8, shuffle=True), DataLoader(data(), 40), epochs=21)
    (_, early), (_, late) = sizes
    assert late - early < 4 << 20, (late - early) / 2**20
