"""What SummaryWriter writes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from tensorboardX.proto.event_pb2 import Event

import dumbtorch as torch
from dumbtorch.utils.tensorboard import SummaryWriter
from tests.training.tensorboard_reader import read_events, read_scalars


def values(folder: Path) -> dict[str, Event]:
    return {value.tag: value for event in read_events(folder) for value in event.summary.value}


def test_scalars(tmp_path: Path) -> None:
    with SummaryWriter(tmp_path / "a") as writer:
        for step in range(3):
            writer.add_scalar("loss", torch.tensor(step / 2, requires_grad=True), step)
            writer.add_scalar("number", 7, step)
            writer.add_scalar("half", torch.tensor(1.5, dtype=torch.bfloat16), step)
        assert writer.get_logdir() == str(tmp_path / "a")
    found = read_scalars(tmp_path / "a")
    assert found["loss"] == [(0, 0.0), (1, 0.5), (2, 1.0)] and found["number"][2] == (2, 7.0)
    assert found["half"][0] == (0, 1.5)


def test_everything_else(tmp_path: Path) -> None:
    with SummaryWriter(tmp_path) as writer:
        numbers = torch.randn(1000, generator=torch.Generator().manual_seed(0))
        writer.add_histogram("numbers", numbers, 1)
        writer.add_image("picture", torch.rand(3, 8, 8), 1)
        writer.add_images("pictures", torch.zeros(4, 1, 8, 8, dtype=torch.uint8), 1)
        writer.add_text("words", "hello", 1)
        writer.add_pr_curve("curve", torch.tensor([0, 1, 1]), torch.tensor([0.1, 0.8, 0.4]), 1)
        figure = Figure()
        figure.subplots().plot([1, 2])
        writer.add_scalars("both", {"x": torch.tensor(1.0), "y": 2.0}, 1)
        with pytest.raises(RuntimeError, match="TorchScript"):
            writer.add_graph(torch.nn.Linear(1, 1), torch.rand(1))
    found = values(tmp_path)
    assert {"numbers", "picture", "pictures", "words/text_summary", "curve"} <= set(found)
    histogram = found["numbers"].histo
    assert histogram.num == 1000 and histogram.sum == pytest.approx(numbers.sum().item(), rel=1e-4)
    assert (found["picture"].image.width, found["picture"].image.height) == (8, 8)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.delitem(sys.modules, "dumbtorch.utils.tensorboard")
    with pytest.raises(ImportError, match=r"pip install 'dumbtorch\[training\]'"):
        import dumbtorch.utils.tensorboard  # noqa: F401
