"""Contiguous casts between all dtypes: the table behind the strided loop, `copy_` and `to`.

Real pairs are one generic vector loop. It works on carriers: half and 8-bit floats are widened to float32 when they are
loaded and narrowed from it when they are stored, a bool is 0 or 1 in a byte. Pairs with a complex side go through the
real pairs of their parts.

Results are PyTorch's on x86: a float that is out of an integer's range becomes what the conversion instruction gives
(through int32, or int64 for uint8, uint32, int64), a narrower integer keeps the low bits.
"""

from std.ffi import external_call
from std.os import abort
from std.memory import Pointer, bitcast
from tensor.allocator import aligned_block

from tensor.dtype import (
    BCOMPLEX32, BFLOAT16, BOOL, COMPLEX128, COMPLEX32, FLOAT16, FLOAT32, FLOAT64, FLOAT8_E4M3FN, FLOAT8_E5M2, INT16, INT32,
    INT64, INT8, NUM_DTYPES, UINT16, UINT32, UINT64, UINT8, complex_part, dtype_of, is_complex, itemsize,
)  # fmt: skip
from tensor.loop import CastFn
from tensor.memory import address_of, at, function_at, load, memcpy, store
from tensor.runtime import runtime

comptime W = 16
comptime STAGE = 1024  # elements of a block that passes through scratch

comptime _narrow_float[code: Int]: Bool = (
    code == FLOAT16 or code == BFLOAT16 or code == FLOAT8_E4M3FN or code == FLOAT8_E5M2
)
comptime _carrier[code: Int]: DType = (
    DType.float32 if _narrow_float[code] else (DType.uint8 if code == BOOL else dtype_of[code])
)


@always_inline
def _to_bfloat16[w: Int](x: SIMD[DType.float32, w]) -> SIMD[DType.uint16, w]:
    """Rounded to nearest even. A NaN stays one, quiet."""
    var u = bitcast[DType.uint32, w](x)
    var rounded = (u + 0x7FFF + ((u >> 16) & 1)) >> 16
    var quiet = (u >> 16) | 0x40
    return (u & 0x7FFFFFFF).gt(0x7F800000).select(quiet, rounded).cast[DType.uint16]()


@always_inline
def _to_float8[
    w: Int, mantissa: Int, bias: Int, largest: Int, nan: Int
](x: SIMD[DType.float32, w]) -> SIMD[DType.uint8, w]:
    """Rounded to nearest even; past the largest code it is `largest` (infinity, or the largest number where there is none).
    """
    comptime U = SIMD[DType.uint32, w]
    comptime drop = U(23 - mantissa)
    comptime half = U((1 << (22 - mantissa)) - 1)
    var u = bitcast[DType.uint32, w](x)
    var a = u & 0x7FFFFFFF
    var normal = ((a + ((a >> drop) & 1) + half) >> drop) - U((127 - bias) << mantissa)
    # below the smallest normal number: adding 2^(23 - k) leaves a multiple of 2^-k, rounded, in the low bits
    comptime magic = 127 + 23 + 1 - bias - mantissa
    var shifted = bitcast[DType.float32, w](a) + bitcast[DType.float32, w](U(magic << 23))
    var small = bitcast[DType.uint32, w](shifted) - U(magic << 23)
    var r = a.lt(U((128 - bias) << 23)).select(small, normal)
    r = (a.ge(U((127 + 16) << 23)) | r.gt(U(largest))).select(U(largest), r)
    r = a.gt(0x7F800000).select(U(nan), r)
    return (r | ((u >> 24) & 0x80)).cast[DType.uint8]()


@always_inline
def _load[code: Int, w: Int](address: Int, i: Int) -> SIMD[_carrier[code], w]:
    comptime if code == BOOL:
        var b = at[UInt8](address).unsafe_load[width=w](i)
        return rebind[SIMD[_carrier[code], w]](b.ne(0).cast[DType.uint8]())
    elif code == FLOAT16:
        return rebind[SIMD[_carrier[code], w]](at[Float16](address).unsafe_load[width=w](i).cast[DType.float32]())
    elif code == BFLOAT16:
        var u = at[UInt16](address).unsafe_load[width=w](i).cast[DType.uint32]() << 16
        return rebind[SIMD[_carrier[code], w]](bitcast[DType.float32, w](u))
    elif code == FLOAT8_E5M2:
        # the upper byte of a float16
        var u = at[UInt8](address).unsafe_load[width=w](i).cast[DType.uint16]() << 8
        return rebind[SIMD[_carrier[code], w]](bitcast[DType.float16, w](u).cast[DType.float32]())
    elif code == FLOAT8_E4M3FN:
        var u = at[UInt8](address).unsafe_load[width=w](i).cast[DType.uint32]()
        # exponent and mantissa in their float32 places, then the difference of the biases as a factor (exact)
        var scaled = bitcast[DType.float32, w]((u & 0x7F) << 20) * bitcast[DType.float32, w](
            SIMD[DType.uint32, w](247 << 23)
        )
        var bits = bitcast[DType.uint32, w](scaled) | ((u & 0x80) << 24)
        bits = (u & 0x7F).eq(0x7F).select(SIMD[DType.uint32, w](0x7FC00000) | ((u & 0x80) << 24), bits)
        return rebind[SIMD[_carrier[code], w]](bitcast[DType.float32, w](bits))
    else:
        return rebind[SIMD[_carrier[code], w]](at[Scalar[dtype_of[code]]](address).unsafe_load[width=w](i))


@always_inline
def _float_to_int[source: DType, target: DType, w: Int](x: SIMD[source, w]) -> SIMD[target, w]:
    comptime if target == DType.uint64:
        # in range of int64 as it is, above it less 2^63: what compilers make of the C cast
        var high = x.ge(9223372036854775808.0)
        var low = high.select(x - 9223372036854775808.0, x).cast[DType.int64]().cast[DType.uint64]()
        return rebind[SIMD[target, w]](high.select(low ^ (1 << 63), low))
    elif target == DType.int64:
        return rebind[SIMD[target, w]](x.cast[DType.int64]())
    elif target == DType.uint32:
        # infinities and NaN give 0; said here, because the compiler knows that a half fits into int32
        var finite = x.gt(-1.0 / SIMD[source, w](0)) & x.lt(1.0 / SIMD[source, w](0))
        return finite.select(x, 0).cast[DType.int64]().cast[target]()
    elif target == DType.uint8 and source == DType.float64:
        return x.cast[DType.int64]().cast[target]()
    else:
        return x.cast[DType.int32]().cast[target]()


@always_inline
def _store[code: Int, source: DType, w: Int](address: Int, i: Int, x: SIMD[source, w]):
    comptime if code == BOOL:
        at[UInt8](address).unsafe_store(i, (~x.eq(0)).cast[DType.uint8]())
    elif code == FLOAT16:
        at[Float16](address).unsafe_store(i, x.cast[DType.float32]().cast[DType.float16]())
    elif code == BFLOAT16:
        at[UInt16](address).unsafe_store(i, _to_bfloat16(x.cast[DType.float32]()))
    elif code == FLOAT8_E5M2:
        at[UInt8](address).unsafe_store(i, _to_float8[w, 2, 15, 0x7C, 0x7F](x.cast[DType.float32]()))
    elif code == FLOAT8_E4M3FN:
        at[UInt8](address).unsafe_store(i, _to_float8[w, 3, 7, 0x7E, 0x7F](x.cast[DType.float32]()))
    elif source.is_floating_point() and code >= UINT8 and code <= UINT64:
        at[Scalar[dtype_of[code]]](address).unsafe_store(i, _float_to_int[source, dtype_of[code], w](x))
    else:
        at[Scalar[dtype_of[code]]](address).unsafe_store(i, x.cast[dtype_of[code]]())


def _cast[source: Int, target: Int](src: Int, dst: Int, n: Int) abi("C") -> None:
    var i = 0
    while i + W <= n:
        _store[target, _carrier[source], W](dst, i, _load[source, W](src, i))
        i += W
    while i < n:
        _store[target, _carrier[source], 1](dst, i, _load[source, 1](src, i))
        i += 1


def _copy[code: Int](src: Int, dst: Int, n: Int) abi("C") -> None:
    memcpy(dst, src, n * itemsize(code))


# ---------------------------------------------------------------- complex


@always_inline
def _between(source: Int, target: Int) -> CastFn:
    return function_at[CastFn](runtime()[].casts[source * NUM_DTYPES + target])


def _spread[T: DType](src: Int, dst: Int, n: Int):
    """Real parts to pairs with zero imaginary parts."""
    var i = 0
    while i + W <= n:
        var x = at[Scalar[T]](src).unsafe_load[width=W](i)
        at[Scalar[T]](dst).unsafe_store(2 * i, x.interleave(SIMD[T, W](0)))
        i += W
    while i < n:
        at[Scalar[T]](dst)[unsafe_offset=2 * i] = at[Scalar[T]](src)[unsafe_offset=i]
        at[Scalar[T]](dst)[unsafe_offset=2 * i + 1] = 0
        i += 1


def _pick[T: DType](src: Int, dst: Int, n: Int):
    """Pairs to their real parts."""
    var i = 0
    while i + W <= n:
        var parts = at[Scalar[T]](src).unsafe_load[width=2 * W](2 * i).deinterleave()
        at[Scalar[T]](dst).unsafe_store(i, parts[0])
        i += W
    while i < n:
        at[Scalar[T]](dst)[unsafe_offset=i] = at[Scalar[T]](src)[unsafe_offset=2 * i]
        i += 1


def _either(src: Int, dst: Int, n: Int):
    """Pairs of bools to whether either one is true."""
    for i in range(n):
        store[UInt8](dst + i, load[UInt8](src + 2 * i) | load[UInt8](src + 2 * i + 1))


@no_inline
def _complex_cast(source: Int, target: Int, src: Int, dst: Int, n: Int):
    var from_part = complex_part(source)
    var to_part = complex_part(target)
    if is_complex(source) and is_complex(target):
        _between(from_part, to_part)(src, dst, 2 * n)
        return
    var stage = aligned_block(2 * STAGE * 8, 64)
    if stage == 0:
        abort("out of memory for the scratch of a cast")
    var i = 0
    while i < n:
        var count = min(STAGE, n - i)
        var s = src + i * itemsize(source)
        var d = dst + i * itemsize(target)
        if is_complex(target):
            _between(source, to_part)(s, stage, count)
            if itemsize(to_part) == 2:
                _spread[DType.uint16](stage, d, count)
            elif itemsize(to_part) == 4:
                _spread[DType.uint32](stage, d, count)
            else:
                _spread[DType.uint64](stage, d, count)
        elif target == BOOL:
            _between(from_part, BOOL)(s, stage, 2 * count)
            _either(stage, d, count)
        else:
            if itemsize(from_part) == 2:
                _pick[DType.uint16](s, stage, count)
            elif itemsize(from_part) == 4:
                _pick[DType.uint32](s, stage, count)
            else:
                _pick[DType.uint64](s, stage, count)
            _between(from_part, target)(stage, d, count)
        i += count
    external_call["free", NoneType](stage)


def _through_parts[source: Int, target: Int](src: Int, dst: Int, n: Int) abi("C") -> None:
    _complex_cast(source, target, src, dst, n)


def _by_way_of_float32[source: Int, target: Int](src: Int, dst: Int, n: Int) abi("C") -> None:
    """Two casts with a rounding between them, which the compiler would leave out if they stood side by side."""
    var stage = aligned_block(STAGE * 4, 64)
    if stage == 0:
        abort("out of memory for the scratch of a cast")
    var i = 0
    while i < n:
        var count = min(STAGE, n - i)
        _between(source, FLOAT32)(src + i * itemsize(source), stage, count)
        _between(FLOAT32, target)(stage, dst + i * itemsize(target), count)
        i += count
    external_call["free", NoneType](stage)


# ---------------------------------------------------------------- the table


def _twin(source: Int, target: Int) -> Int:
    """The target whose kernel gives the same bits for this source: signed and unsigned integers mostly share one."""
    var integral = source <= UINT64
    if target == UINT16:
        return INT16
    if target == UINT8 and source != FLOAT64:
        return INT8
    if target == UINT32 and integral:
        return INT32
    if target == UINT64 and integral:
        return INT64
    return target


def _same_bits(source: Int, target: Int) -> Bool:
    """Equal dtypes, or integers of one size."""
    if source == target:
        return True
    return (
        source >= UINT8
        and source <= UINT64
        and target >= UINT8
        and target <= UINT64
        and itemsize(source) == itemsize(target)
    )


@export("dumbtorch_register_cast")
def register_cast() abi("C") -> None:
    var rt = runtime()
    comptime for s in range(NUM_DTYPES):
        comptime for t in range(NUM_DTYPES):
            comptime if _same_bits(s, t):
                var f: CastFn = _copy[s]
                rt[].casts[s * NUM_DTYPES + t] = address_of(f)
            elif s == FLOAT64 and t == FLOAT16:
                var f: CastFn = _by_way_of_float32[s, t]
                rt[].casts[s * NUM_DTYPES + t] = address_of(f)
            elif is_complex(s) or is_complex(t):
                var f: CastFn = _through_parts[s, t]
                rt[].casts[s * NUM_DTYPES + t] = address_of(f)
            else:
                var f: CastFn = _cast[s, _twin(s, t)]
                rt[].casts[s * NUM_DTYPES + t] = address_of(f)
