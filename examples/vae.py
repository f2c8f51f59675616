"""Train a variational autoencoder on handwritten digits and draw new ones.

    python examples/vae.py                    # three epochs, 16 numbers a picture
    python examples/vae.py --latent 2

The encoder turns a picture into a normal distribution over a few numbers, the decoder a sample of it back into a
picture. What is minimized is the negative evidence lower bound: the cross-entropy of the pixels, and the divergence
of the distribution from the standard normal one. Reference: Kingma and Welling, "Auto-Encoding Variational Bayes"
(2013).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import dumbtorch as torch
import mnist
from dumbtorch import nn, optim
from dumbtorch.datasets import MNIST, DataError
from dumbtorch.nn import functional as F
from dumbtorch.utils.data import DataLoader
from options import positive_float, positive_int


class VAE(nn.Module):
    """Two strided convolutions down to `latent` means and log-variances, two transposed ones back up."""

    def __init__(self, height: int, width: int, latent: int) -> None:
        super().__init__()
        self.size = (height, width)
        self.small = (-(-height // 4), -(-width // 4))
        features = 64 * self.small[0] * self.small[1]
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(features, 2 * latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, features),
            nn.ReLU(),
            nn.Unflatten(1, (64, *self.small)),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
        )

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Logits of the pixels."""
        logits: torch.Tensor = self.decoder(z)
        return logits[:, :, : self.size[0], : self.size[1]]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits of the pixels, means, log-variances."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        return self.decode(z), mean, log_variance


def loss_of(model: VAE, x: torch.Tensor) -> torch.Tensor:
    """The negative evidence lower bound of a picture, on average."""
    logits, mean, log_variance = model(x)
    pixels = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
    return (pixels + divergence) / len(x)


def shares(data: Any, limit: int | None, device: torch.device) -> torch.Tensor:
    """Pictures as shares of white from 0 to 1."""
    x = mnist.first(data, limit, device).tensors[0]
    return (x * MNIST.deviation + MNIST.mean).clamp(0, 1)


def draw_grid(pictures: torch.Tensor, columns: int, title: str, file: Path) -> None:
    """Pictures (count, 1, height, width) side by side."""
    images = pictures.detach().cpu().numpy()[:, 0]
    rows = len(images) // columns
    height, width = images.shape[1:]
    grid = images[: rows * columns].reshape(rows, columns, height, width).transpose(0, 2, 1, 3)
    figure = Figure(figsize=(columns * 0.7, rows * 0.7 * height / width + 0.5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.ascontiguousarray(grid).reshape(rows * height, columns * width), cmap="gray_r", vmin=0, vmax=1)
    axes.set_axis_off()
    axes.set_title(title)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options, from the command line unless given."""
    parser = argparse.ArgumentParser(description="Train a variational autoencoder on handwritten digits.")
    parser.add_argument("--latent", type=positive_int, default=16, metavar="N", help="numbers a picture")
    parser.add_argument("--epochs", type=positive_int, metavar="N", help="default: 3 (30 on the small digits)")
    parser.add_argument("--batch-size", type=positive_int, default=128, metavar="N", help="default: 128")
    parser.add_argument("--lr", type=positive_float, default=2e-3, metavar="X", help="default: %(default)s")
    mnist.add_common_options(parser)
    parser.add_argument("--save", type=Path, default=Path("outputs/vae.safetensors"), metavar="FILE")
    parser.add_argument("--samples", type=Path, default=Path("outputs/vae-samples.png"), metavar="FILE")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Train, test, save; draw pictures beside what is left of them, and new ones."""
    options = parse_arguments(arguments)
    try:
        device = mnist.choose_device(options.device)
        train, test, source, default_epochs = mnist.load(options.data)
    except (RuntimeError, DataError) as error:
        sys.exit(f"error: {error}")
    torch.manual_seed(options.seed)
    x, test_x = shares(train, options.limit, device), shares(test, options.limit, device)
    loader = DataLoader(x, options.batch_size, shuffle=True)
    model = VAE(x.shape[2], x.shape[3], options.latent).to(device)
    optimizer = optim.Adam(model.parameters(), lr=options.lr)
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{source}: {len(x)} pictures to train on, {len(test_x)} to test; {size:,} weights on {device}")

    epochs = options.epochs or default_epochs * 3 // 2
    for epoch in range(epochs):
        model.train()
        title = f"epoch {epoch + 1}/{epochs}"
        with tqdm(total=len(x), desc=title, unit=" samples", unit_scale=True, dynamic_ncols=True) as bar:
            for step, batch in enumerate(loader):
                optimizer.zero_grad()
                loss = loss_of(model, batch)
                loss.backward()
                optimizer.step()
                if step % mnist.REFRESH == 0:
                    bar.set_postfix(loss=f"{loss.item():.2f}", refresh=False)
                bar.update(len(batch))
        model.eval()
        with torch.no_grad():
            parts = [loss_of(model, test_x[i : i + 1000]).item() * len(test_x[i : i + 1000])
                     for i in range(0, len(test_x), 1000)]  # fmt: skip
        test_loss = sum(parts) / len(test_x)
        print(f"{title}: test loss {test_loss:.2f} nats")

    mnist.save_weights(model, options.save)
    with torch.no_grad():
        some = test_x[:30]
        back = model.decode(model.encoder(some).chunk(2, dim=1)[0]).sigmoid()
        new = model.decode(torch.randn(100, options.latent, device=device)).sigmoid()
    pairs = torch.cat([torch.cat([some[i : i + 10], back[i : i + 10]]) for i in range(0, len(some), 10)])
    beside = options.samples.with_name(f"{options.samples.stem.removesuffix('-samples')}-pairs{options.samples.suffix}")
    draw_grid(pairs, 10, "digits of the test set, and what came back", beside)
    draw_grid(new, 10, "new digits", options.samples)
    print(f"weights: {options.save}; pictures: {options.samples} and {beside}")
    print(f"test loss: {test_loss:.2f} nats")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
