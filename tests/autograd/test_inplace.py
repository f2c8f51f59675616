"""In-place operations and views: versions, histories, and what is forbidden. PyTorch is the oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch as reference

import dumbtorch as torch

VALUES = [[1.0, 2.0, 3.0], [-1.0, 0.5, 4.0]]
Program = Callable[[Any, Any, Any], Any]


def run(framework: Any, program: Program) -> list[Any]:
    x = framework.tensor(VALUES, dtype=framework.float64, requires_grad=True)
    w = framework.tensor([2.0, -3.0, 0.5], dtype=framework.float64, requires_grad=True)
    program(framework, x, w).backward()
    return [x.grad.tolist() if x.grad is not None else None, w.grad.tolist() if w.grad is not None else None]


def inplace_on_inner(t: Any, x: Any, w: Any) -> Any:
    y = x * 2
    y.mul_(w)
    y.add_(1)
    return (y * y).sum()


def inplace_saves_the_result(t: Any, x: Any, w: Any) -> Any:
    y = x * 1
    y.exp_()
    return (y * w).sum()


def inplace_with_itself(t: Any, x: Any, w: Any) -> Any:
    y = x * 1
    y.add_(y)
    return (y * w).sum()


def write_into_a_view(t: Any, x: Any, w: Any) -> Any:
    y = x * 2
    y[0].mul_(w)
    return (y * y).sum()


def write_into_a_view_of_a_view(t: Any, x: Any, w: Any) -> Any:
    y = x * 2
    y[0][1:].mul_(w[:2])
    return (y * y).sum()


def read_a_view_after_a_write_to_its_base(t: Any, x: Any, w: Any) -> Any:
    y = x * 2
    v = y[1]
    y.mul_(w)
    return (v * v).sum() + y.sum()


def read_a_view_after_a_write_to_another(t: Any, x: Any, w: Any) -> Any:
    y = x * 2
    v, u = y[:, 1:], y.view(-1)
    u.mul_(3)
    return (v * v * w[1:]).sum()


def write_into_a_transposed_view(t: Any, x: Any, w: Any) -> Any:
    y = x * 2
    y.t()[0].mul_(w[:2])
    return (y * y).sum()


def base_gets_a_history_from_its_view(t: Any, x: Any, w: Any) -> Any:
    y = t.zeros(2, 3, dtype=t.float64)
    y[0] = w
    y[1, 1:] = w[1:] * 2
    return (y * x).sum()


def copy_with_broadcast(t: Any, x: Any, w: Any) -> Any:
    y = x * 2
    y.copy_(w)
    return (y * x).sum()


def fill_a_part(t: Any, x: Any, w: Any) -> Any:
    y = x * 2
    y[:, 0] = 7
    y[1].fill_(w.sum())
    return (y * y * w).sum()


def zero_everything(t: Any, x: Any, w: Any) -> Any:
    y = x * 2
    y.zero_()
    return (y * w + x).sum()


def constant_into_a_view(t: Any, x: Any, w: Any) -> Any:
    y = x * w
    y[0].zero_()
    return (y * y).sum()


def write_twice(t: Any, x: Any, w: Any) -> Any:
    y = x * 1
    y[0].mul_(w)
    y[:, 1].mul_(w[:2])
    y.mul_(2)
    return (y * y).sum()


def expanded_view_of_a_leaf(t: Any, x: Any, w: Any) -> Any:
    y = w.expand(2, 3) * x
    y.view(3, 2)[1] = w[0]
    return y.sum()


def masked_write(t: Any, x: Any, w: Any) -> Any:
    y = x * w
    y[y > 0] = 0
    return (y * y).sum()


def indexed_write(t: Any, x: Any, w: Any) -> Any:
    y = x * 2
    y[:, t.tensor([2, 0])] = w[:2]
    y[t.tensor([0, 1]), t.tensor([1, 1])] = w[1:]
    return (y * y).sum()


def indexed_read(t: Any, x: Any, w: Any) -> Any:
    return (x[t.tensor([0, 1, 1])] * w).sum() + x[:, [0, 2]].prod() + x[x > 1].sum() + x[None, 1, ..., ::2].sum()


def clamp_and_friends(t: Any, x: Any, w: Any) -> Any:
    y = x * 1
    y.clamp_(-0.5, 3).sub_(w, alpha=2).div_(w).pow_(2)
    return y.sum()


def pieces(t: Any, x: Any, w: Any) -> Any:
    a, b = (x * w).split([1, 2], 1)
    c, d = x.unbind()
    return (a * a).sum() + (b * 3).sum() + (c * d).sum() + t.cat([c, w]).prod() + t.stack([d, w]).pow(2).sum()


PROGRAMS = [value for value in list(globals().values()) if callable(value) and getattr(value, "__code__", None)
            and value.__code__.co_varnames[:3] == ("t", "x", "w")]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_as_pytorch(program: Program) -> None:
    for mine, its in zip(run(torch, program), run(reference, program), strict=True):
        if its is None:
            assert mine is None
            continue
        mine, its = (sum(v, []) if isinstance(v[0], list) else v for v in (mine, its))
        assert mine == pytest.approx(its, rel=1e-9)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_twice_differentiable(program: Program) -> None:
    """The second derivative through writes and views, against PyTorch's."""

    def second(framework: Any) -> Any:
        x = framework.tensor(VALUES, dtype=framework.float64, requires_grad=True)
        w = framework.tensor([2.0, -3.0, 0.5], dtype=framework.float64, requires_grad=True)
        result = program(framework, x, w)
        grads = framework.autograd.grad(result, [x, w], create_graph=True, allow_unused=True)
        total = sum((g * g).sum() for g in grads if g is not None)
        if not total.requires_grad:
            return [0.0]
        again = framework.autograd.grad(total, [x, w], allow_unused=True)
        return sum((g.reshape(-1).tolist() if g is not None else [0.0] for g in again), [])

    assert second(torch) == pytest.approx(second(reference), rel=1e-9)


def test_views_know_their_base_and_share_the_version() -> None:
    x = torch.ones(3, 4)
    v = x[1][1:]
    assert v._base is x
    before = x._version
    v.add_(1)
    assert x._version == before + 1 == v._version
    assert x.detach()._version == x._version
    assert x.sum().item() == 15


def test_a_view_of_a_constant_base_joins_the_graph() -> None:
    x = torch.ones(2, requires_grad=True)
    base = torch.zeros(4)
    v, other = base[:2], base[1:]
    v.mul_(x)
    assert base.requires_grad and v.requires_grad and other.requires_grad
    assert type(base.grad_fn).__name__ == "CopySlices"
    assert type(other.grad_fn).__name__ == "AsStridedBackward0"
    assert v.grad_fn is v.grad_fn


def raises(call: Any, words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        call()


def test_writes_to_leaves_are_forbidden() -> None:
    x = torch.ones(3, requires_grad=True)
    raises(lambda: x.add_(1), "a leaf Variable that requires grad is being used in an in-place operation")
    raises(
        lambda: x[0:1].add_(1), "a view of a leaf Variable that requires grad is being used in an in-place operation"
    )
    raises(lambda: x.zero_(), "a leaf Variable")
    with torch.no_grad():
        x.add_(1)
    assert x.tolist() == [2, 2, 2]


def test_writes_to_one_of_several_views_are_forbidden() -> None:
    x = torch.ones(3, requires_grad=True) * 1
    raises(
        lambda: x.unbind()[0].add_(1), "is a view and is being modified inplace. This view is the output of a function"
    )
    raises(lambda: x.split(2)[1].mul_(2), "multiple views")


def test_writes_to_views_made_without_grad_are_forbidden() -> None:
    x = torch.ones(3, requires_grad=True) * 1
    with torch.no_grad():
        v = x[:2]
        v.add_(1)
    raises(lambda: v.add_(1), "A view was created in no_grad mode and is being modified inplace with grad mode enabled")


def test_a_stale_input_is_an_error_that_names_the_op() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    z = y * y
    y.add_(1)
    raises(
        lambda: z.sum().backward(),
        r"one of the variables needed for gradient computation has been modified by an inplace operation: "
        r"\[torch.FloatTensor \[3\]\], which is output 0 of Add, is at version 1; expected version 0 "
        r"instead. MulBackward0 saved it",
    )


def test_a_stale_result_is_an_error() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()
    y.add_(1)
    raises(lambda: y.sum().backward(), "which is output 0 of Exp, is at version 1; expected version 0")


def test_a_write_through_a_view_makes_a_saved_tensor_stale() -> None:
    w = torch.ones(2, 3)
    x = torch.ones(3, requires_grad=True)
    y = (x * w).sum()
    w[0].add_(1)
    raises(lambda: y.backward(), "modified by an inplace operation")


def test_a_write_to_what_was_not_saved_is_fine() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    z = y + 1
    y.add_(5)
    z.sum().backward()
    assert x.grad.tolist() == [2, 2, 2]


def test_out_is_not_differentiable() -> None:
    x = torch.ones(3, requires_grad=True)
    raises(lambda: torch.add(x, 1, out=torch.ones(3)), "don't support automatic differentiation")


def test_setting_data_keeps_the_object() -> None:
    x = torch.ones(3, requires_grad=True)
    x.data = torch.tensor([1.0, 2.0])
    assert x.tolist() == [1, 2] and x.requires_grad
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_grad_assignment_is_checked() -> None:
    x = torch.ones(3, requires_grad=True)
    raises(lambda: setattr(x, "grad", torch.ones(4)), "attempting to assign a gradient of size")
    raises(lambda: setattr(x, "grad", torch.ones(3, dtype=torch.float64)), "attempting to assign a gradient with dtype")
    with pytest.raises(TypeError, match="assigned grad expected to be a Tensor or None but got grad of type"):
        x.grad = 3
    x.grad = torch.ones(3)
    x.grad = None
    assert x.grad is None


def test_operations_on_a_view_made_before_its_base_joined_the_graph() -> None:
    for t in (torch, reference):
        x = t.ones(2, requires_grad=True)
        base = t.zeros(4)
        v, other = base[:2], base[1:]
        v.add_(x)
        y = other * 3  # nothing asked `other` about its gradient before
        assert y.requires_grad
        y.sum().backward()
        assert x.grad.tolist() == [0, 3]


# ---------------------------------------------------------------- writes through .data


def data_of_an_input(t: Any, x: Any, w: Any) -> Any:
    y = (x * w).sum()
    x.data.mul_(2)
    w.data[1] = 5
    return y


def data_of_a_result(t: Any, x: Any, w: Any) -> Any:
    y = (x * w).exp()
    y.data[0] = 7
    y.data.view(-1)[3:].add_(1)
    return y.sum()


def data_that_lives(t: Any, x: Any, w: Any) -> Any:
    d, y = x.data, x.sin()
    d.zero_()
    e = x.data
    z = (x * w).sum()
    e.add_(1)
    d.mul_(3)
    return y.sum() + z


def data_of_scratch(t: Any, x: Any, w: Any) -> Any:
    """As torchdiffeq fills the stages of its solvers."""
    k = t.zeros(2, 3, 4, dtype=t.float64)
    total = x.sum() * 0
    for n in range(4):
        k.data[..., n] = (x.detach() + n) * 2
        total = total + (k[..., : n + 1] * w[:, None]).sum()
    return total + (x * 3).sum()


def data_in_a_function(t: Any, x: Any, w: Any) -> Any:
    class Cube(t.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 3 * ctx.saved_tensors[0] ** 2

    y = Cube.apply(x)
    x.data.fill_(2)
    return (y * w).sum()


def data_of_indices(t: Any, x: Any, w: Any) -> Any:
    index = t.tensor([0, 1, 1])
    y = x[index] * w
    index.data[0] = 1
    return y.sum()


@pytest.mark.parametrize(
    "program", [data_of_an_input, data_of_a_result, data_that_lives, data_of_scratch, data_in_a_function,
                data_of_indices],
)  # fmt: skip
def test_writes_through_data_are_not_minded(program: Program) -> None:
    for ours, theirs in zip(run(torch, program), run(reference, program), strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert torch.allclose(torch.tensor(ours), torch.tensor(theirs))


def other_writes_beside_data(t: Any, x: Any, w: Any) -> Any:
    a = x * 1
    y = a.exp() * a
    a.data.mul_(2)
    with t.no_grad():
        a.add_(1)
    a.data.mul_(2)
    return y.sum()


def data_before_it_was_kept(t: Any, x: Any, w: Any) -> Any:
    a = x * 1
    a.data.mul_(2)
    y = a.sin()
    with t.no_grad():
        a.add_(1)
    return y.sum()


def other_writes_while_data_lives(t: Any, x: Any, w: Any) -> Any:
    a = x * 1
    d = a.data
    y = a.sin()
    with t.no_grad():
        a.add_(1)
    return y.sum() + 0 * d.sum()


def data_that_was_kept(t: Any, x: Any, w: Any) -> Any:
    d = x.data
    y = (w * d).sum()
    d.add_(1)
    return y


def data_that_was_kept_by_a_view(t: Any, x: Any, w: Any) -> Any:
    d = x.data
    y = (w * d).sum()
    d.view(-1)[0] = 3
    return y


@pytest.mark.parametrize(
    "program", [other_writes_beside_data, data_before_it_was_kept, other_writes_while_data_lives, data_that_was_kept,
                data_that_was_kept_by_a_view],
)  # fmt: skip
def test_other_writes_are_still_errors(program: Program) -> None:
    for framework in (torch, reference):
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            run(framework, program)
