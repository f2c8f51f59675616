"""Random rows under vmap: an error, numbers of its own for each sample, or the same for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dumbtorch.autograd import watch
from dumbtorch.autograd.graph import TensorBase
from dumbtorch.func._batching import RULES, Batching, Call, _give_batch
from dumbtorch.func._rules import pointwise
from dumbtorch.ops.table import FUNCTIONS
from dumbtorch.random import get_rng_state, set_rng_state

_ERROR = (
    "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' "
    "randomness flags on vmap or perform the randomness operation out of vmap"
)
_UNBATCHED = (
    "vmap: Cannot ask for different inplace randomness on an unbatched tensor. This will appear like same randomness. "
    "If this is necessary for your usage, please file an issue with functorch."
)


def check(level: Batching) -> None:
    """Refuses random numbers where vmap was not told what they mean."""
    if level.randomness == "error":
        raise RuntimeError(_ERROR)


def _filled(call: Call) -> Any:
    """A tensor filled in place."""
    check(call.level)
    whole = call.args[0]
    if not whole.numel():
        return whole
    if call.level.randomness == "different":
        return pointwise(call)
    sample = whole.select(0, 0).clone()
    call.run((sample, *call.args[1:]))
    return whole.copy_(sample)


def shared_draw(call: Call) -> Any:
    """A result that depends on the arguments, with the same numbers: sample by sample, from one state."""
    state = get_rng_state()
    results = []
    for n in range(call.size):
        set_rng_state(state)
        args = [a.select(0, n) if f is True else a for a, f in zip(call.args, call.is_whole, strict=True)]
        results.append(call.run(args))
    if isinstance(results[0], tuple):
        return tuple(FUNCTIONS["stack"](list(column)) for column in zip(*results, strict=True))
    return FUNCTIONS["stack"](results)


def _drawn(call: Call) -> Any:
    """Each element is drawn for itself."""
    check(call.level)
    return pointwise(call) if call.level.randomness == "different" else shared_draw(call)


def _multinomial(call: Call) -> Any:
    """A row of weights for each draw."""
    check(call.level)
    if call.level.randomness == "same":
        return shared_draw(call)
    x, *rest = call.args
    made = call.run((x.reshape(-1, x.shape[-1]), *rest))
    return made.reshape(*x.shape[:-1], made.shape[-1])


def _dropout(call: Call) -> Any:
    check(call.level)
    if call.level.randomness == "different":
        return call.run()
    x, p = call.args[0], call.args[1]
    _, mask = call.run((FUNCTIONS["ones"](x.shape[1:], dtype=x.dtype, device=x.device), *call.args[1:]))
    kept = mask.expand(x.shape)
    return x * mask / (1 - p) if p < 1 else x * 0, kept


for _name in ("uniform", "normal", "exponential", "bernoulli", "random", "cauchy", "geometric", "log_normal"):
    RULES[_name] = _filled
RULES["multinomial"] = _multinomial
for _name in ("poisson", "binomial", "standard_gamma"):
    RULES[_name] = _drawn
RULES["native_dropout"] = _dropout


def _draw(row: Any, inplace: bool, args: Sequence[Any]) -> Any:
    """A random row none of whose arguments has a batch."""
    level = next((x for x in reversed(watch.STATE.levels) if isinstance(x, Batching)), None)
    if level is None:
        return NotImplemented
    check(level)
    if level.randomness == "same":
        with watch.below(level):
            return watch.invoke(row, inplace, args)
    if inplace:
        if not _give_batch(args[0], level):
            raise RuntimeError(_UNBATCHED)
        return level.process(row, True, args, None)
    if isinstance(args[0], TensorBase):
        whole = args[0].unsqueeze(0).expand(level.size, *args[0].shape)
        return level.process(row, False, (level.close(whole), *args[1:]), None)
    with watch.below(level):
        return level.close(FUNCTIONS["stack"]([watch.invoke(row, False, args) for _ in range(level.size)]))


watch.draw = _draw
