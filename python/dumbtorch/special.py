"""Special functions, elementwise: ``dumbtorch.special`` has what ``torch.special`` has.

Most are computed in float64 also for float32, by approximations that agree with SciPy's to a few units in the last
place.

>>> from dumbtorch import special, tensor
>>> special.ndtr(tensor([0.0]))
tensor([0.5000])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dumbtorch import ops

_SAME = {
    "digamma": "digamma", "erf": "erf", "erfc": "erfc", "erfinv": "erfinv", "exp2": "exp2", "expit": "sigmoid",
    "expm1": "expm1", "gammainc": "igamma", "gammaincc": "igammac", "gammaln": "lgamma", "i0": "i0", "log1p": "log1p",
    "log_softmax": "log_softmax", "logit": "logit", "logsumexp": "logsumexp", "multigammaln": "mvlgamma",
    "polygamma": "polygamma", "psi": "digamma", "round": "round", "sinc": "sinc", "softmax": "softmax",
    "xlogy": "xlogy",
}  # fmt: skip

globals().update({name: ops.FUNCTIONS[function] for name, function in _SAME.items()})
_OWN = {name.removeprefix("special_"): row.op for name, row in ops.TABLE.items() if name.startswith("special_")}
globals().update(_OWN)
__all__ = list(_SAME) + list(_OWN)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
