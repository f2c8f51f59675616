"""The transform of one long line of n = a * b points, by transforms of its parts.

The line is a matrix of a rows and b columns: its columns are transformed, w of them at once, multiplied by roots, turned,
and transformed the other way: the points then come out in their order, as columns again. `Line` says what a line is made of,
each step is a range of independent units.
"""

from std.sys.info import size_of
from std.sys.intrinsics import masked_store
from kernels.fft_butterfly import Z

from kernels.fft_lanes import (
    columns_in, columns_out, from_half, joined, real_columns_in, reals, split, to_half, transform,
)  # fmt: skip
from kernels.fft_plan import Plan
from kernels.gemm_micro import first_lanes
from kernels.gemm_pack import transpose
from std.math import ceildiv
from std.utils.index import IndexList
from tensor.memory import Ptr, memcpy

comptime C2C = 0
comptime R2C = 1
comptime C2R = 2


@fieldwise_init
struct Line(ImplicitlyCopyable, Movable):
    """One line and the memory that its transform needs."""

    var kind: Int
    var n: Int  # its points: of the result, or of the real side
    var flip: Int  # 1: the inverse transform
    var src: Int
    var dst: Int
    var plan: Ptr[Plan]
    var halves: Int
    var turned: Int  # a buffer for each group of the second part
    var whole: Int  # a line of complex points: what real transforms need besides


def groups_in[w: Int](plan: Ptr[Plan]) -> Int:
    """Units of the first step."""
    return ceildiv(plan[].second[].n, w)


def groups_out[w: Int](plan: Ptr[Plan]) -> Int:
    """Units of the second step."""
    return ceildiv(plan[].first[].n, w)


def turned_reals[w: Int](plan: Ptr[Plan]) -> Int:
    return groups_out[w](plan) * plan[].second[].n * 2 * w


@no_inline
def _turn[dt: DType, w: Int](buffer: Int, plan: Ptr[Plan], group: Int, lanes: Int, turned: Int):
    """Multiplies a group's points by their roots and moves them to the buffers of the second step."""
    var a = plan[].first[].n
    var b = plan[].second[].n
    var order = plan[].first[].order
    var stepped = plan[].steps != 0
    var roots = reals[dt](plan[].between, 0 if stepped else group * a * 2 * w)
    var steps = reals[dt](
        plan[].steps if stepped else plan[].between,
        group * a * 2 if stepped else 0,
    )
    for block in range(0, a, w):
        var depth = min(w, a - block)
        var re = Array[SIMD[dt, w], w](fill=0)
        var im = Array[SIMD[dt, w], w](fill=0)
        comptime for i in range(w):
            if i < depth:
                var k = block + i
                var x = reals[dt](
                    buffer,
                    Int(Ptr[Int32](unsafe_from_address=order)[unsafe_offset=k]) * 2 * w,
                )
                var z = Z[dt, w](x.unsafe_load[width=w](0), x.unsafe_load[width=w](w))
                var root = Z[dt, w](
                    roots.unsafe_load[width=w](k * 2 * w),
                    roots.unsafe_load[width=w](k * 2 * w + w),
                )
                if stepped:
                    root = root.times(
                        SIMD[dt, w](steps[unsafe_offset=2 * k]),
                        SIMD[dt, w](steps[unsafe_offset=2 * k + 1]),
                    )
                z = z.times(root.re, root.im)
                re[i] = z.re
                im[i] = z.im
        transpose[dt, w](re)
        transpose[dt, w](im)
        var t = reals[dt](turned, (block // w * b + group * w) * 2 * w)
        comptime for i in range(w):
            if i < lanes:
                t.unsafe_store(2 * i * w, re[i])
                t.unsafe_store((2 * i + 1) * w, im[i])


def middle_of(line: Line) -> Int:
    """The points 1 .. middle - 1 stand for all, with those that mirror them."""
    return line.n // (4 if line.n % 2 == 0 else 2) + 1


def first_step[dt: DType, w: Int](line: Line, group: Int, buffer: Int):
    """Transforms w columns of the matrix."""
    var a = line.plan[].first[].n
    var b = line.plan[].second[].n
    var lanes = min(w, b - group * w)
    comptime size = size_of[Scalar[dt]]()
    if line.kind == R2C and line.n % 2 == 1:
        real_columns_in[dt, w](line.src + group * w * size, b, a, lanes, 2, buffer)
    elif line.kind == C2R:
        columns_in[dt, w](line.whole + 2 * group * w * size, 2 * b, a, lanes, 0, buffer)
    else:
        columns_in[dt, w](line.src + 2 * group * w * size, 2 * b, a, lanes, line.flip, buffer)
    transform[dt, w](line.plan[].first, buffer)
    _turn[dt, w](buffer, line.plan, group, lanes, line.turned)


def second_step[dt: DType, w: Int](line: Line, group: Int, scale: Scalar[dt]):
    """Transforms the points that belong to w rows of it, which are w columns of the result."""
    var a = line.plan[].first[].n
    var b = line.plan[].second[].n
    var lanes = min(w, a - group * w)
    comptime size = size_of[Scalar[dt]]()
    var buffer = line.turned + group * b * 2 * w * size
    transform[dt, w](line.plan[].second, buffer)
    var to = line.dst if line.kind == C2C or (line.kind == C2R and line.n % 2 == 0) else line.whole
    columns_out[dt, w](
        buffer, line.plan[].second[].order, to + 2 * group * w * size, 2 * a, b, lanes, line.flip,
        scale,
    )  # fmt: skip


def _reversed[w: Int]() -> IndexList[w]:
    var r = IndexList[w]()
    for i in range(w):
        r[i] = w - 1 - i
    return r


@always_inline
def _back[dt: DType, w: Int](z: Z[dt, w]) -> Z[dt, w]:
    comptime if w == 1:
        return z
    comptime order = _reversed[w]()
    return Z[dt, w](z.re.shuffle[mask=order](), z.im.shuffle[mask=order]())


@always_inline
def _pairs[dt: DType, w: Int, out: Bool](x: Ptr[Scalar[dt]], y: Ptr[Scalar[dt]], k: Int, m: Int, roots: Int):
    """Points k .. k + w - 1 and those that mirror them."""
    var there = m - k - w + 1
    var a = split[dt, w](x.unsafe_offset(2 * k))
    var b = _back(split[dt, w](x.unsafe_offset(2 * there)))
    var re = reals[dt](roots, k).unsafe_load[width=w](0)
    var im = reals[dt](roots, m + 1 + k).unsafe_load[width=w](0)
    comptime if out:
        to_half(a, b, re, im)
    else:
        from_half(a, b, re, im)
    joined(y.unsafe_offset(2 * k), a)
    joined(y.unsafe_offset(2 * there), _back(b))


@no_inline
def half_line[dt: DType, w: Int, out: Bool](src: Int, dst: Int, m: Int, roots: Int, start: Int, stop: Int):
    """Points start .. stop - 1 (of 1 .. m/2) and those that mirror them."""
    var x = reals[dt](src)
    var y = reals[dt](dst)
    var k = start
    while k + w <= stop and 2 * (k + w - 1) < m:
        _pairs[dt, w, out](x, y, k, m, roots)
        k += w
    while k < stop:
        _pairs[dt, 1, out](x, y, k, m, roots)
        k += 1


def before[dt: DType, w: Int](line: Line, start: Int, stop: Int):
    """What a real result needs first, for points start .. stop - 1 of 1 .. middle - 1."""
    var x = reals[dt](line.src)
    var y = reals[dt](line.whole)
    if line.n % 2 == 0:
        var m = line.n // 2
        if start == 1:
            y[] = x[] - x[unsafe_offset=2 * m]
            y[unsafe_offset=1] = x[] + x[unsafe_offset=2 * m]
        half_line[dt, w, False](line.src, line.whole, m, line.halves, start, stop)
        return
    if start == 1:
        y[] = 0
        y[unsafe_offset=1] = x[]
    for k in range(start, stop):
        var re = x[unsafe_offset=2 * k]
        var im = x[unsafe_offset=2 * k + 1]
        y[unsafe_offset=2 * k] = im
        y[unsafe_offset=2 * k + 1] = re
        y[unsafe_offset=2 * (line.n - k)] = -im
        y[unsafe_offset=2 * (line.n - k) + 1] = re


def after[dt: DType, w: Int](line: Line, start: Int, stop: Int):
    """What the result of a real transform needs last, for points start .. stop - 1 of 1 .. middle - 1."""
    var x = reals[dt](line.whole)
    var y = reals[dt](line.dst)
    comptime size = size_of[Scalar[dt]]()
    if line.kind == R2C and line.n % 2 == 0:
        var m = line.n // 2
        if start == 1:
            var re = x[]
            var im = x[unsafe_offset=1]
            y[] = re + im
            y[unsafe_offset=1] = 0
            y[unsafe_offset=2 * m] = re - im
            y[unsafe_offset=2 * m + 1] = 0
        half_line[dt, w, True](line.whole, line.dst, m, line.halves, start, stop)
    elif line.kind == R2C:
        if start == 1:
            y[] = x[]
            y[unsafe_offset=1] = 0
        memcpy(
            line.dst + 2 * start * size,
            line.whole + 2 * start * size,
            2 * (stop - start) * size,
        )
    elif line.n % 2 == 1:
        if start == 1:
            y[] = x[]
        for k in range(start, stop):
            y[unsafe_offset=k] = x[unsafe_offset=2 * k]
            y[unsafe_offset=line.n - k] = x[unsafe_offset=2 * (line.n - k)]


def whole_line[dt: DType, w: Int](line: Line, scale: Scalar[dt], buffer: Int):
    var middle = middle_of(line)
    if line.kind == C2R:
        before[dt, w](line, 1, middle)
    for g in range(groups_in[w](line.plan)):
        first_step[dt, w](line, g, buffer)
    for g in range(groups_out[w](line.plan)):
        second_step[dt, w](line, g, scale)
    if line.kind == R2C or (line.kind == C2R and line.n % 2 == 1):
        after[dt, w](line, 1, middle)
