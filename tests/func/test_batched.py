"""Layers and losses under vmap, beside PyTorch: what users batch must not be computed sample by sample."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_map

import dumbtorch

SIZE = 3


@pytest.fixture(autouse=True)
def _no_loops() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "There is a performance drop")
        yield


def _ours(x: Any) -> Any:
    return dumbtorch.tensor(x.detach().numpy()) if isinstance(x, torch.Tensor) else x


def _mapped(t: Any, function: Any, dims: tuple[Any, ...]) -> Any:
    """`vmap` of ours; of PyTorch's, whose rules are not in question here, the samples one by one."""
    if t is dumbtorch:
        return t.func.vmap(function, dims)

    def each(*args: Any) -> Any:
        made = [
            function(*(a if d is None else tree_map(lambda x, n=n: x[n], a) for a, d in zip(args, dims, strict=True)))
            for n in range(SIZE)
        ]
        return tree_map(lambda *parts: torch.stack(parts), *made)

    return each


def _close(mine: Any, its: Any, tolerance: float = 1e-9) -> None:
    if isinstance(its, dict):
        assert list(mine) == list(its)
        mine, its = list(mine.values()), list(its.values())
    if isinstance(its, (tuple, list)):
        assert len(mine) == len(its)
        for a, b in zip(mine, its, strict=True):
            _close(a, b, tolerance)
        return
    assert tuple(mine.shape) == tuple(its.shape)
    np.testing.assert_allclose(mine.detach().numpy(), its.detach().numpy(), rtol=tolerance, atol=tolerance)


def _mlp(t: Any) -> Any:
    return t.nn.Sequential(t.nn.Linear(6, 8), t.nn.LayerNorm(8), t.nn.GELU(), t.nn.Linear(8, 4))


def _cnn(t: Any) -> Any:
    nn = t.nn
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                        nn.Linear(36, 4))  # fmt: skip
    return net.eval()


def _transformer(t: Any) -> Any:
    nn = t.nn
    return nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), nn.Flatten(), nn.Linear(40, 4))


@functools.cache
def _last(t: Any) -> Any:
    """Recurrent networks whose output at the last step is classified."""

    class Net(t.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, kind: str, width: int, options: dict[str, Any]) -> None:
            super().__init__()
            self.layer = getattr(t.nn, kind)(6, 5, batch_first=True, **options)
            self.head = t.nn.Linear(width, 4)

        def forward(self, x: Any) -> Any:
            return self.head(self.layer(x)[0][:, -1])

    return Net


def _recurrent(kind: str, width: int = 5, **options: Any) -> Callable[[Any], Any]:
    return lambda t: _last(t)(kind, width, options)


MODELS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "MLP": (_mlp, (6,)),
    "CNN with batch norm in eval": (_cnn, (2, 6, 6)),
    "transformer block": (_transformer, (5, 8)),
    "LSTM": (_recurrent("LSTM"), (4, 6)),
    "LSTM of two layers and directions": (_recurrent("LSTM", 10, num_layers=2, bidirectional=True), (4, 6)),
    "LSTM with a projection": (_recurrent("LSTM", 3, proj_size=3), (4, 6)),
    "GRU": (_recurrent("GRU", 10, bidirectional=True), (4, 6)),
    "RNN without bias": (_recurrent("RNN", bias=False), (4, 6)),
}


def _pair(build: Callable[[Any], Any]) -> tuple[Any, Any]:
    theirs, ours = build(torch).double(), build(dumbtorch).double()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    ours.load_state_dict({name: _ours(value) for name, value in theirs.state_dict().items()})
    return ours, theirs


def _gradients(t: Any, net: Any, transform: Any, parameters: Any, x: Any, y: Any) -> Any:
    def loss(parameters: Any, x: Any, y: Any) -> Any:
        return t.nn.functional.cross_entropy(t.func.functional_call(net, parameters, (x.unsqueeze(0),)), y.unsqueeze(0))

    return transform(loss)(parameters, x, y)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_each_sample(name: str) -> None:
    torch.manual_seed(0)
    build, shape = MODELS[name]
    ours, theirs = _pair(build)
    x, y = torch.randn(SIZE, *shape, dtype=torch.float64), torch.randint(0, 4, (SIZE,))
    results = []
    for t, net, a, b in ((dumbtorch, ours, _ours(x), _ours(y)), (torch, theirs, x, y)):
        parameters = {n: p.detach() for n, p in net.named_parameters()}
        each = lambda f, t=t: _mapped(t, t.func.grad(f), (None, 0, 0))  # noqa: E731
        results.append(_gradients(t, net, each, parameters, a, b))
    _close(*results)


@pytest.mark.parametrize("name", ["MLP", "CNN with batch norm in eval", "LSTM", "GRU"])
def test_ensemble(name: str) -> None:
    """Models with weights of their own, and their gradients."""
    torch.manual_seed(0)
    build, shape = MODELS[name]
    ours, theirs = zip(*(_pair(build) for _ in range(SIZE)), strict=True)
    x, y = torch.randn(2, *shape, dtype=torch.float64), torch.randint(0, 4, (2,))
    results = []
    for t, nets, a, b in ((dumbtorch, ours, _ours(x), _ours(y)), (torch, theirs, x, y)):
        parameters, buffers = t.func.stack_module_state(list(nets))

        def loss(parameters: Any, buffers: Any, t: Any = t, net: Any = nets[0], a: Any = a, b: Any = b) -> Any:
            return t.nn.functional.cross_entropy(t.func.functional_call(net, (parameters, buffers), (a,)), b)

        results.append(_mapped(t, t.func.grad(loss), (0, 0))(parameters, buffers))
    _close(*results)


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_second_derivatives_of_recurrent_layers(name: str) -> None:
    torch.manual_seed(0)
    ours, theirs = _pair(MODELS[name][0])
    x, y = torch.randn(SIZE, 4, 6, dtype=torch.float64), torch.randint(0, 4, (SIZE,))
    results = []
    for t, net, a, b in ((dumbtorch, ours, _ours(x), _ours(y)), (torch, theirs, x, y)):
        parameters = {n: p.detach() for n, p in net.named_parameters()}

        def slope(x: Any, y: Any, t: Any = t, net: Any = net, parameters: Any = parameters) -> Any:
            made = _gradients(t, net, t.func.grad, parameters, x, y)
            return sum((g * g).sum() for g in made.values())

        results.append(_mapped(t, t.func.grad(slope), (0, 0))(a, b))
    _close(*results, 1e-7)


# ---------------------------------------------------------------- functions

_LOSSES: dict[str, Callable[[Any, Any, Any], Any]] = {
    name: (lambda t, x, y, name=name, options=options: getattr(t.nn.functional, name)(
        x.sigmoid() if name == "binary_cross_entropy" else x, y, **options))
    for name, options in (
        ("mse_loss", {}), ("l1_loss", {"reduction": "sum"}), ("smooth_l1_loss", {"beta": 0.7}), ("huber_loss", {}),
        ("binary_cross_entropy", {}), ("binary_cross_entropy_with_logits", {}), ("kl_div", {"reduction": "batchmean"}),
        ("soft_margin_loss", {}), ("poisson_nll_loss", {}), ("gaussian_nll_loss", None),
    ) if options is not None
}  # fmt: skip
_CLASSES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "cross_entropy": lambda t, x, y: t.nn.functional.cross_entropy(x, y),
    "cross_entropy, sum": lambda t, x, y: t.nn.functional.cross_entropy(x, y, reduction="sum"),
    "cross_entropy, smooth": lambda t, x, y: t.nn.functional.cross_entropy(x, y, label_smoothing=0.2),
    "cross_entropy, ignored": lambda t, x, y: t.nn.functional.cross_entropy(x, y, ignore_index=1),
    "nll_loss, none": lambda t, x, y: t.nn.functional.nll_loss(x, y, reduction="none"),
    "multi_margin_loss": lambda t, x, y: t.nn.functional.multi_margin_loss(x, y),
}


@pytest.mark.parametrize("name", [*_LOSSES, *_CLASSES])
@pytest.mark.parametrize("own", ["both", "input", "target"])
def test_losses(name: str, own: str) -> None:
    torch.manual_seed(1)
    x = torch.randn(SIZE, 4, 5, dtype=torch.float64)
    y = torch.rand(SIZE, 4, 5, dtype=torch.float64) if name in _LOSSES else torch.randint(0, 5, (SIZE, 4))
    dims = (0 if own != "target" else None, 0 if own != "input" else None)
    results = []
    for t in (dumbtorch, torch):
        values = [v if d == 0 else v[0] for v, d in zip((x, y), dims, strict=True)]
        values = values if t is torch else [_ours(v) for v in values]
        function = (_LOSSES | _CLASSES)[name]
        f = lambda a, b, t=t, function=function: function(t, a, b).sum()  # noqa: E731
        results.append(_mapped(t, t.func.grad_and_value(f), dims)(*values))
    _close(*results)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_weights_of_classes(reduction: str) -> None:
    """Each sample may have its own weights of the classes."""
    torch.manual_seed(1)
    x, y = torch.randn(SIZE, 4, 5, 2, dtype=torch.float64), torch.randint(0, 5, (SIZE, 4, 2))
    weight = torch.rand(SIZE, 5, dtype=torch.float64)
    made = [
        _mapped(t, lambda x, y, w, t=t: t.nn.functional.nll_loss(x, y, w, None, 2, None, reduction), (0, 0, 0))(*given)
        for t, given in ((dumbtorch, map(_ours, (x, y, weight))), (torch, (x, y, weight)))
    ]
    _close(*made)


def _weights(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    return [torch.randn(SIZE, *shape, dtype=torch.float64) for shape in shapes]


_F: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "batch_norm": (lambda t, x, w, b: t.nn.functional.batch_norm(x, None, None, w, b, True), [(4, 3, 2), (3,), (3,)]),
    "instance_norm": (lambda t, x, w: t.nn.functional.instance_norm(x, None, None, w), [(2, 3, 5), (3,)]),
    "group_norm": (lambda t, x, w, b: t.nn.functional.group_norm(x, 2, w, b), [(2, 4, 3), (4,), (4,)]),
    "layer_norm": (lambda t, x, w: t.nn.functional.layer_norm(x, (5,), w), [(2, 5), (5,)]),
    "rms_norm": (lambda t, x, w: t.nn.functional.rms_norm(x, (5,), w), [(2, 5), (5,)]),
    "attention": (lambda t, q, k, v: t.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True),
                  [(2, 2, 4, 3), (2, 2, 4, 3), (2, 2, 4, 5)]),
    "attention with a mask": (lambda t, q, k, m: t.nn.functional.scaled_dot_product_attention(q, k, k, m),
                              [(2, 4, 3), (2, 5, 3), (4, 5)]),
    "interpolate": (lambda t, x: t.nn.functional.interpolate(x, size=(5, 7), mode="bilinear"), [(2, 3, 4, 4)]),
    "pad": (lambda t, x: t.nn.functional.pad(x, (1, 2), mode="reflect"), [(2, 5)]),
    "grid_sample": (lambda t, x, g: t.nn.functional.grid_sample(x, g, align_corners=False),
                    [(2, 3, 4, 4), (2, 3, 3, 2)]),
    "unfold": (lambda t, x: t.nn.functional.unfold(x, 2), [(2, 3, 4, 4)]),
    "fold": (lambda t, x: t.nn.functional.fold(x, (4, 4), 2), [(2, 8, 9)]),
    "conv2d": (lambda t, x, w, b: t.nn.functional.conv2d(x, w, b, padding=1), [(2, 3, 5, 5), (4, 3, 3, 3), (4,)]),
    "conv_transpose1d": (lambda t, x, w: t.nn.functional.conv_transpose1d(x, w, stride=2), [(2, 3, 5), (3, 4, 3)]),
    "max_pool3d": (lambda t, x: t.nn.functional.max_pool3d(x, 2), [(2, 3, 4, 4, 4)]),
    "adaptive_max_pool2d": (lambda t, x: t.nn.functional.adaptive_max_pool2d(x, 3), [(2, 3, 5, 4)]),
    "median": (lambda t, x: t.median(x), [(3, 5)]),
    "index_add": (lambda t, x, v: t.index_add(x, 1, t.tensor([0, 2]), v), [(2, 4), (2, 2)]),
    "masked_scatter": (lambda t, x, v: x.masked_scatter(t.tensor([True, False, True]), v), [(2, 3), (2, 3)]),
    "lu_solve": (lambda t, a, b: t.linalg.lu_solve(*t.linalg.lu_factor(a), b), [(3, 3), (3, 2)]),
    "solve of a vector": (lambda t, a, b: t.linalg.solve(a, b), [(3, 3), (3,)]),
    "pinv": (lambda t, a: t.linalg.pinv(a), [(4, 2)]),
    "cholesky": (lambda t, a: t.linalg.cholesky(a @ a.mT + 3 * t.eye(3, dtype=a.dtype)), [(3, 3)]),
    "eigvalsh": (lambda t, a: t.linalg.eigvalsh(a + a.mT), [(3, 3)]),
    "lstsq": (lambda t, a, b: t.linalg.lstsq(a, b)[0], [(4, 2), (4, 1)]),
}  # fmt: skip


@pytest.mark.parametrize("name", _F)
def test_functions(name: str) -> None:
    """Values, and the gradients by all arguments together and by each alone."""
    torch.manual_seed(2)
    function, shapes = _F[name]
    given = _weights(*shapes)
    for alone in (None, *range(len(given))):
        dims = tuple(0 if alone in (None, n) else None for n in range(len(given)))
        results = []
        for t in (dumbtorch, torch):
            values = [x if d == 0 else x[0] for x, d in zip(given, dims, strict=True)]
            values = values if t is torch else [_ours(v) for v in values]

            def value(*args: Any, t: Any = t) -> Any:
                made = function(t, *args)
                return (made * made).sum(), made

            each = t.func.grad(value, tuple(range(len(given))), has_aux=True)
            results.append(_mapped(t, each, dims)(*values))
        _close(*results, 1e-7)


def test_bags() -> None:
    """Bags of embeddings, each sample with a table of its own (as `grad` makes them)."""
    torch.manual_seed(3)
    weight, indices = torch.randn(6, 4, dtype=torch.float64), torch.randint(0, 6, (SIZE, 7))
    for mode in ("sum", "mean", "max"):
        results = []
        for t in (dumbtorch, torch):
            offsets = t.tensor([0, 3, 3])

            def value(w: Any, i: Any, t: Any = t, offsets: Any = offsets, mode: str = mode) -> Any:
                made = t.nn.functional.embedding_bag(i, w, offsets, mode=mode, padding_idx=2)
                return (made * made).sum()

            given = (weight, indices) if t is torch else (_ours(weight), _ours(indices))
            results.append(_mapped(t, t.func.grad(value), (None, 0))(*given))
        _close(*results)


def test_ctc() -> None:
    torch.manual_seed(3)
    logits, targets = torch.randn(SIZE, 6, 2, 5, dtype=torch.float64), torch.randint(1, 5, (SIZE, 2, 3))

    def value(t: Any, x: Any, y: Any) -> Any:
        return t.nn.functional.ctc_loss(x.log_softmax(-1), y, t.tensor([6, 5]), t.tensor([3, 2]))

    made = [
        _mapped(t, t.func.grad(lambda x, y, t=t: value(t, x, y)), (0, 0))(*given)
        for t, given in ((dumbtorch, map(_ours, (logits, targets))), (torch, (logits, targets)))
    ]
    _close(*made)


# ---------------------------------------------------------------- random numbers


@pytest.mark.parametrize("kind", ["dropout", "attention", "multinomial", "poisson", "rrelu"])
def test_randomness(kind: str) -> None:
    """An error unless it is said what random numbers are to mean: of each sample, or the same for all."""
    t = dumbtorch
    x = t.full((SIZE, 2, 50, 16), 0.5)
    function: Callable[[Any], Any] = {
        "dropout": lambda x: t.nn.functional.dropout(x, 0.5),
        "attention": lambda x: t.nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.5),
        "multinomial": lambda x: t.multinomial(x[0], 8),
        "poisson": lambda x: t.poisson(x * 20),
        "rrelu": lambda x: t.nn.functional.rrelu(-x, training=True),
    }[kind]
    with pytest.raises(RuntimeError, match="randomness"):
        t.vmap(function)(x)
    same = t.vmap(function, randomness="same")(x)
    assert t.equal(same[0], same[1]) and t.equal(same[0], same[2])
    different = t.vmap(function, randomness="different")(x)
    assert not t.equal(different[0], different[1]) and different.shape == same.shape
    if kind == "attention":  # each row of weights sums to 1 before dropout
        assert abs(float(different.mean()) - 0.5) < 0.05


def test_running_statistics_refuse() -> None:
    """Statistics that all samples share cannot take those of each, as in PyTorch."""
    for t in (dumbtorch, torch):
        net = t.nn.BatchNorm1d(3)
        with pytest.raises((RuntimeError, ValueError), match=r"in-?place|vmap"):
            t.vmap(net)(t.randn(SIZE, 4, 3))


def test_inplace() -> None:
    """What is written to must have the batch."""
    for t in (dumbtorch, torch):
        with pytest.raises(RuntimeError, match=r"inplace arithmetic|broadcast shape"):
            t.vmap(lambda x, y: x.add_(y), (None, 0))(t.zeros(3), t.ones(SIZE, 3))
        x = t.zeros(SIZE, 3)
        t.vmap(lambda x, y: x.add_(y), (0, None))(x, t.ones(3))
        assert bool((x == 1).all())
        t.vmap(lambda x, i, t=t: x.index_put_((i,), t.tensor(5.0)))(x, t.tensor([[0], [1], [2]]))
        assert x.tolist() == [[5, 1, 1], [1, 5, 1], [1, 1, 5]]


def test_errors_of_values() -> None:
    """Checks of values see all samples."""
    t = dumbtorch
    a = t.eye(2).expand(SIZE, 2, 2).clone()
    a[1] = -a[1]
    with pytest.raises(t.linalg.LinAlgError, match="Batch element 1"):
        t.vmap(t.linalg.cholesky)(a)
    with pytest.raises(RuntimeError, match="out of range"):
        t.vmap(t.nn.functional.multi_margin_loss)(t.randn(2, 4), t.tensor([1, 4]))
