"""Train a small residual network to read handwritten digits.

    python examples/resnet.py                       # two epochs, 175,000 weights
    python examples/resnet.py --blocks 3 --width 32

The network of He et al., "Deep Residual Learning for Image Recognition" (2015), as they build it for small pictures:
three stages of residual blocks, each stage with half the height and width and twice the channels of the one before.
Data, options and training are those of examples/mnist.py, which this program extends.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import dumbtorch as torch
import mnist
from dumbtorch import nn, optim
from dumbtorch.datasets import DataError
from dumbtorch.nn import functional as F
from dumbtorch.utils.data import DataLoader
from options import positive_float, positive_int


class Block(nn.Module):
    """relu(x + two convolutions of x); where sizes change, x goes through a 1 x 1 convolution."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of images (N, before, H, W)."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """Three stages of `blocks` residual blocks with `width`, twice and four times as many channels."""

    def __init__(self, blocks: int = 2, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        stages: list[nn.Module] = []
        channels = width
        for stage in range(3):
            for block in range(blocks):
                after = width << stage
                stages.append(Block(channels, after, stride=2 if stage > 0 and block == 0 else 1))
                channels = after
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scores of the classes."""
        y = self.stages(self.stem(x))
        scores: torch.Tensor = self.head(F.adaptive_avg_pool2d(y, 1).flatten(1))
        return scores


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options, from the command line unless given."""
    parser = argparse.ArgumentParser(description="Train a small residual network to read handwritten digits.")
    parser.add_argument("--blocks", type=positive_int, default=2, metavar="N", help="of each stage; default: 2")
    parser.add_argument("--width", type=positive_int, default=16, metavar="N", help="first channels; default: 16")
    parser.add_argument("--epochs", type=positive_int, metavar="N", help="default: 2 (20 on the small digits)")
    parser.add_argument("--batch-size", type=positive_int, default=64, metavar="N", help="default: 64")
    parser.add_argument("--lr", type=positive_float, default=1e-2, metavar="X", help="peak; default: %(default)s")
    mnist.add_common_options(parser)
    parser.add_argument("--save", type=Path, default=Path("outputs/resnet.safetensors"), metavar="FILE")
    parser.add_argument("--plot", type=Path, default=Path("outputs/resnet-loss.png"), metavar="FILE")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Train, test, save and draw the loss."""
    options = parse_arguments(arguments)
    try:
        device = mnist.choose_device(options.device)
        train, test, source, default_epochs = mnist.load(options.data)
    except (RuntimeError, DataError) as error:
        sys.exit(f"error: {error}")
    torch.manual_seed(options.seed)
    train = mnist.first(train, options.limit, device)
    test_x, test_y = mnist.first(test, options.limit, device).tensors
    loader = DataLoader(train, options.batch_size, shuffle=True)
    model = ResNet(options.blocks, options.width).to(device)
    optimizer = optim.AdamW(model.parameters(), lr=options.lr, weight_decay=1e-2)
    epochs = options.epochs or default_epochs
    steps = epochs * len(loader)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda step: mnist.one_cycle(step / steps))
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{source}: {len(train)} pictures to train on, {len(test_y)} to test; {size:,} weights on {device}")

    history: list[float] = []
    for epoch in range(epochs):
        title = f"epoch {epoch + 1}/{epochs}"
        history += mnist.train_epoch(model, loader, optimizer, schedule, title)
        read = mnist.predict(model, test_x)
        accuracy = 100 * (read == test_y).sum().item() / len(test_y)
        print(f"{title}: test accuracy {accuracy:.2f} %")
    mnist.save_weights(model, options.save)
    mnist.draw_loss(history, len(loader), options.plot)
    print(f"weights: {options.save}; picture: {options.plot}")
    print(f"test accuracy: {accuracy:.2f} %")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
