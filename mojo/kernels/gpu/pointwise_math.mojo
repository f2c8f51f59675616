"""The functors of one operand that compute functions (exponentials, sines, ...), for accelerators."""

from kernels.activation import Elu, Gelu, GeluTanh, LogSigmoid, Mish, Silu, Softplus
from kernels.functor import FLOATS
from kernels.gpu.pointwise import unary

from kernels.unary_exp import (
    Acosh, Asinh, Atanh, Cosh, Exp, Exp2, Expm1, Log, Log10, Log1P, Log2, Sigmoid, Sinh, Tanh,
)  # fmt: skip
from kernels.unary_special import Acos, Asin, Atan, Cos, Digamma, Erf, Erfc, Erfinv, Lgamma, Sin, Tan


@export("dumbtorch_accelerator_register_math")
def register_math() abi("C") -> None:
    unary[Exp, FLOATS]()
    unary[Exp2, FLOATS]()
    unary[Expm1, FLOATS]()
    unary[Log, FLOATS]()
    unary[Log2, FLOATS]()
    unary[Log10, FLOATS]()
    unary[Log1P, FLOATS]()
    unary[Sinh, FLOATS]()
    unary[Cosh, FLOATS]()
    unary[Tanh, FLOATS]()
    unary[Asinh, FLOATS]()
    unary[Acosh, FLOATS]()
    unary[Atanh, FLOATS]()
    unary[Sigmoid, FLOATS]()
    unary[Sin, FLOATS]()
    unary[Cos, FLOATS]()
    unary[Tan, FLOATS]()
    unary[Asin, FLOATS]()
    unary[Acos, FLOATS]()
    unary[Atan, FLOATS]()
    unary[Erf, FLOATS]()
    unary[Erfc, FLOATS]()
    unary[Erfinv, FLOATS]()
    unary[Lgamma, FLOATS]()
    unary[Digamma, FLOATS]()
    unary[Gelu, FLOATS]()
    unary[GeluTanh, FLOATS]()
    unary[Silu, FLOATS]()
    unary[Mish, FLOATS]()
    unary[LogSigmoid, FLOATS]()
    unary[Softplus, FLOATS]()
    unary[Elu, FLOATS]()
