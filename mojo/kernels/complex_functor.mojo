"""Functors of complex numbers, their contiguous kernels, and how they join the tables of ops that exist for real ones.

A complex kernel loads interleaved pairs, computes on vectors of real and imaginary parts and stores pairs. There is one
for complex64 and one for complex128; complex32 and bcomplex32 pass through blocks of complex64 in scratch.
"""

from std.os import abort
from std.memory import stack_allocation
from std.sys.info import simd_width_of
from kernels.complex_math import Z

from kernels.functor import (
    Binary, TablePtr, Unary, binary_kernel, load_some, store_lanes, store_some, unary_kernel,
)  # fmt: skip
from tensor.dtype import BCOMPLEX32, BFLOAT16, COMPLEX128, COMPLEX32, COMPLEX64, FLOAT16, FLOAT32, itemsize
from tensor.loop import ElementwiseFn, cast_block
from tensor.memory import Numbers, Words, address_of, at
from tensor.runtime import runtime

# What a kernel writes for each element: elements of the operands' parts, or bools.
comptime PAIRS = 2
comptime PARTS = 1
comptime BOOLS = 0


trait ComplexUnary:
    """out = apply(z)."""

    @staticmethod
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w], params: Numbers) -> Z[dt, w]:
        ...


trait ComplexPart:
    """out = apply(z), real."""

    @staticmethod
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w]) -> SIMD[dt, w]:
        ...


trait ComplexPredicate:
    """out = apply(z), a bool."""

    @staticmethod
    def apply[dt: DType, w: SIMDLength](z: Z[dt, w]) -> SIMD[DType.bool, w]:
        ...


trait ComplexBinary:
    """out = apply(a, b)."""

    @staticmethod
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w], params: Numbers) -> Z[dt, w]:
        ...


trait ComplexComparison:
    """out = apply(a, b), a bool."""

    @staticmethod
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w]) -> SIMD[DType.bool, w]:
        ...


trait ComplexTernary:
    """out = apply(a, b, c)."""

    @staticmethod
    def apply[dt: DType, w: SIMDLength](a: Z[dt, w], b: Z[dt, w], c: Z[dt, w], params: Numbers) -> Z[dt, w]:
        ...


trait RealPair:
    """out = apply(a, b) of two real numbers, complex."""

    @staticmethod
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> Z[dt, w]:
        ...


# ---------------------------------------------------------------- memory to pairs


@always_inline
def load_pairs[dt: DType, w: Int](address: Int, i: Int, n: Int) -> Z[dt, w]:
    """Elements i .. i + w of a block that ends at n; ones beyond it."""
    var flat: SIMD[dt, 2 * w]
    if i + w <= n:
        flat = at[Scalar[dt]](address).unsafe_load[width=2 * w](2 * i)
    else:
        flat = rebind[SIMD[dt, 2 * w]](load_some[dt, 2 * w](address, 2 * i, 2 * n))
    var parts = flat.deinterleave()
    return Z[dt, w](rebind[SIMD[dt, w]](parts[0]), rebind[SIMD[dt, w]](parts[1]))


@always_inline
def store_pairs[dt: DType, w: Int](address: Int, i: Int, n: Int, z: Z[dt, w]):
    var flat = z.re.interleave(z.im)
    if i + w <= n:
        at[Scalar[dt]](address).unsafe_store(2 * i, flat)
    else:
        var whole = stack_allocation[2 * w, Scalar[dt]]()
        whole.unsafe_store(0, flat)
        for k in range(2 * (n - i)):
            at[Scalar[dt]](address)[unsafe_offset=2 * i + k] = whole[unsafe_offset=k]


@always_inline
def _store_part[dt: DType, w: Int](address: Int, i: Int, n: Int, x: SIMD[dt, w]):
    if i + w <= n:
        at[Scalar[dt]](address).unsafe_store(i, x)
    else:
        for k in range(n - i):
            at[Scalar[dt]](address)[unsafe_offset=i + k] = x[k]


@always_inline
def _load_part[dt: DType, w: Int](address: Int, i: Int, n: Int) -> SIMD[dt, w]:
    if i + w <= n:
        return at[Scalar[dt]](address).unsafe_load[width=w](i)
    return rebind[SIMD[dt, w]](load_some[dt, w](address, i, n))


@always_inline
def _store_bools[w: Int](address: Int, i: Int, n: Int, x: SIMD[DType.bool, w]):
    if i + w <= n:
        store_lanes[DType.bool, w](address, i, x)
    else:
        store_some[DType.bool, w](address, i, n, x)


# ---------------------------------------------------------------- kernels


def unary_pairs[F: ComplexUnary, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = simd_width_of[dt]()
    for i in range(0, n, W):
        var z = load_pairs[dt, W](blocks[unsafe_offset=1], i, n)
        store_pairs[dt, W](blocks[], i, n, F.apply(z, params))


def part_of_pairs[F: ComplexPart, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = simd_width_of[dt]()
    for i in range(0, n, W):
        var z = load_pairs[dt, W](blocks[unsafe_offset=1], i, n)
        _store_part[dt, W](blocks[], i, n, F.apply(z))


def predicate_pairs[F: ComplexPredicate, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = simd_width_of[dt]()
    for i in range(0, n, W):
        var z = load_pairs[dt, W](blocks[unsafe_offset=1], i, n)
        _store_bools[W](blocks[], i, n, F.apply(z))


def binary_pairs[F: ComplexBinary, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = simd_width_of[dt]()
    for i in range(0, n, W):
        var a = load_pairs[dt, W](blocks[unsafe_offset=1], i, n)
        var b = load_pairs[dt, W](blocks[unsafe_offset=2], i, n)
        store_pairs[dt, W](blocks[], i, n, F.apply(a, b, params))


def comparison_pairs[F: ComplexComparison, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = simd_width_of[dt]()
    for i in range(0, n, W):
        var a = load_pairs[dt, W](blocks[unsafe_offset=1], i, n)
        var b = load_pairs[dt, W](blocks[unsafe_offset=2], i, n)
        _store_bools[W](blocks[], i, n, F.apply(a, b))


def ternary_pairs[F: ComplexTernary, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = simd_width_of[dt]()
    for i in range(0, n, W):
        var a = load_pairs[dt, W](blocks[unsafe_offset=1], i, n)
        var b = load_pairs[dt, W](blocks[unsafe_offset=2], i, n)
        var c = load_pairs[dt, W](blocks[unsafe_offset=3], i, n)
        store_pairs[dt, W](blocks[], i, n, F.apply(a, b, c, params))


def real_pair_kernel[F: RealPair, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = simd_width_of[dt]()
    for i in range(0, n, W):
        var a = _load_part[dt, W](blocks[unsafe_offset=1], i, n)
        var b = _load_part[dt, W](blocks[unsafe_offset=2], i, n)
        store_pairs[dt, W](blocks[], i, n, F.apply(a, b))


def by_parts[F: Binary, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    """A functor that treats both parts alike: one real kernel over twice as many elements."""
    binary_kernel[F, dt](blocks, 2 * n, params)


def each_part[F: Unary, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    """The same for a functor of one operand."""
    unary_kernel[F, dt](blocks, 2 * n, params)


comptime STAGE = 512  # elements of a block that passes through scratch


def narrow[
    f: def(Words, Int, Numbers) thin abi("C") -> None, part: Int, parts: Int, inputs: Int, results: Int
](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    """Runs a kernel of float32 or of pairs of them on blocks of a narrower type; `parts` are in each element."""
    comptime size = itemsize(part)
    var scratch = stack_allocation[(inputs + 1) * STAGE, Float64, alignment=64]()
    var inner = stack_allocation[inputs + 1, Int]()
    comptime for k in range(inputs + 1):
        inner[unsafe_offset=k] = Int(scratch) + 8 * k * STAGE
    var start = 0
    while start < n:
        var m = min(STAGE, n - start)
        comptime for k in range(1, inputs + 1):
            cast_block(part, FLOAT32, blocks[unsafe_offset=k] + parts * size * start, inner[unsafe_offset=k], parts * m)
        comptime if results == BOOLS:
            inner[unsafe_offset=0] = blocks[] + start
        f(inner.as_unsafe_any_origin(), m, params)
        comptime if results != BOOLS:
            cast_block(FLOAT32, part, inner[], blocks[] + results * size * start, results * m)
        start += m


# ---------------------------------------------------------------- joining the tables


def table_of_op(name: StaticString, index: Int) -> TablePtr:
    """The table of a registered op, or the one at a place where the op has several."""
    var rt = runtime()
    for i in range(len(rt[].kernels)):
        if rt[].kernels[i].name == name:
            var data = rt[].kernels[i].data
            return TablePtr(unsafe_from_address=at[Int](data)[unsafe_offset=index] if index >= 0 else data)
    abort(String("no op to give complex kernels: ") + name)


def _join[
    single: def(Words, Int, Numbers) thin abi("C") -> None,
    double: def(Words, Int, Numbers) thin abi("C") -> None,
    inputs: Int,
    results: Int,
](table: TablePtr):
    var one: ElementwiseFn = single
    var two: ElementwiseFn = double
    var half: ElementwiseFn = narrow[single, FLOAT16, 2, inputs, results]
    var brain: ElementwiseFn = narrow[single, BFLOAT16, 2, inputs, results]
    table[].kernels[COMPLEX64] = address_of(one)
    table[].kernels[COMPLEX128] = address_of(two)
    table[].kernels[COMPLEX32] = address_of(half)
    table[].kernels[BCOMPLEX32] = address_of(brain)


def unary[F: ComplexUnary](name: StaticString, index: Int = -1):
    """Gives an op its complex kernels; `index` tells which table where the op has several."""
    _join[unary_pairs[F, DType.float32], unary_pairs[F, DType.float64], 1, PAIRS](table_of_op(name, index))


def part[F: ComplexPart](name: StaticString, index: Int = -1):
    _join[part_of_pairs[F, DType.float32], part_of_pairs[F, DType.float64], 1, PARTS](table_of_op(name, index))


def predicate[F: ComplexPredicate](name: StaticString, index: Int = -1):
    _join[predicate_pairs[F, DType.float32], predicate_pairs[F, DType.float64], 1, BOOLS](table_of_op(name, index))


def binary[F: ComplexBinary](name: StaticString, index: Int = -1):
    _join[binary_pairs[F, DType.float32], binary_pairs[F, DType.float64], 2, PAIRS](table_of_op(name, index))


def comparison[F: ComplexComparison](name: StaticString, index: Int = -1):
    _join[comparison_pairs[F, DType.float32], comparison_pairs[F, DType.float64], 2, BOOLS](table_of_op(name, index))


def ternary[F: ComplexTernary](name: StaticString, index: Int = -1):
    _join[ternary_pairs[F, DType.float32], ternary_pairs[F, DType.float64], 3, PAIRS](table_of_op(name, index))


def unary_by_parts[F: Unary](name: StaticString, index: Int = -1):
    comptime single = each_part[F, DType.float32]
    _join[single, each_part[F, DType.float64], 1, PAIRS](table_of_op(name, index))


def binary_by_parts[F: Binary](name: StaticString, index: Int = -1):
    _join[by_parts[F, DType.float32], by_parts[F, DType.float64], 2, PAIRS](table_of_op(name, index))
