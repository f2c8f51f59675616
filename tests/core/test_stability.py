"""Long runs: memory stays flat, every tensor goes away, and no call can end the process.

The counts are scaled to seconds. DUMBTORCH_FULL=1 runs them in full: 1e6 operations, 1e5 failing calls, 1e3 training
steps and 1e5 malformed calls.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import dumbtorch
from dumbtorch import _C, nn, optim

FULL = os.environ.get("DUMBTORCH_FULL", "") not in ("", "0")
OPERATIONS = 1_000_000 if FULL else 60_000
FAILING = 100_000 if FULL else 10_000
STEPS = 1_000 if FULL else 60
MALFORMED = 100_000 if FULL else 1_000
#: How far resident memory may move: the allocators of C and Python keep pages of their own.
GROWTH = 3 << 20

HERE = Path(__file__).resolve().parent


def _live() -> int:
    count: int = _C.memory_counters()[9]
    return count


def _resident() -> int:
    gc.collect()
    size: int = psutil.Process().memory_info().rss
    return size


def _assert_flat(run: Callable[[int], None], count: int) -> None:
    """Runs a tenth to warm up, then the rest: memory and the number of tensors must be what they were."""
    run(max(1, count // 10))
    gc.collect()
    live, resident = _live(), _resident()
    run(count)
    gc.collect()
    assert _live() == live, f"{_live() - live} tensors stay after {count} rounds"
    grown = _resident() - resident
    assert grown < GROWTH, f"resident memory grew by {grown} bytes in {count} rounds"


def _operations() -> list[Callable[[], Any]]:
    a = dumbtorch.arange(48.0).reshape(6, 8) / 48
    b = dumbtorch.ones(8) * 0.5
    big = dumbtorch.ones(300, 300)
    whole = dumbtorch.arange(12)
    w = dumbtorch.ones(8, 4, requires_grad=True)

    def backward() -> None:
        w.grad = None
        (a @ w).relu().sum().backward()

    def second_derivative() -> None:
        (g,) = dumbtorch.autograd.grad((w * w * w).sum(), w, create_graph=True)
        dumbtorch.autograd.grad(g.sum(), w)

    return [
        lambda: a + b, lambda: a * 2, lambda: 1 - a, lambda: a / b, lambda: a.exp(), lambda: a.relu(),
        lambda: a.sum(), lambda: a.mean(1), lambda: a.max(1), lambda: a.argmax(), lambda: a @ a.t(),
        lambda: a[1:3, ::2], lambda: a[2], lambda: a[whole[:3]], lambda: a[a > 0.5], lambda: a.t().contiguous(),
        lambda: a.reshape(-1), lambda: a.clone().mul_(2), lambda: a.to(dumbtorch.float64),
        lambda: a.to(dumbtorch.bfloat16), lambda: dumbtorch.cat([a, a], 1), lambda: dumbtorch.where(a > b, a, b),
        lambda: a.softmax(1), lambda: a.tolist(), lambda: a[0, 0].item(), lambda: repr(b),
        lambda: dumbtorch.tensor([[1, 2], [3, 4]]), lambda: dumbtorch.zeros(5, 5).fill_(3), lambda: big + 1,
        lambda: big.sum(0), lambda: dumbtorch.add(a, a, out=dumbtorch.empty(6, 8)), lambda: whole // 5,
        lambda: whole.split(5), lambda: a.unbind(), lambda: w * 2, lambda: w.detach(), lambda: memoryview(a),
        backward, second_derivative,
    ]  # fmt: skip


def _failures() -> list[Callable[[], Any]]:
    a = dumbtorch.ones(3, 4)
    leaf = dumbtorch.ones(3, requires_grad=True)
    return [
        lambda: a + dumbtorch.ones(5), lambda: a.view(7), lambda: a[100], lambda: a[1.5], lambda: a.sum(9),
        lambda: a @ a, lambda: dumbtorch.tensor("text"), lambda: dumbtorch.tensor([[1, 2], [3]]),
        lambda: dumbtorch.empty(-1), lambda: a.add(), lambda: a.add(a, a, a), lambda: a.add(a, nothing=1),
        lambda: dumbtorch.add(a, a, out=3), lambda: a + object(), lambda: a.to("no such place"), lambda: leaf.add_(1),
        lambda: (leaf * 2).backward(), lambda: dumbtorch.cat([a, leaf]), lambda: a.reshape(5, -1),
        lambda: a.expand(2, 3), lambda: a.permute(0, 0), lambda: a.item(), lambda: bool(a),
        lambda: a[dumbtorch.tensor([7])], lambda: dumbtorch.empty(2**40, 2**20),
        lambda: nn.functional.linear(a, leaf), lambda: nn.functional.cross_entropy(a, dumbtorch.tensor([9, 0, 0])),
        lambda: dumbtorch.stack([]), lambda: (leaf * leaf).sum().backward(a),
    ]  # fmt: skip


def test_many_operations_leave_nothing_behind() -> None:
    operations = _operations()

    def run(count: int) -> None:
        for number in range(count):
            operations[number % len(operations)]()

    _assert_flat(run, OPERATIONS)


def test_many_failing_calls_leave_nothing_behind() -> None:
    failures = _failures()

    def run(count: int) -> None:
        for number in range(count):
            try:
                failures[number % len(failures)]()
            except (TypeError, ValueError, IndexError, RuntimeError):
                continue
            raise AssertionError(f"call {number % len(failures)} of the list did not fail")

    _assert_flat(run, FAILING)


@pytest.mark.parametrize("network", ["mlp", "cnn"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_many_training_steps_leave_nothing_behind(network: str, optimizer: str) -> None:
    if network == "mlp":
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    else:
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10)
        )
    update = getattr(optim, optimizer)(model.parameters(), lr=1e-3)
    x = dumbtorch.arange(16 * 64.0).reshape(16, 1, 8, 8) / 1000
    y = dumbtorch.arange(16) % 10
    loss_function = nn.CrossEntropyLoss()

    def run(count: int) -> None:
        for _ in range(count):
            update.zero_grad()
            loss = loss_function(model(x), y)
            loss.backward()
            update.step()

    _assert_flat(run, STEPS)


def test_malformed_calls_end_in_a_result_or_an_exception(tmp_path: Path) -> None:
    """In a process of its own, so that a crash fails this test and names the call."""
    log = tmp_path / "calls.log"
    done = subprocess.run(
        [sys.executable, HERE / "malformed.py", str(MALFORMED), "0", log], capture_output=True, text=True, check=False
    )
    calls = log.read_text().splitlines() if log.exists() else []
    last = calls[-1] if calls else "(none was made)"
    assert done.returncode == 0, f"exit status {done.returncode}; the last call was {last}\n{done.stderr[-3000:]}"
    made, succeeded = map(int, done.stdout.split())
    assert made >= MALFORMED
    assert 0 < succeeded < made
