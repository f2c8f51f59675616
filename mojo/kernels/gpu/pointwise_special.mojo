"""The special functions that accelerators have kernels for."""

from kernels.double import Double, SINGLES
from kernels.functor import ALL, FLOATS
from kernels.gpu.pointwise import binary, unary
from kernels.numbers import Heaviside
from kernels.special_bessel import AiryAi, BesselI, BesselJ, BesselK, BesselY, SphericalBesselJ0
from kernels.special_error import Entr, Erfcx, LogNdtr, Logit, Ndtr, Ndtri, Sinc, Xlog1py
from kernels.special_gamma import Igamma, Polygamma, Zeta


@export("dumbtorch_accelerator_register_special")
def register_special() abi("C") -> None:
    unary[Double[Erfcx], SINGLES]()
    unary[Double[Ndtr], FLOATS]()
    unary[Double[LogNdtr], SINGLES]()
    unary[Double[Ndtri], SINGLES]()
    unary[Double[Entr], FLOATS]()
    unary[Double[Sinc], FLOATS]()
    unary[Logit, FLOATS]()
    comptime for order in range(2):
        unary[Double[BesselI[order, False]], FLOATS]()
        unary[Double[BesselI[order, True]], FLOATS]()
        unary[Double[BesselJ[order]], SINGLES]()
        unary[Double[BesselY[order]], SINGLES]()
        unary[Double[BesselK[order, False]], SINGLES]()
        unary[Double[BesselK[order, True]], SINGLES]()
    unary[Double[SphericalBesselJ0], SINGLES]()
    unary[Double[AiryAi], SINGLES]()
    unary[Polygamma, FLOATS]()
    binary[Xlog1py, FLOATS]()
    binary[Zeta, SINGLES]()
    binary[Igamma[False], FLOATS]()
    binary[Igamma[True], FLOATS]()
    binary[Heaviside, ALL]()
