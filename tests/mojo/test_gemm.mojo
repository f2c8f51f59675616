"""GEMM against a plain triple loop: shapes around every tile edge, strides, alpha, beta, bias, dtypes, batches."""
from std.atomic import Atomic
from std.ffi import c_int, external_call
from std.math import isnan, nan
from std.memory import Pointer
from std.memory.alloc import unsafe_alloc
from std.testing import TestSuite, assert_equal, assert_true

from kernels.gemm import gemm, gemm_batched
from kernels.gemm_micro import Ptr, acc_dtype, at, ptr
from tensor.threads import set_num_threads, stop_threads


struct Numbers:
    """A small generator of values that are exact in every dtype."""

    var state: UInt64

    def __init__(out self):
        self.state = 88172645463325252

    def next(mut self, low: Int, high: Int) -> Int:
        self.state ^= self.state << 13
        self.state ^= self.state >> 7
        self.state ^= self.state << 17
        return low + Int(self.state % UInt64(high - low + 1))


@fieldwise_init
struct Strides(ImplicitlyCopyable, Movable):
    """Element strides of a rows x cols matrix, its first element, and the size of what holds it."""

    var rs: Int
    var cs: Int
    var start: Int
    var size: Int


comptime ROWS = 0
comptime COLUMNS = 1
comptime APART = 2
comptime BACKWARDS = 3
comptime PADDED = 4


def layout(kind: Int, rows: Int, cols: Int) -> Strides:
    var r = max(rows, 1)
    var c = max(cols, 1)
    if kind == ROWS:
        return Strides(c, 1, 0, r * c)
    if kind == COLUMNS:
        return Strides(1, r, 0, r * c)
    if kind == APART:
        return Strides(3 * c + 1, 3, 2, (3 * c + 1) * r + 3)
    if kind == BACKWARDS:
        return Strides(-c, -1, r * c - 1, r * c)
    return Strides(c + 5, 1, 3, (c + 5) * r + 3)


def check[
    dt: DType
](
    m: Int,
    n: Int,
    k: Int,
    la: Int = ROWS,
    lb: Int = ROWS,
    lc: Int = ROWS,
    alpha: Int = 1,
    beta: Int = 0,
    with_bias: Bool = False,
) raises:
    """The values are small integers: every dtype gives exact sums, so the comparison is for equality."""
    comptime acc = acc_dtype[dt]()
    var g = Numbers()
    var sa = layout(la, m, k)
    var sb = layout(lb, k, n)
    var sc = layout(lc, m, n)
    var a = unsafe_alloc[Scalar[dt]](sa.size)
    var b = unsafe_alloc[Scalar[dt]](sb.size)
    var c = unsafe_alloc[Scalar[dt]](sc.size)
    var want = unsafe_alloc[Scalar[dt]](sc.size)
    var bias = unsafe_alloc[Scalar[dt]](max(n, 1))
    comptime low = 0 if dt.is_unsigned() else -1
    for i in range(sa.size):
        a[unsafe_offset=i] = Scalar[dt](g.next(low, 1))
    for i in range(sb.size):
        b[unsafe_offset=i] = Scalar[dt](g.next(low, 1))
    for i in range(sc.size):
        c[unsafe_offset=i] = Scalar[dt](g.next(0, 3))
        comptime if dt.is_floating_point():
            if beta == 0:
                c[unsafe_offset=i] = nan[dt]()  # must not be read
        want[unsafe_offset=i] = c[unsafe_offset=i]
    for i in range(n):
        bias[unsafe_offset=i] = Scalar[dt](g.next(0, 3))
    for i in range(m):
        for j in range(n):
            var s = Scalar[acc](0)
            for p in range(k):
                s += (
                    a[unsafe_offset=sa.start + i * sa.rs + p * sa.cs].cast[acc]()
                    * b[unsafe_offset=sb.start + p * sb.rs + j * sb.cs].cast[acc]()
                )
            s *= Scalar[acc](alpha)
            var at_ = sc.start + i * sc.rs + j * sc.cs
            if beta != 0:
                s += Scalar[acc](beta) * c[unsafe_offset=at_].cast[acc]()
            if with_bias:
                s += bias[unsafe_offset=j].cast[acc]()
            want[unsafe_offset=at_] = s.cast[dt]()
    gemm[dt](
        m,
        n,
        k,
        Scalar[acc](alpha),
        at[dt](Int(a), sa.start),
        sa.rs,
        sa.cs,
        at[dt](Int(b), sb.start),
        sb.rs,
        sb.cs,
        Scalar[acc](beta),
        at[dt](Int(c), sc.start),
        sc.rs,
        sc.cs,
        Int(bias) if with_bias else 0,
    )
    for i in range(sc.size):
        var x = c[unsafe_offset=i]
        var y = want[unsafe_offset=i]
        var same = x == y
        comptime if dt.is_floating_point():
            same = same or (isnan(x) and isnan(y))
        if not same:
            raise Error(t"{dt} {m}x{n}x{k} layouts {la} {lb} {lc} alpha {alpha} beta {beta}: at {i} {x}, expected {y}")
    a.unsafe_free()
    b.unsafe_free()
    c.unsafe_free()
    want.unsafe_free()
    bias.unsafe_free()


def shapes[dt: DType](layouts: Int) raises:
    var edges = [1, 2, 4, 5, 13, 14, 15, 16, 17, 31, 33, 65]
    for m in edges:
        for n in edges:
            for k in [1, 3, 17, 40]:
                var g = (m * 7 + n * 3 + k) % (layouts * layouts)
                check[dt](m, n, k, g % layouts, g // layouts)


def test_shapes_float32() raises:
    shapes[DType.float32](5)


def test_shapes_float64() raises:
    shapes[DType.float64](5)


def test_shapes_others() raises:
    for m in [1, 5, 15, 33]:
        for n in [1, 10, 33, 70]:
            for k in [1, 7, 40]:
                for la in range(3):
                    for lb in range(3):
                        check[DType.bfloat16](m, n, k, la, lb, beta=k % 2)
                        check[DType.float16](m, n, k, la, lb, beta=k % 2)
                        check[DType.int8](m, n, k, la, lb, beta=k % 2)
                        check[DType.int64](m, n, k, la, lb, beta=k % 2)
                check[DType.uint8](m, n, k)
                check[DType.int16](m, n, k)
                check[DType.int32](m, n, k)


def test_few_rows() raises:
    """Dot products and axpy, with whole and partial tiles of them."""
    for m in [1, 2, 3, 4, 5, 7, 16, 17]:
        for k in [1, 40, 128, 200]:
            for n in [1, 2, 6, 19, 300]:
                for with_bias in range(2):
                    var beta = (m + n) % 2
                    check[DType.float32](m, n, k, ROWS, COLUMNS, ROWS, 1, beta, with_bias == 1)
                    check[DType.bfloat16](m, n, k, ROWS, COLUMNS, ROWS, 1, beta, with_bias == 1)
                check[DType.float32](n, m, k, ROWS, COLUMNS, COLUMNS)
                check[DType.float16](n, m, k, ROWS, COLUMNS, COLUMNS)
                check[DType.float64](m, n, k, ROWS, ROWS, ROWS, 2, 1)
                check[DType.float64](m, n, k, COLUMNS, APART, APART, 2, 1)


def test_layouts() raises:
    for la in range(5):
        for lb in range(5):
            for lc in range(5):
                for shape in range(4):
                    var m = [1, 3, 30, 50][shape]
                    var n = [37, 2, 1, 70][shape]
                    check[DType.float32](m, n, 20, la, lb, lc, 2, shape % 2)
                    check[DType.float64](m, n, 20, la, lb, lc, 1, 3)
                    check[DType.float32](m, n, 20, la, lb, lc, 1, 1, True)


def test_alpha_beta_bias() raises:
    for alpha in range(-1, 3):
        for beta in range(3):
            for with_bias in range(2):
                for m in [1, 4, 40]:
                    check[DType.float32](m, 45, 300, alpha=alpha, beta=beta, with_bias=with_bias == 1)
                    check[DType.float32](m, 45, 30, lb=COLUMNS, alpha=alpha, beta=beta, with_bias=with_bias == 1)
                    check[DType.float64](m, 9, 30, alpha=alpha, beta=beta, with_bias=with_bias == 1)
                    check[DType.bfloat16](m, 45, 30, alpha=alpha, beta=beta, with_bias=with_bias == 1)
                    check[DType.int32](m, 45, 30, alpha=alpha, beta=beta, with_bias=with_bias == 1)


def test_large() raises:
    check[DType.float32](300, 520, 700)
    check[DType.float32](300, 130, 600, COLUMNS, COLUMNS)
    check[DType.float32](300, 130, 600, ROWS, COLUMNS, COLUMNS, 2, 1)
    check[DType.float32](130, 270, 300, ROWS, APART, APART, 2, 1)
    check[DType.float64](200, 270, 530, ROWS, COLUMNS, beta=1)
    check[DType.float32](700, 10, 600)
    check[DType.float32](10, 700, 600, COLUMNS, ROWS)
    check[DType.float32](1, 5000, 300)
    check[DType.float32](5000, 1, 300)
    check[DType.float32](1, 300, 5000, ROWS, COLUMNS)
    check[DType.float32](8100, 33, 9, ROWS, ROWS, beta=1)
    check[DType.float32](33, 8200, 9, ROWS, COLUMNS, with_bias=True)
    check[DType.bfloat16](1100, 40, 20)
    check[DType.int64](40, 1100, 300)


def test_deep() raises:
    """More packed memory than one pass may take: k is cut."""
    check[DType.float32](200, 264, 12000)
    check[DType.bfloat16](3, 10, 100_000)


def test_empty_and_k_zero() raises:
    check[DType.float32](0, 5, 4)
    check[DType.float32](5, 0, 4)
    for beta in range(3):
        for lc in range(3):
            check[DType.float32](5, 6, 0, lc=lc, beta=beta)
            check[DType.float32](5, 6, 0, lc=lc, beta=beta, with_bias=True)
            check[DType.int8](5, 6, 0, lc=lc, beta=beta)
            check[DType.bfloat16](5, 6, 0, lc=lc, beta=beta)


def test_zero_strides() raises:
    """Broadcast operands: every row of A, every column of B the same."""
    var a = unsafe_alloc[Float32](40)
    var c = unsafe_alloc[Float32](30 * 50)
    for i in range(40):
        a[unsafe_offset=i] = Float32(i)
    gemm[DType.float32](30, 50, 40, 1, Int(a), 0, 1, Int(a), 1, 0, 0, Int(c), 50, 1)
    for i in range(30 * 50):
        assert_equal(c[unsafe_offset=i], 20540)
    a.unsafe_free()
    c.unsafe_free()


def test_nan_and_infinity_spread_only_where_they_should() raises:
    var a = unsafe_alloc[Float32](20 * 20)
    var c = unsafe_alloc[Float32](20 * 20)
    for i in range(400):
        a[unsafe_offset=i] = 1
    a[unsafe_offset=3 * 20 + 4] = nan[DType.float32]()
    gemm[DType.float32](20, 20, 20, 1, Int(a), 20, 1, Int(a), 20, 1, 0, Int(c), 20, 1)
    for i in range(20):
        for j in range(20):
            assert_equal(isnan(c[unsafe_offset=i * 20 + j]), i == 3 or j == 4)
    a.unsafe_free()
    c.unsafe_free()


def batched(count: Int, m: Int, n: Int, k: Int) raises:
    var a = unsafe_alloc[Float32](count * m * k)
    var b = unsafe_alloc[Float32](k * n)
    var c = unsafe_alloc[Float32](count * m * n)
    var want = unsafe_alloc[Float32](count * m * n)
    var offsets = unsafe_alloc[Int](3 * count)
    var g = Numbers()
    for i in range(count * m * k):
        a[unsafe_offset=i] = Float32(g.next(-2, 2))
    for i in range(k * n):
        b[unsafe_offset=i] = Float32(g.next(-2, 2))
    for i in range(count):
        offsets[unsafe_offset=i] = (count - 1 - i) * m * k
        offsets[unsafe_offset=count + i] = 0
        offsets[unsafe_offset=2 * count + i] = i * m * n
        var address = at[DType.float32](Int(a), (count - 1 - i) * m * k)
        var to = at[DType.float32](Int(want), i * m * n)
        gemm[DType.float32](m, n, k, 1, address, k, 1, Int(b), n, 1, 0, to, n, 1)
    gemm_batched[DType.float32](
        count,
        m,
        n,
        k,
        1,
        Int(a),
        k,
        1,
        Int(offsets),
        Int(b),
        n,
        1,
        Int(offsets) + 8 * count,
        0,
        Int(c),
        n,
        1,
        Int(offsets) + 16 * count,
    )
    for i in range(count * m * n):
        assert_equal(c[unsafe_offset=i], want[unsafe_offset=i])
    a.unsafe_free()
    b.unsafe_free()
    c.unsafe_free()
    want.unsafe_free()
    offsets.unsafe_free()


def test_batched() raises:
    batched(1, 5, 6, 7)
    batched(40, 5, 6, 7)
    batched(3, 100, 90, 80)
    batched(17, 33, 40, 20)


def test_result_does_not_depend_on_threads() raises:
    """Bit for bit: sums of fractions, where another order would show."""
    var m = 150
    var n = 170
    var k = 600
    var a = unsafe_alloc[Float32](m * k)
    var b = unsafe_alloc[Float32](k * n)
    var c = unsafe_alloc[Float32](m * n)
    var first = unsafe_alloc[Float32](m * n)
    var g = Numbers()
    for i in range(m * k):
        a[unsafe_offset=i] = Float32(g.next(-1000, 1000)) / 777
    for i in range(k * n):
        b[unsafe_offset=i] = Float32(g.next(-1000, 1000)) / 777
    for nt in range(1, 5):
        set_num_threads(nt)
        gemm[DType.float32](m, n, k, 1, Int(a), k, 1, Int(b), n, 1, 0, Int(c), n, 1)
        for i in range(m * n):
            if nt == 1:
                first[unsafe_offset=i] = c[unsafe_offset=i]
            assert_equal(c[unsafe_offset=i], first[unsafe_offset=i])
    set_num_threads(2)
    a.unsafe_free()
    b.unsafe_free()
    c.unsafe_free()
    first.unsafe_free()


struct Rival:
    var stop: Atomic[Int64]
    var rounds: Atomic[Int64]
    var wrong: Atomic[Int64]


def rival(arg: Int) abi("C") -> Int:
    """Products on a second thread while the test has its own: neither may see the other's scratch memory."""
    var r = Pointer[Rival, MutUntrackedOrigin](unsafe_from_address=arg)
    while r[].stop.load() == 0:
        try:
            check[DType.float32](120, 130, 140, COLUMNS, COLUMNS)
            check[DType.bfloat16](60, 70, 80)
        except:
            _ = r[].wrong.fetch_add(1)
        _ = r[].rounds.fetch_add(1)
    return 0


def test_two_callers_at_once() raises:
    var words = unsafe_alloc[Int64](4)
    for i in range(4):
        words[unsafe_offset=i] = 0
    var r = Pointer[Rival, MutUntrackedOrigin](unsafe_from_address=Int(words))
    var f: def(Int) thin abi("C") -> Int = rival
    var start = Pointer(to=f).unsafe_bitcast[Int]()[]
    assert_equal(external_call["pthread_create", c_int](Int(words) + 24, Int(0), start, Int(words)), 0)
    while r[].rounds.load() < 30:
        check[DType.float32](130, 120, 150, ROWS, COLUMNS)
        check[DType.float64](60, 90, 70, COLUMNS)
    _ = r[].stop.fetch_add(1)
    assert_equal(external_call["pthread_join", c_int](words[unsafe_offset=3], Int(0)), 0)
    assert_equal(words[unsafe_offset=2], 0)
    words.unsafe_free()


def main() raises:
    TestSuite.discover_tests[__functions_in_module()]().run()
    stop_threads()
