"""Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3. SC 2011), eight blocks at a time.

Random numbers are a function of (seed, counter): block c of seed s is four words. A fill of n elements takes the blocks
offset .. offset + blocks, element i always the same words of the same block, so that the numbers depend neither on the
number of threads nor on the machine:

- elements of 32 bits: 32 elements take 8 blocks; of element i of them block (i % 16) / 2, word 2 * (i / 16) + i % 2;
- elements of 64 bits: 16 elements take 8 blocks; of element i of them block i % 8, words 2 * (i / 8) and the one after.
"""

from std.math import fma, iota, sqrt
from std.memory import bitcast

from kernels.math import log
from kernels.math_core import BitsOf
from kernels.math_trig import _cos_poly, _sin_poly

comptime LANES = 8
comptime M0: UInt64 = 0xD2511F53
comptime M1: UInt64 = 0xCD9E8D57
comptime LOW: UInt64 = 0xFFFFFFFF
comptime Words8 = SIMD[DType.uint64, LANES]


@fieldwise_init
struct Draw[lanes: Int](TrivialRegisterPassable):
    """Blocks as 64-bit numbers: `low` words 0 and 1 of each block, `high` words 2 and 3."""

    var low: SIMD[DType.uint64, Self.lanes]
    var high: SIMD[DType.uint64, Self.lanes]


@always_inline
def philox[lanes: Int = LANES](seed: UInt64, block: UInt64) -> Draw[lanes]:
    """The blocks `block` .. `block + lanes`."""
    comptime Words = SIMD[DType.uint64, lanes]
    var counter = Words(block) + iota[DType.uint64, lanes]()
    # Each 64-bit lane holds one 32-bit word; what stands above it is never looked at.
    var c0 = counter
    var c1 = counter >> 32
    var c2 = Words(0)
    var c3 = Words(0)
    var k0 = seed & LOW
    var k1 = seed >> 32
    comptime for _ in range(10):
        var p0 = (c0 & Words(LOW)) * Words(M0)
        var p1 = (c2 & Words(LOW)) * Words(M1)
        c0 = (p1 >> 32) ^ c1 ^ Words(k0)
        c1 = p1
        c2 = (p0 >> 32) ^ c3 ^ Words(k1)
        c3 = p0
        k0 = (k0 + 0x9E3779B9) & LOW
        k1 = (k1 + 0xBB67AE85) & LOW
    return Draw[lanes]((c0 & Words(LOW)) | (c1 << 32), (c2 & Words(LOW)) | (c3 << 32))


@always_inline
def blocks_32(n: Int) -> Int:
    """Blocks that n elements of 32 bits take."""
    return (n + 31) // 32 * LANES


@always_inline
def blocks_64(n: Int) -> Int:
    return (n + 15) // 16 * LANES


# ---------------------------------------------------------------- words to numbers


@always_inline
def unit[C: DType, w: Int](words: SIMD[BitsOf[C], w]) -> SIMD[C, w]:
    """Uniform in [0, 1): 24 bits, or 53."""
    comptime if C == DType.float32:
        return (words >> 8).cast[DType.int32]().cast[C]() * SIMD[C, w](5.9604644775390625e-08)
    else:
        return (words >> 11).cast[DType.int64]().cast[C]() * SIMD[C, w](1.1102230246251565e-16)


@always_inline
def positive[C: DType, w: Int](words: SIMD[BitsOf[C], w]) -> SIMD[C, w]:
    """Uniform in (0, 1], small numbers with all their digits: for logarithms."""
    comptime if C == DType.float32:
        return fma(words.cast[C](), SIMD[C, w](2.3283064365386963e-10), SIMD[C, w](1.1641532182693481e-10))
    else:
        return fma(
            (words >> 1).cast[DType.int64]().cast[C](),
            SIMD[C, w](1.0842021724855044e-19),
            SIMD[C, w](5.421010862427522e-20),
        )


@always_inline
def normals[C: DType, w: Int](a: SIMD[BitsOf[C], w], b: SIMD[BitsOf[C], w]) -> Tuple[SIMD[C, w], SIMD[C, w]]:
    """Two independent standard normals from two words: Box and Muller's polar coordinates.

    The angle's words say it in turns: the nearest quarter is taken off exactly, the rest is at most an eighth."""
    comptime U = BitsOf[C]
    comptime I = DType.int32 if C == DType.float32 else DType.int64
    comptime bits = 30 if C == DType.float32 else 62
    var radius = sqrt(log(positive[C, w](a)) * SIMD[C, w](-2.0))
    var quarter = (b + SIMD[U, w](Scalar[U](1) << Scalar[U](bits - 1))) >> SIMD[U, w](Scalar[U](bits))
    var rest = (b - (quarter << SIMD[U, w](Scalar[U](bits)))).cast[I]().cast[C]()
    comptime scale: Float64 = 1.46291807926715968e-09 if C == DType.float32 else 3.40612158008655459e-19
    var angle = rest * SIMD[C, w](scale.cast[C]())
    var z = angle * angle
    var zero = SIMD[C, w](0)
    var s = _sin_poly(angle, zero, z)
    var c = _cos_poly(angle, zero, z)
    var odd = (quarter & SIMD[U, w](1)).ne(0)
    comptime top = 31 if C == DType.float32 else 63
    # cos changes its sign in quarters 1 and 2, sin in 2 and 3
    var flip_c = ((quarter + SIMD[U, w](1)) & SIMD[U, w](2)) << SIMD[U, w](Scalar[U](top - 1))
    var flip_s = (quarter & SIMD[U, w](2)) << SIMD[U, w](Scalar[U](top - 1))
    var x = bitcast[C](bitcast[U](odd.select(s, c)) ^ flip_c)
    var y = bitcast[C](bitcast[U](odd.select(c, s)) ^ flip_s)
    return (radius * x, radius * y)
