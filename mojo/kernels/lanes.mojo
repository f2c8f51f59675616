"""Small functions of SIMD values that several pointwise families use."""


@always_inline
def truth[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Whether x is not zero; NaN is true."""
    comptime if dt == DType.bool:
        return x._refine[DType.bool, w]()
    else:
        return ~x.eq(0)


@always_inline
def clip[dt: DType, w: SIMDLength](x: SIMD[dt, w], low: SIMD[dt, w], high: SIMD[dt, w]) -> SIMD[dt, w]:
    """The number within [low, high]; NaN stays."""
    var y = x.lt(low).select(low, x)
    return y.gt(high).select(high, y)
