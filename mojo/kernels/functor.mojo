"""Functors: what a pointwise op computes, and the contiguous kernels and tables made from it.

A pointwise op is a struct with one static `apply` over SIMD values. `unary_table`, `binary_table`, ... instantiate its
contiguous kernel for every dtype that it supports and collect the kernels in a `Table`, which the driver
(kernels/driver.mojo) runs. Half types compute in float32: in registers for cheap functors, through a block of L1
scratch and the float32 kernel for `heavy` ones (so that their code exists once).

The end of a block is computed with masked loads and stores: the lanes beyond it hold ones.
"""

from std.math import iota
from std.memory import Pointer, bitcast, stack_allocation
from std.reflection import reflect
from std.sys.info import simd_width_of, size_of
from std.sys.intrinsics import masked_load, masked_store
from tensor.dtype import BOOL, NUM_DTYPES, complex_of, complex_part, dtype_of, itemsize
from tensor.loop import ElementwiseFn
from tensor.memory import Numbers, Words, address_of, at, c_string, function_at, zeroed

# How an op's result dtype follows from its operands' common dtype.
comptime SAME = 0  # the common dtype
comptime FLOAT = 1  # integers and bool become the default float
comptime COUNT = 3  # bool becomes int64
comptime OWN = 4  # the first operand's dtype, whatever the others are
comptime PART = 5  # computed in the common dtype; of complex numbers the result has their parts' dtype
comptime PAIR = 6  # computed in a floating dtype, the result is complex
comptime TO_BOOL = 2  # computed in the common dtype, the result is bool

comptime SMALL_LOOP = 32768
comptime MAX_NUMBERS = 8  # extra numbers that a functor can be given
comptime IMAGINARY = 4  # extra number i is complex: its imaginary part is extra number IMAGINARY + i
comptime FAULT = 7  # the number that a functor sets when an element cannot be computed


struct Table:
    """One pointwise op: its contiguous kernel for every compute dtype (0: not supported), its dtype rule."""

    var kernels: Array[Int, NUM_DTYPES]
    var rule: Int
    var inputs: Int
    var grain: Int  # elements worth one parallel task
    var functor: Int  # C string: the functor's name, by which an accelerator finds its kernels
    var device: Int  # the accelerator's kernels, once looked up; -1: it has none
    var mask: Int  # the operand that is a bool mask and has no part in promotion, -1: none
    var wide: Bool  # numbers beside half types are float32
    var label: Int  # C string: what errors call the op where that is not its name


comptime TablePtr = Pointer[Table, MutUntrackedOrigin]


def new_table(rule: Int, inputs: Int, label: StaticString, functor: String) -> TablePtr:
    var t = zeroed[Table]()
    t[].functor = c_string(functor)
    t[].rule = rule
    t[].inputs = inputs
    t[].grain = SMALL_LOOP
    t[].mask = -1
    if label != "":
        t[].label = c_string(String(label))
    return t


def functor_name[F: AnyType]() -> String:
    """A functor's qualified name, such as kernels.binary.Add: the same in every extension built from these sources."""
    return String(reflect[F].name())


# ---------------------------------------------------------------- functors


trait Unary:
    """out = apply(x), computed in x's dtype (float32 for half types). `params` are the op's extra numbers."""

    @staticmethod
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        ...


trait Predicate:
    """out = apply(x), a bool."""

    @staticmethod
    def apply[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        ...


trait Binary:
    """out = apply(a, b) in the operands' common dtype."""

    @staticmethod
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        ...


trait Comparison:
    """out = apply(a, b), a bool."""

    @staticmethod
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[DType.bool, w]:
        ...


trait Ternary:
    """out = apply(a, b, c) in the operands' common dtype."""

    @staticmethod
    def apply[dt: DType, w: SIMDLength](a: SIMD[dt, w], b: SIMD[dt, w], c: SIMD[dt, w], params: Numbers) -> SIMD[dt, w]:
        ...


@always_inline
def number[dt: DType, w: SIMDLength](params: Numbers, i: Int) -> SIMD[dt, w]:
    """The i-th extra number, in every lane."""
    comptime if dt.is_integral():
        # by int64: a negative number wraps in an unsigned type
        return SIMD[dt, w](params[unsafe_offset=i].cast[DType.int64]().cast[dt]())
    else:
        return SIMD[dt, w](params[unsafe_offset=i].cast[dt]())


@always_inline
def result_code(rule: Int, code: Int) -> Int:
    """The dtype of an op's results by its rule and the dtype that it computes in."""
    if rule == TO_BOOL:
        return BOOL
    if rule >= PART:
        return complex_part(code) if rule == PART else complex_of(code)
    return code


# ---------------------------------------------------------------- memory to lanes

comptime is_half[dt: DType]: Bool = dt == DType.float16 or dt == DType.bfloat16
comptime width_of[dt: DType]: Int = simd_width_of[DType.float32]() if size_of[Scalar[dt]]() < 4 else simd_width_of[dt]()
comptime compute[dt: DType]: DType = DType.float32 if is_half[dt] else dt
# Bools are bytes in memory; masks work on plain integers for types that the CPU does not compute in.
comptime stored[dt: DType]: DType = (DType.uint8 if dt == DType.bool else DType.uint16 if is_half[dt] else dt)


@always_inline
def _from_memory[dt: DType, w: Int](x: SIMD[stored[dt], w]) -> SIMD[compute[dt], w]:
    comptime if dt == DType.bool:
        return x.ne(SIMD[stored[dt], w](0))._refine[compute[dt], w]()
    elif is_half[dt]:
        return bitcast[dt](x).cast[compute[dt]]()
    else:
        return x._refine[compute[dt], w]()


@always_inline
def _to_memory[dt: DType, w: Int](x: SIMD[compute[dt], w]) -> SIMD[stored[dt], w]:
    comptime if dt == DType.bool:
        return x.cast[stored[dt]]()
    elif is_half[dt]:
        return bitcast[stored[dt]](x.cast[dt]())
    else:
        return x._refine[stored[dt], w]()


@always_inline
def load_lanes[dt: DType, w: Int](address: Int, i: Int) -> SIMD[compute[dt], w]:
    """Elements i .. i + w of a block, in the type that they are computed in."""
    return _from_memory[dt, w](at[Scalar[stored[dt]]](address).unsafe_load[width=w](i))


@always_inline
def load_some[dt: DType, w: Int](address: Int, i: Int, n: Int) -> SIMD[compute[dt], w]:
    """Elements i .. n, fewer than w; ones in the other lanes."""
    var p = at[Scalar[stored[dt]]](address).unsafe_offset(i)
    var one = _to_memory[dt, w](SIMD[compute[dt], w](1))
    return _from_memory[dt, w](masked_load[w](p, _first[w](n - i), one))


@always_inline
def store_lanes[dt: DType, w: Int](address: Int, i: Int, value: SIMD[compute[dt], w]):
    at[Scalar[stored[dt]]](address).unsafe_store(i, _to_memory[dt, w](value))


@always_inline
def store_some[dt: DType, w: Int](address: Int, i: Int, n: Int, value: SIMD[compute[dt], w]):
    masked_store(_to_memory[dt, w](value), at[Scalar[stored[dt]]](address).unsafe_offset(i), _first[w](n - i))


@always_inline
def _first[w: Int](n: Int) -> SIMD[DType.bool, w]:
    return iota[DType.int32, w]().lt(SIMD[DType.int32, w](Int32(n)))


@always_inline
def load_at[dt: DType, w: Int](address: Int, i: Int) -> SIMD[dt, w]:
    """Elements i .. i + w as they are. Bools are bytes in memory."""
    comptime if dt == DType.bool:
        return at[UInt8](address).unsafe_load[width=w](i).ne(SIMD[DType.uint8, w](0))._refine[dt, w]()
    else:
        return at[Scalar[dt]](address).unsafe_load[width=w](i)


@always_inline
def store_at[dt: DType, w: Int](address: Int, i: Int, value: SIMD[dt, w]):
    comptime if dt == DType.bool:
        at[UInt8](address).unsafe_store(i, value.cast[DType.uint8]())
    else:
        at[Scalar[dt]](address).unsafe_store(i, value)


# ---------------------------------------------------------------- contiguous kernels: (output, inputs ...), n elements


def unary_kernel[F: Unary, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = width_of[dt]
    var o = blocks[]
    var a = blocks[unsafe_offset=1]
    var i = 0
    while i + W <= n:
        store_lanes[dt, W](o, i, F.apply(load_lanes[dt, W](a, i), params))
        i += W
    if i < n:
        store_some[dt, W](o, i, n, F.apply(load_some[dt, W](a, i, n), params))


def predicate_kernel[F: Predicate, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = width_of[dt]
    var o = blocks[]
    var a = blocks[unsafe_offset=1]
    var i = 0
    while i + W <= n:
        store_lanes[DType.bool, W](o, i, F.apply(load_lanes[dt, W](a, i)))
        i += W
    if i < n:
        store_some[DType.bool, W](o, i, n, F.apply(load_some[dt, W](a, i, n)))


def binary_kernel[F: Binary, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = width_of[dt]
    var o = blocks[]
    var a = blocks[unsafe_offset=1]
    var b = blocks[unsafe_offset=2]
    var i = 0
    while i + W <= n:
        store_lanes[dt, W](o, i, F.apply(load_lanes[dt, W](a, i), load_lanes[dt, W](b, i), params))
        i += W
    if i < n:
        store_some[dt, W](o, i, n, F.apply(load_some[dt, W](a, i, n), load_some[dt, W](b, i, n), params))


def comparison_kernel[F: Comparison, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = width_of[dt]
    var o = blocks[]
    var a = blocks[unsafe_offset=1]
    var b = blocks[unsafe_offset=2]
    var i = 0
    while i + W <= n:
        store_lanes[DType.bool, W](o, i, F.apply(load_lanes[dt, W](a, i), load_lanes[dt, W](b, i)))
        i += W
    if i < n:
        store_some[DType.bool, W](o, i, n, F.apply(load_some[dt, W](a, i, n), load_some[dt, W](b, i, n)))


def ternary_kernel[F: Ternary, dt: DType](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    comptime W = width_of[dt]
    var o = blocks[]
    var a = blocks[unsafe_offset=1]
    var b = blocks[unsafe_offset=2]
    var c = blocks[unsafe_offset=3]
    var i = 0
    while i + W <= n:
        store_lanes[dt, W](
            o, i, F.apply(load_lanes[dt, W](a, i), load_lanes[dt, W](b, i), load_lanes[dt, W](c, i), params)
        )
        i += W
    if i < n:
        store_some[dt, W](
            o, i, n, F.apply(load_some[dt, W](a, i, n), load_some[dt, W](b, i, n), load_some[dt, W](c, i, n), params)
        )


comptime HALF_BLOCK = 512


def half_kernel[
    f: def(Words, Int, Numbers) thin abi("C") -> None, dt: DType, inputs: Int
](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    """Runs a float32 kernel on half-precision blocks, through scratch."""
    comptime W = width_of[dt]
    var scratch = stack_allocation[(inputs + 1) * HALF_BLOCK, Float32, alignment=64]()
    var inner = stack_allocation[inputs + 1, Int]()
    comptime for k in range(inputs + 1):
        inner[unsafe_offset=k] = Int(scratch) + 4 * k * HALF_BLOCK
    var start = 0
    while start < n:
        var m = min(HALF_BLOCK, n - start)
        comptime for k in range(1, inputs + 1):
            var source = blocks[unsafe_offset=k] + 2 * start
            var p = scratch.unsafe_offset(k * HALF_BLOCK)
            var i = 0
            while i < m:
                # scratch is longer than m: whole vectors are stored
                if i + W <= m:
                    p.unsafe_store(i, load_lanes[dt, W](source, i).cast[DType.float32]())
                else:
                    p.unsafe_store(i, load_some[dt, W](source, i, m).cast[DType.float32]())
                i += W
        f(inner.as_unsafe_any_origin(), m, params)
        var target = blocks[] + 2 * start
        var i = 0
        while i < m:
            var r = scratch.unsafe_load[width=W](i).cast[compute[dt]]()
            if i + W <= m:
                store_lanes[dt, W](target, i, r)
            else:
                store_some[dt, W](target, i, m, r)
            i += W
        start += m


def select_kernel[dt: DType, mask_at: Int](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    """The output is a where the mask is true, else b: bits are moved, so one kernel an element size.

    The mask is input `mask_at`; the two others are a and b in their order, but b and a when the mask is input 2."""
    comptime W = simd_width_of[dt]()
    comptime first = 2 if mask_at == 1 else 3
    comptime second = 3 if mask_at == 1 else 1
    var o = blocks[]
    var m = blocks[unsafe_offset=mask_at]
    var a = blocks[unsafe_offset=first]
    var b = blocks[unsafe_offset=second]
    var i = 0
    while i + W <= n:
        var mask = load_lanes[DType.bool, W](m, i)
        var x = at[Scalar[dt]](a).unsafe_load[width=W](i)
        at[Scalar[dt]](o).unsafe_store(i, mask.select(x, at[Scalar[dt]](b).unsafe_load[width=W](i)))
        i += W
    while i < n:
        var source = a if at[UInt8](m)[unsafe_offset=i] != 0 else b
        at[Scalar[dt]](o)[unsafe_offset=i] = at[Scalar[dt]](source)[unsafe_offset=i]
        i += 1


def select_pairs_kernel[mask_at: Int](blocks: Words, n: Int, params: Numbers) abi("C") -> None:
    """The same for elements of 16 bytes."""
    comptime first = 2 if mask_at == 1 else 3
    comptime second = 3 if mask_at == 1 else 1
    var m = blocks[unsafe_offset=mask_at]
    for i in range(n):
        var source = blocks[unsafe_offset=first] if at[UInt8](m)[unsafe_offset=i] != 0 else blocks[unsafe_offset=second]
        at[UInt64](blocks[]).unsafe_store(2 * i, at[UInt64](source).unsafe_load[width=2](2 * i))


# ---------------------------------------------------------------- tables

# Which dtypes an op supports: bit i for dtype code i.
comptime BOOLS = 1
comptime INTS = 0x3E  # uint8, int8 .. int64
comptime UINTS = 0x1C0  # uint16, uint32, uint64
comptime HALVES = 0x600
comptime FLOATS = 0x1E00
comptime ALL_INTS = INTS | UINTS
comptime REAL = INTS | FLOATS  # what PyTorch's arithmetic supports
comptime ALL = BOOLS | REAL
comptime EVERY = ALL | UINTS


def unary_table[F: Unary, dtypes: Int, heavy: Bool = False](rule: Int, label: StaticString = "") -> Int:
    var t = new_table(rule, 1, label, functor_name[F]())
    comptime for c in range(13):
        comptime if dtypes & (1 << c) != 0:
            comptime if heavy and is_half[dtype_of[c]]:
                var f: ElementwiseFn = half_kernel[unary_kernel[F, DType.float32], dtype_of[c], 1]
                t[].kernels[c] = address_of(f)
            else:
                var f: ElementwiseFn = unary_kernel[F, dtype_of[c]]
                t[].kernels[c] = address_of(f)
    return Int(t)


def predicate_table[F: Predicate, dtypes: Int](label: StaticString = "") -> Int:
    var t = new_table(TO_BOOL, 1, label, functor_name[F]())
    comptime for c in range(13):
        comptime if dtypes & (1 << c) != 0:
            var f: ElementwiseFn = predicate_kernel[F, dtype_of[c]]
            t[].kernels[c] = address_of(f)
    return Int(t)


def binary_table[F: Binary, dtypes: Int, heavy: Bool = False](rule: Int, label: StaticString = "") -> Int:
    var t = new_table(rule, 2, label, functor_name[F]())
    comptime for c in range(13):
        comptime if dtypes & (1 << c) != 0:
            comptime if heavy and is_half[dtype_of[c]]:
                var f: ElementwiseFn = half_kernel[binary_kernel[F, DType.float32], dtype_of[c], 2]
                t[].kernels[c] = address_of(f)
            else:
                var f: ElementwiseFn = binary_kernel[F, dtype_of[c]]
                t[].kernels[c] = address_of(f)
    return Int(t)


def comparison_table[F: Comparison, dtypes: Int](label: StaticString = "") -> Int:
    var t = new_table(TO_BOOL, 2, label, functor_name[F]())
    comptime for c in range(13):
        comptime if dtypes & (1 << c) != 0:
            var f: ElementwiseFn = comparison_kernel[F, dtype_of[c]]
            t[].kernels[c] = address_of(f)
    return Int(t)


def ternary_table[F: Ternary, dtypes: Int, heavy: Bool = False](rule: Int, label: StaticString = "") -> Int:
    var t = new_table(rule, 3, label, functor_name[F]())
    comptime for c in range(13):
        comptime if dtypes & (1 << c) != 0:
            comptime if heavy and is_half[dtype_of[c]]:
                var f: ElementwiseFn = half_kernel[ternary_kernel[F, DType.float32], dtype_of[c], 3]
                t[].kernels[c] = address_of(f)
            else:
                var f: ElementwiseFn = ternary_kernel[F, dtype_of[c]]
                t[].kernels[c] = address_of(f)
    return Int(t)


def wide(table: Int) -> Int:
    """The table, with numbers beside half types computed in float32."""
    TablePtr(unsafe_from_address=table)[].wide = True
    return table


def tables(tables: List[Int]) -> Int:
    """Several tables as one op's data."""
    var p = zeroed[Int](len(tables))
    for i in range(len(tables)):
        p[unsafe_offset=i] = tables[i]
    return Int(p)


def select_table[mask_at: Int](rule: Int, label: StaticString) -> Int:
    """Every dtype, complex ones too."""
    var t = new_table(rule, 3, label, String(t"select{mask_at}"))
    t[].mask = mask_at - 1
    var one: ElementwiseFn = select_kernel[DType.uint8, mask_at]
    var two: ElementwiseFn = select_kernel[DType.uint16, mask_at]
    var four: ElementwiseFn = select_kernel[DType.uint32, mask_at]
    var eight: ElementwiseFn = select_kernel[DType.uint64, mask_at]
    var pair: ElementwiseFn = select_pairs_kernel[mask_at]
    for c in range(NUM_DTYPES):
        var size = itemsize(c)
        if size == 1:
            t[].kernels[c] = address_of(one)
        elif size == 2:
            t[].kernels[c] = address_of(two)
        elif size == 4:
            t[].kernels[c] = address_of(four)
        elif size == 8:
            t[].kernels[c] = address_of(eight)
        else:
            t[].kernels[c] = address_of(pair)
    return Int(t)
