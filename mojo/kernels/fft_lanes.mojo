"""Transforms of as many lines at once as a vector has lanes, in a buffer [point][real, imaginary][lane].

A buffer is filled from columns (the lines' points lie side by side) or rows (each line's points follow each other), the
passes run in place and leave the points in another order, and the way out reads them in theirs. Exchanging real and
imaginary parts (`flip` is 1) on both ways makes the transform the inverse one.
"""

from std.sys.info import size_of
from kernels.fft_butterfly import MAX_RADIX, Z, butterfly
from kernels.fft_plan import Plan
from kernels.gemm_micro import first_lanes
from kernels.gemm_pack import transpose
from std.sys.intrinsics import masked_load, masked_store
from tensor.memory import Ptr, at, load


@always_inline
def reals[dt: DType](address: Int, offset: Int = 0) -> Ptr[Scalar[dt]]:
    return at[Scalar[dt]](address + offset * size_of[Scalar[dt]]())


# ---------------------------------------------------------------- passes


@always_inline
def _butterfly_at[dt: DType, w: Int, r: Int, turned: Bool](x: Ptr[Scalar[dt]], step: Int, roots: Ptr[Scalar[dt]]):
    var a = Array[Z[dt, w], MAX_RADIX](fill=Z[dt, w](0, 0))
    comptime for k in range(r):
        a[k] = Z[dt, w](
            x.unsafe_load[width=w](k * step),
            x.unsafe_load[width=w](k * step + w),
        )
    butterfly[dt, w, r](a)
    comptime for k in range(r):
        comptime if turned and k > 0:
            a[k] = a[k].times(
                SIMD[dt, w](roots[unsafe_offset=2 * k - 2]),
                SIMD[dt, w](roots[unsafe_offset=2 * k - 1]),
            )
        x.unsafe_store(k * step, a[k].re)
        x.unsafe_store(k * step + w, a[k].im)


@no_inline
def _pass[dt: DType, w: Int, r: Int](buffer: Int, n: Int, length: Int, roots: Int):
    """Splits every run of `length` points into r runs, each a transform of its own."""
    var x = reals[dt](buffer)
    var m = length // r
    var step = m * 2 * w
    for b in range(0, n, length):
        _butterfly_at[dt, w, r, False](x.unsafe_offset(b * 2 * w), step, x)
    for q in range(1, m):
        var t = reals[dt](roots, (q - 1) * (r - 1) * 2)
        for b in range(0, n, length):
            _butterfly_at[dt, w, r, True](x.unsafe_offset((b + q) * 2 * w), step, t)


def transform[dt: DType, w: Int](plan: Ptr[Plan], buffer: Int):
    """Point k of the result lies at `plan.order[k]`."""
    var length = plan[].n
    for i in range(plan[].passes):
        var r = plan[].radices[i]
        comptime for known in [8, 4, 2, 3, 5, 7, 11, 13]:
            if r == known:
                _pass[dt, w, known](buffer, plan[].n, length, plan[].roots[i])
        length //= r


# ---------------------------------------------------------------- between memory and a buffer


@always_inline
def split[dt: DType, w: Int](p: Ptr[Scalar[dt]]) -> Z[dt, w]:
    """w complex numbers."""
    comptime if w == 1:
        return Z[dt, w](p.unsafe_load[width=w](0), p.unsafe_load[width=w](1))
    var pair = p.unsafe_load[width=2 * w](0).deinterleave()
    return Z[dt, w](pair[0]._refine[dt, w](), pair[1]._refine[dt, w]())


@always_inline
def split_first[dt: DType, w: Int](p: Ptr[Scalar[dt]], count: Int) -> Z[dt, w]:
    """The first of w complex numbers, zeros after them."""
    var low = masked_load[w](p, first_lanes[w](2 * count), SIMD[dt, w](0))
    var high = masked_load[w](p.unsafe_offset(w), first_lanes[w](2 * count - w), SIMD[dt, w](0))
    var pair = low.join(high).deinterleave()
    return Z[dt, w](pair[0]._refine[dt, w](), pair[1]._refine[dt, w]())


@always_inline
def joined[dt: DType, w: Int](p: Ptr[Scalar[dt]], z: Z[dt, w]):
    comptime if w == 1:
        p.unsafe_store(0, z.re)
        p.unsafe_store(1, z.im)
    else:
        p.unsafe_store(0, z.re.interleave(z.im))


@always_inline
def joined_first[dt: DType, w: Int](p: Ptr[Scalar[dt]], z: Z[dt, w], count: Int):
    var both = z.re.interleave(z.im)
    masked_store[w](both.slice[w, offset=0](), p, first_lanes[w](2 * count))
    masked_store[w](
        both.slice[w, offset=w](),
        p.unsafe_offset(w),
        first_lanes[w](2 * count - w),
    )


@no_inline
def columns_in[dt: DType, w: Int](src: Int, step: Int, points: Int, lanes: Int, flip: Int, buffer: Int):
    """Complex points; `step` reals lead from point to point."""
    var p = reals[dt](src)
    var x = reals[dt](buffer)
    var re = flip * w
    var im = w - re
    if lanes == w:
        for _ in range(points):
            var z = split[dt, w](p)
            x.unsafe_store(re, z.re)
            x.unsafe_store(im, z.im)
            p = p.unsafe_offset(step)
            x = x.unsafe_offset(2 * w)
    else:
        for _ in range(points):
            var z = split_first[dt, w](p, lanes)
            x.unsafe_store(re, z.re)
            x.unsafe_store(im, z.im)
            p = p.unsafe_offset(step)
            x = x.unsafe_offset(2 * w)


@no_inline
def columns_out[
    dt: DType, w: Int
](buffer: Int, order: Int, dst: Int, step: Int, points: Int, lanes: Int, flip: Int, scale: Scalar[dt],):
    var x = reals[dt](buffer)
    var p = reals[dt](dst)
    var re = flip * w
    var im = w - re
    for k in range(points):
        var place = Int(load[Int32](order + 4 * k)) * 2 * w
        var z = Z[dt, w](
            x.unsafe_load[width=w](place + re) * scale,
            x.unsafe_load[width=w](place + im) * scale,
        )
        if lanes == w:
            joined(p, z)
        else:
            joined_first(p, z, lanes)
        p = p.unsafe_offset(step)


@no_inline
def real_columns_in[dt: DType, w: Int](src: Int, step: Int, points: Int, lanes: Int, gap: Int, buffer: Int):
    """Real points, which lie `gap` vectors apart in the buffer: 1 makes two of them a complex number; with 2 the imaginary
    parts are zero."""
    var mask = first_lanes[w](lanes)
    for k in range(points):
        var v = masked_load[w](reals[dt](src, k * step), mask, SIMD[dt, w](0))
        reals[dt](buffer, k * gap * w).unsafe_store(0, v)
        if gap == 2:
            reals[dt](buffer, (2 * k + 1) * w).unsafe_store(0, SIMD[dt, w](0))


@always_inline
def _vector_of(order: Int, q: Int, gap: Int, flip: Int) -> Int:
    """Where in a buffer a row's number q lies: with gap 1 the numbers are parts of complex ones, with 2 they are the real
    (or, flipped, the imaginary) parts."""
    if gap == 2:
        return 2 * Int(load[Int32](order + 4 * q)) + flip
    return 2 * Int(load[Int32](order + 4 * (q >> 1))) + ((q & 1) ^ flip)


@no_inline
def real_columns_out[
    dt: DType, w: Int
](buffer: Int, order: Int, dst: Int, step: Int, points: Int, lanes: Int, gap: Int, flip: Int, scale: Scalar[dt],):
    var mask = first_lanes[w](lanes)
    for q in range(points):
        var v = reals[dt](buffer, _vector_of(order, q, gap, flip) * w).unsafe_load[width=w](0)
        masked_store[w](v * scale, reals[dt](dst, q * step), mask)


@no_inline
def rows_in[
    dt: DType, w: Int
](src: Int, step: Int, numbers: Int, lanes: Int, gap: Int, flip: Int, buffer: Int,):
    """Rows of real numbers, or of complex ones as twice as many reals; `step` reals lead from row to row."""
    for c in range(0, numbers, w):
        var depth = min(w, numbers - c)
        var r = Array[SIMD[dt, w], w](fill=0)
        if depth == w and lanes == w:
            comptime for i in range(w):
                r[i] = reals[dt](src, i * step + c).unsafe_load[width=w](0)
        else:
            var mask = first_lanes[w](depth)
            comptime for i in range(w):
                if i < lanes:
                    r[i] = masked_load[w](reals[dt](src, i * step + c), mask, SIMD[dt, w](0))
        transpose[dt, w](r)
        if gap == 1 and depth == w:
            comptime for i in range(w):
                reals[dt](buffer, ((c + i) ^ flip) * w).unsafe_store(0, r[i])
        elif gap == 1:
            comptime for i in range(w):
                if i < depth:
                    reals[dt](buffer, ((c + i) ^ flip) * w).unsafe_store(0, r[i])
        else:
            comptime for i in range(w):
                if i < depth:
                    reals[dt](buffer, 2 * (c + i) * w).unsafe_store(0, r[i])
                    reals[dt](buffer, (2 * (c + i) + 1) * w).unsafe_store(0, SIMD[dt, w](0))


@no_inline
def rows_out[
    dt: DType, w: Int
](buffer: Int, order: Int, dst: Int, step: Int, numbers: Int, lanes: Int, gap: Int, flip: Int, scale: Scalar[dt],):
    for c in range(0, numbers, w):
        var depth = min(w, numbers - c)
        var r = Array[SIMD[dt, w], w](fill=0)
        comptime for i in range(w):
            if i < depth:
                r[i] = reals[dt](buffer, _vector_of(order, c + i, gap, flip) * w).unsafe_load[width=w](0) * scale
        transpose[dt, w](r)
        if depth == w and lanes == w:
            comptime for i in range(w):
                reals[dt](dst, i * step + c).unsafe_store(0, r[i])
        else:
            var mask = first_lanes[w](depth)
            comptime for i in range(w):
                if i < lanes:
                    masked_store[w](r[i], reals[dt](dst, i * step + c), mask)


# ---------------------------------------------------------------- real transforms: half as many complex points


@always_inline
def _at[dt: DType, w: Int](buffer: Int, place: Int) -> Z[dt, w]:
    var x = reals[dt](buffer, place * 2 * w)
    return Z[dt, w](x.unsafe_load[width=w](0), x.unsafe_load[width=w](w))


@always_inline
def _set[dt: DType, w: Int](buffer: Int, place: Int, z: Z[dt, w]):
    var x = reals[dt](buffer, place * 2 * w)
    x.unsafe_store(0, z.re)
    x.unsafe_store(w, z.im)


@always_inline
def to_half[dt: DType, w: Int](mut a: Z[dt, w], mut b: Z[dt, w], re: SIMD[dt, w], im: SIMD[dt, w]):
    """Points k and n - k of the transform of 2n reals, from those of the n pairs; (re, im) is the root of k."""
    comptime half = SIMD[dt, w](0.5)
    var even = (a + b.conj()).scaled(half)
    var odd = (a - b.conj()).turned().scaled(half).times(re, im)
    a = even + odd
    b = (even - odd).conj()


@always_inline
def from_half[dt: DType, w: Int](mut a: Z[dt, w], mut b: Z[dt, w], re: SIMD[dt, w], im: SIMD[dt, w]):
    """The way back, but for the factor 2, with real and imaginary parts exchanged."""
    var even = a + b.conj()
    var odd = (a - b.conj()).times(re, -im)
    a = Z[dt, w](even.im + odd.re, even.re - odd.im)
    b = Z[dt, w](odd.re - even.im, even.re + odd.im)


@no_inline
def half_out[dt: DType, w: Int](buffer: Int, order: Int, n: Int, roots: Int):
    """Makes the n points of a transform of pairs the n + 1 points of a real one."""
    comptime Lanes = SIMD[dt, w]
    var first = _at[dt, w](buffer, 0)
    _set[dt, w](buffer, 0, Z[dt, w](first.re + first.im, 0))
    _set[dt, w](buffer, n, Z[dt, w](first.re - first.im, 0))
    for k in range(1, n // 2 + 1):
        var here = Int(load[Int32](order + 4 * k))
        var there = Int(load[Int32](order + 4 * (n - k)))
        var a = _at[dt, w](buffer, here)
        var b = _at[dt, w](buffer, there)
        to_half(
            a,
            b,
            Lanes(reals[dt](roots, k)[]),
            Lanes(reals[dt](roots, n + 1 + k)[]),
        )
        _set[dt, w](buffer, here, a)
        _set[dt, w](buffer, there, b)


@no_inline
def half_in[dt: DType, w: Int](buffer: Int, n: Int, roots: Int):
    """Makes n + 1 points, in their order, the n points of a transform of pairs, flipped."""
    comptime Lanes = SIMD[dt, w]
    var first = _at[dt, w](buffer, 0).re
    var last = _at[dt, w](buffer, n).re
    _set[dt, w](buffer, 0, Z[dt, w](first - last, first + last))
    for k in range(1, n // 2 + 1):
        var a = _at[dt, w](buffer, k)
        var b = _at[dt, w](buffer, n - k)
        from_half(
            a,
            b,
            Lanes(reals[dt](roots, k)[]),
            Lanes(reals[dt](roots, n + 1 + k)[]),
        )
        _set[dt, w](buffer, k, a)
        _set[dt, w](buffer, n - k, b)


@no_inline
def mirrored_in[dt: DType, w: Int](buffer: Int, n: Int):
    """Completes points 0..n/2 of a real result of odd length to all n, flipped."""
    var first = _at[dt, w](buffer, 0).re
    _set[dt, w](buffer, 0, Z[dt, w](0, first))
    for k in range(1, n // 2 + 1):
        var a = _at[dt, w](buffer, k)
        _set[dt, w](buffer, k, Z[dt, w](a.im, a.re))
        _set[dt, w](buffer, n - k, Z[dt, w](-a.im, a.re))
