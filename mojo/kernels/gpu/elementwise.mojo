"""Pointwise kernels for accelerators, made from the functors of the CPU families."""

from std.memory import stack_allocation
from max.gpu import block_dim, global_idx, grid_dim
from kernels.functor import Binary, Comparison, FAULT, MAX_NUMBERS, Predicate, Ternary, Unary
from kernels.gpu.work import LANES, Work, get, set
from tensor.memory import Numbers


@always_inline
def _numbers(w: Work, space: Numbers):
    comptime for k in range(FAULT):
        space[unsafe_offset=k] = w.params[k]


def unary_kernel[F: Unary, C: DType](w: Work):
    var space = stack_allocation[MAX_NUMBERS, Float64]()
    var params = space.as_unsafe_any_origin()
    _numbers(w, params)
    var i = Int32(global_idx.x) * LANES
    var step = Int32(grid_dim.x * block_dim.x) * LANES
    while i >= 0 and i < w.n:
        set[C](w, i, F.apply(get[C, 1](w, i), params))
        i += step


def predicate_kernel[F: Predicate, C: DType](w: Work):
    var i = Int32(global_idx.x) * LANES
    var step = Int32(grid_dim.x * block_dim.x) * LANES
    while i >= 0 and i < w.n:
        set[DType.bool](w, i, F.apply(get[C, 1](w, i)))
        i += step


def binary_kernel[F: Binary, C: DType](w: Work):
    var space = stack_allocation[MAX_NUMBERS, Float64]()
    var params = space.as_unsafe_any_origin()
    _numbers(w, params)
    var i = Int32(global_idx.x) * LANES
    var step = Int32(grid_dim.x * block_dim.x) * LANES
    while i >= 0 and i < w.n:
        set[C](w, i, F.apply(get[C, 1](w, i), get[C, 2](w, i), params))
        i += step


def comparison_kernel[F: Comparison, C: DType](w: Work):
    var i = Int32(global_idx.x) * LANES
    var step = Int32(grid_dim.x * block_dim.x) * LANES
    while i >= 0 and i < w.n:
        set[DType.bool](w, i, F.apply(get[C, 1](w, i), get[C, 2](w, i)))
        i += step


def ternary_kernel[F: Ternary, C: DType](w: Work):
    var space = stack_allocation[MAX_NUMBERS, Float64]()
    var params = space.as_unsafe_any_origin()
    _numbers(w, params)
    var i = Int32(global_idx.x) * LANES
    var step = Int32(grid_dim.x * block_dim.x) * LANES
    while i >= 0 and i < w.n:
        set[C](w, i, F.apply(get[C, 1](w, i), get[C, 2](w, i), get[C, 3](w, i), params))
        i += step
