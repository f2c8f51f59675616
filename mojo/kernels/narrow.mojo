"""Rounding to half types in vectors."""

from std.memory import bitcast


@always_inline
def to_bfloat16[w: SIMDLength](x: SIMD[DType.float32, w]) -> SIMD[DType.uint16, w]:
    """The bits, rounded to nearest even; a NaN stays one, quiet. (The compiler's own cast goes element by element.)"""
    var u = bitcast[DType.uint32](x)
    var rounded = (u + 0x7FFF + ((u >> 16) & 1)) >> 16
    var quiet = (u >> 16) | 0x40
    return (u & 0x7FFFFFFF).gt(0x7F800000).select(quiet, rounded).cast[DType.uint16]()


@always_inline
def narrow[src: DType, w: SIMDLength, //, dt: DType](x: SIMD[src, w]) -> SIMD[dt, w]:
    """x as `dt`, in vectors for bfloat16 too."""
    comptime if dt == DType.bfloat16 and src == DType.float32:
        return bitcast[dt](to_bfloat16(x._refine[DType.float32, w]()))
    else:
        return x.cast[dt]()
