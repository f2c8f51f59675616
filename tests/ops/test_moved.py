"""What moves much memory: padding, joining, writing by index, over one thread and two, of many shapes and strides."""

from __future__ import annotations

import numpy as np
import pytest

import dumbtorch as torch
from dumbtorch.nn.functional import pad as pad_

DTYPES = ["uint8", "int16", "float32", "float64", "complex128"]
NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.fixture(params=[1, 2])
def threads(request):
    """The number of threads during a test."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def _numbers(shape, dtype="float32", top=100):
    return np.random.default_rng(0).integers(0, top, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", NUMPY_MODES)
@pytest.mark.parametrize(
    ("shape", "pad"),
    [
        ((3, 500, 20, 10), (1, 2, 3, 4)),
        ((1, 2, 13, 40), (12, 39, 0, 1)),
        ((1, 1, 300, 200), (0, 0, 5, 6)),
        ((2, 1, 90, 100), (3, 0, 0, 0)),
        ((1, 1, 2, 3000), (20, 30, 1, 1)),
        ((2, 3, 1, 7), (3, 6, 0, 0)),
    ],
)
def test_padding_with_edges(threads, shape, pad, mode, dtype):
    a = _numbers(shape, dtype)
    want = np.pad(a, ((0, 0), (0, 0), pad[2:], pad[:2]), NUMPY_MODES[mode])
    np.testing.assert_array_equal(pad_(torch.from_numpy(a), pad, mode=mode).numpy(), want)
    turned = np.ascontiguousarray(a.transpose(3, 1, 0, 2))
    view = torch.from_numpy(turned).permute(2, 1, 3, 0)
    np.testing.assert_array_equal(pad_(view, pad, mode=mode).numpy(), want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pad", [(1, 2, 3, 4), (-1, 2, 3, -4), (20, 0, -7, 0), (0, 0, 0, 0, 2, -1), (-10, 3, 0, 0)])
def test_padding_with_a_number(threads, pad, dtype):
    a = _numbers((4, 300, 20, 10), dtype)
    pairs = [(0, 0)] * (4 - len(pad) // 2) + [pad[i : i + 2] for i in range(len(pad) - 2, -1, -2)]
    cut = a[tuple(slice(max(-left, 0), n - max(-right, 0)) for n, (left, right) in zip(a.shape, pairs, strict=True))]
    want = np.pad(cut, [(max(left, 0), max(right, 0)) for left, right in pairs], constant_values=7)
    for x in (torch.from_numpy(a), torch.from_numpy(np.ascontiguousarray(a.transpose(3, 0, 1, 2))).permute(1, 2, 3, 0)):
        np.testing.assert_array_equal(pad_(x, pad, value=7).numpy(), want)


@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
@pytest.mark.parametrize(
    "shapes",
    [
        [(1000, 200)] * 5,
        [(1000, 1), (1000, 1)],
        [(70_001, 1), (70_001, 1)],
        [(70_001, 1)] * 3,
        [(300, 17), (300, 0), (300, 1), (300, 301), (300, 4)],
        [(2, 100_000), (2, 3)],
        [(1, 70_000), (1, 9)],
    ],
)
def test_joining_rows(threads, shapes, dtype):
    parts = [_numbers(shape, dtype, 2) for shape in shapes]
    ours = [torch.from_numpy(part) for part in parts]
    np.testing.assert_array_equal(torch.cat(ours, 1).numpy(), np.concatenate(parts, 1))
    wide = [torch.from_numpy(np.pad(part, ((1, 2), (3, 4))))[1:-2, 3:-4] for part in parts]
    np.testing.assert_array_equal(torch.cat(wide, 1).numpy(), np.concatenate(parts, 1))
    turned = [torch.from_numpy(np.ascontiguousarray(part.T)).t() for part in parts]
    np.testing.assert_array_equal(torch.cat(turned, 1).numpy(), np.concatenate(parts, 1))
    flat = [part.reshape(-1) for part in parts]
    np.testing.assert_array_equal(torch.cat([x.reshape(-1) for x in ours]).numpy(), np.concatenate(flat))


def test_joining_what_is_larger_than_the_caches(threads):
    a = _numbers((1001, 2500))
    ours = torch.from_numpy(a)
    np.testing.assert_array_equal(torch.cat([ours, ours[:, 1:]], 1).numpy(), np.concatenate([a, a[:, 1:]], 1))
    np.testing.assert_array_equal(torch.cat([ours[1:], ours]).numpy(), np.concatenate([a[1:], a]))
    np.testing.assert_array_equal(torch.stack([ours, ours], -1).numpy(), np.stack([a, a], -1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("kind", ["even", "one", "sorted", "few"])
@pytest.mark.parametrize(("rows", "columns", "count"), [(500, 300, 1000), (40, 70, 900), (100_003, 1, 200_000)])
def test_writing_rows(threads, rows, columns, count, kind, dtype):
    random = np.random.default_rng(0)
    places = random.integers(0, 3 if kind == "few" else rows, count)
    if kind == "one":
        places[:] = rows - 1
    elif kind == "sorted":
        places.sort()
    a = _numbers((rows, columns), dtype, 3)
    values = _numbers((count, columns), dtype, 3)
    want = a.copy()
    np.add.at(want, places, values)
    x, i, v = torch.from_numpy(a), torch.from_numpy(places), torch.from_numpy(values)
    np.testing.assert_array_equal(x.index_add(0, i, v).numpy(), want)
    np.testing.assert_array_equal(x.index_put((i,), v, accumulate=True).numpy(), want)
    if columns == 1:
        np.testing.assert_array_equal(x[:, 0].scatter_add(0, i, v[:, 0]).numpy(), want[:, 0])
        np.maximum.at(largest := a.copy(), places, values)
        np.testing.assert_array_equal(
            x[:, 0].scatter_reduce(0, i, v[:, 0], "amax", include_self=True).numpy(), largest[:, 0]
        )
    # of those written to one place the last one stays
    last = a.copy()
    last[places] = values
    np.testing.assert_array_equal(x.index_copy(0, i, v).numpy(), last)
    np.testing.assert_array_equal(x.index_put((i,), v).numpy(), last)


@pytest.mark.parametrize("bad", [-1, 300_000])
@pytest.mark.parametrize("place", [0, 150_000, 299_999])
def test_a_wrong_index_changes_nothing(threads, place, bad):
    x = torch.zeros(300_000)
    i = torch.arange(300_000)
    i[place] = bad
    with pytest.raises(RuntimeError, match=f"index {bad} is out of bounds"):
        x.scatter_add_(0, i, torch.ones(300_000))
    assert not x.any()


@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
@pytest.mark.parametrize(("rows", "columns", "count"), [(9, 100, 700), (130, 1000, 1000)])
def test_picking_columns(threads, rows, columns, count, dtype):
    a = _numbers((rows, columns), dtype)
    places = np.random.default_rng(0).integers(0, columns, count)
    x, i = torch.from_numpy(a), torch.from_numpy(places)
    np.testing.assert_array_equal(x.index_select(1, i).numpy(), a[:, places])
    np.testing.assert_array_equal(x[:, i].numpy(), a[:, places])
    np.testing.assert_array_equal(x.t()[i % rows].numpy(), a.T[places % rows])


@pytest.mark.parametrize("dtype", ["float32", "bool", "complex64"])
def test_zeros_of_many(threads, dtype):
    for size in (65_535, 65_536, 1_000_003):
        torch.full((size,), 1, dtype=getattr(torch, dtype))  # what the memory held before
        assert not torch.zeros(size, dtype=getattr(torch, dtype)).any()


@pytest.mark.parametrize("dim", range(-5, 5))
def test_stacking(threads, dim):
    a = _numbers((2, 3, 4, 5))
    b = a + 1
    ours = torch.from_numpy(a), torch.from_numpy(b)
    np.testing.assert_array_equal(torch.stack(ours, dim).numpy(), np.stack([a, b], dim))
    assert torch.stack(ours, dim).is_contiguous()
    # the order of channels_last stays, but for a last dimension, as in PyTorch
    strides = [(120, 60, 1, 15, 3), (120, 3, 1, 30, 6), (120, 1, 60, 15, 3), (120, 1, 30, 15, 3), (120, 40, 10, 2, 1)]
    last = torch.stack([x.contiguous(memory_format=torch.channels_last) for x in ours], dim)
    assert last.stride() == strides[dim]
    np.testing.assert_array_equal(last.numpy(), np.stack([a, b], dim))


@pytest.mark.parametrize("shape", [(), (0,), (0, 3)])
def test_stacking_little(shape):
    a = np.ones(shape, np.float32)
    for dim in range(len(shape) + 1):
        np.testing.assert_array_equal(torch.stack([torch.from_numpy(a)] * 3, dim).numpy(), np.stack([a] * 3, dim))
    for wrong, error in (([torch.ones(2), 3], TypeError), ([3, torch.ones(2)], TypeError),
                         ([torch.ones(2), torch.ones(3)], RuntimeError), ([], RuntimeError)):  # fmt: skip
        with pytest.raises(error):
            torch.stack(wrong)
    with pytest.raises(IndexError):
        torch.stack([torch.from_numpy(a)], len(shape) + 1)


def test_adding_rows_of_bfloat16(threads):
    a = torch.from_numpy(np.random.default_rng(0).standard_normal((200, 131), dtype=np.float32)).bfloat16()
    a[3, 5], a[7, 130] = float("nan"), float("inf")
    places = np.random.default_rng(1).integers(0, 200, 200)
    want = a.float()
    for k, row in enumerate(places.tolist()):
        want[row] = (want[row] + a[k].float()).bfloat16().float()
    ours = a.index_add(0, torch.from_numpy(places), a)
    np.testing.assert_array_equal(ours.float().numpy(), want.numpy())
