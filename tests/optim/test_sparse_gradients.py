"""Gradients that are sparse tensors, and the optimizers that take them, beside PyTorch."""

from __future__ import annotations

import copy
import io
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch
from tests.core.test_sparse import array, check
from tests.nn.support import assert_close, random, tensor_of

torch.sparse.check_sparse_tensor_invariants.disable()

BOTH = (dumbtorch, torch)
INDICES = np.array([[0, 3, 1], [3, 3, 4]])


def table(t: Any, rows: int = 6, width: int = 3, dtype: str = "float64") -> Any:
    return tensor_of(t, random((rows, width), 1, dtype), grad=True)


def lookup(t: Any, weight: Any, indices: Any = INDICES, **options: Any) -> Any:
    return t.nn.functional.embedding(t.tensor(indices), weight, sparse=True, **options)


def weighted(t: Any, x: Any, seed: int = 5) -> Any:
    return (x * tensor_of(t, random(tuple(x.shape), seed, "float64")).to(x.dtype)).sum()


def same_gradients(program: Any) -> None:
    """A program gives the same tensors, sparse or dense, in both frameworks."""
    mine, its = program(dumbtorch), program(torch)
    for a, b in zip(mine, its, strict=True):
        assert a.is_sparse == b.is_sparse
        assert not a.is_sparse or a._nnz() == b._nnz()
        check(a, b)


# ---------------------------------------------------------------- where they come from


@pytest.mark.parametrize("padding", [None, 3, -3])
@pytest.mark.parametrize("indices", [INDICES, np.array([[2]]), np.zeros((0,), dtype="int64"), np.array([3, 3])])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_embedding(indices: Any, padding: Any, dtype: str) -> None:
    def program(t: Any) -> Any:
        w = table(t, dtype=dtype)
        weighted(t, lookup(t, w, indices, padding_idx=padding)).backward()
        dense = table(t, dtype=dtype)
        weighted(t, t.nn.functional.embedding(t.tensor(indices), dense, padding_idx=padding)).backward()
        np.testing.assert_allclose(array(w.grad.to_dense()), array(dense.grad), rtol=1e-6)
        return [w.grad]

    same_gradients(program)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_embedding_of_other_dtypes(dtype: str) -> None:
    def program(t: Any) -> Any:
        w = t.ones(6, 3, dtype=getattr(t, dtype), requires_grad=True)
        lookup(t, w).abs().sum().backward()
        return [w.grad]

    same_gradients(program)


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("padding", [None, 3])
@pytest.mark.parametrize("weights", [False, True])
def test_embedding_bag(mode: str, padding: Any, weights: bool) -> None:
    if weights and mode == "mean":
        return

    def program(t: Any) -> Any:
        bag = t.nn.EmbeddingBag(6, 3, mode=mode, sparse=True, padding_idx=padding).to(t.float64)
        bag.weight = t.nn.Parameter(table(t).detach())
        each = tensor_of(t, random((2, 3), 2, "float64"), grad=True) if weights else None
        weighted(t, bag(t.tensor(INDICES), per_sample_weights=each)).backward()
        found = [bag.weight.grad] + ([each.grad] if weights else [])
        bag.weight.grad = None
        weighted(t, bag(t.tensor([0, 3, 3, 1, 5]), t.tensor([0, 2, 2]))).backward()
        return [*found, bag.weight.grad]

    same_gradients(program)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4)])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_gather(shape: Any, dim: int) -> None:
    def program(t: Any) -> Any:
        x = tensor_of(t, random(shape), grad=True)
        index = np.random.default_rng(0).integers(0, min(shape), [2] * len(shape))
        weighted(t, x.gather(dim, t.tensor(index), sparse_grad=True)).backward()
        zero = t.tensor(3.0, requires_grad=True)
        zero.gather(0, t.tensor([0, 0]), sparse_grad=True).sum().backward()
        return [x.grad, zero.grad]

    same_gradients(program)


def test_errors() -> None:
    for t in BOTH:
        for layer in (t.nn.Embedding, t.nn.EmbeddingBag):
            made = layer(6, 3, sparse=True, scale_grad_by_freq=True, **({"mode": "sum"} if "Bag" in str(layer) else {}))
            with pytest.raises(RuntimeError, match="scale_grad_by_freq not supported with sparse gradients"):
                made(t.tensor(INDICES)).sum().backward()
        with pytest.raises(ValueError, match="max mode does not support sparse weights"):
            t.nn.EmbeddingBag(6, 3, sparse=True, mode="max")(t.tensor(INDICES))
        w = table(t)
        lookup(t, w).sum().backward()
        for norm in (2.0, 1.0, float("inf")):
            with pytest.raises(NotImplementedError):
                t.nn.utils.clip_grad_norm_([w], 1.0, norm)
        with pytest.raises(NotImplementedError):
            t.nn.utils.clip_grad_value_([w], 1.0)


# ---------------------------------------------------------------- where they go


def test_accumulation() -> None:
    def program(t: Any) -> Any:
        w, found = table(t), []
        for step in range(3):  # sparse and sparse
            weighted(t, lookup(t, w, INDICES + (step == 2)), step).backward()
            found.append(w.grad.to_dense().clone())
        assert w.grad.is_sparse
        w.square().sum().backward()  # and dense
        assert not w.grad.is_sparse
        found.append(w.grad.clone())
        weighted(t, lookup(t, w)).backward()  # dense and sparse
        found.append(w.grad)
        v = table(t)
        (weighted(t, lookup(t, v)) + v.square().sum()).backward()  # in one walk, in both orders
        u = table(t)
        (u.square().sum() + weighted(t, lookup(t, u))).backward()
        return [*found, v.grad, u.grad]

    same_gradients(program)


def test_sums_inside_of_the_graph() -> None:
    def program(t: Any) -> Any:
        found = []
        for terms in ((0, 1), (1, 0), (0, 0, 1), (0, 1, 0), (0, 0), (1, 1, 0, 0)):
            w = table(t)
            inner = w * 2
            parts = [weighted(t, lookup(t, inner)) if term == 0 else inner.square().sum() for term in terms]
            sum(parts).backward()
            found.append(w.grad.to_dense())
        return found

    same_gradients(program)


def test_grad_hooks_and_retained() -> None:
    def program(t: Any) -> Any:
        w, seen = table(t), []
        w.register_hook(lambda g: (seen.append(g.is_sparse), g * 2)[1])
        w.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.is_sparse))
        weighted(t, lookup(t, w)).backward()
        assert seen == [True, True]
        inner = table(t) * 3
        inner.retain_grad()
        weighted(t, lookup(t, inner)).backward()
        (only,) = t.autograd.grad(weighted(t, lookup(t, w)), w)
        return [w.grad, inner.grad, only]

    same_gradients(program)


def test_anomaly_mode_transforms_and_functions() -> None:
    warnings.simplefilter("ignore")  # it is for debugging, both say

    def program(t: Any) -> Any:
        w = table(t)
        with t.autograd.detect_anomaly(check_nan=True):
            weighted(t, lookup(t, w)).backward()
        transformed = t.func.grad(lambda v: weighted(t, lookup(t, v)))(w.detach())

        class Pick(t.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Any, i: Any) -> Any:
                ctx.save_for_backward(i)
                ctx.shape = x.shape
                return x[i]

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return t.sparse_coo_tensor(ctx.saved_tensors[0][None], g, ctx.shape), None

        v = table(t)
        weighted(t, Pick.apply(v, t.tensor([1, 1, 2]))).backward()
        with pytest.raises(RuntimeError, match="returned nan"), t.autograd.detect_anomaly():
            (lookup(t, table(t)) * float("nan")).sum().backward()
        return [w.grad, transformed, v.grad]

    same_gradients(program)


def test_second_derivatives() -> None:
    def program(t: Any) -> Any:
        w, v = table(t), table(t)
        (g,) = t.autograd.grad(lookup(t, w * v).square().sum(), w, create_graph=True)
        g.to_dense().square().sum().backward()
        return [g.detach(), w.grad.to_dense(), v.grad.to_dense()]

    same_gradients(program)


def test_zero_grad_and_assigning() -> None:
    def program(t: Any) -> Any:
        w = t.nn.Parameter(table(t).detach())
        optimizer = t.optim.SGD([w], lr=0.1)
        weighted(t, lookup(t, w)).backward()
        optimizer.zero_grad(set_to_none=False)
        zeroed = w.grad
        assert zeroed.is_sparse and zeroed._nnz() == 0
        weighted(t, lookup(t, w)).backward()
        again = w.grad
        optimizer.zero_grad()
        assert w.grad is None
        w.grad = t.sparse_coo_tensor(t.tensor([[1, 1]]), t.ones(2, 3, dtype=t.float64), (6, 3))
        leaf = table(t)
        leaf.grad = w.grad
        deep = copy.deepcopy(leaf)
        with pytest.raises(RuntimeError):
            w.grad = t.sparse_coo_tensor(t.tensor([[1]]), t.ones(1, 3), (5, 3))
        return [again, w.grad, deep.grad]

    same_gradients(program)


# ---------------------------------------------------------------- optimizers

STEPS = {
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.3, "maximize": True},
            {"momentum": 0.9, "nesterov": True}, {"foreach": True}],
    "Adagrad": [{}, {"lr_decay": 0.1, "initial_accumulator_value": 0.2}, {"maximize": True, "eps": 1e-3},
                {"foreach": True}],
    "SparseAdam": [{}, {"betas": (0.7, 0.9), "eps": 1e-3}, {"maximize": True}],
}  # fmt: skip


def trained(t: Any, name: str, options: dict[str, Any], steps: int, dtype: str = "float64") -> tuple[Any, Any]:
    """A table, another tensor with elements of its own, and the optimizer after some steps."""
    w = t.nn.Parameter(table(t, dtype=dtype).detach())
    x = t.nn.Parameter(tensor_of(t, random((2, 3, 2), 4, dtype)))
    optimizer = getattr(t.optim, name)([w, x], lr=0.1, **options)

    def step(n: int) -> None:
        optimizer.zero_grad()
        indices = np.random.default_rng(n).integers(0, 5, (4,))
        places = np.random.default_rng(n).integers(0, 2, (2, 2, 2))
        read = x.gather(1, t.tensor(places), sparse_grad=True)
        loss = weighted(t, lookup(t, w, indices).square(), n) + weighted(t, read.square(), n)
        loss.backward()
        optimizer.step()

    for n in range(steps):
        step(n)
    return (w, x, optimizer), step


@pytest.mark.parametrize(("name", "options"), [(name, o) for name, several in STEPS.items() for o in several])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_optimizers(name: str, options: dict[str, Any], dtype: str) -> None:
    """Ten steps; then the state goes through a file and into a new optimizer, and on."""
    (mine, its), steps = zip(*(trained(t, name, options, 10, dtype) for t in BOTH), strict=True)
    for place in (0, 1):
        assert_close(mine[place], its[place], dtype)
        for key, value in its[2].state[its[place]].items():
            own = mine[2].state[mine[place]][key]
            if not isinstance(value, torch.Tensor):
                assert own == value
            else:
                assert own.is_sparse == value.is_sparse
                assert_close(own.to_dense(), value.to_dense(), dtype)
    file = io.BytesIO()
    dumbtorch.save(mine[2].state_dict(), file)
    file.seek(0)
    mine[2].load_state_dict(dumbtorch.load(file))
    for n in range(10, 15):
        for step in steps:
            step(n)
    for place in (0, 1):
        assert_close(mine[place], its[place], dtype)


def test_tied_parameters_with_dense_and_sparse_gradients() -> None:
    def run(t: Any) -> Any:
        w = t.nn.Parameter(table(t).detach())
        optimizer = t.optim.SGD([w], lr=0.1, momentum=0.9)
        for _ in range(4):
            optimizer.zero_grad()
            (weighted(t, lookup(t, w)) + (w @ w.t()).square().sum() * 0.01).backward()
            assert not w.grad.is_sparse
            optimizer.step()
        return w

    assert_close(run(dumbtorch), run(torch))


@pytest.mark.parametrize(
    "name",
    ["Adadelta", "Adafactor", "Adam", "AdamW", "Adamax", "ASGD", "Muon", "NAdam", "RAdam", "RMSprop", "Rprop"],
)
def test_optimizers_that_refuse(name: str) -> None:
    messages = []
    for t in BOTH:
        w = t.nn.Parameter(table(t).detach())
        optimizer = getattr(t.optim, name)([w])
        lookup(t, w).sum().backward()
        with pytest.raises(RuntimeError) as caught:
            optimizer.step()
        messages.append(str(caught.value))
        np.testing.assert_array_equal(array(w), array(table(t)))
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    ("name", "options"),
    [("SGD", {"weight_decay": 0.1}), ("SGD", {"fused": True}), ("Adagrad", {"weight_decay": 0.1}),
     ("Adagrad", {"fused": True}), ("SGD", {"differentiable": True}), ("Adagrad", {"differentiable": True})],
)  # fmt: skip
def test_options_that_refuse(name: str, options: dict[str, Any]) -> None:
    messages = []
    for t in BOTH:
        w = t.nn.Parameter(table(t).detach())
        optimizer = getattr(t.optim, name)([w], **options)
        lookup(t, w).sum().backward()
        with pytest.raises(RuntimeError) as caught:
            optimizer.step()
        messages.append(str(caught.value)[:40])
    assert messages[0] == messages[1]


def test_errors_of_sparse_adam() -> None:
    for t in BOTH:
        for options in ({"lr": 0.0}, {"eps": 0.0}, {"betas": (1.0, 0.9)}, {"lr": t.ones(2)}):
            with pytest.raises(ValueError):
                t.optim.SparseAdam([t.nn.Parameter(t.ones(2))], **options)
        with pytest.raises(ValueError, match=r"Sparse params at indices \[\[0, 1\]\]"):
            t.optim.SparseAdam([t.ones(2), t.zeros(3, layout=t.sparse_coo)])
        with pytest.raises(ValueError, match=r"Complex params at indices \[\[0, 0\]\]"):
            t.optim.SparseAdam([t.ones(2, dtype=t.complex64)])
        w = t.nn.Parameter(t.ones(2))
        w.grad = t.ones(2)
        with pytest.raises(RuntimeError, match="SparseAdam does not support dense gradients"):
            t.optim.SparseAdam([w]).step()


def test_lbfgs_takes_them() -> None:
    def run(t: Any) -> Any:
        w = t.nn.Parameter(table(t).detach())
        optimizer = t.optim.LBFGS([w], max_iter=4)

        def closure() -> Any:
            optimizer.zero_grad()
            loss = (lookup(t, w) - 1).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return w

    assert_close(run(dumbtorch), run(torch))


@pytest.mark.parametrize("name", ["SGD", "SparseAdam", "Adagrad"])
def test_the_memory_of_a_step_does_not_grow_with_the_table(name: str) -> None:
    """Once its state is there, a step over some rows makes nothing of the table's size."""
    rows, width = 20_000, 64
    layer = dumbtorch.nn.Embedding(rows, width, sparse=True)
    optimizer = getattr(dumbtorch.optim, name)(layer.parameters(), lr=0.1)
    indices = dumbtorch.arange(50) * 7

    def step() -> None:
        optimizer.zero_grad()
        layer(indices).square().sum().backward()
        optimizer.step()

    step()
    dumbtorch.reset_peak_memory_stats()
    before = dumbtorch.memory_stats()["allocated_bytes.current"]
    step()
    grown = dumbtorch.memory_stats()["allocated_bytes.peak"] - before
    assert grown < rows * width * 4 / 10, f"{grown} bytes"
