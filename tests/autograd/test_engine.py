"""The backward walk: accumulation, several roots, restriction to inputs, errors, deep graphs, threads."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
import torch as reference

import dumbtorch as torch
from dumbtorch.autograd import grad


def leaf(*values: float) -> Any:
    return torch.tensor([float(v) for v in values], requires_grad=True)


def test_gradients_accumulate_over_walks() -> None:
    x = leaf(1, 2, 3)
    (x * x).sum().backward()
    (x * x).sum().backward()
    assert x.grad.tolist() == [4, 8, 12]


def test_a_node_used_twice_runs_once_with_the_whole_gradient() -> None:
    x = leaf(1, 2)
    y = x * 2
    calls = []
    y.register_hook(lambda g: calls.append(g.tolist()))
    (y * 3 + y * 4 + y).sum().backward()
    assert calls == [[8, 8]]
    assert x.grad.tolist() == [16, 16]


def test_one_gradient_for_two_leaves_is_not_shared() -> None:
    x, y = leaf(1, 2), leaf(3, 4)
    (x + y).sum().backward()
    x.grad.add_(1)
    assert y.grad.tolist() == [1, 1]
    x.grad.zero_()
    (x + y).sum().backward()
    assert x.grad.tolist() == [1, 1]
    assert y.grad.tolist() == [2, 2]


def test_the_given_gradient_is_not_kept() -> None:
    x = leaf(1, 2)
    given = torch.tensor([1.0, 1.0])
    (x + 0).backward(given)
    x.grad.add_(5)
    assert given.tolist() == [1, 1]


def test_gradients_keep_their_object_between_walks() -> None:
    x = leaf(1, 2)
    (x * 1).sum().backward()
    first = x.grad
    (x * 1).sum().backward()
    assert x.grad is first


def test_several_roots() -> None:
    x = leaf(1, 2)
    a, b = (x * 2).sum(), x * x
    torch.autograd.backward([a, b], [None, torch.tensor([1.0, 10.0])])
    assert x.grad.tolist() == [4, 42]


def test_the_same_root_twice() -> None:
    x = leaf(3)
    y = (x * x).sum()
    torch.autograd.backward([y, y])
    assert x.grad.tolist() == [12]


def test_a_leaf_as_root() -> None:
    x = leaf(3)
    x.sum().backward()
    x.backward(torch.tensor([2.0]))
    assert x.grad.tolist() == [3]


def test_grad_of_leaf_and_inner_tensors() -> None:
    x = leaf(1, 2)
    y = x * 3
    z = (y * y).sum()
    gy, gx = grad(z, [y, x])
    assert gy.tolist() == [6, 12]
    assert gx.tolist() == [18, 36]
    assert x.grad is None


def test_grad_with_respect_to_itself() -> None:
    x = leaf(2)
    y = x * x
    (g,) = grad(y, [y], torch.tensor([5.0]))
    assert g.tolist() == [5]


def test_grad_of_one_tensor_given_twice() -> None:
    x = leaf(2)
    a, b = grad((x * x).sum(), [x, x])
    assert a.tolist() == b.tolist() == [4]


def test_unused_inputs() -> None:
    x, w = leaf(1), leaf(1)
    with pytest.raises(RuntimeError, match="index 1 appears to not have been used"):
        grad((x * 2).sum(), [x, w])
    assert grad((x * 2).sum(), [x, w], allow_unused=True)[1] is None
    assert grad((x * 2).sum(), [x, w], materialize_grads=True)[1].tolist() == [0]
    with pytest.raises(ValueError, match="allow_unused"):
        grad((x * 2).sum(), [w], allow_unused=False, materialize_grads=True)


def test_backward_with_inputs_touches_no_other_leaf() -> None:
    x, w = leaf(1, 2), leaf(3, 4)
    y = x * w
    y.sum().backward(inputs=[x])
    assert x.grad.tolist() == [3, 4]
    assert w.grad is None


def test_backward_with_an_inner_input() -> None:
    x = leaf(1, 2)
    y = x * 2
    (y * y).sum().backward(inputs=[y])
    assert y.grad.tolist() == [4, 8]
    assert x.grad is None


def test_only_what_leads_to_the_inputs_runs() -> None:
    x, w = leaf(1, 2), leaf(3, 4)
    ran = []
    left = x * 2
    left.register_hook(lambda g: ran.append("left"))
    right = w * 2
    grad((left * right).sum(), [w])
    assert ran == []


def test_graph_is_freed_and_says_so() -> None:
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()


def test_a_sum_can_be_walked_again() -> None:
    x = leaf(1, 2)
    y = x.sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [2, 2]


def test_retain_graph() -> None:
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4, 8]


def test_create_graph_and_higher_orders() -> None:
    x = leaf(2)
    y = (x * x * x * x).sum()
    orders = [y]
    for _ in range(4):
        (g,) = grad(orders[-1].sum(), [x], create_graph=True)
        orders.append(g)
    assert [o.item() for o in orders] == [16, 32, 48, 48, 24]


def test_backward_with_create_graph_leaves_a_differentiable_gradient() -> None:
    x = leaf(3)
    (x * x * x).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    (g,) = grad(x.grad.sum(), [x])
    assert g.item() == 18


def test_result_saved_by_its_own_node_differentiates_twice() -> None:
    x = leaf(0.5)
    (g,) = grad(x.exp().sum(), [x], create_graph=True)
    (gg,) = grad(g.sum(), [x], create_graph=True)
    (ggg,) = grad(gg.sum(), [x])
    assert ggg.item() == pytest.approx(1.6487, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: leaf(1, 2).mul(2).backward(), "grad can be implicitly created only for scalar outputs"),
        (
            lambda: torch.ones(3).sum().backward(),
            "element 0 of tensors does not require grad and does not have a grad_fn",
        ),
        (lambda: leaf(1, 2).mul(1).backward(torch.ones(3)), r"Mismatch in shape: grad_output\[0\] has a shape of"),
        (lambda: torch.autograd.backward([leaf(1) * 1], []), "got 1 tensors and 0 gradients"),
        (
            lambda: torch.autograd.backward(leaf(1) * 1, inputs=[]),
            "`inputs` argument to `backward\\(\\)` cannot be empty",
        ),
        (lambda: grad(leaf(1).sum(), [torch.ones(1)]), "One of the differentiated Tensors does not require grad"),
    ],
)
def test_errors_read_as_pytorchs(call: Any, words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        call()


def test_wrong_types() -> None:
    with pytest.raises(TypeError, match="expected a Tensor"):
        torch.autograd.backward([3])
    with pytest.raises(TypeError, match="gradients can be either Tensors or None"):
        (leaf(1) * 1).backward(2.0)


def test_gradient_of_another_dtype_is_cast() -> None:
    x = leaf(1, 2)
    (x * 2).backward(torch.ones(2, dtype=torch.float64))
    assert x.grad.dtype is torch.float32


def test_broadcast_inputs_get_summed_gradients() -> None:
    x = torch.ones(3, 1, requires_grad=True)
    w = torch.ones(4, requires_grad=True)
    s = torch.tensor(2.0, requires_grad=True)
    (x * w * s).sum().backward()
    assert x.grad.tolist() == [[8], [8], [8]]
    assert w.grad.tolist() == [6, 6, 6, 6]
    assert s.grad.item() == 12


def test_promoted_inputs_get_gradients_of_their_dtype() -> None:
    x = torch.ones(3, dtype=torch.float32, requires_grad=True)
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    (x * w).sum().backward()
    assert x.grad.dtype is torch.float32
    assert w.grad.dtype is torch.float64


def test_a_chain_of_100_000_operations() -> None:
    x = leaf(1)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.sum().backward()
    assert x.grad.tolist() == [1]


def test_a_deep_graph_is_freed_without_recursion() -> None:
    x = leaf(1)
    y = x
    for _ in range(100_000):
        y = y * 1.0 + x
    alive = weakref.ref(y.grad_fn)
    del y
    gc.collect()
    assert alive() is None


def test_a_deep_graph_of_saved_tensors_is_freed_without_recursion() -> None:
    x = leaf(1)
    y = x
    for _ in range(50_000):
        y = (y * y).sqrt()
    del y


def test_the_graph_is_freed_without_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        x = leaf(1, 2)
        y = (x.exp() * x.tanh()).sum()
        node = weakref.ref(y.grad_fn)
        first = weakref.ref(y.grad_fn.next_functions[0][0].next_functions[0][0])
        assert first() is not None
        y.backward()
        del y
        assert node() is None
        assert first() is None
    finally:
        gc.enable()


def test_threads_lose_no_update() -> None:
    x = torch.zeros(4, requires_grad=True)
    rounds, workers = 200, 4
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(rounds):
                (x * 1.0).sum().backward()
        except BaseException as error:  # reported by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert x.grad.tolist() == [rounds * workers] * 4


def test_grads_batched() -> None:
    x = leaf(1, 2, 3)
    (g,) = grad(x * x, [x], torch.eye(3), is_grads_batched=True)
    assert g.tolist() == [[2, 0, 0], [0, 4, 0], [0, 0, 6]]


def test_backward_restores_the_mode() -> None:
    x = leaf(1)
    with torch.no_grad():
        y = x * 2
        assert not y.requires_grad
    z = (x * 2).sum()
    with torch.no_grad():
        z.backward()
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    with pytest.raises(RuntimeError):
        z.backward(torch.ones(5))
    assert torch.is_grad_enabled()


def test_a_random_graph_as_pytorch() -> None:
    def build(framework: Any) -> Any:
        x = framework.tensor([[0.3, -1.2], [0.7, 2.0]], dtype=framework.float64, requires_grad=True)
        w = framework.tensor([[0.5, 0.1], [-0.4, 0.9]], dtype=framework.float64, requires_grad=True)
        h = (x @ w).tanh()
        k = h.t() * x + w.sum(0)
        m = (k[0] - k[:, 1]).exp().sum() + (h.sigmoid() * k.cos()).mean()
        m.backward()
        return x.grad.tolist(), w.grad.tolist()

    for mine, its in zip(build(torch), build(reference), strict=True):
        for a, b in zip(mine, its, strict=True):
            assert a == pytest.approx(b, rel=1e-9)
