"""Long operations let other Python threads run, also where one thread computes them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import dumbtorch as t

F = t.nn.functional
N = 1 << 20


class _Counter:
    """A thread that counts whenever it gets the interpreter's lock, and gives it back at once."""

    def __init__(self) -> None:
        self.count, self.stop = 0, False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.stop:
            self.count += 1
            time.sleep(0)


@pytest.fixture
def counter() -> Iterator[_Counter]:
    """While it counts, a thread keeps the lock until it gives it up: no switch comes between two instructions."""
    threads, interval = t.get_num_threads(), sys.getswitchinterval()
    t.set_num_threads(1)
    sys.setswitchinterval(1000)
    made = _Counter()
    try:
        yield made
    finally:
        made.stop = True
        sys.setswitchinterval(interval)
        made.thread.join()
        t.set_num_threads(threads)


def _tensors() -> dict[str, Any]:
    v, m = t.rand(N), t.rand(1024, 1024)
    return {
        "v": v, "m": m, "mask": v > 0.5, "i": t.randint(0, 1024, (1024, 1024)), "iv": t.randint(0, N, (N,)),
        "c": t.complex(m, m), "image": t.rand(8, 8, 128, 128), "q": t.rand(2, 8, 256, 64), "table": t.rand(1024, 256),
    }  # fmt: skip


OPS: dict[str, Callable[..., Any]] = {
    "add": lambda v, **_: v + v,
    "sum": lambda m, **_: m.sum(0),
    "matmul": lambda m, **_: m[:256] @ m,
    "cumsum": lambda m, **_: m.cumsum(1),
    "cumsum down": lambda m, **_: m.cumsum(0),
    "cumprod": lambda m, **_: m.cumprod(1),
    "cummax": lambda m, **_: m.cummax(1),
    "logcumsumexp": lambda m, **_: m.logcumsumexp(1),
    "cumsum of complex numbers": lambda c, **_: c.cumsum(1),
    "softmax": lambda m, **_: m.softmax(1),
    "log_softmax": lambda m, **_: m.log_softmax(0),
    "rand": lambda **_: t.rand(N),
    "randn": lambda **_: t.randn(N),
    "randint": lambda **_: t.randint(0, 9, (N,)),
    "exponential_": lambda **_: t.empty(N).exponential_(),
    "geometric_": lambda **_: t.empty(N).geometric_(0.3),
    "bernoulli_": lambda **_: t.empty(N).bernoulli_(0.3),
    "poisson": lambda v, **_: t.poisson(v),
    "dropout": lambda v, **_: F.dropout(v),
    "sort": lambda m, **_: m.sort(1),
    "topk": lambda m, **_: m.topk(10, 1),
    "index_select": lambda m, i, **_: m.index_select(0, i[0]),
    "gather": lambda m, i, **_: m.gather(1, i),
    "take": lambda v, iv, **_: v.take(iv),
    "x[i]": lambda v, iv, **_: v[iv],
    "x[mask]": lambda v, mask, **_: v[mask],
    "nonzero": lambda mask, **_: mask.nonzero(),
    "scatter_add": lambda m, i, **_: m.scatter_add(1, i, m),
    "index_put": lambda v, iv, **_: v.index_put((iv,), v),
    "embedding": lambda table, i, **_: F.embedding(i[:16], table),
    "embedding_bag": lambda table, i, **_: F.embedding_bag(i[:64], table),
    "roll": lambda m, **_: m.roll(3, 1),
    "pad": lambda image, **_: F.pad(image, (9, 9, 9, 9), mode="reflect"),
    "histc": lambda v, **_: v.histc(100),
    "bincount": lambda iv, **_: iv.bincount(),
    "repeat_interleave": lambda v, i, **_: t.repeat_interleave(v, i.flatten() % 3),
    "layer_norm": lambda m, **_: F.layer_norm(m, (1024,)),
    "batch_norm": lambda image, **_: F.batch_norm(image, None, None, training=True),
    "group_norm": lambda image, **_: F.group_norm(image, 2),
    "attention": lambda q, **_: F.scaled_dot_product_attention(q, q, q),
    "conv2d": lambda image, **_: F.conv2d(image, t.ones(8, 8, 3, 3)),
    "max_pool2d": lambda image, **_: F.max_pool2d(image, 3, 1),
    "interpolate": lambda image, **_: F.interpolate(image, scale_factor=2, mode="bilinear"),
    "mse_loss": lambda m, **_: F.mse_loss(m, m.t()),
    "binary_cross_entropy": lambda v, **_: F.binary_cross_entropy(v, v),
    "cross_entropy": lambda m, i, **_: F.cross_entropy(m, i[0]),
    "frexp": lambda v, **_: v.frexp(),
    "fft": lambda m, **_: t.fft.fft(m),
    "inverses of small matrices": lambda m, **_: t.linalg.inv(m.reshape(-1, 8, 8) + 8 * t.eye(8)),
}  # fmt: skip


@pytest.mark.parametrize("name", OPS)
def test_other_threads_run(name: str, counter: _Counter) -> None:
    """Without the lock being given up no attempt would see the other thread count."""
    given = _tensors()
    op = OPS[name]
    end = time.monotonic() + 20
    while time.monotonic() < end:
        before = counter.count
        op(**given)
        if counter.count > before:
            return
    raise AssertionError(f"{name} keeps the interpreter's lock")


def test_short_operations_keep_the_lock(counter: _Counter) -> None:
    """Giving it up costs more than they do."""
    given = {"v": t.rand(16), "m": t.rand(4, 4), "i": t.zeros(4, 4, dtype=t.int64)}
    time.sleep(0.01)
    before = counter.count
    for _ in range(100):
        F.layer_norm(given["m"], (4,))
        for name in ("add", "cumsum", "softmax", "sort", "gather"):
            OPS[name](**given)
    assert counter.count == before
