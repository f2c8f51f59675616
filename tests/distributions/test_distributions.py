"""Distributions beside PyTorch's: densities, moments, entropies, divergences, samples and their gradients, errors."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributions as reference
from scipy.special import gammainc, gammaincinv

import dumbtorch
import dumbtorch.distributions as ours
from tests.nn.support import as_numpy, assert_close, tensor_of

# PyTorch's Wishart warns of samples that are fine
pytestmark = pytest.mark.filterwarnings("ignore:Singular sample detected")
RANDOM = np.random.default_rng(0)


def positive(*shape: int) -> np.ndarray:
    return RANDOM.uniform(0.3, 3.0, shape)


def share(*shape: int) -> np.ndarray:
    return RANDOM.uniform(0.05, 0.95, shape)


def real(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape)


def covariance(*shape: int) -> np.ndarray:
    factor = real(*shape, shape[-1])
    return factor @ factor.swapaxes(-1, -2) + np.eye(shape[-1])


# name: constructors' arguments as arrays or plain values
CASES: dict[str, list[dict[str, Any]]] = {
    "Bernoulli": [{"probs": share(4)}, {"logits": real(3, 2)}, {"probs": 0.3}],
    "Beta": [{"concentration1": positive(3, 1), "concentration0": positive(2)}],
    "Binomial": [{"total_count": 5, "probs": share(4)}, {"total_count": np.array([2.0, 7.0]), "logits": real(2)}],
    "Categorical": [{"probs": positive(3, 4)}, {"logits": real(5)}],
    "Cauchy": [{"loc": real(3), "scale": positive(3)}],
    "Chi2": [{"df": positive(3)}],
    "ContinuousBernoulli": [{"probs": np.array([0.1, 0.49, 0.5, 0.5004, 0.9])}, {"logits": real(3)}, {"probs": 0.3}],
    "Dirichlet": [{"concentration": positive(2, 4)}],
    "Exponential": [{"rate": positive(3)}],
    "FisherSnedecor": [{"df1": positive(3) + 3, "df2": positive(3) * 5}],
    "Gamma": [{"concentration": positive(3, 1), "rate": positive(2)}],
    "GeneralizedPareto": [
        {key: value.astype("float32") for key, value in (
            ("loc", real(4)), ("scale", positive(4)), ("concentration", np.array([0.0, 0.2, -0.5, 0.4]))
        )}  # PyTorch's takes no float64
    ],
    "Geometric": [{"probs": share(4)}, {"logits": real(3)}, {"probs": np.array([1.0, 0.5])}],
    "Gumbel": [{"loc": real(3), "scale": positive(3)}],
    "HalfCauchy": [{"scale": positive(3)}],
    "HalfNormal": [{"scale": positive(3)}],
    "InverseGamma": [{"concentration": positive(4), "rate": positive(4)}],
    "Kumaraswamy": [{"concentration1": positive(3), "concentration0": positive(3)}],
    "LKJCholesky": [{"dim": 3, "concentration": positive(2)}, {"dim": 2}],
    "LowRankMultivariateNormal": [
        {"loc": real(2, 4), "cov_factor": real(4, 2), "cov_diag": positive(4)},
        {"loc": real(3), "cov_factor": real(2, 3, 1), "cov_diag": positive(3)},
    ],
    "Laplace": [{"loc": real(3), "scale": positive(3)}],
    "LogNormal": [{"loc": real(3), "scale": positive(3)}],
    "LogisticNormal": [{"loc": real(2, 3), "scale": positive(2, 3)}],
    "Multinomial": [{"total_count": 6, "probs": positive(2, 3)}, {"total_count": 4, "logits": real(3)}],
    "MultivariateNormal": [
        {"loc": real(2, 3), "covariance_matrix": covariance(3)},
        {"loc": real(3), "precision_matrix": covariance(2, 3)},
        {"loc": real(3), "scale_tril": np.linalg.cholesky(covariance(3))},
    ],
    "NegativeBinomial": [{"total_count": positive(3) * 4, "probs": share(3)}],
    "Normal": [{"loc": real(3, 1), "scale": positive(2)}, {"loc": 0.5, "scale": 2.0}, {"loc": real(3), "scale": 1}],
    "OneHotCategorical": [{"probs": positive(3, 4)}, {"logits": real(5)}],
    "OneHotCategoricalStraightThrough": [{"probs": positive(3, 4)}],
    "Pareto": [{"scale": positive(4), "alpha": positive(4)}],
    "Poisson": [{"rate": positive(3)}],
    "RelaxedBernoulli": [
        {"temperature": np.array(0.7), "probs": share(3)},
        {"temperature": positive(3), "logits": real(3)},
    ],
    "RelaxedOneHotCategorical": [{"temperature": np.array(0.7), "probs": positive(3, 4)}],
    "StudentT": [{"df": np.array([0.5, 1.5, 4.0]), "loc": real(3), "scale": positive(3)}],
    "Uniform": [{"low": real(3) - 3, "high": real(3) + 3}],
    "VonMises": [{"loc": real(3), "concentration": positive(3)}],
    "Wishart": [
        {"df": positive(2) + 3, "covariance_matrix": covariance(3)},
        {"df": positive(2) + 3, "precision_matrix": covariance(2, 3)},
        {"df": np.array(3.5), "scale_tril": np.linalg.cholesky(covariance(3))},
    ],
    "Weibull": [{"scale": positive(3), "concentration": positive(3) + 1}],
}  # fmt: skip
ALL = [(name, i) for name, cases in CASES.items() for i in range(len(cases))]
each = pytest.mark.parametrize(("name", "case"), ALL)


def build(T: Any, D: Any, name: str, case: int, grad: bool = False, **more: Any) -> tuple[Any, list[Any]]:
    arguments = {
        key: tensor_of(T, value, grad) if isinstance(value, np.ndarray) else value
        for key, value in CASES[name][case].items()
    }
    parameters = [value for value in arguments.values() if isinstance(value, T.Tensor)]
    return getattr(D, name)(**arguments, **more), parameters


def pair(name: str, case: int, grad: bool = False) -> list[tuple[Any, Any, list[Any]]]:
    return [(T, *build(T, D, name, case, grad)) for T, D in ((dumbtorch, ours), (torch, reference))]


def outcome(function: Any) -> Any:
    """A result, or the type of its error."""
    try:
        return function()
    except Exception as error:
        return type(error)


def same(mine: Any, theirs: Any, what: str) -> None:
    if isinstance(theirs, type):
        assert mine is theirs, (what, mine, theirs)
        return
    assert isinstance(mine, dumbtorch.Tensor), (what, mine)
    a, b = as_numpy(mine), as_numpy(theirs)
    assert a.shape == b.shape, (what, a.shape, b.shape)
    loose = 2e-6 if a.dtype == np.float64 else 2e-4
    np.testing.assert_allclose(a, b, rtol=loose, atol=1e-6, err_msg=what)


VALUES = ("mean", "mode", "variance", "stddev", "batch_shape", "event_shape", "has_rsample", "has_enumerate_support")


@each
def test_properties(name: str, case: int) -> None:
    (_, mine, _), (_, theirs, _) = pair(name, case)
    for value in VALUES:
        a, b = (outcome(lambda one=one, value=value: getattr(one, value)) for one in (mine, theirs))
        if isinstance(b, torch.Tensor):
            if name != "VonMises" or value == "mode":  # PyTorch's Bessel functions are good to seven digits
                same(a, b, value)
        elif isinstance(b, torch.Size):
            assert tuple(a) == tuple(b), value
        else:
            assert a == b or (b is NotImplementedError and a is NotImplementedError), (value, a, b)
    assert repr(mine).replace("dumbtorch", "torch") == repr(theirs)
    assert repr(mine.support).split("(")[0] == repr(theirs.support).split("(")[0]


@each
def test_densities_and_entropies(name: str, case: int) -> None:
    (_, mine, ours_in), (_, theirs, theirs_in) = pair(name, case, grad=True)
    torch.manual_seed(0)
    for shape in ((), (6,)):
        values = theirs.sample(shape)
        value = tensor_of(dumbtorch, as_numpy(values))
        probability = tensor_of(torch, share(*as_numpy(values).shape))
        calls = {
            "log_prob": (lambda d, v: d.log_prob(v), value, values),
            "cdf": (lambda d, v: d.cdf(v), value, values),
            "icdf": (lambda d, v: d.icdf(v), tensor_of(dumbtorch, as_numpy(probability)), probability),
            "entropy": (lambda d, v: d.entropy(), value, values),
            "enumerate_support": (lambda d, v: d.enumerate_support(), value, values),
            "few": (lambda d, v: d.enumerate_support(expand=False), value, values),
        }
        for what, (call, a, b) in calls.items():
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "To copy construct")  # PyTorch's Multinomial.entropy
                x, y = outcome(partial(call, mine, a)), outcome(partial(call, theirs, b))
            if name == "VonMises" and what == "log_prob":
                np.testing.assert_allclose(as_numpy(x), as_numpy(y), atol=1e-5)
                continue
            same(x, y, what)
            if isinstance(y, torch.Tensor) and y.requires_grad:
                weights = real(*y.shape)
                if what == "cdf" and name in ("Gamma", "Chi2", "InverseGamma"):
                    continue  # neither library differentiates the incomplete gamma function by its shape
                mine_grad = dumbtorch.autograd.grad(
                    (x * tensor_of(dumbtorch, weights)).sum(), ours_in, allow_unused=True, retain_graph=True
                )
                theirs_grad = torch.autograd.grad(
                    (y * tensor_of(torch, weights)).sum(), theirs_in, allow_unused=True, retain_graph=True
                )
                for one, other in zip(mine_grad, theirs_grad, strict=True):
                    if other is not None:
                        same(one, other, f"gradient of {what}")


@each
def test_samples(name: str, case: int) -> None:
    (_, mine, _), (_, theirs, _) = pair(name, case)
    dumbtorch.manual_seed(1)
    count = 20_000
    sample = mine.sample((count,))
    expected = theirs.sample((2,))
    assert tuple(sample.shape) == (count, *expected.shape[1:]) and str(sample.dtype) == str(expected.dtype)
    assert tuple(mine.sample().shape) == tuple(expected.shape[1:]) and not sample.requires_grad
    empty, reference_empty = (outcome(lambda one=one: one.sample((2, 0)).shape) for one in (mine, theirs))
    assert empty is reference_empty or tuple(empty) == tuple(reference_empty)  # multinomial draws at least one
    assert mine.support.check(sample).all()
    mean, variance = outcome(lambda: theirs.mean), outcome(lambda: theirs.variance)
    if isinstance(variance, torch.Tensor) and variance.isfinite().all() and name != "VonMises":
        error = (as_numpy(sample).mean(0) - as_numpy(mean)) / np.sqrt(as_numpy(variance) / count + 1e-12)
        assert abs(error).max() < 5, error
    if name in ("Cauchy", "HalfCauchy", "StudentT", "Pareto", "FisherSnedecor", "VonMises"):
        low, high = np.quantile(as_numpy(sample), [0.25, 0.75], axis=0)
        torch.manual_seed(0)
        a, b = np.quantile(as_numpy(theirs.sample((count,))), [0.25, 0.75], axis=0)
        np.testing.assert_allclose([low, high], [a, b], rtol=0.15, atol=0.1)
    if name == "Categorical":
        shares = np.stack([(as_numpy(sample) == i).mean(0) for i in range(theirs.probs.shape[-1])], -1)
        np.testing.assert_allclose(shares, as_numpy(theirs.probs), atol=0.02)


@each
def test_expand(name: str, case: int) -> None:
    (_, mine, _), (_, theirs, _) = pair(name, case)
    shape = (5, *theirs.batch_shape)
    a, b = mine.expand(shape), theirs.expand(shape)
    assert tuple(a.batch_shape) == shape and tuple(a.event_shape) == tuple(b.event_shape)
    value = b.sample()
    if name != "VonMises":
        same(a.log_prob(tensor_of(dumbtorch, as_numpy(value))), b.log_prob(value), "log_prob")
    assert tuple(a.sample((2,)).shape) == (2, *value.shape)
    same(outcome(lambda: a.mean), outcome(lambda: b.mean), "mean")


@each
def test_copies(name: str, case: int) -> None:
    mine, _ = build(dumbtorch, ours, name, case)
    value = mine.sample((3,))
    for twin in (copy.deepcopy(mine), pickle.loads(pickle.dumps(mine))):
        assert twin.log_prob(value).tolist() == mine.log_prob(value).tolist()


# PyTorch's Wishart writes into what its gradient needs
REPARAMETRIZED = [(n, i) for n, i in ALL if n != "Wishart" and build(torch, reference, n, i)[0].has_rsample]


@pytest.mark.parametrize(("name", "case"), REPARAMETRIZED)
def test_gradients_of_samples(name: str, case: int) -> None:
    """The gradient of the mean of a bounded function of the samples, by both libraries' samples."""
    count = 40_000
    grads = []
    for T, distribution, parameters in pair(name, case, grad=True):
        if not parameters:
            return
        T.manual_seed(3)
        sample = distribution.rsample((count,))
        value = (sample / (1 + sample.abs())).mean(0).sum()
        grads.append([as_numpy(g) for g in T.autograd.grad(value, parameters, allow_unused=True) if g is not None])
    for mine, theirs in zip(*grads, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=0.02 + 0.05 * abs(theirs).max(), err_msg=name)


def test_gradients_of_wishart_samples() -> None:
    """The mean is df times the covariance."""
    df = dumbtorch.tensor(6.0, dtype=dumbtorch.float64, requires_grad=True)
    matrix = tensor_of(dumbtorch, covariance(3), True)
    dumbtorch.manual_seed(0)
    ours.Wishart(df, matrix, validate_args=False).rsample((40_000,)).mean(0).sum().backward()
    assert df.grad.item() == pytest.approx(matrix.sum().item(), rel=0.05)
    np.testing.assert_allclose(as_numpy(matrix.grad + matrix.grad.mT), 12, rtol=0.1)


@pytest.mark.parametrize("shape", [0.05, 0.5, 1.0, 3.0, 40.0, 900.0])
def test_slope_of_gamma_numbers(shape: float) -> None:
    """The implicit gradient beside the difference quotient of the quantile function."""
    a = dumbtorch.full((50,), shape, dtype=dumbtorch.float64, requires_grad=True)
    dumbtorch.manual_seed(2)
    x = ours.Gamma(a, 1.0).rsample()
    x.sum().backward()
    quantile = gammainc(shape, x.detach().numpy())
    h = 1e-5 * shape
    expected = (gammaincinv(shape + h, quantile) - gammaincinv(shape - h, quantile)) / (2 * h)
    inner = (quantile > 1e-3) & (quantile < 0.999)
    np.testing.assert_allclose(a.grad.numpy()[inner], expected[inner], rtol=2e-4)


PAIRS = [
    (p.__name__, q.__name__)
    for p, q in reference.kl._KL_REGISTRY
    if p.__name__ in CASES and q.__name__ in CASES
]  # fmt: skip


@pytest.mark.parametrize(("p", "q"), sorted(PAIRS))
def test_divergences(p: str, q: str) -> None:
    results = []
    special = {"Uniform": {"low": np.array([0.1, 0.2, -0.5]), "high": np.array([0.9, 0.7, 1.5])},
               "Binomial": {"total_count": 5, "probs": share(3)}, "Categorical": {"probs": positive(3, 4)},
               "OneHotCategorical": {"probs": positive(3, 4)}, "Dirichlet": {"concentration": positive(3, 4)},
               "MultivariateNormal": {"loc": real(3, 2), "covariance_matrix": covariance(3, 2)},
               "LowRankMultivariateNormal": {
                   "loc": real(3, 2), "cov_factor": real(3, 2, 2), "cov_diag": positive(3, 2)},
               "ContinuousBernoulli": {"probs": share(3)}}  # fmt: skip

    def arguments(name: str) -> dict[str, Any]:
        chosen = special.get(name, CASES[name][0])
        return {key: value if np.ndim(value) == 0 else value + 0 for key, value in chosen.items()}

    shapes = arguments(p), arguments(q)
    if p == q:
        shapes = shapes[0], {k: v * 0.9 + 0.05 if isinstance(v, np.ndarray) and v.dtype == float else v
                             for k, v in shapes[0].items()}  # fmt: skip
    else:
        trim = min((v.shape[0] for s in shapes for v in s.values() if np.ndim(v) == 1), default=3)
        shapes = tuple({k: v[:trim] if np.ndim(v) == 1 else v for k, v in s.items()} for s in shapes)
    if {p, q} & {"Beta", "Gamma"} and p != q:
        shapes = tuple(
            {k: (v.reshape(-1)[:2] if isinstance(v, np.ndarray) else v) for k, v in s.items()} for s in shapes
        )
    for T, D in ((dumbtorch, ours), (torch, reference)):
        with_grad = [
            {k: tensor_of(T, v, True) if isinstance(v, np.ndarray) else v for k, v in s.items()} for s in shapes
        ]
        one, other = getattr(D, p)(**with_grad[0]), getattr(D, q)(**with_grad[1])
        value = outcome(lambda D=D, one=one, other=other: D.kl_divergence(one, other))
        grads: list[Any] = []
        if isinstance(value, T.Tensor) and value.requires_grad and value.isfinite().all():
            inputs = [v for s in with_grad for v in s.values() if isinstance(v, T.Tensor)]
            grads = list(T.autograd.grad(value.sum(), inputs, allow_unused=True))
        results.append((value, grads))
    (mine, mine_grads), (theirs, theirs_grads) = results
    if theirs is IndexError:  # PyTorch's function for this pair does not broadcast
        return
    same(mine, theirs, f"KL({p} || {q})")
    for one, other in zip(mine_grads, theirs_grads, strict=True):
        if other is not None:
            same(one, other, f"gradient of KL({p} || {q})")


def test_divergence_of_wrapped_distributions() -> None:
    values = []
    for T, D in ((dumbtorch, ours), (torch, reference)):
        loc = T.arange(6.0).reshape(2, 3)
        p, q = D.Normal(loc, T.ones(2, 3)), D.Normal(T.zeros(2, 3), T.full((3,), 2.0))
        values.append(
            [
                D.kl_divergence(D.Independent(p, 1), D.Independent(q, 1)),
                D.kl_divergence(D.LogNormal(loc, 1.0), D.LogNormal(0.5, T.full((2, 3), 2.0))),
            ]
        )
        with pytest.raises(NotImplementedError):
            D.kl_divergence(D.Independent(p, 1), D.Independent(q, 2))
        with pytest.raises(NotImplementedError, match="No KL"):
            D.kl_divergence(p, D.VonMises(loc, T.ones(2, 3)))

        class Mine(D.Normal):  # type: ignore[name-defined, misc]
            pass

        D.register_kl(Mine, D.Normal)(lambda p, q: p.loc * 0 + 7)
        assert D.kl_divergence(Mine(loc, 1.0), q).unique().tolist() == [7]
        assert D.kl_divergence(q, Mine(loc, 1.0)).shape == (2, 3)
    for mine, theirs in zip(*values, strict=True):
        assert_close(mine, theirs, "float32")


def test_divergences_of_no_distributions() -> None:
    with pytest.raises(TypeError, match="type_p to be a Distribution subclass"):
        ours.register_kl(int, ours.Normal)


def test_mixture() -> None:
    arrays = real(4, 3), positive(4, 3), positive(4, 3)
    made = []
    for T, D in ((dumbtorch, ours), (torch, reference)):
        weights, loc, scale = (tensor_of(T, array) for array in (arrays[1], arrays[0], arrays[2]))
        made.append(D.MixtureSameFamily(D.Categorical(weights), D.Normal(loc, scale)))
    mine, theirs = made
    value = real(5, 4)
    for call in ("log_prob", "cdf"):
        a = getattr(mine, call)(tensor_of(dumbtorch, value))
        assert_close(a, getattr(theirs, call)(tensor_of(torch, value)))
    assert_close(mine.mean, theirs.mean)
    assert_close(mine.variance, theirs.variance)
    assert mine.sample((3, 2)).shape == (3, 2, 4) and mine.expand((2, 4)).sample().shape == (2, 4)
    drawn = as_numpy(mine.sample((20_000,)))
    error = (drawn.mean(0) - as_numpy(theirs.mean)) / np.sqrt(as_numpy(theirs.variance) / 20_000)
    assert abs(error).max() < 5
    assert repr(mine) == repr(theirs)
    for D, T in ((ours, dumbtorch), (reference, torch)):
        for wrong in ((D.Normal(0.0, 1.0), D.Normal(0.0, 1.0)), (D.Categorical(T.ones(3)), D.Normal(T.zeros(2), 1.0))):
            with pytest.raises(ValueError):
                D.MixtureSameFamily(*wrong)


WRONG: dict[str, Any] = {
    "negative scale": lambda D, T: D.Normal(0.0, T.tensor([1.0, -1.0])),
    "nan": lambda D, T: D.Normal(T.tensor(math.nan), 1.0),
    "not a tensor": lambda D, T: D.Normal("a", 1.0),
    "both": lambda D, T: D.Bernoulli(0.5, 0.1),
    "none": lambda D, T: D.Categorical(),
    "no dimension": lambda D, T: D.Categorical(T.tensor(0.5)),
    "above one": lambda D, T: D.Bernoulli(1.5),
    "no interval": lambda D, T: D.Uniform(1.0, 1.0),
    "matrices": lambda D, T: D.MultivariateNormal(T.zeros(2), T.eye(2), T.eye(2)),
    "no matrix": lambda D, T: D.MultivariateNormal(T.zeros(2), T.ones(2)),
    "not symmetric": lambda D, T: D.MultivariateNormal(T.zeros(2), T.tensor([[1.0, 0.5], [0.0, 1.0]])),
    "never succeeds": lambda D, T: D.Geometric(T.tensor([0.0])),
    "too many dimensions": lambda D, T: D.Independent(D.Normal(0.0, 1.0), 1),
    "transforms": lambda D, T: D.TransformedDistribution(D.Normal(0.0, 1.0), 3),
    "value outside": lambda D, T: D.Bernoulli(T.tensor([0.5])).log_prob(T.tensor([0.5])),
    "value of another shape": lambda D, T: D.Normal(T.zeros(3), 1.0).log_prob(T.zeros(2)),
    "event of another shape": lambda D, T: D.Dirichlet(T.ones(3)).log_prob(T.ones(2)),
    "value of another kind": lambda D, T: D.Normal(0.0, 1.0).log_prob(1.0),
    "category outside": lambda D, T: D.Categorical(T.ones(3)).log_prob(T.tensor(3)),
    "counts": lambda D, T: D.Multinomial(T.tensor(3), T.ones(3)),
    "default": lambda D, T: D.Distribution.set_default_validate_args(3),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors(name: str) -> None:
    with pytest.raises(Exception) as expected:
        WRONG[name](reference, torch)
    with pytest.raises(expected.type) as found:
        WRONG[name](ours, dumbtorch)
    if str(expected.value):
        assert str(found.value).split(":")[0] == str(expected.value).split(":")[0] or len(str(found.value)) > 20


def test_validation_can_be_turned_off() -> None:
    assert ours.Normal(0.0, -1.0, validate_args=False).scale.item() == -1
    ours.Distribution.set_default_validate_args(False)
    try:
        ours.Bernoulli(dumbtorch.tensor(0.5)).log_prob(dumbtorch.tensor(0.25))
    finally:
        ours.Distribution.set_default_validate_args(True)
    with pytest.raises(ValueError, match="support"):
        ours.Bernoulli(dumbtorch.tensor(0.5)).log_prob(dumbtorch.tensor(0.25))


def test_signatures() -> None:
    for name in CASES:
        mine, theirs = (list(inspect.signature(getattr(D, name)).parameters) for D in (ours, reference))
        assert mine == theirs, name


def test_categorical_of_impossible_categories() -> None:
    made = ours.Categorical(logits=dumbtorch.tensor([0.0, -math.inf]))
    assert made.entropy().item() == 0 and made.sample((50,)).tolist() == [0] * 50


def test_squashed_policy() -> None:
    """The policy of SAC: an action through tanh keeps its density and its gradient."""
    results = []
    noise = real(4, 2)
    for T, D in ((dumbtorch, ours), (torch, reference)):
        loc = tensor_of(T, np.full((4, 2), 0.3), True)
        policy = D.TransformedDistribution(
            D.Independent(D.Normal(loc, T.ones_like(loc)), 1), [D.TanhTransform(cache_size=1)]
        )
        assert tuple(policy.rsample().shape) == (4, 2) and tuple(policy.event_shape) == (2,)
        value = (loc + tensor_of(T, noise)).tanh()
        loss = policy.log_prob(value).sum()
        loss.backward()
        results.append((loss, loc.grad))
    for mine, theirs in zip(*results, strict=True):
        assert_close(mine, theirs)
