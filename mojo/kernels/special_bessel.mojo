"""Pointwise Bessel and Airy functions. Kernel slots: (self). Integers and bools are computed in the default float."""

from kernels.double import Function, SINGLES, double_table
from kernels.functor import FLOATS
from kernels.math_bessel import bessel_i, bessel_k
from kernels.math_waves import airy, bessel_j, bessel_y, spherical_j0
from kernels.pointwise import pointwise
from tensor.call import register
from tensor.memory import Numbers


struct BesselJ[order: Int](Function):
    @staticmethod
    @always_inline
    def apply[single: Bool, w: SIMDLength](x: SIMD[DType.float64, w], params: Numbers) -> SIMD[DType.float64, w]:
        return bessel_j[Self.order](x)


struct BesselY[order: Int](Function):
    @staticmethod
    @always_inline
    def apply[single: Bool, w: SIMDLength](x: SIMD[DType.float64, w], params: Numbers) -> SIMD[DType.float64, w]:
        return bessel_y[Self.order](x)


struct BesselI[order: Int, scaled: Bool](Function):
    @staticmethod
    @always_inline
    def apply[single: Bool, w: SIMDLength](x: SIMD[DType.float64, w], params: Numbers) -> SIMD[DType.float64, w]:
        return bessel_i[Self.order, single, Self.scaled](x)


struct BesselK[order: Int, scaled: Bool](Function):
    @staticmethod
    @always_inline
    def apply[single: Bool, w: SIMDLength](x: SIMD[DType.float64, w], params: Numbers) -> SIMD[DType.float64, w]:
        return bessel_k[Self.order, single, Self.scaled](x)


struct SphericalBesselJ0(Function):
    @staticmethod
    @always_inline
    def apply[single: Bool, w: SIMDLength](x: SIMD[DType.float64, w], params: Numbers) -> SIMD[DType.float64, w]:
        return spherical_j0(x)


struct AiryAi(Function):
    @staticmethod
    @always_inline
    def apply[single: Bool, w: SIMDLength](x: SIMD[DType.float64, w], params: Numbers) -> SIMD[DType.float64, w]:
        return airy(x)


@export("dumbtorch_register_special_bessel")
def register_special_bessel() abi("C") -> None:
    var i0 = double_table[BesselI[0, False], FLOATS]("i0_vml_cpu")
    register[pointwise]("i0", i0)
    register[pointwise]("special_i0e", double_table[BesselI[0, True], FLOATS]("i0e_cpu"))
    register[pointwise]("special_i1", double_table[BesselI[1, False], FLOATS]("i1_cpu"))
    register[pointwise]("special_i1e", double_table[BesselI[1, True], FLOATS]("i1e_cpu"))
    register[pointwise](
        "special_modified_bessel_i0", double_table[BesselI[0, False], SINGLES]("modified_bessel_i0_cpu")
    )
    register[pointwise](
        "special_modified_bessel_i1", double_table[BesselI[1, False], SINGLES]("modified_bessel_i1_cpu")
    )
    register[pointwise](
        "special_modified_bessel_k0", double_table[BesselK[0, False], SINGLES]("modified_bessel_k0_cpu")
    )
    register[pointwise](
        "special_modified_bessel_k1", double_table[BesselK[1, False], SINGLES]("modified_bessel_k1_cpu")
    )
    register[pointwise](
        "special_scaled_modified_bessel_k0", double_table[BesselK[0, True], SINGLES]("scaled_modified_bessel_k0_cpu")
    )
    register[pointwise](
        "special_scaled_modified_bessel_k1", double_table[BesselK[1, True], SINGLES]("scaled_modified_bessel_k1_cpu")
    )
    register[pointwise]("special_bessel_j0", double_table[BesselJ[0], SINGLES]("bessel_j0_cpu"))
    register[pointwise]("special_bessel_j1", double_table[BesselJ[1], SINGLES]("bessel_j1_cpu"))
    register[pointwise]("special_bessel_y0", double_table[BesselY[0], SINGLES]("bessel_y0_cpu"))
    register[pointwise]("special_bessel_y1", double_table[BesselY[1], SINGLES]("bessel_y1_cpu"))
    register[pointwise](
        "special_spherical_bessel_j0", double_table[SphericalBesselJ0, SINGLES]("spherical_bessel_j0_cpu")
    )
    register[pointwise]("special_airy_ai", double_table[AiryAi, SINGLES]("airy_ai_cpu"))
