"""The named tuples of results that PyTorch's functions return: ``torch.return_types.sort`` and its like.

Each is a tuple whose items have names; it is made of one sequence, and prints as PyTorch's does.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

_FIELDS = {
    "values indices": "cummax cummin kthvalue max median min mode nanmedian sort topk",
    "min max": "aminmax",
    "hist bin_edges": "histogram histogramdd",
    "mantissa exponent": "frexp",
    "a tau": "geqrf",
    "L info": "linalg_cholesky_ex",
    "eigenvalues eigenvectors": "linalg_eig linalg_eigh",
    "inverse info": "linalg_inv_ex",
    "LD pivots": "linalg_ldl_factor",
    "LD pivots info": "linalg_ldl_factor_ex",
    "solution residuals rank singular_values": "linalg_lstsq",
    "P L U": "linalg_lu lu_unpack",
    "LU pivots": "linalg_lu_factor",
    "LU pivots info": "linalg_lu_factor_ex",
    "Q R": "linalg_qr qr",
    "sign logabsdet": "linalg_slogdet slogdet",
    "result info": "linalg_solve_ex",
    "U S Vh": "linalg_svd",
    "U S V": "svd",
    "solution cloned_coefficient": "triangular_solve",
}


class _Named(tuple[Any, ...]):
    """A tuple with names for its items."""

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()

    def __new__(cls, items: Iterable[Any]) -> _Named:
        if not isinstance(items, (tuple, list)):
            raise TypeError("constructor requires a sequence")
        if len(items) != len(cls.__match_args__):
            raise TypeError(
                f"{cls.__module__}.{cls.__name__}() takes a {len(cls.__match_args__)}-sequence "
                f"({len(items)}-sequence given)"
            )
        return tuple.__new__(cls, items)

    def __repr__(self) -> str:
        items = ",\n".join(f"{name}={item!r}" for name, item in zip(self.__match_args__, self, strict=True))
        return f"torch.return_types.{type(self).__name__}(\n{items})"

    def __reduce__(self) -> Any:
        return type(self), (tuple(self),)


def _make(name: str, fields: tuple[str, ...]) -> type[_Named]:
    """A named tuple class; its items are read as attributes without a call of Python code."""
    members: dict[str, Any] = {field: property(itemgetter(place)) for place, field in enumerate(fields)}
    count = len(fields)
    members |= {"__slots__": (), "__match_args__": fields, "__module__": __name__}
    members |= {"n_fields": count, "n_sequence_fields": count, "n_unnamed_fields": 0}
    return type(name, (_Named,), members)


__all__ = [name for names in _FIELDS.values() for name in names.split()]
globals().update(
    {name: _make(name, tuple(fields.split())) for fields, names in _FIELDS.items() for name in names.split()}
)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
