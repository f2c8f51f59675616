"""Train a small GPT to write text letter by letter, and let it write.

    python examples/char_gpt.py                               # on some sonnets that come with it, 500 steps
    python examples/char_gpt.py --data input.txt --steps 2000 # on a text of yours
    python examples/char_gpt.py --steps 0 --weights outputs/char-gpt.safetensors --prompt "My love"

Shows a progress bar, measures the loss on the tenth of the text that was held back, saves the weights and prints a
sample. The model is a decoder-only transformer (Radford et al., 2019): four layers of 128 features by default.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from tqdm import tqdm

import dumbtorch as torch
from dumbtorch import nn, optim
from dumbtorch.nn import functional as F
from options import positive_float, positive_int

SONNETS = Path(__file__).with_name("sonnets.txt")
REFRESH = 10  # steps between two looks at the loss


class Text:
    """A text as numbers: the place of each letter in the sorted list of its letters. The last tenth is held back."""

    def __init__(self, text: str) -> None:
        self.letters = sorted(set(text))
        self._number = {letter: number for number, letter in enumerate(self.letters)}
        numbers = self.encode(text)
        cut = len(numbers) * 9 // 10
        self.train, self.test = numbers[:cut], numbers[cut:]

    def encode(self, text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The numbers of the letters; KeyError for a letter that is not in the text."""
        return np.array([self._number[letter] for letter in text], dtype=np.int64)

    def decode(self, numbers: Any) -> str:
        """The letters of the numbers."""
        return "".join(self.letters[number] for number in numbers)


class Attention(nn.Module):
    """Each letter looks at itself and at those before it, in several heads."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim) -> the same."""
        batch, length, dim = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, dim // self.heads).transpose(1, 2)
            for part in self.qkv(x).split(dim, dim=2)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        out: torch.Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, dim))
        return out


class Block(nn.Module):
    """Attention, then a feed-forward layer; both add to what goes through."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim), nn.Dropout(dropout)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim) -> the same."""
        x = x + self.attention(self.norm1(x))
        out: torch.Tensor = x + self.feed_forward(self.norm2(x))
        return out


class GPT(nn.Module):
    """Letters in, scores of the next letter out: (batch, length) -> (batch, length, letters)."""

    def __init__(self, letters: int, context: int, layers: int, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.context = context
        self.letter = nn.Embedding(letters, dim)
        self.place = nn.Embedding(context, dim)
        self.blocks = nn.Sequential(*(Block(dim, heads, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, letters, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        """(batch, length) -> (batch, length, letters)."""
        places = torch.arange(letters.shape[1], device=letters.device)
        x = self.letter(letters) + self.place(places)
        scores: torch.Tensor = self.head(self.norm(self.blocks(x)))
        return scores


def batches(
    numbers: np.ndarray[Any, np.dtype[np.int64]], context: int, size: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pieces of the text from random places, and the same ones a letter later."""
    starts = rng.integers(0, len(numbers) - context, size)
    places = starts[:, None] + np.arange(context)
    return torch.from_numpy(numbers[places]), torch.from_numpy(numbers[places + 1])


def one_cycle(progress: float) -> float:
    """The learning rate as a share of its peak: up over the first twentieth, then down a cosine to a tenth."""
    warm_up = 0.05
    if progress < warm_up:
        return progress / warm_up
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def train(model: GPT, text: Text, steps: int, batch_size: int, lr: float, seed: int) -> list[float]:
    """The loss of each step."""
    rng = np.random.default_rng(seed)
    optimizer = optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle((step + 1) / steps))
    history: list[float] = []
    recent = []
    model.train()
    with tqdm(total=steps, desc="training", unit=" steps", dynamic_ncols=True) as bar:
        for step in range(steps):
            x, y = batches(text.train, model.context, batch_size, rng)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            recent.append(loss.detach())
            if len(recent) == REFRESH or step + 1 == steps:
                history += [one.item() for one in recent]
                recent.clear()
                bar.set_postfix(loss=f"{history[-1]:.4f}", refresh=False)
            bar.update()
    return history


def test_loss(model: GPT, text: Text, batch_size: int) -> float:
    """The mean loss on pieces of what was held back; NaN where that is shorter than a piece."""
    if len(text.test) <= model.context:
        return math.nan
    rng = np.random.default_rng(0)
    model.eval()
    with torch.no_grad():
        losses: list[float] = []
        for _ in range(8):
            x, y = batches(text.test, model.context, batch_size, rng)
            losses.append(F.cross_entropy(model(x).flatten(0, 1), y.flatten()).item())
    return sum(losses) / len(losses)


def write(model: GPT, text: Text, prompt: str, count: int, temperature: float) -> str:
    """The prompt and the letters that the model puts after it, drawn by their probabilities."""
    letters = torch.from_numpy(text.encode(prompt)).unsqueeze(0)
    model.eval()
    with torch.no_grad():
        for _ in range(count):
            scores = model(letters[:, -model.context :])[:, -1] / temperature
            letters = torch.cat([letters, torch.multinomial(F.softmax(scores, -1), 1)], 1)
    return text.decode(letters[0].tolist())


def save_weights(model: nn.Module, file: Path) -> None:
    """Write the weights as a safetensors file, all of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    weights = {name: np.ascontiguousarray(value.numpy()) for name, value in model.state_dict().items()}
    safetensors.numpy.save_file(weights, part)
    os.replace(part, file)


def load_weights(model: nn.Module, file: Path) -> None:
    """Read what `save_weights` wrote."""
    weights = safetensors.numpy.load_file(file)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options, from the command line unless given."""
    parser = argparse.ArgumentParser(description="Train a small GPT to write text letter by letter.")
    parser.add_argument("--data", type=Path, metavar="FILE", help="a text; default: $DUMBTORCH_TEXT, else some sonnets")
    parser.add_argument("--steps", type=int, default=500, metavar="N", help="default: %(default)s; 0 only writes")
    parser.add_argument("--batch-size", type=positive_int, default=16, metavar="N", help="default: %(default)s")
    parser.add_argument("--context", type=positive_int, default=128, metavar="N", help="default: %(default)s letters")
    parser.add_argument("--layers", type=positive_int, default=4, metavar="N", help="default: %(default)s")
    parser.add_argument("--dim", type=positive_int, default=128, metavar="N", help="features; default: %(default)s")
    parser.add_argument("--heads", type=positive_int, default=4, metavar="N", help="default: %(default)s")
    parser.add_argument("--dropout", type=float, default=0.0, metavar="P", help="default: %(default)s")
    parser.add_argument("--lr", type=positive_float, default=1e-3, metavar="X", help="peak; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="start from these weights")
    parser.add_argument("--save", type=Path, default=Path("outputs/char-gpt.safetensors"), metavar="FILE")
    parser.add_argument("--prompt", default="\n", metavar="TEXT", help="what the sample begins with")
    parser.add_argument("--sample", type=int, default=300, metavar="N", help="letters to write; default: %(default)s")
    parser.add_argument("--temperature", type=positive_float, default=0.8, metavar="X", help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.dim % options.heads:
        parser.error(f"--dim {options.dim} is not a multiple of --heads {options.heads}")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Train, test, save and write."""
    options = parse_arguments(arguments)
    file = options.data or Path(os.environ.get("DUMBTORCH_TEXT") or SONNETS)
    try:
        text = Text(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"error: {file}: {error}")
    if len(text.train) <= options.context:
        sys.exit(f"error: {file}: {len(text.train)} letters to train on, but pieces of {options.context} are asked for")
    unknown = sorted(set(options.prompt) - set(text.letters))
    if unknown or not options.prompt:
        sys.exit(f"error: --prompt needs letters of the text; it does not have {unknown}")
    torch.manual_seed(options.seed)
    model = GPT(len(text.letters), options.context, options.layers, options.dim, options.heads, options.dropout)
    if options.weights:
        load_weights(model, options.weights)
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{file}: {len(text.train)} letters to train on, {len(text.test)} to test, {len(text.letters)} kinds")
    print(f"model: {options.layers} layers of {options.dim} features, {size:,} parameters")
    if options.steps > 0:
        history = train(model, text, options.steps, options.batch_size, options.lr, options.seed)
        save_weights(model, options.save)
        print(f"weights: {options.save}")
        print(f"training loss: {np.mean(history[-20:]):.4f}")
    print(f"test loss: {test_loss(model, text, options.batch_size):.4f}")
    if options.sample > 0:
        print(write(model, text, options.prompt, options.sample, options.temperature))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
