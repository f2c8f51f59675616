"""From unconstrained numbers to numbers that satisfy a constraint.

``biject_to`` gives bijections, ``transform_to`` any transform, chosen for optimizing.
Reference: ``torch.distributions.constraint_registry``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dumbtorch.distributions import constraints, transforms
from dumbtorch.distributions.utils import Number

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]


class ConstraintRegistry:
    """A map from types of constraints to functions that make their transforms."""

    def __init__(self) -> None:
        self._registry: dict[type, Callable[[Any], Any]] = {}

    def register(self, constraint: Any, factory: Callable[[Any], Any] | None = None) -> Any:
        """Makes ``factory`` the function for constraints of this type (or of this one's type); a decorator without."""
        if factory is None:
            return lambda made: self.register(constraint, made)
        kind = type(constraint) if isinstance(constraint, constraints.Constraint) else constraint
        if not isinstance(kind, type) or not issubclass(kind, constraints.Constraint):
            raise TypeError(f"Expected constraint to be either a Constraint subclass or instance, but got {constraint}")
        self._registry[kind] = factory
        return factory

    def __call__(self, constraint: Any) -> Any:
        """The transform from real numbers to the constraint; NotImplementedError for a type that is not registered."""
        if type(constraint) not in self._registry:
            raise NotImplementedError(f"Cannot transform {type(constraint).__name__} constraints")
        return self._registry[type(constraint)](constraint)


biject_to = ConstraintRegistry()
transform_to = ConstraintRegistry()


def _interval(constraint: Any) -> Any:
    low, high = constraint.lower_bound, constraint.upper_bound
    if isinstance(low, Number) and isinstance(high, Number) and (low, high) == (0, 1):
        return transforms.SigmoidTransform()
    return transforms.ComposeTransform([transforms.SigmoidTransform(), transforms.AffineTransform(low, high - low)])


def _half_line(bound: Any, sign: int) -> Any:
    if isinstance(bound, Number) and bound == 0 and sign == 1:
        return transforms.ExpTransform()
    return transforms.ComposeTransform([transforms.ExpTransform(), transforms.AffineTransform(bound, sign)])


def _register_in(registry: ConstraintRegistry) -> None:
    def independent(constraint: Any) -> Any:
        base = registry(constraint.base_constraint)
        return transforms.IndependentTransform(base, constraint.reinterpreted_batch_ndims)

    registry.register(constraints.real, lambda constraint: transforms.identity_transform)
    registry.register(constraints.independent, independent)
    for above in (constraints.greater_than, constraints.greater_than_eq):
        registry.register(above, lambda constraint: _half_line(constraint.lower_bound, 1))
    registry.register(constraints.less_than, lambda constraint: _half_line(constraint.upper_bound, -1))
    for between in (constraints.interval, constraints.half_open_interval):
        registry.register(between, _interval)


_register_in(biject_to)
_register_in(transform_to)


def _register_sequences(registry: ConstraintRegistry) -> None:
    def cat(constraint: Any) -> Any:
        return transforms.CatTransform([registry(one) for one in constraint.cseq], constraint.dim, constraint.lengths)

    def stack(constraint: Any) -> Any:
        return transforms.StackTransform([registry(one) for one in constraint.cseq], constraint.dim)

    registry.register(constraints.cat, cat)
    registry.register(constraints.stack, stack)
    registry.register(constraints.corr_cholesky, lambda constraint: transforms.CorrCholeskyTransform())


_register_sequences(biject_to)
_register_sequences(transform_to)
biject_to.register(constraints.simplex, lambda constraint: transforms.StickBreakingTransform())
transform_to.register(constraints.simplex, lambda constraint: transforms.SoftmaxTransform())
transform_to.register(constraints.lower_cholesky, lambda constraint: transforms.LowerCholeskyTransform())
for _matrix in (constraints.positive_definite, constraints.positive_semidefinite):
    transform_to.register(_matrix, lambda constraint: transforms.PositiveDefiniteTransform())
