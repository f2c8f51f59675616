"""Every row of the op table under vmap against a loop, and in forward mode against differences."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest

import dumbtorch as torch
from dumbtorch import _C, ops
from dumbtorch.autograd import watch
from dumbtorch.func import vmap
from dumbtorch.func._forward import Forward, tangents_of  # noqa: F401
from dumbtorch.func._wrappers import dual
from tests.ops.harness import Pair, flat

SIZE = 3
ROWS = {name: row for name, row in ops.TABLE.items() if row.samples is not None and row.op is not None}
#: Results of any shape, numbers for Python, or memory: not for vmap.
REFUSED = {"nonzero", "masked_select", "_unique", "item", "tolist", "empty", "_lexsort"}
#: Rows that are computed sample by sample, with a warning: all of the samples, or some (weights of their own).
LOOPS = {"_histogram", "bincount", "repeat_index", "recurrent", "recurrent_backward"}
#: Rows whose derivative cannot be differentiated: there is no forward mode of them either.
ONCE = {"grid_sampler"}
#: Elements of equal size: no derivative in the sense of differences.
TIES = {("sort", 7), ("sort", 8)}
#: Inputs that have no derivative.
CONSTANT = {("igamma", "input"), ("igammac", "input"), ("special_zeta", "input")}


def _given(row: Any, sample: Any, seeds: range, dtype: str) -> list[list[Any]]:
    """Arguments in the order of the parameters, for each seed."""
    result = []
    for seed in seeds:
        pair = Pair(sample, dtype, seed=seed)
        values = dict(zip(row.params, row.defaults, strict=True))
        values.update(zip(row.params, pair.ours, strict=False))
        values.update(pair.kwargs)
        result.append([values[p] for p in row.params])
    return result


def _same(got: Any, expected: Any, what: str) -> None:
    got, expected = flat(got), flat(expected)
    assert len(got) == len(expected), what
    for a, b in zip(got, expected, strict=True):
        if not isinstance(b, _C.TensorBase):
            continue
        assert a.shape == b.shape and a.dtype == b.dtype, f"{what}: {a.shape} {a.dtype}, not {b.shape} {b.dtype}"
        x, y = (np.asarray(t.detach().tolist()) for t in (a, b))
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9, err_msg=what)


def _expected(row: Any, each: list[list[Any]]) -> Any:
    results = [flat(watch.invoke(row, False, args)) for args in each]
    return [
        torch.stack(list(column)) if isinstance(column[0], _C.TensorBase) else column[0]
        for column in zip(*results, strict=True)
    ]


def _leaves(value: Any) -> list[Any]:
    return [value] if not isinstance(value, (list, tuple)) else list(itertools.chain.from_iterable(map(_leaves, value)))


def _rebuilt(value: Any, leaves: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_rebuilt(v, leaves) for v in value)
    return next(leaves)


@pytest.mark.parametrize("name", sorted(set(ROWS) - REFUSED))
def test_vmap(name: str) -> None:
    row = ROWS[name]
    for number, sample in enumerate(row.samples()):
        dtype = (
            "complex128" if row.dtypes == "complex" else "float64" if row.dtypes not in ("int", "integral") else "int64"
        )
        if sample.only not in (None, "single", "float", "full", "any"):
            continue
        each = _given(row, sample, range(SIZE), dtype)
        places = [n for n, v in enumerate(_leaves(each[0])) if isinstance(v, _C.TensorBase)]
        subsets = [places, *([p] for p in places if len(places) > 1)]
        for subset in subsets:
            columns = [_leaves(args) for args in each]
            for column in columns[1:]:
                column[:] = [v if n in subset else columns[0][n] for n, v in enumerate(column)]
            try:
                expected = _expected(row, [_rebuilt(each[0], iter(c)) for c in columns])
            except RuntimeError as error:
                if "stack expects each tensor" in str(error):
                    continue
                raise
            wholes = [torch.stack([c[n] for c in columns]) if n in subset else v for n, v in enumerate(columns[0])]

            def function(*tensors: Any, wholes: Any = wholes, subset: Any = subset, like: Any = each[0]) -> Any:
                leaves = list(wholes)
                for n, tensor in zip(subset, tensors, strict=True):
                    leaves[n] = tensor
                result = watch.invoke(row, False, _rebuilt(like, iter(leaves)))
                return tuple(r for r in flat(result) if isinstance(r, _C.TensorBase))

            with warnings.catch_warnings():
                if name in LOOPS:
                    warnings.filterwarnings("ignore", "There is a performance drop")
                got = vmap(function)(*(wholes[n] for n in subset))
            _same(
                got, [e for e in expected if isinstance(e, _C.TensorBase)], f"{name} sample {number} batch of {subset}"
            )


@pytest.mark.parametrize("name", sorted(LOOPS))
def test_warning(name: str) -> None:
    """What is computed sample by sample says so, as PyTorch does."""
    row = ROWS[name]
    dtype = "int64" if row.dtypes in ("int", "integral") else "float64"
    args = _given(row, next(iter(row.samples())), range(1), dtype)[0]
    places = [n for n, a in enumerate(args) if isinstance(a, _C.TensorBase)]

    def function(*tensors: Any) -> Any:
        values = list(args)
        for n, tensor in zip(places, tensors, strict=True):
            values[n] = tensor
        return tuple(flat(watch.invoke(row, False, values)))

    with pytest.warns(UserWarning, match="There is a performance drop .* for " + name):
        vmap(function)(*(torch.stack([args[n], args[n]]) for n in places))


def _smooth(value: Any) -> bool:
    return isinstance(value, _C.TensorBase) and (value.dtype.is_floating_point or value.dtype.is_complex)


@pytest.mark.parametrize("name", sorted(n for n in set(ROWS) if ROWS[n].grad))
def test_forward(name: str) -> None:
    row = ROWS[name]
    eps = 1e-6
    rng = np.random.default_rng(0)
    for number, sample in enumerate(row.samples()):
        if not sample.smooth or (name, number) in TIES or sample.only not in (None, "single", "float", "full", "any"):
            continue
        dtype = "complex128" if row.dtypes == "complex" else "float64"
        (args,) = _given(row, sample, range(1), dtype)

        def direction(value: Any) -> Any:
            values = rng.standard_normal(tuple(value.shape))
            if value.dtype.is_complex:
                values = values + 1j * rng.standard_normal(tuple(value.shape))
            return torch.tensor(values.tolist(), dtype=value.dtype).reshape(value.shape)

        moves = [
            [direction(v) if _smooth(v) else None for v in arg] if isinstance(arg, (list, tuple)) else
            direction(arg) if _smooth(arg) and p in row.grad and (name, p) not in CONSTANT else None
            for p, arg in zip(row.params, args, strict=True)
        ]  # fmt: skip
        if not any(m is not None and m != [] for m in moves):
            continue

        def shifted(step: float, args: Any = args, moves: Any = moves) -> list[Any]:
            return [
                type(a)(v if d is None else v + d * step for v, d in zip(a, m, strict=True)) if isinstance(m, list) else
                a if m is None else a + m * step
                for a, m in zip(args, moves, strict=True)
            ]  # fmt: skip

        with Forward() as level:
            given = [
                type(a)(v if d is None else dual(level, v, d) for v, d in zip(a, m, strict=True)) if isinstance(m, list)
                else a if m is None else dual(level, a, m)
                for a, m in zip(args, moves, strict=True)
            ]  # fmt: skip
            if name in ONCE:
                with pytest.raises(NotImplementedError, match="differentiated twice"):
                    watch.invoke(row, False, given)
                return
            result = flat(watch.invoke(row, False, given))
            tangents = [getattr(r, "_tangent", None) for r in result]
            result = [level.lower(r) if isinstance(r, _C.TensorBase) else r for r in result]
        plus, minus = (flat(watch.invoke(row, False, shifted(step))) for step in (eps, -eps))
        places = range(len(result)) if row.outputs == ("*",) else row.differentiable
        for place in places:
            if not _smooth(result[place]):
                continue
            tangent = tangents[place]
            assert tangent is not None, f"{name} sample {number}: no tangent"
            assert tangent.shape == result[place].shape and tangent.dtype == result[place].dtype
            numeric = (plus[place] - minus[place]) / (2 * eps)
            x, y = (np.asarray(t.tolist()) for t in (tangent, numeric))
            x = np.where(np.isfinite(y), x, y)  # where an element is infinite or NaN the difference says nothing
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5, err_msg=f"{name} sample {number} result {place}")
