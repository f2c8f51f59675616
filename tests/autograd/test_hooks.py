"""Hooks on tensors, leaves and nodes."""

from __future__ import annotations

from typing import Any

import pytest

import dumbtorch as torch


def leaf(*values: float) -> Any:
    return torch.tensor([float(v) for v in values], requires_grad=True)


def test_tensor_hook_replaces_the_gradient() -> None:
    x = leaf(1, 2)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    y.sum().backward()
    assert x.grad.tolist() == [20, 20]


def test_leaf_hook_sees_the_whole_gradient_once() -> None:
    x = leaf(1, 2)
    seen = []
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x * 2 + x * 3).sum().backward()
    assert seen == [[5, 5]]
    assert x.grad.tolist() == [5, 5]


def test_leaf_hook_replaces_the_gradient() -> None:
    x = leaf(1)
    x.register_hook(lambda g: g * 2)
    (x + x * 2).sum().backward()
    assert x.grad.tolist() == [6]
    (g,) = torch.autograd.grad((x * 1).sum(), [x])
    assert g.tolist() == [2]


def test_hooks_run_in_order_and_can_be_removed() -> None:
    x = leaf(1)
    y = x * 1
    order = []
    first = y.register_hook(lambda g: order.append(1))
    y.register_hook(lambda g: order.append(2))
    y.sum().backward()
    first.remove()
    first.remove()
    (y2 := x * 1).register_hook(lambda g: order.append(3))
    y2.sum().backward()
    assert order == [1, 2, 3]


def test_retain_grad() -> None:
    x = leaf(1, 2)
    y = x * 2
    y.retain_grad()
    y.retain_grad()
    assert y.retains_grad
    (y * y).sum().backward()
    assert y.grad.tolist() == [4, 8]
    with pytest.raises(RuntimeError, match="can't retain_grad"):
        torch.ones(1).retain_grad()


def test_retain_grad_sees_what_hooks_made() -> None:
    x = leaf(1)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 3)
    y.sum().backward()
    assert y.grad.tolist() == [3]


def test_retain_grad_follows_an_inplace_operation() -> None:
    x = leaf(2)
    y = x * 1
    y.retain_grad()
    y.mul_(3)
    (y * 5).sum().backward()
    assert y.grad.tolist() == [5]
    assert x.grad.tolist() == [15]


def test_post_accumulate_hook() -> None:
    x = leaf(1, 2)
    seen = []

    def hook(tensor: Any) -> None:
        seen.append(tensor.grad.tolist())
        tensor.grad = None

    x.register_post_accumulate_grad_hook(hook)
    (x * 2 + x).sum().backward()
    assert seen == [[3, 3]]
    assert x.grad is None
    with pytest.raises(RuntimeError, match="non-leaf"):
        (x * 2).register_post_accumulate_grad_hook(hook)


def test_node_hooks() -> None:
    x = leaf(1)
    y = x * 2
    seen = []
    y.grad_fn.register_prehook(lambda outs: seen.append(("pre", outs[0].tolist())) or (outs[0] * 2,))
    y.grad_fn.register_hook(
        lambda ins, outs: seen.append(("post", ins[0].tolist(), outs[0].tolist())) or (ins[0] + 1, None)
    )
    y.sum().backward()
    assert seen == [("pre", [1]), ("post", [4], [2])]
    assert x.grad.tolist() == [5]


def test_accumulate_grad_node() -> None:
    x = leaf(1)
    y = x * 2
    node, number = y.grad_fn.next_functions[0]
    assert type(node).__name__ == "AccumulateGrad" and number == 0
    assert node.variable is x
    assert (x + 1).grad_fn.next_functions[0][0] is node
    seen = []
    node.register_hook(lambda ins, outs: seen.append(outs[0].tolist()))
    node.register_prehook(lambda outs: (outs[0] * 2,))
    del node
    y.sum().backward()
    assert seen == [[4]]
    assert x.grad.tolist() == [4]


def test_node_names_and_metadata() -> None:
    x = leaf(1)
    y = (x * 2).sum()
    assert y.grad_fn.name() == "SumBackward0"
    assert type(y.grad_fn).__name__ == "SumBackward0"
    assert y.grad_fn.next_functions[0][0].name() == "MulBackward0"
    y.grad_fn.metadata["key"] = 1
    assert y.grad_fn.metadata == {"key": 1}
    assert "SumBackward0 object at" in repr(y.grad_fn)


def test_hook_errors() -> None:
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        torch.ones(1).register_hook(lambda g: g)
    x = leaf(1, 2)
    with pytest.raises(TypeError, match="callable"):
        x.register_hook(3)
    x.register_hook(lambda g: torch.ones(5))
    with pytest.raises(RuntimeError, match="has changed the size of value"):
        (x * 2).sum().backward()
