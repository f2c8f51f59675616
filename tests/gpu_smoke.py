"""A first run on a real device: every family of kernels against the CPU, and a table of what was seen.

    python tests/gpu_smoke.py [cpu]

Prints one line a check and ends with status 1 if any failed. Without a device it says what was looked for, status 2.
With `cpu` it compares the CPU with itself, which checks this script.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))

import dumbtorch as torch
from dumbtorch import cuda

DEVICE = "cpu" if "cpu" in sys.argv[1:] else "cuda"
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def values(shape: tuple[int, ...], dtype: Any, low: float = 0.1, high: float = 2.0) -> Any:
    """Numbers spread over a range, the same every time, in an order that is not sorted."""
    count = 1
    for size in shape:
        count *= size
    x = (torch.arange(count, dtype=torch.float64) * 0.61803398875) % 1.0
    x = x * (high - low) + low
    return (x if dtype.is_floating_point else x * 50).to(dtype).reshape(shape)


def error(mine: Any, reference: Any) -> float:
    """The largest difference, relative to the largest value; infinite for other shapes, dtypes, NaN in other places."""
    mine = mine.cpu()
    if tuple(mine.shape) != tuple(reference.shape) or mine.dtype != reference.dtype:
        return float("inf")
    if mine.numel() == 0:
        return 0.0
    a, b = mine.to(torch.float64), reference.to(torch.float64)
    if bool((a.isnan() != b.isnan()).any()):
        return float("inf")
    a, b = (torch.where(v.isnan(), torch.zeros_like(v), v).clamp(-1e300, 1e300) for v in (a, b))
    return float(((a - b).abs().max() / b.abs().max().clamp(min=1.0)).item())


def moved(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return type(x)(moved(item) for item in x)
    return x.to(DEVICE) if isinstance(x, torch.Tensor) else x


def check(name: str, f: Callable[..., Any], *args: Any, tolerance: float = 1e-5) -> bool:
    """Runs f on the CPU and on the device and compares; prints a line."""
    try:
        reference = f(*args)
        result = f(*moved(args))
        pairs = zip(result, reference, strict=True) if isinstance(reference, tuple) else [(result, reference)]
        worst = max(error(a, b) for a, b in pairs)
        good = worst <= tolerance
        text = f"{worst:.2e}"
    except Exception as problem:  # whatever it is belongs into the table
        good, text = False, f"{type(problem).__name__}: {problem}"
    print(f"{'ok  ' if good else 'FAIL'} {name:<44} {text}", flush=True)
    return good


def elementwise() -> bool:
    good = True
    for dtype in FLOATS:
        x, y = values((37, 129), dtype), values((37, 129), dtype, 0.5, 3.0)
        tolerance = TOLERANCE[dtype]
        for name in ("exp", "log", "tanh", "sigmoid", "sin", "sqrt", "relu", "erf", "neg", "floor", "isnan"):
            good &= check(f"{name} {dtype}", getattr(torch, name), x, tolerance=tolerance)
        for name in ("add", "sub", "mul", "div", "pow", "maximum", "lt", "eq", "atan2"):
            good &= check(f"{name} {dtype}", getattr(torch, name), x, y, tolerance=tolerance)
        good &= check(f"transposed + row {dtype}", lambda a, b: a.t() + b[0, :37], x, y, tolerance=tolerance)
        good &= check(f"x * 2.5 {dtype}", lambda a: a * 2.5, x, tolerance=tolerance)
        good &= check(f"where {dtype}", lambda a, b: torch.where(a > b, a, b), x, y, tolerance=tolerance)
        good &= check(f"clamp {dtype}", lambda a: a.clamp(0.5, 1.0), x, tolerance=tolerance)
    for dtype in INTS:
        x, y = values((1003,), dtype), values((1003,), dtype, 0.5, 1.0)
        for name in ("add", "mul", "sub", "floor_divide", "remainder", "bitwise_and", "ge"):
            good &= check(f"{name} {dtype}", getattr(torch, name), x, y, tolerance=0)
    b = values((77,), torch.float32) > 1
    good &= check("bool and", torch.logical_and, b, b, tolerance=0)
    good &= check("mixed int + float", torch.add, values((9,), torch.int32), values((9,), torch.float32))
    good &= check("out of order in place", lambda a: a.clone().t().mul_(2), values((5, 7), torch.float32))
    return good


def copies() -> bool:
    good = True
    dtypes = (torch.bool, *INTS, *FLOATS)
    for source in dtypes:
        for target in dtypes:
            good &= check(
                f"cast {source} {target}", lambda a, t=target: a.to(t), values((515,), source), tolerance=4e-3
            )
    x = values((3, 5, 7, 11), torch.float32)
    good &= check("permuted, contiguous", lambda a: a.permute(3, 1, 0, 2).contiguous(), x, tolerance=0)
    good &= check("expanded, contiguous", lambda a: a[:, :1].expand(3, 5, 7, 11).contiguous(), x, tolerance=0)
    good &= check("sliced", lambda a: a[1:, ::2, 3:, ::3].contiguous(), x, tolerance=0)
    good &= check("fill", lambda a: a.clone().fill_(3.5), x, tolerance=0)
    good &= check("empty", lambda a: a[:0] + 1, x, tolerance=0)
    good &= check("no dimensions", lambda a: a[0, 0, 0, 0] * 2, x)
    return good


def reductions() -> bool:
    good = True
    for dtype in FLOATS:
        x = values((33, 70, 41), dtype)
        tolerance = 10 * TOLERANCE[dtype]
        for dim in (0, 1, 2, (0, 2), None):
            for name in ("sum", "mean", "amax", "amin", "var", "std"):
                f = getattr(torch, name)
                call = (lambda a, f=f: f(a)) if dim is None else (lambda a, f=f, d=dim: f(a, dim=d))
                good &= check(f"{name} over {dim} {dtype}", call, x, tolerance=tolerance)
        for name in ("argmax", "argmin"):
            good &= check(f"{name} {dtype}", lambda a, name=name: getattr(torch, name)(a, dim=1), x, tolerance=0)
        good &= check(f"max with positions {dtype}", lambda a: tuple(torch.max(a, dim=2)), x, tolerance=0)
    good &= check("sum of 10 million", torch.sum, values((10_000_000,), torch.float32), tolerance=1e-5)
    good &= check("sum of int32", torch.sum, values((1001,), torch.int32), tolerance=0)
    good &= check("any", torch.any, values((1001,), torch.float32) > 1.9999, tolerance=0)
    good &= check("sum as float64", lambda a: a.sum(dtype=torch.float64), values((1001,), torch.float32))
    x = values((1 << 20,), torch.float32).to(DEVICE)
    same = len({x.sum().item() for _ in range(10)}) == 1
    print(f"{'ok  ' if same else 'FAIL'} the same bits ten times")
    return good and same


def products() -> bool:
    good = True
    for dtype in FLOATS:
        tolerance = 5 * TOLERANCE[dtype]
        for m, k, n in ((1, 1, 1), (64, 64, 64), (65, 63, 67), (500, 300, 700), (1, 1000, 10), (2048, 128, 2048)):
            a, b = values((m, k), dtype, -1, 1), values((k, n), dtype, -1, 1)
            good &= check(f"matmul {m}x{k}x{n} {dtype}", torch.matmul, a, b, tolerance=tolerance)
        a, b = values((120, 90), dtype, -1, 1), values((120, 80), dtype, -1, 1)
        good &= check(f"a.T @ b {dtype}", lambda x, y: x.t() @ y, a, b, tolerance=tolerance)
        good &= check(f"b.T @ a {dtype}", lambda x, y: y.t() @ x, a, b, tolerance=tolerance)
        good &= check(
            f"batched {dtype}", torch.matmul, values((70, 9, 8), dtype), values((70, 8, 7), dtype), tolerance=tolerance
        )
        bias = values((80,), dtype)
        good &= check(f"addmm {dtype}", torch.addmm, bias, a.t().contiguous(), b, tolerance=tolerance)
    good &= check(
        "matmul int64", torch.matmul, values((20, 30), torch.int64), values((30, 10), torch.int64), tolerance=0
    )
    return good


def losses() -> bool:
    good = True
    for dtype in FLOATS:
        x = values((50, 37, 11), dtype, -5, 5)
        for dim in (0, 1, 2):
            for name in ("softmax", "log_softmax"):
                f = getattr(torch.nn.functional, name)
                good &= check(
                    f"{name} over {dim} {dtype}", lambda a, f=f, d=dim: f(a, d), x, tolerance=5 * TOLERANCE[dtype]
                )
        logits, classes = values((64, 10), dtype, -3, 3), torch.arange(64) % 10
        for how in ("mean", "sum", "none"):
            good &= check(
                f"cross_entropy {how} {dtype}",
                lambda a, t, how=how: torch.nn.functional.cross_entropy(a, t, reduction=how),
                logits, classes, tolerance=5 * TOLERANCE[dtype],
            )  # fmt: skip

        def gradient(a: Any, t: Any) -> Any:
            a = a.detach().clone().requires_grad_()
            torch.nn.functional.cross_entropy(a, t).backward()
            return a.grad

        good &= check(f"cross_entropy gradient {dtype}", gradient, logits, classes, tolerance=5 * TOLERANCE[dtype])
    return good


def optimizers() -> bool:
    good = True
    for name, options in (("SGD", {"lr": 0.1, "momentum": 0.9}), ("Adam", {"lr": 0.01}), ("AdamW", {"lr": 0.01})):

        def steps(p: Any, g: Any, name: str = name, options: dict[str, float] = options) -> Any:
            p = p.detach().clone().requires_grad_()
            optimizer = getattr(torch.optim, name)([p], **options)
            for _ in range(5):
                p.grad = g.clone()
                optimizer.step()
            return p.detach()

        good &= check(
            f"{name}, five steps", steps, values((1000,), torch.float32), values((1000,), torch.float32, -1, 1)
        )
    return good


def indexing() -> bool:
    x, index = values((100, 33), torch.float32), torch.arange(40) * 7 % 100
    good = check("index_select", lambda a, i: a.index_select(0, i), x, index, tolerance=0)
    good &= check("index_add", lambda a, i: a.clone().index_add_(0, i, a[:40]), x, index)
    good &= check("index, counted from the end", lambda a, i: a[i - 100], x, index, tolerance=0)
    good &= check("masked_select", lambda a: a[a > 1], x, tolerance=0)
    good &= check("masked_scatter", lambda a: a.masked_scatter(a > 1, a.flatten()), x, tolerance=0)
    good &= check("nonzero", lambda a: (a > 1.9).nonzero(), x, tolerance=0)
    good &= check("cat", lambda a: torch.cat([a, a[:3] * 2, a[5:7, :]], 0), x, tolerance=0)
    good &= check("cat along rows", lambda a: torch.cat([a, a[:, :2]], 1), x, tolerance=0)
    good &= check("flip", lambda a: a.flip(0, 1), x, tolerance=0)
    return good


def convolutions() -> bool:
    good = True
    functional = torch.nn.functional
    for dtype in FLOATS:
        tolerance = 5 * TOLERANCE[dtype]
        for n, c, size, out, kernel, options in (
            (4, 1, 28, 16, 3, {"padding": 1}),
            (3, 16, 14, 32, 3, {"padding": 1}),
            (2, 40, 17, 70, 5, {"stride": 2, "padding": 2}),
            (2, 8, 15, 12, 3, {"dilation": 2, "groups": 4}),
            (2, 6, 9, 6, 3, {"padding": 1, "groups": 6}),
        ):
            x = values((n, c, size, size), dtype, -1, 1)
            weight = values((out, c // options.get("groups", 1), kernel, kernel), dtype, -0.3, 0.3)
            bias = values((out,), dtype, -1, 1)

            def everything(x: Any, w: Any, b: Any, options: dict[str, int] = options) -> Any:
                x, w, b = (v.detach().clone().requires_grad_() for v in (x, w, b))
                y = functional.conv2d(x, w, b, **options)
                (y * y).mean().backward()
                return y.detach(), x.grad, w.grad, b.grad

            good &= check(
                f"conv2d {c}->{out} {kernel} {options} {dtype}", everything, x, weight, bias, tolerance=tolerance
            )

        def pooled(x: Any, kind: str, *options: Any) -> Any:
            x = x.detach().clone().requires_grad_()
            y = getattr(functional, kind)(x, *options)
            (y * y).mean().backward()
            return y.detach(), x.grad

        x = values((3, 5, 13, 14), dtype, -1, 1)
        for kind in ("max_pool2d", "avg_pool2d"):
            for options in ((2,), (3, 2, 1), (3, 1, 1)):
                f = lambda a, k=kind, o=options: pooled(a, k, *o)  # noqa: E731
                good &= check(f"{kind} {options} {dtype}", f, x, tolerance=tolerance)
    good &= check(
        "max_pool2d int32", lambda a: functional.max_pool2d(a, 2), values((1, 2, 6, 6), torch.int32), tolerance=0
    )
    return good


def randoms() -> bool:
    """The same numbers as on the CPU."""
    good = True

    def fill(x: Any, name: str, *options: Any) -> Any:
        torch.manual_seed(7)
        return getattr(x.clone(), name)(*options)

    for dtype in FLOATS:
        for n in (5, 33, 10_000):
            x = torch.zeros(n, dtype=dtype)
            for name, options in (
                ("uniform_", (-1.0, 2.0)), ("normal_", (1.0, 2.0)), ("exponential_", (1.5,)), ("bernoulli_", (0.3,)),
                ("random_", (0, 100)),
            ):  # fmt: skip
                f = lambda a, name=name, options=options: fill(a, name, *options)  # noqa: E731
                good &= check(f"{name} {n} {dtype}", f, x, tolerance=TOLERANCE[dtype])

        def drop(x: Any) -> Any:
            torch.manual_seed(7)
            x = x.detach().clone().requires_grad_()
            y = torch.nn.functional.dropout(x, 0.4)
            y.sum().backward()
            return y.detach(), x.grad

        good &= check(f"dropout {dtype}", drop, values((1003,), dtype), tolerance=TOLERANCE[dtype])
    good &= check("random_ int64", lambda a: fill(a, "random_"), torch.zeros(1003, dtype=torch.int64), tolerance=0)
    good &= check(
        "bernoulli_ bool", lambda a: fill(a, "bernoulli_", 0.5), torch.zeros(1003, dtype=torch.bool), tolerance=0
    )
    return good


def scans() -> bool:
    good = True
    for dtype in (*FLOATS, torch.int32):
        for shape, dim in (
            ((7,), 0),
            ((100_003,), 0),
            ((3, 5000, 7), 1),
            ((300, 70), 1),
            ((20_000, 9), 1),
            ((0, 3), 0),
        ):
            x = values(shape, dtype, 0.0, 0.01 if dtype.is_floating_point else 1)
            f = lambda a, d=dim: a.cumsum(d)  # noqa: E731
            good &= check(f"cumsum {shape} {dtype}", f, x, tolerance=5 * TOLERANCE.get(dtype, 0))
    return good


def runtime() -> bool:
    """Streams, memory, speed."""
    before = cuda.memory_allocated()
    x = torch.empty((1 << 26,), device="cuda")
    used = cuda.memory_allocated() - before
    stream = cuda.Stream()
    with cuda.stream(stream):
        y = x.fill_(1.0) + 1
    stream.synchronize()
    good = used == 1 << 28 and y[:3].tolist() == [2.0, 2.0, 2.0]
    print(f"{'ok  ' if good else 'FAIL'} stream and memory: {used} bytes for 2^28")
    for n in range(20):  # more blocks than there are at once: they come back while copies from them are queued
        host = torch.full((1 << 20,), float(n)).pin_memory()
        there = host.to("cuda", non_blocking=True)
        locked = host.is_pinned()
        del host
        locked &= there.sum().item() == n * (1 << 20)
        if not locked:
            good = False
            print(f"FAIL page-locked memory, copy {n}")
    with cuda.stream(stream):
        z = torch.full((1 << 22,), 2.0, device="cuda")
    z.record_stream(cuda.default_stream())
    stream.synchronize()
    twice = z + z
    del z
    with cuda.stream(stream):
        torch.zeros(1 << 22, device="cuda")
    good &= twice[-1].item() == 4.0
    square = y[: 1 << 24].view(4096, 4096)
    for name, f, amount, unit in (
        ("add, 2^26 float32", lambda: x + y, 3 * 4 * x.numel() / 1e9, "GB/s"),
        ("sum, 2^26 float32", lambda: x.sum(), 4 * x.numel() / 1e9, "GB/s"),
        ("matmul 4096^3 float32", lambda: square @ square, 137.4, "GFLOP/s"),
    ):
        f()
        cuda.synchronize()
        start = time.perf_counter()
        for _ in range(10):
            f()
        cuda.synchronize()
        print(f"     {name:<44} {10 * amount / (time.perf_counter() - start):.0f} {unit}")
    small = torch.ones(16, device="cuda")
    cuda.synchronize()
    start = time.perf_counter()
    for _ in range(1000):
        small = small + 1
    queued = time.perf_counter() - start
    cuda.synchronize()
    print(f"     one add of 16 elements is queued in          {queued * 1e3:.1f} us")
    return good


def main() -> int:
    families = [elementwise, copies, reductions, products, losses, optimizers, indexing, convolutions, randoms, scans]
    if DEVICE == "cuda" and not cuda.is_available():
        try:
            cuda.init()
        except RuntimeError as reason:
            print(reason)
        return 2
    if DEVICE == "cuda":
        print(cuda.get_device_properties(), "kernels for", cuda.get_arch_list())
        families.append(runtime)
    results = [f() for f in families]
    print("all good" if all(results) else "some checks failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
