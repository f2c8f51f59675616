"""What a transform of a length needs and what is kept for the next one: its radices, roots of unity, the order of its points.

Roots are computed in float64 to its last bit (the angle is reduced exactly, its rounding error is corrected) and rounded
once. Plans are made, looked up and dropped with the interpreter's lock held.
"""

from std.ffi import _Global, external_call
from std.math import ceildiv, fma
from std.sys.info import size_of
from tensor.memory import Ptr, at, load, store

comptime MAX_PASSES = 40
comptime KEEP_BYTES = 64 << 20
"""Bytes of tables above which plans that nobody uses are dropped."""
comptime WHOLE_TABLE = 1 << 14
"""The longest line whose roots between the two halves of its passes are one table; longer ones multiply two roots."""


@always_inline
def root(j: Int, n: Int, mut re: Float64, mut im: Float64):
    """exp(-2 pi i j / n)."""
    comptime HIGH = 6.283185307179586231996  # 2 pi, rounded
    comptime LOW = 2.4492935982947063545e-16  # what that rounding left
    # reduced to the first eighth of the circle: there sine and cosine lose nothing
    var k = 8 * (j % n)
    var octant = k // n
    var from_edge = octant % 2 == 1
    var r = k - octant * n
    if from_edge:
        r = n - r
    var t = Float64(r)
    var d = 8.0 * Float64(n)
    var product = HIGH * t
    var rest = fma(HIGH, t, -product) + LOW * t
    var angle = product / d
    rest = (fma(-angle, d, product) + rest) / d
    var c = external_call["cos", Float64](angle)
    var s = external_call["sin", Float64](angle)
    var cosine = fma(-s, rest, c)
    var sine = fma(c, rest, s)
    # the angle is octant * 45 degrees plus this one, or (from the edge) the next multiple of 45 degrees minus it
    var quarter = ((octant + 1) // 2) % 4
    if from_edge:
        sine = -sine
    var x = cosine
    var y = sine
    if quarter == 1:
        x = -sine
        y = cosine
    elif quarter == 2:
        x = -cosine
        y = -sine
    elif quarter == 3:
        x = sine
        y = -cosine
    re = x
    im = -y


struct Plan:
    """Of one length and type. All zeros is an empty one."""

    var key: Int
    var n: Int
    var users: Int
    var bytes: Int
    var passes: Int
    var radices: Array[Int, MAX_PASSES]
    var roots: Array[Int, MAX_PASSES]  # of each pass: those of p = 1.., k = 1..radix-1, real and imaginary part
    var order: Int  # Int32: where point k lies after the passes; point n lies behind them
    var halves: Int  # for real transforms of 2n points: exp(-2 pi i k / 2n), k = 0..n, real parts, then imaginary ones
    # For one long line as n = first * second: the plans of both, the roots between them.
    var first: Ptr[Plan]
    var second: Ptr[Plan]
    var between: Int
    var steps: Int  # 0, or the roots by which `between` advances from group to group

    def free_tables(self):
        for i in range(self.passes):
            external_call["free", NoneType](self.roots[i])
        external_call["free", NoneType](self.order)
        external_call["free", NoneType](self.halves)
        external_call["free", NoneType](self.between)
        external_call["free", NoneType](self.steps)


struct _Plans(Movable):
    var found: Dict[Int, Int]
    var bytes: Int

    def __init__(out self):
        self.found = Dict[Int, Int]()
        self.bytes = 0


comptime _PLANS = _Global[StorageType=_Plans, "DUMBTORCH_FFT_PLANS", _Plans.__init__]


def radices_of(n: Int, mut radices: Array[Int, MAX_PASSES]) -> Int:
    """The radices whose product is n; their number, or -1 where a prime factor is too large."""
    var count = 0
    var rest = n
    for p in [13, 11, 7, 5, 3]:
        while rest % p == 0:
            radices[count] = p
            count += 1
            rest //= p
    var twos = 0
    while rest % 2 == 0:
        twos += 1
        rest //= 2
    if rest != 1:
        return -1
    while twos > 4 or twos == 3:
        radices[count] = 8
        count += 1
        twos -= 3
    while twos > 1:
        radices[count] = 4
        count += 1
        twos -= 2
    if twos == 1:
        radices[count] = 2
        count += 1
    return count


def can_transform(n: Int) -> Bool:
    var radices = Array[Int, MAX_PASSES](fill=0)
    return n >= 1 and radices_of(n, radices) >= 0


def _words(count: Int, size: Int, mut bytes: Int) raises -> Int:
    var total = max(count * size, 64)
    var p = external_call["aligned_alloc", Int](Int(64), ceildiv(total, 64) * 64)
    if p == 0:
        raise Error("OutOfMemoryError|torch.fft: no memory for the roots of unity")
    bytes += total
    return p


def _key[dt: DType](n: Int, kind: Int) -> Int:
    return (n << 3) | (kind << 1) | (1 if dt == DType.float64 else 0)


def _new[dt: DType](n: Int, kind: Int) -> Ptr[Plan]:
    var p = at[Plan](external_call["calloc", Int](Int(1), size_of[Plan]()))
    p[].key = _key[dt](n, kind)
    p[].n = n
    return p


@always_inline
def _put[dt: DType](table: Int, i: Int, value: Float64):
    store[Scalar[dt]](table + i * size_of[Scalar[dt]](), value.cast[dt]())


def _make_short[dt: DType](n: Int) raises -> Ptr[Plan]:
    """The plan of passes over a line."""
    var p = _new[dt](n, 0)
    comptime size = size_of[Scalar[dt]]()
    p[].passes = radices_of(n, p[].radices)
    var length = n
    var re = Float64(0)
    var im = Float64(0)
    for i in range(p[].passes):
        var r = p[].radices[i]
        var m = length // r
        var table = _words((m - 1) * (r - 1) * 2, size, p[].bytes)
        var place = 0
        for q in range(1, m):
            for k in range(1, r):
                root(q * k, length, re, im)
                _put[dt](table, place, re)
                _put[dt](table, place + 1, im)
                place += 2
        p[].roots[i] = table
        length = m
    p[].order = _words(n + 1, 4, p[].bytes)
    for k in range(n):
        # the first radix takes the point's number modulo itself, and so on
        var rest = k
        var place = 0
        length = n
        for i in range(p[].passes):
            var r = p[].radices[i]
            length //= r
            place += rest % r * length
            rest //= r
        store[Int32](p[].order + 4 * k, Int32(place))
    store[Int32](p[].order + 4 * n, Int32(n))
    return p


def halves_of[dt: DType](p: Ptr[Plan]) raises -> Int:
    """The roots for real transforms of twice the plan's points, made when first wanted."""
    if p[].halves == 0:
        var n = p[].n
        var bytes = 0
        var table = _words(2 * (n + 1), size_of[Scalar[dt]](), bytes)
        var re = Float64(0)
        var im = Float64(0)
        for k in range(n + 1):
            root(k, 2 * n, re, im)
            _put[dt](table, k, re)
            _put[dt](table, n + 1 + k, im)
        p[].halves = table
        p[].bytes += bytes
        _PLANS.get_or_create_ptr()[].bytes += bytes
    return p[].halves


def _split(n: Int, w: Int) -> Int:
    """The first factor of a long line: near the root, with little waste in groups of w."""
    var best = 1
    var least = Float64(1e300)
    for a in range(1, n + 1):
        if a * a > n * 64:
            break
        if n % a != 0:
            continue
        var b = n // a
        var work = Float64(ceildiv(b, w) * w * a) + Float64(ceildiv(a, w) * w * b)
        # passes over a buffer beyond the first cache cost more
        work *= 1.0 + 0.02 * abs(Float64(a) / Float64(b) + Float64(b) / Float64(a))
        if work < least:
            least = work
            best = a
    return best


def _make_long[dt: DType, w: Int](n: Int) raises -> Ptr[Plan]:
    var p = _new[dt](n, 1)
    comptime size = size_of[Scalar[dt]]()
    var a = _split(n, w)
    var b = n // a
    p[].first = plan_of[dt](a)
    p[].second = plan_of[dt](b)
    p[].first[].users += 1
    p[].second[].users += 1
    var groups = ceildiv(b, w)
    var re = Float64(0)
    var im = Float64(0)
    var whole = n <= WHOLE_TABLE
    # [group][point of the first][real, imaginary][lane]
    p[].between = _words((groups if whole else 1) * a * 2 * w, size, p[].bytes)
    for g in range(groups if whole else 1):
        for k in range(a):
            for lane in range(w):
                root(k * ((g * w + lane) % n), n, re, im)
                var place = ((g * a + k) * 2) * w + lane
                _put[dt](p[].between, place, re)
                _put[dt](p[].between, place + w, im)
    if not whole:
        p[].steps = _words(groups * a * 2, size, p[].bytes)
        for g in range(groups):
            for k in range(a):
                root(k * g * w, n, re, im)
                _put[dt](p[].steps, (g * a + k) * 2, re)
                _put[dt](p[].steps, (g * a + k) * 2 + 1, im)
    return p


def _add(plan: Ptr[Plan]) raises -> Ptr[Plan]:
    var plans = _PLANS.get_or_create_ptr()
    plans[].bytes += plan[].bytes
    plans[].found[plan[].key] = Int(plan)
    return plan


def _find(key: Int) raises -> Int:
    var plans = _PLANS.get_or_create_ptr()
    var found = plans[].found.get(key)
    return found.value() if found else 0


def plan_of[dt: DType](n: Int) raises -> Ptr[Plan]:
    """The plan of passes over lines of n points. A caller that gives the interpreter's lock up counts as a user first.
    """
    var found = _find(_key[dt](n, 0))
    return at[Plan](found) if found != 0 else _add(_make_short[dt](n))


def long_plan_of[dt: DType, w: Int](n: Int) raises -> Ptr[Plan]:
    """The plan of one long line in two halves."""
    var found = _find(_key[dt](n, 1))
    return at[Plan](found) if found != 0 else _add(_make_long[dt, w](n))


def drop_plans():
    """Drops the plans that nobody uses once there are many. Long ones hold their parts."""
    try:
        var plans = _PLANS.get_or_create_ptr()
        if plans[].bytes <= KEEP_BYTES:
            return
        for kind in [1, 0]:
            var idle = List[Int]()
            for item in plans[].found.items():
                var p = at[Plan](item.value)
                if p[].users == 0 and (p[].key >> 1 & 3) == kind:
                    idle.append(item.key)
            for key in idle:
                var p = at[Plan](plans[].found[key])
                if kind == 1:
                    p[].first[].users -= 1
                    p[].second[].users -= 1
                plans[].bytes -= p[].bytes
                p[].free_tables()
                _ = plans[].found.pop(key)
                external_call["free", NoneType](Int(p))
    except:
        pass
