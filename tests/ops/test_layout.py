"""Memory formats, resizing and layouts changed in place, beside PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dumbtorch as dt

BOTH = (dt, torch)


def layout(t: Any) -> tuple[Any, ...]:
    """What a tensor's layout is, for comparison."""
    return tuple(t.shape), t.stride(), t.storage_offset(), t.tolist()


@pytest.mark.parametrize("name", ["contiguous_format", "channels_last", "preserve_format"])
def test_formats(name: str) -> None:
    made = []
    for m in BOTH:
        format = getattr(m, name)
        x = m.arange(48.0).reshape(2, 3, 4, 2)
        results = [x.clone(memory_format=format), x.permute(0, 3, 1, 2).clone(memory_format=format)]
        results.append(x.to(m.float64, memory_format=format))
        if name != "preserve_format":
            results += [x.contiguous(memory_format=format), results[0].contiguous()]
        made.append([layout(t) for t in results])
        made[-1].append([t.is_contiguous(memory_format=m.channels_last) for t in results])
        assert repr(format) == f"torch.{name}"
    assert made[0] == made[1]


def test_formats_of_other_ranks_are_refused() -> None:
    for m in BOTH:
        with pytest.raises(RuntimeError):
            m.zeros(2, 3).contiguous(memory_format=m.channels_last)
        with pytest.raises(RuntimeError):
            m.zeros(2, 3, 4, 5).transpose(0, 1).contiguous(memory_format=m.preserve_format)
        assert m.zeros(1, 2, 3, 4, 5).contiguous(memory_format=m.channels_last_3d).stride()[1] == 1
        assert not m.zeros(2, 3).is_contiguous(memory_format=m.channels_last)


CHANGES = {
    "t_": lambda x: x.t_(),
    "transpose_": lambda x: x.transpose_(0, 1),
    "swapaxes_": lambda x: x.swapaxes_(0, -1),
    "squeeze_": lambda x: x.squeeze_(),
    "unsqueeze_": lambda x: x.unsqueeze_(1),
    "as_strided_": lambda x: x.as_strided_((2, 2), (1, 2), 1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_views_in_place(name: str) -> None:
    """The object itself changes; its history and that of what it shares memory with stay right."""
    made = []
    for m in BOTH:
        leaf = m.arange(6.0).reshape(2, 3).requires_grad_()
        x = leaf * 2
        assert CHANGES[name](x) is x
        y = x * m.arange(float(x.numel())).reshape(tuple(x.shape))
        y.sum().backward()
        made.append((layout(x), leaf.grad.tolist()))
        with pytest.raises(RuntimeError, match="leaf Variable"):
            CHANGES[name](leaf)
    assert made[0] == made[1]


def test_a_write_through_a_view_changed_in_place() -> None:
    made = []
    for m in BOTH:
        leaf = m.arange(6.0).reshape(2, 3).requires_grad_()
        x = leaf * 1
        x.t_()
        x[0] = 5.0
        (x * x).sum().backward()
        made.append((x.tolist(), leaf.grad.tolist()))
    assert made[0] == made[1]


def test_resize() -> None:
    made = []
    for m in BOTH:
        x = m.arange(6.0)
        view = x[2:4]
        x.resize_(2, 2)
        small = layout(x)
        x.resize_(4, 3)
        grown = x.flatten()[:6].tolist()
        view.fill_(9.0)
        shared = x.flatten()[:6].tolist()  # the storage has grown for both
        x.resize_as_(m.zeros(2, 1, 3))
        made.append((small, grown, shared, layout(x)))
        with pytest.raises(RuntimeError):
            m.zeros(2, requires_grad=True).resize_(3)
        with pytest.raises(RuntimeError):
            m.zeros(2).resize_(-3)
    assert made[0] == made[1]


def test_resize_of_borrowed_memory_is_refused() -> None:
    for m in BOTH:
        array = m.arange(3.0).numpy()
        x = m.from_numpy(array)
        with pytest.raises(RuntimeError, match="not resizable"):
            x.resize_(10)
        assert m is torch or x.tolist() == [0, 1, 2]  # PyTorch's tensor has changed its shape already


def test_set() -> None:
    made = []
    for m in BOTH:
        x, y = m.zeros(2), m.arange(6.0)
        x.set_(y)
        x[0] = 7.0
        assert x.is_set_to(y) and not x.is_set_to(y[1:])
        z = m.zeros(1).set_(y.untyped_storage(), 1, (2, 2), (2, 1))
        w = m.zeros(1).set_(y, 2, (3,))
        z[0, 0] = -1.0
        e = m.zeros(3)
        e.set_()
        made.append((layout(x), layout(y), layout(z), layout(w), tuple(e.shape)))
        with pytest.raises(RuntimeError):
            x.set_(m.zeros(2, dtype=m.int64))
    assert made[0] == made[1]


def test_dtype_views_carry_no_gradient() -> None:
    for m in BOTH:
        x = m.ones(2, 3, requires_grad=True)
        y = x.view(m.int32)
        assert not y.requires_grad
        assert y[0, 0].item() == 0x3F800000
        assert tuple(x.detach().view(m.uint8).shape) == (2, 12)


@pytest.mark.parametrize("name", ["hstack", "vstack", "dstack", "column_stack", "stack", "cat"])
def test_joining_into_out(name: str) -> None:
    made = []
    for m in BOTH:
        parts = [m.arange(3.0), m.arange(3), m.ones(3, dtype=m.bool)]
        out = m.empty(0, dtype=m.float64)
        result = getattr(m, name)(parts, out=out)
        assert result is out
        made.append(layout(out))
    assert made[0] == made[1]


def test_parts_of_unsafe_splits_may_be_written() -> None:
    made = []
    for m in BOTH:
        leaf = m.arange(6.0).requires_grad_()
        x = leaf * 1
        parts = m.unsafe_split(x, 2)
        parts[0].mul_(3)
        m.cat(parts).sum().backward()
        made.append(leaf.grad.tolist())
        with pytest.raises(RuntimeError, match="multiple views"):
            m.split(leaf * 1, 2)[0].mul_(3)
    assert made[0] == made[1]


def test_fill_diagonal() -> None:
    made = []
    for m in BOTH:
        shapes = (3, 3), (7, 3), (3, 7), (2, 2, 2), (9, 2)
        made.append([m.zeros(*s).fill_diagonal_(1.0, wrap=w).tolist() for s in shapes for w in (False, True)])
        with pytest.raises(RuntimeError):
            m.zeros(3).fill_diagonal_(1.0)
    assert made[0] == made[1]


PADS = [(1, 2), (-1, 2), (2, -1), (0, 3), (1, 1, 2, 0), (-1, 1, 1, -1), (1, 0, 0, 1, 1, 1)]


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("pad", PADS)
def test_padding(mode: str, pad: tuple[int, ...]) -> None:
    made = []
    for m in BOTH:
        x = m.arange(120.0, dtype=m.float64).reshape(1, 2, 3, 4, 5)
        x = (x if len(pad) == 6 else x[0] if len(pad) == 4 else x[0, 0]).detach().requires_grad_()
        y = m.nn.functional.pad(x, pad, mode)
        (y * m.arange(float(y.numel()), dtype=m.float64).reshape(tuple(y.shape))).sum().backward()
        made.append((layout(y.detach()), x.grad.tolist()))
    assert made[0] == made[1]


@pytest.mark.parametrize("stride", [2**62, 2**63 - 1, 6148914691236517205, 6])
def test_a_stride_whose_reach_overflows_is_refused(stride: int) -> None:
    x = dt.ones(12)
    for size in (3, 5):
        with pytest.raises(RuntimeError, match="out of bounds"):
            x.as_strided([size], [stride])
    with pytest.raises(RuntimeError, match="out of bounds"):
        x.as_strided([1], [1], 2**63 - 1)
    assert x.as_strided([0, 5], [1, stride]).shape == (0, 5)
