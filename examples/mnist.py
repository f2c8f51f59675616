"""Train a network to read handwritten digits.

    python examples/mnist.py                            # a small convolutional network, two epochs
    python examples/mnist.py --model mlp --epochs 3     # a multi-layer perceptron

Shows a progress bar, tests after each epoch, saves the weights and draws two pictures: the loss during training, and
digits of the test set that the network misreads.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import dumbtorch as torch
from dumbtorch import nn, optim
from dumbtorch.datasets import MNIST, DataError, NoNetworkError
from dumbtorch.utils.data import DataLoader, TensorDataset
from options import positive_float, positive_int

REFRESH = 20  # steps between two looks at the loss: each look waits for the device


def mlp(height: int, width: int) -> nn.Module:
    """A multi-layer perceptron."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(height * width, 256),
        nn.ReLU(),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def cnn(height: int, width: int) -> nn.Module:
    """A small convolutional network: two convolutions, each halved in size by pooling, and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (height // 4) * (width // 4), 10),
    )


MODELS = {"mlp": mlp, "cnn": cnn}
DEFAULT_LR = {"mlp": 2e-3, "cnn": 4e-3}


def load(folder: Path | None) -> tuple[TensorDataset, TensorDataset, str, int]:
    """What to train on and to test, what it is, and for how many epochs to train.

    MNIST from the folder, else from the one that DUMBTORCH_DATA names, else from the cache, where it is downloaded to.
    Without a network: says so and takes scikit-learn's 1,797 scans of 8 x 8.
    """
    try:
        parts = [MNIST(folder, train=train) for train in (True, False)]
    except NoNetworkError as error:
        print(f"No network, so MNIST cannot be downloaded ({error}): training on scikit-learn's handwritten digits.")
        return *scikit_learn_digits(), "scikit-learn's handwritten digits", 20
    train, test = parts
    if train.data.shape[1:] != test.data.shape[1:]:
        raise DataError(f"{train.root}: pictures for training are {train.data.shape}, for testing {test.data.shape}")
    return train.tensors(), test.tensors(), f"MNIST in {train.root}", 2


def scikit_learn_digits() -> tuple[TensorDataset, TensorDataset]:
    """The digits that come with scikit-learn, every fifth one kept for testing."""
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # slow to import, seldom needed

    digits = load_digits()
    pixels = torch.from_numpy((digits.images / 16).astype(np.float32)).unsqueeze(1)
    x = (pixels - MNIST.mean) / MNIST.deviation
    y = torch.from_numpy(digits.target.astype(np.int64))
    test = torch.arange(len(y)) % 5 == 0
    return TensorDataset(x[~test], y[~test]), TensorDataset(x[test], y[test])


def first(data: TensorDataset, count: int | None, device: torch.device) -> TensorDataset:
    """Its first ``count`` pictures (all of them for None), on the device at once."""
    return TensorDataset(*(tensor[:count].to(device) for tensor in data.tensors))


def one_cycle(progress: float) -> float:
    """The learning rate as a share of its peak: up in a line over the first tenth, then down a cosine to zero."""
    warm_up = 0.1
    if progress < warm_up:
        return 0.1 + 0.9 * progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def train_epoch(
    model: nn.Module,
    loader: DataLoader[Any],
    optimizer: optim.Optimizer,
    schedule: optim.lr_scheduler.LRScheduler,
    title: str,
) -> list[float]:
    """One pass over the training set; the loss of each step."""
    loss_function = nn.CrossEntropyLoss()
    history: list[float] = []
    recent = []  # on the device still
    samples = len(loader.sampler)
    correct = seen = 0
    model.train()
    with tqdm(total=samples, desc=title, unit=" samples", unit_scale=True, dynamic_ncols=True) as bar:
        for step, (x, y) in enumerate(loader):
            optimizer.zero_grad()
            scores = model(x)
            loss = loss_function(scores, y)
            loss.backward()
            optimizer.step()
            schedule.step()
            recent.append((loss.detach(), (scores.detach().argmax(1) == y).sum()))
            seen += len(y)
            if len(recent) == REFRESH or step + 1 == len(loader):
                history += [one.item() for one, _ in recent]
                correct += sum(right.item() for _, right in recent)
                recent.clear()
                bar.set_postfix(loss=f"{history[-1]:.4f}", accuracy=f"{correct / seen:.2%}", refresh=False)
            bar.update(len(y))
    return history


def predict(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The digit that the model reads in each picture."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(x[i : i + 1000]).argmax(1) for i in range(0, len(x), 1000)])


def save_weights(model: nn.Module, file: Path) -> None:
    """Write the weights as a safetensors file. A crash leaves either the old file or the new one, never half of one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save_safetensors(model.state_dict(), file)


def draw_loss(history: list[float], steps_per_epoch: int, file: Path) -> None:
    """The loss of each step, and its running mean."""
    losses = np.array(history)
    smooth = min(50, len(losses))
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(losses, color="tab:blue", alpha=0.25, linewidth=0.8, label="each step")
    mean = np.convolve(losses, np.ones(smooth) / smooth, mode="valid")
    axes.plot(np.arange(len(mean)) + smooth - 1, mean, color="tab:blue", label=f"mean of {smooth} steps")
    for epoch in range(steps_per_epoch, len(losses), steps_per_epoch):
        axes.axvline(epoch, color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="step", ylabel="cross-entropy", yscale="log", title="Loss during training")
    axes.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def draw_misread(images: np.ndarray, read: np.ndarray, labels: np.ndarray, file: Path) -> None:
    """A grid of up to 40 test pictures that were misread, with what was read and what it is."""
    wrong = np.flatnonzero(read != labels)
    figure = Figure(figsize=(9, 6), layout="constrained")
    figure.suptitle(f"{len(wrong)} of {len(labels)} digits misread (read → is)")
    for cell, axes in enumerate(figure.subplots(5, 8).flat):
        axes.set_axis_off()
        if cell < len(wrong):
            which = wrong[cell]
            axes.imshow(images[which], cmap="gray_r")
            axes.set_title(f"{read[which]} → {labels[which]}", fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def misread_file(loss_file: Path) -> Path:
    """Where the second picture goes: beside the first."""
    return loss_file.with_name(f"{loss_file.stem.removesuffix('-loss')}-misread{loss_file.suffix}")


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """The options of every example on these pictures."""
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default) or cuda")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with the four files of MNIST")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="use only the first N pictures (a quick try)")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options, from the command line unless given."""
    parser = argparse.ArgumentParser(description="Train a network to read handwritten digits.")
    parser.add_argument("--model", choices=sorted(MODELS), default="cnn", help="default: cnn")
    parser.add_argument("--epochs", type=positive_int, metavar="N", help="default: 2 (20 on the small digits)")
    parser.add_argument("--batch-size", type=positive_int, default=64, metavar="N", help="default: 64")
    parser.add_argument("--lr", type=positive_float, metavar="X", help="peak learning rate; default: by model")
    add_common_options(parser)
    parser.add_argument("--save", type=Path, metavar="FILE", help="default: outputs/mnist-MODEL.safetensors")
    parser.add_argument(
        "--plot",
        type=Path,
        default=Path("outputs/mnist-loss.png"),
        metavar="FILE",
        help="default: %(default)s; the misread digits go beside it",
    )
    return parser.parse_args(arguments)


def choose_device(name: str) -> torch.device:
    """The device of that name, once a tensor could be put there."""
    device = torch.device(name)
    torch.zeros(1).to(device)
    return device


def main(arguments: list[str] | None = None) -> None:
    """Train, test, save and draw."""
    options = parse_arguments(arguments)
    try:
        device = choose_device(options.device)
        train, test, source, default_epochs = load(options.data)
    except (RuntimeError, DataError) as error:
        sys.exit(f"error: {error}")
    epochs = options.epochs or default_epochs
    save_file = options.save or Path(f"outputs/mnist-{options.model}.safetensors")
    torch.manual_seed(options.seed)

    train = first(train, options.limit, device)
    test_x, test_y = first(test, options.limit, device).tensors
    loader = DataLoader(train, options.batch_size, shuffle=True)
    height, width = test_x.shape[2:]
    model = MODELS[options.model](height, width).to(device)
    optimizer = optim.Adam(model.parameters(), lr=options.lr or DEFAULT_LR[options.model])
    steps = epochs * len(loader)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step / steps))
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{source}: {len(train)} pictures of {height} x {width} to train on, {len(test_y)} to test")
    print(f"model {options.model}: {size:,} parameters, on {device}")

    history: list[float] = []
    for epoch in range(epochs):
        title = f"epoch {epoch + 1}/{epochs}"
        history += train_epoch(model, loader, optimizer, schedule, title)
        read = predict(model, test_x)
        accuracy = 100 * (read == test_y).sum().item() / len(test_y)
        print(f"{title}: test accuracy {accuracy:.2f} %")

    save_weights(model, save_file)
    draw_loss(history, len(loader), options.plot)
    draw_misread(test_x[:, 0].cpu().numpy(), read.cpu().numpy(), test_y.cpu().numpy(), misread_file(options.plot))
    print(f"weights: {save_file}; pictures: {options.plot} and {misread_file(options.plot)}")
    print(f"test accuracy: {accuracy:.2f} %")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
