"""Train a network to write like a text: it reads the characters one by one and guesses the next one.

    python examples/lstm_language_model.py --data tinyshakespeare.txt       # a text of your own, three epochs
    python examples/lstm_language_model.py                                  # some sonnets: a quick try

Shows a progress bar, measures the loss on the end of the text after each epoch, saves the weights and writes a few
lines.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

import dumbtorch as torch
from dumbtorch import nn, optim
from dumbtorch.datasets import DataError, TextCharacters
from options import positive_float, positive_int

SONNETS = Path(__file__).with_name("sonnets.txt")
REFRESH = 20  # steps between two looks at the loss

State = tuple[torch.Tensor, torch.Tensor]


class LanguageModel(nn.Module):
    """Characters (steps, batch) and a state -> scores of the characters that follow, and the new state."""

    def __init__(self, characters: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, hidden)
        self.lstm = nn.LSTM(hidden, hidden, layers, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(hidden, characters)

    def forward(self, x: torch.Tensor, state: State | None = None) -> tuple[torch.Tensor, State]:
        """The state is that of a text's beginning where none is given."""
        output, state = self.lstm(self.dropout(self.embedding(x)), state)
        return self.scores(self.dropout(output)), state


def in_columns(tokens: torch.Tensor, columns: int, device: torch.device) -> torch.Tensor:
    """The text cut into so many parts of one length, side by side: (steps, columns)."""
    steps = len(tokens) // columns
    return tokens[: steps * columns].reshape(columns, steps).t().contiguous().to(device)


def windows(text: torch.Tensor, length: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Windows of the columns, one after the other, each with what follows each of its characters."""
    ends = range(length, len(text) + length - 1, length)
    return [(text[end - length : min(end, len(text) - 1)], text[end - length + 1 : end + 1]) for end in ends]


def loss_of(model: LanguageModel, x: torch.Tensor, y: torch.Tensor, state: State | None) -> tuple[torch.Tensor, State]:
    """The mean cross-entropy of the characters that follow."""
    scores, state = model(x, state)
    return nn.functional.cross_entropy(scores.flatten(0, 1), y.flatten()), state


def train_epoch(
    model: LanguageModel, text: torch.Tensor, length: int, optimizer: optim.Optimizer, schedule: Any, title: str
) -> None:
    """One pass over the text. The state goes on from window to window, its gradient does not."""
    model.train()
    state: State | None = None
    parts = windows(text, length)
    recent = []
    with tqdm(
        total=len(text) * text.shape[1], desc=title, unit=" characters", unit_scale=True, dynamic_ncols=True
    ) as bar:
        for step, (x, y) in enumerate(parts):
            optimizer.zero_grad()
            loss, state = loss_of(model, x, y, state)
            state = (state[0].detach(), state[1].detach())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            recent.append(loss.detach())
            if len(recent) == REFRESH or step + 1 == len(parts):
                bar.set_postfix(loss=f"{torch.stack(recent).mean().item():.4f}", refresh=False)
                recent.clear()
            bar.update(x.numel())


@torch.no_grad()
def validate(model: LanguageModel, text: torch.Tensor, length: int) -> float:
    """The mean loss over a text."""
    model.eval()
    state: State | None = None
    total = 0.0
    for x, y in windows(text, length):
        loss, state = loss_of(model, x, y, state)
        total += loss.item() * x.numel()
    return total / ((len(text) - 1) * text.shape[1])


@torch.no_grad()
def write(model: LanguageModel, start: torch.Tensor, count: int, temperature: float) -> list[int]:
    """So many characters that may follow the start, drawn one by one."""
    model.eval()
    scores, state = model(start.unsqueeze(1))
    written = []
    for _ in range(count):
        chosen = torch.multinomial((scores[-1, 0] / temperature).softmax(0), 1)
        written.append(int(chosen))
        scores, state = model(chosen.unsqueeze(1), state)
    return written


def one_cycle(progress: float) -> float:
    """The learning rate as a share of its peak: up in a line over the first tenth, then down a cosine to zero."""
    warm_up = 0.1
    if progress < warm_up:
        return 0.1 + 0.9 * progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def share(text: str) -> float:
    """The type of an option between zero and one."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to below 1, not {text}")
    return value


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options, from the command line unless given."""
    parser = argparse.ArgumentParser(description="Train a network to write like a text.")
    parser.add_argument("--data", type=Path, metavar="FILE", help="a text; default: DUMBTORCH_TEXT, else some sonnets")
    parser.add_argument("--epochs", type=positive_int, metavar="N", help="default: 3 (20 on the sonnets)")
    parser.add_argument("--batch-size", type=positive_int, metavar="N", help="default: 32 (4 on the sonnets)")
    parser.add_argument("--length", type=positive_int, default=128, metavar="N", help="characters a step; default: 128")
    parser.add_argument("--hidden", type=positive_int, default=256, metavar="N", help="default: 256")
    parser.add_argument("--layers", type=positive_int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--dropout", type=share, default=0.1, metavar="X", help="default: 0.1")
    parser.add_argument(
        "--lr", type=positive_float, default=5e-3, metavar="X", help="peak learning rate; default: 0.005"
    )
    parser.add_argument("--device", default="cpu", metavar="NAME", help="default: cpu")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="use only the first N characters (a quick try)")
    parser.add_argument(
        "--write", type=int, default=300, metavar="N", help="characters to write at the end; default: 300"
    )
    parser.add_argument("--temperature", type=positive_float, default=0.8, metavar="X", help="default: 0.8")
    parser.add_argument(
        "--save", type=Path, default=Path("outputs/lstm.safetensors"), metavar="FILE", help="default: %(default)s"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Train, validate, save and write."""
    options = parse_arguments(arguments)
    given = options.data or (Path(os.environ["DUMBTORCH_TEXT"]) if os.environ.get("DUMBTORCH_TEXT") else None)
    batch_size = options.batch_size or (32 if given else 4)
    epochs = options.epochs or (3 if given else 20)
    try:
        device = torch.device(options.device)
        data = TextCharacters(given or SONNETS, options.length)
        torch.zeros(1).to(device)
    except (RuntimeError, DataError) as error:
        sys.exit(f"error: {error}")
    tokens = data.tokens[: options.limit]
    kept = max(len(tokens) // 10, 2 * batch_size)  # for validation
    if len(tokens) < 2 * kept:
        sys.exit(f"error: {len(tokens)} characters are too few for a batch of {batch_size}")
    train = in_columns(tokens[:-kept], batch_size, device)
    valid = in_columns(tokens[-kept:], batch_size, device)

    torch.manual_seed(options.seed)
    model = LanguageModel(len(data.vocabulary), options.hidden, options.layers, options.dropout).to(device)
    optimizer = optim.Adam(model.parameters(), lr=options.lr)
    steps = epochs * len(windows(train, options.length))
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step / steps))
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{given or 'some sonnets'}: {train.numel()} characters to train on, {valid.numel()} to validate")
    print(f"{len(data.vocabulary)} different characters; model: {size:,} parameters, on {device}")

    for epoch in range(epochs):
        title = f"epoch {epoch + 1}/{epochs}"
        train_epoch(model, train, options.length, optimizer, schedule, title)
        loss = validate(model, valid, options.length)
        print(f"{title}: validation loss {loss:.4f}")

    options.save.parent.mkdir(parents=True, exist_ok=True)
    torch.save_safetensors(model.state_dict(), options.save)
    if options.write > 0:
        start = tokens[: min(20, len(tokens))].to(device)
        written = write(model, start, options.write, options.temperature)
        print(f"\n{data.decode(start)}{data.decode(written)}\n")
    print(f"weights: {options.save}")
    print(f"validation loss: {loss:.4f}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
