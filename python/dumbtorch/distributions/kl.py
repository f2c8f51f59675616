"""Kullback-Leibler divergences: KL(p || q) = -H(p) - E_p[log q].

Most pairs follow from the entropy of p and a few of its means: of x, x^2, log x, log(1 - x) and exp(t x). What a
distribution q asks for stands in one function, for all p that have it.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

from dumbtorch import autograd, ops
from dumbtorch.distributions.bernoulli import Bernoulli
from dumbtorch.distributions.beta import Beta
from dumbtorch.distributions.binomial import Binomial
from dumbtorch.distributions.categorical import Categorical
from dumbtorch.distributions.cauchy import Cauchy
from dumbtorch.distributions.continuous_bernoulli import ContinuousBernoulli
from dumbtorch.distributions.dirichlet import Dirichlet
from dumbtorch.distributions.distribution import Distribution
from dumbtorch.distributions.exp_family import ExponentialFamily
from dumbtorch.distributions.exponential import Exponential
from dumbtorch.distributions.gamma import Gamma
from dumbtorch.distributions.geometric import Geometric
from dumbtorch.distributions.gumbel import Gumbel
from dumbtorch.distributions.half_normal import HalfNormal
from dumbtorch.distributions.independent import Independent
from dumbtorch.distributions.laplace import Laplace
from dumbtorch.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from dumbtorch.distributions.multivariate_normal import MultivariateNormal
from dumbtorch.distributions.normal import Normal
from dumbtorch.distributions.one_hot_categorical import OneHotCategorical
from dumbtorch.distributions.pareto import Pareto
from dumbtorch.distributions.poisson import Poisson
from dumbtorch.distributions.transformed_distribution import TransformedDistribution
from dumbtorch.distributions.uniform import Uniform
from dumbtorch.distributions.utils import euler_constant, sum_rightmost
from dumbtorch.nn.functional import softplus

__all__ = ["kl_divergence", "register_kl"]

_VECTORS = (MultivariateNormal, LowRankMultivariateNormal)
Divergence = Callable[[Any, Any], Any]
_REGISTRY: dict[tuple[type, type], Divergence] = {}


def register_kl(type_p: Any, type_q: Any) -> Callable[[Divergence], Divergence]:
    """A decorator that makes a function ``(p, q)`` the divergence of these types and their subclasses.

    The nearest types of those registered are taken; TypeError for what is no distribution.
    Reference: ``torch.distributions.kl.register_kl``.
    """
    for name, kind in (("type_p", type_p), ("type_q", type_q)):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {kind}")

    def decorator(function: Divergence) -> Divergence:
        _REGISTRY[type_p, type_q] = function
        _find.cache_clear()
        return function

    return decorator


@functools.cache
def _find(type_p: type, type_q: type) -> Divergence | None:
    matches = [(p, q) for p, q in _REGISTRY if issubclass(type_p, p) and issubclass(type_q, q)]
    if not matches:
        return None
    # How far up the types are; p counts first, then q: PyTorch's order, and a warning where it is not clear.
    steps = {(p, q): (type_p.__mro__.index(p), type_q.__mro__.index(q)) for p, q in matches}
    by_p, by_q = min(matches, key=lambda m: steps[m]), min(matches, key=lambda m: steps[m][::-1])
    if _REGISTRY[by_p] is not _REGISTRY[by_q]:
        warnings.warn(
            f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}). "
            f"Please register_kl({by_p[0].__name__}, {by_q[1].__name__})",
            RuntimeWarning,
            stacklevel=3,
        )
    return _REGISTRY[by_p]


def kl_divergence(p: Distribution, q: Distribution) -> Any:
    """KL(p || q), the mean under ``p`` of ``log p - log q``, of the shape of the batch.

    NotImplementedError where no divergence of the two types is registered.
    Reference: ``torch.distributions.kl.kl_divergence``.

    >>> kl_divergence(Normal(0.0, 1.0), Normal(1.0, 2.0))
    tensor(0.4431)
    """
    types: tuple[Any, Any] = type(p), type(q)
    function = _find(*types)
    if function is None:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
        )
    return function(p, q)


def _for_all(*pairs: tuple[type, type]) -> Callable[[Divergence], Divergence]:
    def decorator(function: Divergence) -> Divergence:
        for p, q in pairs:
            register_kl(p, q)(function)
        return function

    return decorator


# ---------------------------------------------------------------- means under p


def _xlogx(x: Any) -> Any:
    return x.xlogy(x)


def _mean_log(p: Any) -> Any:
    """E[log x]."""
    match p:
        case Beta():
            return p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
        case Gamma():
            return p.concentration.digamma() - p.rate.log()
        case Exponential():
            return -euler_constant - p.rate.log()
        case Pareto():
            return p.scale.log() + p.alpha.reciprocal()
    return (_xlogx(p.high) - _xlogx(p.low)) / (p.high - p.low) - 1  # Uniform


def _mean_log_rest(p: Any) -> Any:
    """E[log(1 - x)]."""
    if isinstance(p, Beta):
        return p.concentration0.digamma() - (p.concentration1 + p.concentration0).digamma()
    return (_xlogx(1 - p.low) - _xlogx(1 - p.high)) / (p.high - p.low) - 1  # Uniform


def _mean_exp(p: Any, t: Any) -> Any:
    """E[exp(t x)] for t < 0."""
    match p:
        case Normal():
            return (p.loc * t + 0.5 * (p.scale * t).pow(2)).exp()
        case Exponential():
            return p.rate / (p.rate - t)
        case Gamma():
            return (1 - t / p.rate).pow(-p.concentration)
        case Gumbel():
            return (p.loc * t + (1 - p.scale * t).lgamma()).exp()
    return ((p.high * t).exp() - (p.low * t).exp()) / ((p.high - p.low) * t)  # Uniform


def _outside(result: Any, where: Any) -> Any:
    """Infinite where p has values that q cannot have."""
    return ops.where(where, math.inf, result)


# ---------------------------------------------------------------- numbers


@register_kl(Normal, Normal)
def _normal_normal(p: Any, q: Any) -> Any:
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@_for_all(*((p, Normal) for p in (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Pareto, Uniform)))
def _to_normal(p: Any, q: Any) -> Any:
    square = q.scale.pow(2)
    spread = p.variance + (p.mean - q.loc).pow(2)
    result = 0.5 * (2 * math.pi * square).log() + 0.5 * spread / square - p.entropy()
    return _outside(result, p.alpha <= 2) if isinstance(p, Pareto) else result


@_for_all(*((p, Exponential) for p in (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)))
def _to_exponential(p: Any, q: Any) -> Any:
    result = q.rate * p.mean - q.rate.log() - p.entropy()
    if isinstance(p, Pareto):
        return _outside(result, p.alpha <= 1)
    return _outside(result, p.low < 0) if isinstance(p, Uniform) else result


@_for_all(*((p, Gamma) for p in (Beta, Exponential, Gamma, Pareto, Uniform)))
def _to_gamma(p: Any, q: Any) -> Any:
    shape, rate = q.concentration, q.rate
    normalizer = shape.lgamma() - shape * rate.log()
    result = normalizer + (1 - shape) * _mean_log(p) + rate * p.mean - p.entropy()
    if isinstance(p, Pareto):
        return _outside(result, p.alpha <= 1)
    return _outside(result, p.low < 0) if isinstance(p, Uniform) else result


@_for_all(*((p, Gumbel) for p in (Exponential, Gamma, Gumbel, Normal, Uniform)))
def _to_gumbel(p: Any, q: Any) -> Any:
    risen = (q.loc / q.scale).exp() * _mean_exp(p, -q.scale.reciprocal())
    return q.scale.log() + (p.mean - q.loc) / q.scale + risen - p.entropy()


@_for_all((Beta, Beta), (Uniform, Beta))
def _to_beta(p: Any, q: Any) -> Any:
    a, b = q.concentration1, q.concentration0
    normalizer = a.lgamma() + b.lgamma() - (a + b).lgamma()
    result = normalizer - (a - 1) * _mean_log(p) - (b - 1) * _mean_log_rest(p) - p.entropy()
    return _outside(result, (p.high > 1) | (p.low < 0)) if isinstance(p, Uniform) else result


@_for_all((Pareto, Pareto), (Uniform, Pareto))
def _to_pareto(p: Any, q: Any) -> Any:
    result = (q.alpha + 1) * _mean_log(p) - q.alpha.log() - q.alpha * q.scale.log() - p.entropy()
    return _outside(result, (p.low if isinstance(p, Uniform) else p.scale) < q.scale)


@_for_all((Beta, Uniform), (Uniform, Uniform))
def _to_uniform(p: Any, q: Any) -> Any:
    low, high = (0, 1) if isinstance(p, Beta) else (p.low, p.high)
    return _outside((q.high - q.low).log() - p.entropy(), (q.low > low) | (q.high < high))


@_for_all((ContinuousBernoulli, ContinuousBernoulli), (Beta, ContinuousBernoulli), (Uniform, ContinuousBernoulli))
def _to_continuous_bernoulli(p: Any, q: Any) -> Any:
    result = -p.entropy() - p.mean * q.logits - (-q.probs).log1p() - q._log_norm()
    return _outside(result, (p.high >= 1) | (p.low <= 0)) if isinstance(p, Uniform) else result


@register_kl(ContinuousBernoulli, Uniform)
def _continuous_bernoulli_uniform(p: Any, q: Any) -> Any:
    # PyTorch's condition, which calls the interval [0, 1] itself too narrow
    return _outside((q.high - q.low).log() - p.entropy(), (q.low >= 0) | (q.high <= 1))


@register_kl(Laplace, Laplace)
def _laplace_laplace(p: Any, q: Any) -> Any:
    ratio, away = p.scale / q.scale, (p.loc - q.loc).abs()
    return away / q.scale + ratio * (-away / p.scale).exp() - ratio.log() - 1


@register_kl(Normal, Laplace)
def _normal_laplace(p: Any, q: Any) -> Any:
    away = p.loc - q.loc
    z = away / p.scale
    mean_away = math.sqrt(2 / math.pi) * p.scale * (-0.5 * z.pow(2)).exp() + away * (math.sqrt(0.5) * z).erf()
    return (2 * q.scale).log() + mean_away / q.scale - p.entropy()


@register_kl(Cauchy, Cauchy)
def _cauchy_cauchy(p: Any, q: Any) -> Any:
    # Chyzak and Nielsen, "A closed-form formula for the Kullback-Leibler divergence between Cauchy distributions", 2019
    return ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log() - (4 * p.scale * q.scale).log()


@register_kl(HalfNormal, HalfNormal)
def _half_normal_half_normal(p: Any, q: Any) -> Any:
    return _normal_normal(p.base_dist, q.base_dist)


@_for_all(
    *((p, Pareto) for p in (Beta, ContinuousBernoulli)),
    *((p, q) for p in (Exponential, Gamma) for q in (Beta, ContinuousBernoulli, Pareto, Uniform)),
    *(
        (p, q)
        for p in (Gumbel, Laplace, Normal)
        for q in (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)
    ),
    *((Pareto, q) for q in (Beta, ContinuousBernoulli, Uniform)),
    *((Poisson, q) for q in (Bernoulli, Binomial)),
)
def _infinite(p: Any, q: Any) -> Any:
    """p has values that q cannot have, whatever the parameters."""
    return ops.full_like(p.mean, math.inf)


# ---------------------------------------------------------------- counts and categories


@register_kl(Bernoulli, Bernoulli)
def _bernoulli_bernoulli(p: Any, q: Any) -> Any:
    success = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    failure = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    success = ops.where(p.probs == 0, 0.0, _outside(success, q.probs == 0))
    return success + ops.where(p.probs == 1, 0.0, _outside(failure, q.probs == 1))


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Any, q: Any) -> Any:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(Binomial, Binomial)
def _binomial_binomial(p: Any, q: Any) -> Any:
    if (p.total_count < q.total_count).any():
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    result = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return _outside(result, p.total_count > q.total_count)


@register_kl(Geometric, Geometric)
def _geometric_geometric(p: Any, q: Any) -> Any:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _poisson_poisson(p: Any, q: Any) -> Any:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Categorical, Categorical)
def _categorical_categorical(p: Any, q: Any) -> Any:
    terms = _outside(p.probs * (p.logits - q.logits), q.probs == 0)
    return ops.where(p.probs == 0, 0.0, terms).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot_one_hot(p: Any, q: Any) -> Any:
    return _categorical_categorical(p._categorical, q._categorical)


# ---------------------------------------------------------------- vectors, and what is made of others


@register_kl(Dirichlet, Dirichlet)
def _dirichlet_dirichlet(p: Any, q: Any) -> Any:
    a, b = p.concentration, q.concentration
    means = a.digamma() - a.sum(-1, keepdim=True).digamma()
    normalizers = (b.lgamma() - a.lgamma()).sum(-1) + a.sum(-1).lgamma() - b.sum(-1).lgamma()
    return normalizers + ((a - b) * means).sum(-1)


@_for_all(*((p, q) for p in _VECTORS for q in _VECTORS))
def _vectors(p: Any, q: Any) -> Any:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two (Low Rank) Multivariate Normals with different event shapes cannot be computed, "
            f"got {tuple(p.event_shape)} and {tuple(q.event_shape)}"
        )
    batch = ops.broadcast_shapes(p.batch_shape, q.batch_shape)
    p, q = p.expand(batch), q.expand(batch)
    trace = sum(q._trace_with(factor) for factor in p._factors())
    away = q._mahalanobis(q.loc - p.loc)
    return q._half_log_det() - p._half_log_det() + 0.5 * (trace + away - p.event_shape[0])


@register_kl(Independent, Independent)
def _independent_independent(p: Any, q: Any) -> Any:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError(
            f"kl_divergence: Independent takes {p.reinterpreted_batch_ndims} dimensions in p and "
            f"{q.reinterpreted_batch_ndims} in q"
        )
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed_transformed(p: Any, q: Any) -> Any:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError("kl_divergence: the transforms of p and q differ")
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(ExponentialFamily, ExponentialFamily)
def _family_family(p: Any, q: Any) -> Any:
    """For types without a function of their own: the Bregman divergence of the normalizers. No gradient to p."""
    if type(p) is not type(q):
        raise NotImplementedError(
            "The cross KL-divergence between different exponential families cannot be computed using Bregman "
            "divergences"
        )
    ours = [parameter.detach().requires_grad_() for parameter in p._natural_params]
    normalizer = p._log_normalizer(*ours)
    slopes = autograd.grad(normalizer.sum(), ours, create_graph=True)
    result = q._log_normalizer(*q._natural_params) - normalizer
    for mine, other, slope in zip(ours, q._natural_params, slopes, strict=True):
        result = result - sum_rightmost((other - mine) * slope, len(q.event_shape))
    return result
