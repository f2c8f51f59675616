"""Train a generative adversarial network on handwritten digits and draw what it makes up.

    python examples/dcgan.py                  # five epochs
    python examples/dcgan.py --epochs 1 --limit 10000

A generator of transposed convolutions turns noise into pictures, a discriminator of strided convolutions tells them
from real ones, and each learns from the other. Reference: Radford, Metz and Chintala, "Unsupervised Representation
Learning with Deep Convolutional Generative Adversarial Networks" (2015).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

import dumbtorch as torch
import mnist
from dumbtorch import nn, optim
from dumbtorch.datasets import DataError
from dumbtorch.nn import functional as F
from dumbtorch.utils.data import DataLoader
from options import positive_float, positive_int
from vae import draw_grid, shares

NOISE = 64  # numbers that a picture is made from


class Generator(nn.Module):
    """Noise (N, NOISE) to pictures (N, 1, height, width) from -1 to 1."""

    def __init__(self, height: int, width: int, channels: int) -> None:
        super().__init__()
        self.size = (height, width)
        small = (-(-height // 4), -(-width // 4))
        self.layers = nn.Sequential(
            nn.Unflatten(1, (NOISE, 1, 1)),
            nn.ConvTranspose2d(NOISE, 2 * channels, small, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, 1, 4, stride=2, padding=1, bias=False),
            nn.Tanh(),
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """The pictures that the noise gives."""
        pictures: torch.Tensor = self.layers(z)
        return pictures[:, :, : self.size[0], : self.size[1]]


def discriminator(height: int, width: int, channels: int) -> nn.Module:
    """Pictures to the logit of their being real."""
    small = (-(-height // 4), -(-width // 4))
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(2 * channels),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * channels, 1, small),
        nn.Flatten(0),
    )


def start(module: nn.Module) -> None:
    """The paper's first weights."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def train_step(
    made_by: Generator, judge: nn.Module, optimizers: tuple[optim.Optimizer, optim.Optimizer], real: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of both; the losses of the discriminator and of the generator."""
    for_judge, for_generator = optimizers
    fake = made_by(torch.randn(len(real), NOISE, device=real.device))
    for_judge.zero_grad()
    said_real, said_fake = judge(real), judge(fake.detach())
    loss = F.binary_cross_entropy_with_logits(said_real, torch.full_like(said_real, 0.9))
    loss = loss + F.binary_cross_entropy_with_logits(said_fake, torch.zeros_like(said_fake))
    loss.backward()
    for_judge.step()

    for_generator.zero_grad()
    said_fake = judge(fake)
    deceived = F.binary_cross_entropy_with_logits(said_fake, torch.ones_like(said_fake))
    deceived.backward()
    for_generator.step()
    return loss.detach(), deceived.detach()


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options, from the command line unless given."""
    parser = argparse.ArgumentParser(description="Train a generative adversarial network on handwritten digits.")
    parser.add_argument("--channels", type=positive_int, default=32, metavar="N", help="default: 32")
    parser.add_argument("--epochs", type=positive_int, metavar="N", help="default: 5 (50 on the small digits)")
    parser.add_argument("--batch-size", type=positive_int, default=64, metavar="N", help="default: 64")
    parser.add_argument("--lr", type=positive_float, default=5e-4, metavar="X", help="default: %(default)s")
    mnist.add_common_options(parser)
    parser.add_argument("--save", type=Path, default=Path("outputs/dcgan.safetensors"), metavar="FILE")
    parser.add_argument("--samples", type=Path, default=Path("outputs/dcgan-samples.png"), metavar="FILE")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Train, save the generator, draw pictures from the same noise after each epoch."""
    options = parse_arguments(arguments)
    try:
        device = mnist.choose_device(options.device)
        train, _, source, default_epochs = mnist.load(options.data)
    except (RuntimeError, DataError) as error:
        sys.exit(f"error: {error}")
    torch.manual_seed(options.seed)
    x = 2 * shares(train, options.limit, device) - 1
    loader = DataLoader(x, options.batch_size, shuffle=True)
    height, width = x.shape[2:]
    made_by = Generator(height, width, options.channels).to(device)
    judge = discriminator(height, width, options.channels).to(device)
    made_by.apply(start)
    judge.apply(start)
    optimizers = (
        optim.Adam(judge.parameters(), lr=options.lr, betas=(0.5, 0.999)),
        optim.Adam(made_by.parameters(), lr=options.lr, betas=(0.5, 0.999)),
    )
    sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in (made_by, judge)]
    print(f"{source}: {len(x)} pictures; {sizes[0]:,} and {sizes[1]:,} weights on {device}")

    noise = torch.randn(100, NOISE, device=device)
    epochs = options.epochs or default_epochs * 5 // 2
    for epoch in range(epochs):
        title = f"epoch {epoch + 1}/{epochs}"
        totals = torch.zeros(2, device=device)
        with tqdm(total=len(x), desc=title, unit=" samples", unit_scale=True, dynamic_ncols=True) as bar:
            for step, real in enumerate(loader):
                losses = torch.stack(train_step(made_by, judge, optimizers, real))
                totals += losses
                if step % mnist.REFRESH == 0:
                    bar.set_postfix(judge=f"{losses[0].item():.3f}", generator=f"{losses[1].item():.3f}", refresh=False)
                bar.update(len(real))
        mean = (totals / len(loader)).tolist()
        print(f"{title}: loss of the discriminator {mean[0]:.3f}, of the generator {mean[1]:.3f}")
        made_by.eval()
        with torch.no_grad():
            pictures = made_by(noise) / 2 + 0.5
        made_by.train()
        draw_grid(pictures, 10, f"made up after {epoch + 1} epochs", options.samples)
    mnist.save_weights(made_by, options.save)
    print(f"weights: {options.save}; picture: {options.samples}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
