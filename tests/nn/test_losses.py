"""Losses beside PyTorch: every reduction, weights, shapes, extreme values, errors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.nn.support import compare_function, compare_module, random, same_outcome

REDUCTIONS = ["mean", "sum", "none"]
X, Y = random((4, 5), 1), random((4, 5), 2)
P, Q = 1 / (1 + np.exp(-X)), 1 / (1 + np.exp(-Y))
SIGN = np.sign(Y)
WEIGHT = np.abs(random((4, 5), 3)) + 0.1


def module(name, **options):
    return lambda T: getattr(T.nn, name)(**options)


CASES = {
    "MSELoss": ([X, Y], {}),
    "L1Loss": ([X, Y], {}),
    "SmoothL1Loss": ([X, Y], {}),
    "SmoothL1Loss beta": ([X, Y], {"beta": 0.4}),
    "SmoothL1Loss beta 0": ([X, Y], {"beta": 0.0}),
    "HuberLoss": ([X, Y], {}),
    "HuberLoss delta": ([X, Y], {"delta": 0.3}),
    "BCELoss": ([P, Q], {}),
    "BCEWithLogitsLoss": ([X * 4, Q], {}),
    "BCEWithLogitsLoss far": ([np.array([900.0, -900.0, 0.0, 35.0, -35.0]), np.array([0.0, 1.0, 0.5, 1.0, 0.0])], {}),
    "PoissonNLLLoss": ([X, Q * 4], {}),
    "PoissonNLLLoss full": ([X, Q * 4], {"full": True}),
    "PoissonNLLLoss rate": ([P, Q * 4], {"log_input": False, "eps": 1e-6}),
    "HingeEmbeddingLoss": ([X, SIGN], {"margin": 0.7}),
    "MarginRankingLoss": ([X, Y, SIGN], {"margin": 0.3}),
    "scalar MSELoss": ([np.array(1.5), np.array(-0.5)], {}),
    "empty MSELoss": ([np.zeros((0, 3)), np.zeros((0, 3))], {}),
    "equal L1Loss": ([X, X], {}),
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_loss_equals_pytorch(name: str, dtype: str, reduction: str) -> None:
    arrays, options = CASES[name]
    cls = next(word for word in name.split() if word.endswith("Loss"))
    compare_module(module(cls, reduction=reduction, **options), [a.astype(dtype) for a in arrays])


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_soft_margin_loss(reduction: str) -> None:
    # PyTorch has no gradient of the target.
    compare_function(lambda T: lambda x, t: T.nn.SoftMarginLoss(reduction=reduction)(x, t.detach()), [X, SIGN])


@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div(reduction: str, log_target: bool) -> None:
    target = np.abs(Y)
    target[0, 0] = 0.0
    arrays = [X, np.log(np.abs(Y)) if log_target else target]

    def function(T):
        def call(x, t):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return T.nn.KLDivLoss(reduction=reduction, log_target=log_target)(x, t.detach())

        return call

    compare_function(function, arrays)


def test_kl_div_warns_about_mean() -> None:
    same_outcome(lambda T: T.nn.functional.kl_div(T.zeros(2, 2), T.ones(2, 2)).item())


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_losses_with_weights(reduction: str) -> None:
    def bce(T):
        return lambda x, t, w: T.nn.BCELoss(w.detach(), reduction=reduction)(x, t)

    def logits(T):
        return lambda x, t, w: T.nn.BCEWithLogitsLoss(w.detach(), None, None, reduction, w.detach()[0])(x, t.detach())

    compare_function(bce, [P, Q, WEIGHT])
    compare_function(logits, [X, Q, WEIGHT])


def test_bce_at_zero_and_one() -> None:
    probabilities = np.array([0.0, 0.0, 1.0, 1.0, 0.5, 1e-300])
    targets = np.array([0.0, 1.0, 0.0, 1.0, 0.25, 1.0])

    def function(T):
        return lambda x: T.nn.functional.binary_cross_entropy(
            x, T.tensor(targets.tolist(), dtype=T.float64), reduction="none"
        )

    compare_function(function, [probabilities])


def test_bce_second_derivative() -> None:
    def function(T):
        def call(x):
            loss = T.nn.functional.binary_cross_entropy(x, T.full_like(x, 0.3), reduction="sum")
            (first,) = T.autograd.grad(loss, x, create_graph=True)
            return first * first

        return call

    compare_function(function, [P])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", ["mse_loss", "l1_loss", "huber_loss"])
def test_weighted_regression(loss: str, reduction: str) -> None:
    def function(T):
        return lambda x, y, w: getattr(T.nn.functional, loss)(x, y, weight=w, reduction=reduction)

    compare_function(function, [X, Y, WEIGHT])


@pytest.mark.parametrize("loss", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_broadcasting_warns(loss: str) -> None:
    def function(T):
        def call(x, y):
            with pytest.warns(UserWarning, match="different to the input size"):
                return getattr(T.nn.functional, loss)(x, y)

        return call

    compare_function(function, [X, Y[:, :1]])


# -- classification ------------------------------------------------------------------------------------------------

SHAPES = {
    "vector": ((5,), ()),
    "batch": ((6, 5), (6,)),
    "sequence": ((3, 5, 4), (3, 4)),
    "image": ((2, 5, 3, 4), (2, 3, 4)),
    "empty": ((0, 5), (0,)),
}
CLASS_WEIGHT = np.array([0.2, 1.0, 3.0, 0.0, 0.7])


def labels(shape: tuple[int, ...], ignore: int | None = None) -> np.ndarray:
    made = np.random.default_rng(5).integers(0, 5, shape)
    if ignore is not None and made.size > 1:
        made.reshape(-1)[::3] = ignore
    return np.asarray(made, dtype=np.int64)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("ignore", [None, -100, 2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", SHAPES)
def test_cross_entropy(name: str, reduction: str, weighted: bool, ignore: int | None, smoothing: float) -> None:
    shape, target_shape = SHAPES[name]

    def function(T):
        weight = T.tensor(CLASS_WEIGHT.tolist(), dtype=T.float64) if weighted else None
        options = {} if ignore is None else {"ignore_index": ignore}
        loss = T.nn.CrossEntropyLoss(weight, reduction=reduction, label_smoothing=smoothing, **options)
        return lambda x, t: loss(x, t)

    compare_function(function, [random(shape, 3) * 3, labels(target_shape, ignore)])


@pytest.mark.parametrize("ignore", [None, 2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", SHAPES)
def test_nll(name: str, reduction: str, weighted: bool, ignore: int | None) -> None:
    shape, target_shape = SHAPES[name]

    def function(T):
        weight = T.tensor(CLASS_WEIGHT.tolist(), dtype=T.float64) if weighted else None
        options = {} if ignore is None else {"ignore_index": ignore}
        loss = T.nn.NLLLoss(weight, reduction=reduction, **options)
        return lambda x, t: loss(x, t)

    compare_function(function, [random(shape, 3), labels(target_shape, ignore)])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(20_000, 3), (4, 5, 50, 61), (2, 7, 9000)])
def test_nll_of_many_targets(shape, reduction: str, weighted: bool) -> None:
    target = np.random.default_rng(0).integers(0, shape[1], (shape[0], *shape[2:]))
    target[0] = -100

    def function(T):
        weight = T.arange(1, shape[1] + 1, dtype=T.float64) if weighted else None
        return lambda x: T.nn.functional.nll_loss(x, T.tensor(target), weight, reduction=reduction)

    compare_function(function, [random(shape, 3)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", SHAPES)
def test_cross_entropy_of_probabilities(
    name: str, reduction: str, weighted: bool, smoothing: float, dtype: str
) -> None:
    shape = SHAPES[name][0]
    probabilities = np.abs(random(shape, 4))

    def function(T):
        weight = T.tensor(CLASS_WEIGHT.tolist(), dtype=getattr(T, dtype)) if weighted else None
        loss = T.nn.CrossEntropyLoss(weight, reduction=reduction, label_smoothing=smoothing)
        return lambda x, t: loss(x, t)

    compare_function(function, [(random(shape, 3) * 3).astype(dtype), probabilities.astype(dtype)])


def test_everything_ignored_is_nan() -> None:
    def scenario(T):
        value = T.nn.functional.cross_entropy(T.zeros(2, 3), T.tensor([1, 1]), ignore_index=1)
        return str(value.item())

    same_outcome(scenario)


def test_extreme_logits() -> None:
    logits = np.array([[1000.0, -1000.0, 0.0], [-np.inf, 0.0, 1.0], [88.0, 89.0, 90.0]])
    compare_function(lambda T: T.nn.functional.cross_entropy, [logits, np.array([1, 2, 0])])


def test_logits_that_are_not_contiguous() -> None:
    def function(T):
        return lambda x, t: T.nn.functional.cross_entropy(x.t()[::2], t)

    compare_function(function, [random((5, 8)), np.array([0, 4, 2, 1])])


def test_legacy_flags() -> None:
    def scenario(T):
        x, y = T.tensor([1.0, 2.0]), T.tensor([0.0, 0.0])
        return (
            T.nn.MSELoss(size_average=False)(x, y).item(),
            T.nn.MSELoss(reduce=False)(x, y).tolist(),
            T.nn.functional.l1_loss(x, y, size_average=True).item(),
        )

    same_outcome(scenario)


@pytest.mark.parametrize(
    "scenario",
    [
        lambda T: T.nn.functional.cross_entropy(T.zeros(2, 3), T.tensor([0, 1, 2])),
        lambda T: T.nn.functional.cross_entropy(T.zeros(2, 3, 4), T.zeros(2, 5, dtype=T.int64)),
        lambda T: T.nn.functional.cross_entropy(T.zeros(2, 3), T.tensor([0, 3])),
        lambda T: T.nn.functional.cross_entropy(T.zeros(2, 3), T.tensor([0, -1])),
        lambda T: T.nn.functional.cross_entropy(T.zeros(2, 3), T.tensor([0.0, 1.0])),
        lambda T: T.nn.functional.cross_entropy(T.zeros(2, 3), T.zeros(2, 3), ignore_index=1),
        lambda T: T.nn.functional.cross_entropy(T.zeros(2, 3), T.zeros(2, 3, dtype=T.int64)),
        lambda T: T.nn.functional.cross_entropy(T.zeros(2, 3), T.tensor([0, 1]), T.ones(4)),
        lambda T: T.nn.functional.cross_entropy(T.zeros(2, 3), T.tensor([0, 1]), label_smoothing=1.5),
        lambda T: T.nn.functional.cross_entropy(T.zeros(2, 3), T.tensor([0, 1]), reduction="average"),
        lambda T: T.nn.functional.nll_loss(T.zeros(2, 3), T.tensor([0, 3])),
        lambda T: T.nn.functional.nll_loss(T.zeros(2, 3), T.tensor([0])),
        lambda T: T.nn.functional.binary_cross_entropy(T.zeros(2), T.zeros(3)),
        lambda T: T.nn.functional.binary_cross_entropy(T.full((2,), 1.5), T.zeros(2)),
        lambda T: T.nn.functional.binary_cross_entropy_with_logits(T.zeros(2), T.zeros(3)),
        lambda T: T.nn.functional.smooth_l1_loss(T.zeros(2), T.zeros(2), beta=-1.0),
        lambda T: T.nn.functional.huber_loss(T.zeros(2), T.zeros(2), delta=0.0),
        lambda T: T.nn.functional.mse_loss(T.zeros(2), T.zeros(2), reduction="average"),
        lambda T: T.nn.functional.mse_loss(T.zeros(2), T.zeros(2), weight=T.zeros(3)),
        lambda T: T.nn.functional.margin_ranking_loss(T.zeros(2), T.zeros(2, 2), T.zeros(2)),
        lambda T: T.nn.HuberLoss(delta="big"),
    ],
)
def test_errors_are_of_the_same_type(scenario) -> None:
    same_outcome(scenario, message=False)


@pytest.mark.parametrize(
    "make",
    [
        lambda T: T.nn.CrossEntropyLoss(T.ones(3), ignore_index=1, label_smoothing=0.1),
        lambda T: T.nn.BCEWithLogitsLoss(pos_weight=T.ones(3)),
        lambda T: T.nn.NLLLoss2d(),
    ],
)
def test_repr_and_state(make) -> None:
    same_outcome(lambda T: (repr(make(T)), list(make(T).state_dict())))
