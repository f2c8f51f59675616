"""Sums and what is made of them: sum, nansum, prod, count_nonzero, mean, var, std."""

from std.math import sqrt
from std.sys.info import simd_width_of, size_of
from tensor.call import Call, register
from tensor.dtype import INT64, category, dtype_of, type_name
from tensor.memory import address_of, at, load, zeroed
from tensor.object import as_tensor
from tensor.py import Obj, decref

from kernels.folds import (
    CountFold, FLOAT_DTYPES, Fold, NanSumFold, ProdFold, SUM_DTYPES, SumFold, fold_finish, fold_table, table_of,
)  # fmt: skip
from kernels.pointwise import compute, load_at, store_at

from kernels.reduce import (
    BlockFn, DEVIATION, FinishFn, MEAN, MergeFn, OUT_COUNT, OUT_SAME, OUT_SUM, Reduction, ReductionPtr, State, VARIANCE,
    dims_mask, reduce_with,
)  # fmt: skip
from kernels.transfer_api import contiguous_of


def mean_finish[dt: DType](state: Int, count: Int, result: Int, second: Int, param: Float64) abi("C") -> None:
    store_at[dt, 1](result, 0, (at[State](state)[].f / Float64(count)).cast[dt]())


# ---------------------------------------------------------------- variance: Chan's merge of block means and squares


def variance_block[dt: DType](state: Int, data: Int, n: Int, index: Int) abi("C") -> None:
    """State: f the mean, g the sum of squared differences from it, i the count. Chan, Golub and LeVeque 1979."""
    comptime C = compute[dt]
    comptime W = simd_width_of[DType.float32]() if size_of[Scalar[C]]() <= 4 else simd_width_of[C]()
    var done = 0
    while done < n:
        var m = min(n - done, 2048)
        # two passes over a block that stays in L1
        var a0 = SIMD[C, W](0)
        var a1 = a0
        var i = 0
        while i + 2 * W <= m:
            a0 += load_at[dt, W](data, done + i).cast[C]()
            a1 += load_at[dt, W](data, done + i + W).cast[C]()
            i += 2 * W
        var total = (a0 + a1).cast[DType.float64]().reduce_add()
        while i < m:
            total += load_at[dt, 1](data, done + i).cast[DType.float64]()
            i += 1
        var mean = total / Float64(m)
        var center = SIMD[C, W](mean.cast[C]())
        a0 = SIMD[C, W](0)
        a1 = a0
        i = 0
        while i + 2 * W <= m:
            var x = load_at[dt, W](data, done + i).cast[C]() - center
            var y = load_at[dt, W](data, done + i + W).cast[C]() - center
            a0 += x * x
            a1 += y * y
            i += 2 * W
        var squares = (a0 + a1).cast[DType.float64]().reduce_add()
        while i < m:
            var x = load_at[dt, 1](data, done + i).cast[DType.float64]() - center[0].cast[DType.float64]()
            squares += x * x
            i += 1
        # the center was rounded to the element type: bring the squares back to the exact mean
        var shift = center[0].cast[DType.float64]() - mean
        squares -= Float64(m) * shift * shift
        _merge_variance(state, State(f=mean, g=max(squares, 0.0) if squares == squares else squares, i=m))
        done += m


@always_inline
def _merge_variance(state: Int, b: State):
    ref a = at[State](state)[]
    if a.i == 0:
        a = b
        return
    var n = a.i + b.i
    var delta = b.f - a.f
    a.f += delta * Float64(b.i) / Float64(n)
    a.g += b.g + delta * delta * Float64(a.i) * Float64(b.i) / Float64(n)
    a.i = n


def variance_merge(state: Int, other: Int) abi("C") -> None:
    var b = load[State](other)
    if b.i != 0:
        _merge_variance(state, b)


def variance_finish[
    dt: DType, root: Bool
](state: Int, count: Int, result: Int, second: Int, param: Float64) abi("C") -> None:
    var s = load[State](state)
    # 0 / 0 and x / 0 give NaN and infinity, as PyTorch (with its warning) has them
    var v = s.g / max(Float64(count) - param, 0.0)
    comptime if root:
        v = sqrt(v)
    store_at[dt, 1](result, 0, v.cast[dt]())


# ---------------------------------------------------------------- tables


def _sum_table[F: Fold]() -> ReductionPtr:
    var t = fold_table[F, SUM_DTYPES](OUT_SUM, True)
    comptime for c in range(13):
        comptime D = dtype_of[c]
        var finish: FinishFn = fold_finish[F, D, D if D.is_floating_point() else DType.int64]
        t[].finish[c] = address_of(finish)
    return t


def _count_table() -> ReductionPtr:
    var t = fold_table[CountFold, SUM_DTYPES](OUT_COUNT, True)
    comptime for c in range(13):
        var finish: FinishFn = fold_finish[CountFold, dtype_of[c], DType.int64]
        t[].finish[c] = address_of(finish)
    return t


def _mean_table() -> ReductionPtr:
    var t = fold_table[SumFold, FLOAT_DTYPES](OUT_SAME, True)
    t[].kind = MEAN
    comptime for c in range(9, 13):
        var finish: FinishFn = mean_finish[dtype_of[c]]
        t[].finish[c] = address_of(finish)
    return t


def _variance_table[root: Bool]() -> ReductionPtr:
    var t = zeroed[Reduction]()
    t[].kind = DEVIATION if root else VARIANCE
    t[].rule = OUT_SAME
    t[].empty_ok = 1
    comptime for c in range(9, 13):
        comptime D = dtype_of[c]
        var block: BlockFn = variance_block[D]
        var merge: MergeFn = variance_merge
        var finish: FinishFn = variance_finish[D, root]
        t[].block[c] = address_of(block)
        t[].merge[c] = address_of(merge)
        t[].finish[c] = address_of(finish)
    return t


# ---------------------------------------------------------------- ops


def sum_like(mut call: Call) raises -> Obj:
    """Parameters (self, dim, keepdim, dtype): sum, prod."""
    var t = call.tensor(0)
    var code = call.dtype(3, t[].code() if category(t[].code()) >= 2 else INT64)
    # integers are read as they are; another dtype is cast while it is gathered
    if call.is_none(3) or (code == INT64 and category(t[].code()) < 2):
        code = t[].code()
    var wanted = call.dtype(3, INT64)
    var result = reduce_with(call, table_of(call), t, dims_mask(call, 1, t[].rank()), call.bool(2), code, 0)
    if call.has_out() or category(code) >= 2 or wanted == INT64:
        return result
    # integers are summed in int64, whatever they become
    try:
        return contiguous_of(as_tensor(result), wanted)
    finally:
        decref(result)


def mean(mut call: Call) raises -> Obj:
    """Parameters (self, dim, keepdim, dtype)."""
    var t = call.tensor(0)
    var code = call.dtype(3, t[].code())
    if category(code) < 2:
        var why: StaticString = "could not infer output dtype" if call.is_none(3) else "wrong dtype"
        var which: StaticString = "Input" if call.is_none(3) else "Optional"
        raise Error(
            t"RuntimeError|mean(): {why}. {which} dtype must be either a floating point or complex dtype. Got:"
            t" {type_name(code)}"
        )
    return reduce_with(call, table_of(call), t, dims_mask(call, 1, t[].rank()), call.bool(2), code, 0)


def count_nonzero(mut call: Call) raises -> Obj:
    """Parameters (self, dim)."""
    var t = call.tensor(0)
    return reduce_with(call, table_of(call), t, dims_mask(call, 1, t[].rank()), False, t[].code(), 0)


def variance(mut call: Call) raises -> Obj:
    """Parameters (self, dim, correction, keepdim): var, std."""
    var t = call.tensor(0)
    if category(t[].code()) != 2:
        raise Error(
            t"RuntimeError|{call.name()}(): {call.name()} only support floating point and complex dtypes, got"
            t" {type_name(t[].code())}"
        )
    var correction = 1.0 if call.is_none(2) else call.float(2)
    return reduce_with(call, table_of(call), t, dims_mask(call, 1, t[].rank()), call.bool(3), t[].code(), correction)


@export("dumbtorch_register_reducers")
def register_reducers() abi("C") -> None:
    register[sum_like]("sum", Int(_sum_table[SumFold]()))
    register[sum_like]("prod", Int(_sum_table[ProdFold]()))
    register[sum_like]("nansum", Int(_sum_table[NanSumFold]()))
    register[count_nonzero]("count_nonzero", Int(_count_table()))
    register[mean]("mean", Int(_mean_table()))
    register[variance]("var", Int(_variance_table[False]()))
    register[variance]("std", Int(_variance_table[True]()))
