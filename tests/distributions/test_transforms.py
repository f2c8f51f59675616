"""Transforms, constraints and what maps them to each other, beside PyTorch's."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributions as reference

import dumbtorch
import dumbtorch.distributions as ours
from tests.nn.support import assert_close, tensor_of

RANDOM = np.random.default_rng(1)
X = RANDOM.standard_normal((4, 3))
BOTH = ((dumbtorch, ours), (torch, reference))

TRANSFORMS: dict[str, Any] = {
    "Exp": lambda T, D: D.ExpTransform(),
    "inverse of Exp": lambda T, D: D.ExpTransform().inv,
    "Power": lambda T, D: D.PowerTransform(T.tensor([0.5, 2.0, -1.0], dtype=T.float64)),
    "Sigmoid": lambda T, D: D.SigmoidTransform(),
    "Softplus": lambda T, D: D.SoftplusTransform(),
    "Tanh": lambda T, D: D.TanhTransform(cache_size=1),
    "Abs": lambda T, D: D.AbsTransform(),
    "Affine": lambda T, D: D.AffineTransform(1.0, -2.0),
    "Affine of vectors": lambda T, D: D.AffineTransform(T.zeros(3).double(), T.ones(3).double() * 3, event_dim=1),
    "Softmax": lambda T, D: D.SoftmaxTransform(),
    "StickBreaking": lambda T, D: D.StickBreakingTransform(),
    "Reshape": lambda T, D: D.ReshapeTransform((3,), (3, 1)),
    "Compose": lambda T, D: D.ComposeTransform([D.AffineTransform(0.0, 2.0), D.ExpTransform()]),
    "Compose into the simplex": lambda T, D: D.ComposeTransform([D.TanhTransform(), D.StickBreakingTransform()]),
    "Independent": lambda T, D: D.IndependentTransform(D.TanhTransform(), 1),
    "CorrCholesky": lambda T, D: D.CorrCholeskyTransform(),
    "CumulativeDistribution": lambda T, D: D.CumulativeDistributionTransform(D.Normal(0.0, 1.0)),
    "Cat": lambda T, D: D.CatTransform([D.ExpTransform(), D.TanhTransform()], -1, [1, 2]),
    "Cat of rows": lambda T, D: D.CatTransform([D.ExpTransform(), D.SigmoidTransform()], 0, [1, 3]),
    "Stack": lambda T, D: D.StackTransform([D.ExpTransform(), D.TanhTransform(), D.identity_transform], 1),
    "identity": lambda T, D: D.identity_transform,
}


def outcome(function: Any) -> Any:
    try:
        return function()
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_values(name: str) -> None:
    results, facts = [], []
    for T, D in BOTH:
        transform = TRANSFORMS[name](T, D)
        x = tensor_of(T, abs(X) + 0.1 if "Power" in name or "inverse" in name else X, True)
        y = transform(x)
        back = transform.inv(y)
        stretch = outcome(lambda transform=transform, x=x, y=y: transform.log_abs_det_jacobian(x, y))
        loss = y.sin().sum() + (stretch.sum() if isinstance(stretch, T.Tensor) else 0)
        loss.backward()
        results.append((y, back, stretch if isinstance(stretch, T.Tensor) else None, x.grad))
        facts.append(
            [
                stretch if isinstance(stretch, type) else None,
                repr(transform),
                transform.bijective,
                transform.domain.event_dim,
                transform.codomain.event_dim,
                tuple(transform.forward_shape((4, 3))),
                tuple(transform.inverse_shape(tuple(y.shape))),
                outcome(lambda transform=transform: transform.event_dim),
            ]
        )
        assert transform == transform and transform.inv.inv == transform
        assert transform == TRANSFORMS[name](T, D) or name in (
            "Reshape",
            "Independent",
            "CorrCholesky",
            "CumulativeDistribution",
            "Cat",
            "Cat of rows",
            "Stack",
        )
        sign = outcome(lambda transform=transform: transform.sign)
        facts[-1].append(sign.tolist() if isinstance(sign, T.Tensor) else sign)
    for mine, theirs in zip(*results, strict=True):
        if mine is not None:
            dumbtorch.testing.assert_close(mine, dumbtorch.from_numpy(theirs.detach().numpy()), rtol=1e-6, atol=1e-8)
    assert facts[0] == facts[1]


@pytest.mark.parametrize("name", ["LowerCholeskyTransform", "PositiveDefiniteTransform"])
def test_matrices(name: str) -> None:
    results = []
    for T, D in BOTH:
        transform = getattr(D, name)()
        y = transform(tensor_of(T, X[:3] * 0.3))
        assert transform.codomain.check(y).all()
        results.append((y, transform.inv(y)))
        assert transform == getattr(D, name)() and transform.domain.event_dim == 2
    for mine, theirs in zip(*results, strict=True):
        assert_close(mine, theirs)


def test_wrong_parts() -> None:
    for T, D in BOTH:
        for wrong in (
            lambda D=D: D.CatTransform([1]),
            lambda D=D: D.CatTransform([D.ExpTransform()], 0, [1, 2]),
            lambda T=T, D=D: D.CatTransform([D.ExpTransform()], 0, [2])(T.ones(3)),
            lambda T=T, D=D: D.StackTransform([D.ExpTransform()], 4)(T.ones(3)),
        ):
            with pytest.raises(AssertionError):
                wrong()
        with pytest.raises(ValueError, match="not a flattened"):
            D.CorrCholeskyTransform().forward_shape((4,))
        with pytest.raises(ValueError, match="not square"):
            D.CorrCholeskyTransform().inverse_shape((4, 3))


def test_cache() -> None:
    transform = ours.TanhTransform(cache_size=1)
    x = dumbtorch.tensor([20.0])
    y = transform(x)
    assert transform.inv(y) is x and transform(x) is y
    assert ours.TanhTransform().inv(y).isinf().all()
    for twin in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        assert twin == transform and twin(x) is not y
    assert transform.with_cache(0)._cache_size == 0 and transform.with_cache(1) is transform
    with pytest.raises(ValueError, match="cache_size must be 0 or 1"):
        ours.ExpTransform(cache_size=2)


def test_shape_errors() -> None:
    for T, D in BOTH:
        with pytest.raises(ValueError, match="different numbers"):
            D.ReshapeTransform((3,), (2, 2))
        with pytest.raises(ValueError, match="Shape mismatch"):
            D.ReshapeTransform((3,), (3, 1)).forward_shape((4,))
        with pytest.raises(ValueError, match="Too few dimensions"):
            D.IndependentTransform(D.ExpTransform(), 1)(T.tensor(1.0))
        with pytest.raises(ValueError, match="at least 1"):
            D.TransformedDistribution(D.Normal(0.0, 1.0), D.StickBreakingTransform())


CONSTRAINTS: dict[str, Any] = {
    "real": lambda c: c.real,
    "positive": lambda c: c.positive,
    "nonnegative": lambda c: c.nonnegative,
    "above": lambda c: c.greater_than(2.0),
    "below": lambda c: c.less_than(-1.0),
    "unit": lambda c: c.unit_interval,
    "interval": lambda c: c.interval(-1.0, 3.0),
    "half open": lambda c: c.half_open_interval(0.0, 2.0),
    "vector": lambda c: c.independent(c.interval(0.0, 2.0), 1),
    "simplex": lambda c: c.simplex,
    "correlations": lambda c: c.corr_cholesky,
    "side by side": lambda c: c.cat([c.positive, c.unit_interval], 1, [1, 2]),
    "stacked": lambda c: c.stack([c.positive, c.unit_interval, c.real], 1),
}


@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_into_constraints(name: str, registry: str) -> None:
    values = []
    for T, D in BOTH:
        constraint = CONSTRAINTS[name](D.constraints)
        value = getattr(D, registry)(constraint)(tensor_of(T, X))
        assert constraint.check(value).all()
        values.append(value)
    assert_close(*values)
    with pytest.raises(NotImplementedError, match="Cannot transform _Boolean constraints"):
        getattr(ours, registry)(ours.constraints.boolean)
    with pytest.raises(TypeError):
        getattr(ours, registry).register(int, lambda c: c)


MATRICES = np.stack([np.eye(3), np.tril(X[:3] * 0.1 + np.eye(3)), X[:3], X[:3] @ X[:3].T, -np.eye(3)])
CHECKED: dict[str, tuple[Any, np.ndarray]] = {
    "boolean": (lambda c: c.boolean, np.array([0.0, 1.0, 0.5])),
    "one_hot": (lambda c: c.one_hot, np.array([[0.0, 1.0], [1.0, 1.0], [0.5, 0.5]])),
    "nonnegative_integer": (lambda c: c.nonnegative_integer, np.array([-1.0, 0.0, 2.0, 2.5])),
    "positive_integer": (lambda c: c.positive_integer, np.array([-1.0, 0.0, 2.0, 2.5])),
    "integer_interval": (lambda c: c.integer_interval(1, 3), np.array([0.0, 1.0, 3.0, 1.5])),
    "real": (lambda c: c.real, np.array([np.nan, np.inf, 0.0])),
    "positive": (lambda c: c.positive, np.array([-1.0, 0.0, 1.0])),
    "nonnegative": (lambda c: c.nonnegative, np.array([-1.0, 0.0, 1.0])),
    "less_than": (lambda c: c.less_than(1.0), np.array([0.0, 1.0])),
    "unit_interval": (lambda c: c.unit_interval, np.array([-0.1, 0.0, 1.0, 1.1])),
    "half_open": (lambda c: c.half_open_interval(0.0, 1.0), np.array([0.0, 1.0])),
    "simplex": (lambda c: c.simplex, np.array([[0.5, 0.5], [0.5, 0.6], [1.5, -0.5]])),
    "multinomial": (lambda c: c.multinomial(3), np.array([[1.0, 2.0], [4.0, 0.0], [-1.0, 1.0]])),
    "real_vector": (lambda c: c.real_vector, np.array([[0.0, np.nan], [1.0, 2.0]])),
    "independent": (lambda c: c.independent(c.positive, 2), np.array([[[1.0, 2.0]], [[1.0, -2.0]]])),
    "lower_triangular": (lambda c: c.lower_triangular, MATRICES),
    "lower_cholesky": (lambda c: c.lower_cholesky, MATRICES),
    "corr_cholesky": (lambda c: c.corr_cholesky, MATRICES),
    "square": (lambda c: c.square, MATRICES),
    "symmetric": (lambda c: c.symmetric, MATRICES),
    "positive_definite": (lambda c: c.positive_definite, MATRICES[[0, 3, 4]]),
    "positive_semidefinite": (lambda c: c.positive_semidefinite, MATRICES[[0, 3, 4]]),
    "cat": (lambda c: c.cat([c.positive, c.boolean], 0, [2, 1]), np.array([1.0, -1.0, 1.0])),
    "stack": (lambda c: c.stack([c.positive, c.boolean], 0), np.array([[1.0, -1.0], [0.0, 2.0]])),
    "mixture": (lambda c: c.MixtureSameFamilyConstraint(c.positive), np.array([1.0, -1.0])),
}


@pytest.mark.parametrize("name", CHECKED)
def test_constraints(name: str) -> None:
    make, array = CHECKED[name]
    found = []
    for T, D in BOTH:
        constraint = make(D.constraints)
        found.append((constraint.check(tensor_of(T, array)).tolist(), constraint.is_discrete, constraint.event_dim))
        found[-1] += (repr(constraint),)
    assert found[0] == found[1]


def test_dependent_constraints() -> None:
    for _, D in BOTH:
        c = D.constraints
        assert c.is_dependent(c.dependent) and c.is_dependent(D.Uniform.support) and not c.is_dependent(c.real)
        assert D.Uniform.support.event_dim == 0 and not D.Uniform.support.is_discrete
        assert c.dependent(is_discrete=True, event_dim=2).event_dim == 2
        with pytest.raises(NotImplementedError):
            _ = c.dependent.event_dim
        with pytest.raises(ValueError, match="Cannot determine validity"):
            c.dependent.check(None)
    names = set(reference.constraints.__all__)
    assert names == set(ours.constraints.__all__)
