"""Probability distributions: samples, differentiable where that is possible, densities, entropies, divergences.

Parameters are tensors (or numbers) that broadcast; a batch of distributions is one object.
Reference: ``torch.distributions``.

>>> policy = Categorical(logits=torch.tensor([0.0, 0.0]))
>>> policy.log_prob(policy.sample())
tensor(-0.6931)
"""

from dumbtorch.distributions import constraints, kl, transforms
from dumbtorch.distributions.bernoulli import Bernoulli
from dumbtorch.distributions.beta import Beta
from dumbtorch.distributions.binomial import Binomial
from dumbtorch.distributions.categorical import Categorical
from dumbtorch.distributions.cauchy import Cauchy
from dumbtorch.distributions.chi2 import Chi2
from dumbtorch.distributions.constraint_registry import biject_to, transform_to
from dumbtorch.distributions.dirichlet import Dirichlet
from dumbtorch.distributions.distribution import Distribution
from dumbtorch.distributions.exp_family import ExponentialFamily
from dumbtorch.distributions.exponential import Exponential
from dumbtorch.distributions.fishersnedecor import FisherSnedecor
from dumbtorch.distributions.gamma import Gamma
from dumbtorch.distributions.geometric import Geometric
from dumbtorch.distributions.gumbel import Gumbel
from dumbtorch.distributions.half_cauchy import HalfCauchy
from dumbtorch.distributions.half_normal import HalfNormal
from dumbtorch.distributions.independent import Independent
from dumbtorch.distributions.inverse_gamma import InverseGamma
from dumbtorch.distributions.kl import kl_divergence, register_kl
from dumbtorch.distributions.kumaraswamy import Kumaraswamy
from dumbtorch.distributions.laplace import Laplace
from dumbtorch.distributions.log_normal import LogNormal
from dumbtorch.distributions.logistic_normal import LogisticNormal
from dumbtorch.distributions.mixture_same_family import MixtureSameFamily
from dumbtorch.distributions.multinomial import Multinomial
from dumbtorch.distributions.multivariate_normal import MultivariateNormal
from dumbtorch.distributions.negative_binomial import NegativeBinomial
from dumbtorch.distributions.normal import Normal
from dumbtorch.distributions.one_hot_categorical import OneHotCategorical, OneHotCategoricalStraightThrough
from dumbtorch.distributions.pareto import Pareto
from dumbtorch.distributions.poisson import Poisson
from dumbtorch.distributions.relaxed_bernoulli import RelaxedBernoulli
from dumbtorch.distributions.relaxed_categorical import RelaxedOneHotCategorical
from dumbtorch.distributions.studentT import StudentT
from dumbtorch.distributions.transformed_distribution import TransformedDistribution
from dumbtorch.distributions.transforms import (
    AbsTransform,
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    IndependentTransform,
    PowerTransform,
    ReshapeTransform,
    SigmoidTransform,
    SoftmaxTransform,
    SoftplusTransform,
    StickBreakingTransform,
    TanhTransform,
    Transform,
    identity_transform,
)
from dumbtorch.distributions.uniform import Uniform
from dumbtorch.distributions.von_mises import VonMises
from dumbtorch.distributions.weibull import Weibull

__all__ = [
    "AbsTransform",
    "AffineTransform",
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Cauchy",
    "Chi2",
    "ComposeTransform",
    "Dirichlet",
    "Distribution",
    "ExpTransform",
    "Exponential",
    "ExponentialFamily",
    "FisherSnedecor",
    "Gamma",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "Independent",
    "IndependentTransform",
    "InverseGamma",
    "Kumaraswamy",
    "Laplace",
    "LogNormal",
    "LogisticNormal",
    "MixtureSameFamily",
    "Multinomial",
    "MultivariateNormal",
    "NegativeBinomial",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "Pareto",
    "Poisson",
    "PowerTransform",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "ReshapeTransform",
    "SigmoidTransform",
    "SoftmaxTransform",
    "SoftplusTransform",
    "StickBreakingTransform",
    "StudentT",
    "TanhTransform",
    "Transform",
    "TransformedDistribution",
    "Uniform",
    "VonMises",
    "Weibull",
    "biject_to",
    "constraints",
    "identity_transform",
    "kl",
    "kl_divergence",
    "register_kl",
    "transform_to",
    "transforms",
]
