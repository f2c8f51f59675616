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
from dumbtorch.distributions.continuous_bernoulli import ContinuousBernoulli
from dumbtorch.distributions.dirichlet import Dirichlet
from dumbtorch.distributions.distribution import Distribution
from dumbtorch.distributions.exp_family import ExponentialFamily
from dumbtorch.distributions.exponential import Exponential
from dumbtorch.distributions.fishersnedecor import FisherSnedecor
from dumbtorch.distributions.gamma import Gamma
from dumbtorch.distributions.generalized_pareto import GeneralizedPareto
from dumbtorch.distributions.geometric import Geometric
from dumbtorch.distributions.gumbel import Gumbel
from dumbtorch.distributions.half_cauchy import HalfCauchy
from dumbtorch.distributions.half_normal import HalfNormal
from dumbtorch.distributions.independent import Independent
from dumbtorch.distributions.inverse_gamma import InverseGamma
from dumbtorch.distributions.kl import kl_divergence, register_kl
from dumbtorch.distributions.kumaraswamy import Kumaraswamy
from dumbtorch.distributions.laplace import Laplace
from dumbtorch.distributions.lkj_cholesky import LKJCholesky
from dumbtorch.distributions.log_normal import LogNormal
from dumbtorch.distributions.logistic_normal import LogisticNormal
from dumbtorch.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
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
    CatTransform,
    ComposeTransform,
    CorrCholeskyTransform,
    CumulativeDistributionTransform,
    ExpTransform,
    IndependentTransform,
    LowerCholeskyTransform,
    PositiveDefiniteTransform,
    PowerTransform,
    ReshapeTransform,
    SigmoidTransform,
    SoftmaxTransform,
    SoftplusTransform,
    StackTransform,
    StickBreakingTransform,
    TanhTransform,
    Transform,
    identity_transform,
)
from dumbtorch.distributions.uniform import Uniform
from dumbtorch.distributions.von_mises import VonMises
from dumbtorch.distributions.weibull import Weibull
from dumbtorch.distributions.wishart import Wishart

__all__ = [
    "AbsTransform",
    "AffineTransform",
    "Bernoulli",
    "Beta",
    "Binomial",
    "CatTransform",
    "Categorical",
    "Cauchy",
    "Chi2",
    "ComposeTransform",
    "ContinuousBernoulli",
    "CorrCholeskyTransform",
    "CumulativeDistributionTransform",
    "Dirichlet",
    "Distribution",
    "ExpTransform",
    "Exponential",
    "ExponentialFamily",
    "FisherSnedecor",
    "Gamma",
    "GeneralizedPareto",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "Independent",
    "IndependentTransform",
    "InverseGamma",
    "Kumaraswamy",
    "LKJCholesky",
    "Laplace",
    "LogNormal",
    "LogisticNormal",
    "LowRankMultivariateNormal",
    "LowerCholeskyTransform",
    "MixtureSameFamily",
    "Multinomial",
    "MultivariateNormal",
    "NegativeBinomial",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "Pareto",
    "Poisson",
    "PositiveDefiniteTransform",
    "PowerTransform",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "ReshapeTransform",
    "SigmoidTransform",
    "SoftmaxTransform",
    "SoftplusTransform",
    "StackTransform",
    "StickBreakingTransform",
    "StudentT",
    "TanhTransform",
    "Transform",
    "TransformedDistribution",
    "Uniform",
    "VonMises",
    "Weibull",
    "Wishart",
    "biject_to",
    "constraints",
    "identity_transform",
    "kl",
    "kl_divergence",
    "register_kl",
    "transform_to",
    "transforms",
]
