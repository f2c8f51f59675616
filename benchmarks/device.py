"""dumbtorch beside PyTorch on one CUDA device: medians of interleaved runs in one process, in milliseconds.

python benchmarks/device.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

import dumbtorch

ROUNDS = 5
N = 10_000_000


def timed(call: Callable[[], Any], wait: Callable[[], None], repeats: int) -> float:
    """Milliseconds of one call, the device's work included."""
    wait()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    wait()
    return (time.perf_counter() - start) / repeats * 1e3


def compare(name: str, mine: Callable[[], Any], its: Callable[[], Any], repeats: int = 20) -> None:
    """Print a line of the table."""
    for _ in range(2):
        mine()
        its()
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(timed(mine, dumbtorch.cuda.synchronize, repeats))
        theirs.append(timed(its, torch.cuda.synchronize, repeats))
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"| {name} | {a:.4f} | {b:.4f} | {a / b:.2f} |", flush=True)


def pair(*shape: int, dtype: str = "float32") -> tuple[Any, Any]:
    """The same numbers for both."""
    its = (torch.rand(*shape) - 0.5).to(getattr(torch, dtype))
    mine = dumbtorch.from_numpy(its.float().numpy()).to(getattr(dumbtorch, dtype))
    return mine.to("cuda"), its.to("cuda")


def network(t: Any, kind: str) -> Any:
    """The models of examples/mnist.py."""
    nn = t.nn
    if kind == "mlp":
        layers = [nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)]
        return nn.Sequential(*layers)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, 10),
    )  # fmt: skip


def training_step(t: Any, kind: str, batch: int) -> Callable[[], None]:
    """Forward, backward and Adam on random pictures."""
    model = network(t, kind)
    model.to("cuda")
    optimizer = t.optim.Adam(model.parameters(), lr=1e-3)
    x, y = t.rand(batch, 1, 28, 28).to("cuda"), t.randint(0, 10, (batch,)).to("cuda")
    loss = t.nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

    return step


def main() -> None:
    print(f"| {torch.cuda.get_device_name()} | dumbtorch, ms | PyTorch {torch.__version__}, ms | ratio |")
    print("|---|---:|---:|---:|")
    both = ((dumbtorch, pair(N)[0]), (torch, pair(N)[1]))
    (a, ta), (b, tb) = pair(N), pair(N)
    for name in ("exp", "tanh", "relu"):
        compare(f"{name}, 1e7", getattr(a, name), getattr(ta, name))
    compare("add, 1e7", lambda: a + b, lambda: ta + tb)
    compare("times a number, 1e7", lambda: a * 2.5, lambda: ta * 2.5)
    compare("gelu, 1e7", *(lambda t=t, x=x: t.nn.functional.gelu(x) for t, x in both))
    (h, th), (g, tg) = pair(N, dtype="bfloat16"), pair(N, dtype="bfloat16")
    compare("add, 1e7 bfloat16", lambda: h + g, lambda: th + tg)
    for name in ("sum", "max"):
        compare(f"{name}, 1e7", getattr(a, name), getattr(ta, name))
    compare("cumsum, 1e7", lambda: a.cumsum(0), lambda: ta.cumsum(0))
    compare("uniform_, 1e7", a.uniform_, ta.uniform_)
    compare("normal_, 1e7", b.normal_, tb.normal_)
    x, tx = pair(4096, 4096)
    compare("add a row, 4096 x 4096", lambda: x + x[0], lambda: tx + tx[0])
    compare("copy of the transpose, 4096 x 4096", lambda: x.t().contiguous(), lambda: tx.t().contiguous())
    for dim in (0, 1):
        compare(f"sum over {dim}, 4096 x 4096", lambda d=dim: x.sum(d), lambda d=dim: tx.sum(d))
    compare("softmax, 4096 x 4096", lambda: x.softmax(1), lambda: tx.softmax(1))
    compare("matmul, 4096", lambda: x @ x, lambda: tx @ tx, repeats=5)
    y, ty = pair(1024, 1024)
    compare("matmul, 1024", lambda: y @ y, lambda: ty @ ty)
    w, tw = pair(4096, 4096, dtype="bfloat16")
    compare("matmul, 4096 bfloat16", lambda: w @ w, lambda: tw @ tw)
    c, tc = pair(64, 64, 56, 56)
    k, tk = pair(64, 64, 3, 3)
    # PyTorch rounds the operands to TF32 here, we do not
    compare(
        "conv2d 3 x 3, 64 x 64 x 56 x 56",
        lambda: dumbtorch.nn.functional.conv2d(c, k, padding=1),
        lambda: torch.nn.functional.conv2d(tc, tk, padding=1),
        repeats=5,
    )
    s, ts = pair(16)
    compare("add, 16: what queueing costs", lambda: s + s, lambda: ts + ts, repeats=500)
    for kind in ("mlp", "cnn"):
        for batch in (64, 512):
            steps = (training_step(t, kind, batch) for t in (dumbtorch, torch))
            compare(f"{kind} step with Adam, batch {batch}", *steps, repeats=50)


if __name__ == "__main__":
    main()
