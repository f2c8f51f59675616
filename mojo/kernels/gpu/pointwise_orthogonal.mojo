"""The orthogonal polynomials on accelerators."""

from kernels.double import SINGLES
from kernels.gpu.pointwise import binary
from kernels.orthogonal import Chebyshev, Hermite, Laguerre, Legendre, T, U, V, W


def _chebyshev[kind: Int]():
    binary[Chebyshev[kind, False], SINGLES]()
    binary[Chebyshev[kind, True], SINGLES]()


@export("dumbtorch_accelerator_register_orthogonal")
def register_orthogonal() abi("C") -> None:
    _chebyshev[T]()
    _chebyshev[U]()
    _chebyshev[V]()
    _chebyshev[W]()
    binary[Hermite[True], SINGLES]()
    binary[Hermite[False], SINGLES]()
    binary[Laguerre, SINGLES]()
    binary[Legendre, SINGLES]()
