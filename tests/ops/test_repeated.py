"""Operands that repeat an element along each row, or one row for all: every way through the elementwise loop."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import dumbtorch as torch

SHAPES = [
    ((512, 128), (512, 1)),
    ((512, 128), (1, 128)),
    ((512, 128), (1, 1)),
    ((300, 3), (300, 1)),
    ((300, 3), (3,)),
    ((2000, 2), (2000, 1)),
    ((33, 17, 5), (33, 1, 1)),
    ((33, 17, 5), (1, 17, 1)),
    ((33, 17, 5), (33, 1, 5)),
    ((4, 9, 700), (9, 1)),
    ((3, 5000), (3, 1)),
    ((7, 1030), (1030,)),
    ((64, 1, 300), (1, 40, 1)),
    ((70000, 4), (70000, 1)),
    ((6, 50, 2100), (6, 1, 2100)),
]
DTYPES = ["float32", "float64", "int8", "int16", "int64", "bool", "complex64", "complex128"]


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).integers(-5, 6, shape)
    return (values + 1j * values[..., ::-1] if "complex" in dtype else values).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("first", "second"), SHAPES)
def test_repeated_operands(first: tuple[int, ...], second: tuple[int, ...], dtype: str, threads: int) -> None:
    a, b = numbers(first, dtype, 0), numbers(second, dtype, 1)
    x, y = torch.tensor(a), torch.tensor(b)
    both = np.broadcast_shapes(first, second)
    c = numbers(both, dtype, 2)
    z = torch.tensor(c)
    for mine, expected in [
        (x * y, a * b),
        (y * x, b * a),
        (x == y, a == b),
        (torch.where(z == 1, x, y), np.where(c == 1, a, b)),
        (torch.where(x == 1, y, z), np.where(a == 1, b, c)),
        (z.flip(0) * y, c[::-1] * b),
        (z[::2] * x[::2] if first[0] == both[0] else z, c[::2] * a[::2] if first[0] == both[0] else c),
    ]:
        np.testing.assert_array_equal(mine.numpy(), expected)


@pytest.mark.parametrize(("first", "second"), SHAPES)
def test_in_place_and_into_strided_memory(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    both = np.broadcast_shapes(first, second)
    c, b = numbers(both, "float32", 3), numbers(second, "float32", 4)
    z, y = torch.tensor(c), torch.tensor(b)
    z.mul_(y)
    np.testing.assert_array_equal(z.numpy(), c * b)
    room = torch.zeros(*both[:-1], 2 * both[-1])
    torch.add(torch.tensor(c), y, out=room[..., ::2])
    np.testing.assert_array_equal(room[..., ::2].numpy(), c + b)
    assert not room[..., 1::2].any()
    wide = torch.zeros(both[0], *both[1:-1], both[-1] + 3)
    torch.add(torch.tensor(c), y, out=wide[..., : both[-1]])
    np.testing.assert_array_equal(wide[..., : both[-1]].numpy(), c + b)
    assert not wide[..., both[-1] :].any()


@pytest.mark.parametrize("shape", [(4, 1), (4, 1, 1), (1, 7), (3, 1, 5), (1, 1, 9)])
@pytest.mark.parametrize("dtype", ["int32", "bool", "float64"])
def test_reducing_a_dimension_of_one_with_a_cast(shape: tuple[int, ...], dtype: str) -> None:
    a = numbers(shape, dtype, 7)
    dim = shape.index(1)
    got = torch.tensor(a).sum(dim, dtype=torch.float32)
    np.testing.assert_array_equal(got.numpy(), a.sum(dim).astype("float32"))
    np.testing.assert_array_equal(torch.tensor(a).mean(dim, dtype=torch.float32).numpy(), got.numpy())


def test_of_other_dtypes() -> None:
    a, b = numbers((200, 100), "int32", 5), numbers((200, 1), "float32", 6)
    np.testing.assert_array_equal((torch.tensor(a) * torch.tensor(b)).numpy(), (a * b).astype("float32"))
    x = torch.tensor(b).bfloat16()
    got = torch.tensor(a).bfloat16() + x
    np.testing.assert_array_equal(got.float().numpy(), (a + b).astype("float32"))
