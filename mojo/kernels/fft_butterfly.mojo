"""Discrete Fourier transforms of a few points in registers: what the passes of the transforms are made of."""

from std.math import fma


@fieldwise_init
struct Z[dt: DType, w: Int](TrivialRegisterPassable):
    """Complex numbers, one a lane."""

    var re: SIMD[Self.dt, Self.w]
    var im: SIMD[Self.dt, Self.w]

    @always_inline
    def __add__(self, b: Self) -> Self:
        return Self(self.re + b.re, self.im + b.im)

    @always_inline
    def __sub__(self, b: Self) -> Self:
        return Self(self.re - b.re, self.im - b.im)

    @always_inline
    def conj(self) -> Self:
        return Self(self.re, -self.im)

    @always_inline
    def turned(self) -> Self:
        """-i z."""
        return Self(self.im, -self.re)

    @always_inline
    def times(self, re: SIMD[Self.dt, Self.w], im: SIMD[Self.dt, Self.w]) -> Self:
        return Self(fma(self.re, re, -(self.im * im)), fma(self.re, im, self.im * re))

    @always_inline
    def scaled(self, c: SIMD[Self.dt, Self.w]) -> Self:
        return Self(self.re * c, self.im * c)


comptime MAX_RADIX = 13


def _cosine(p: Int, j: Int) -> Float64:
    """cos(2 pi j / p) for the odd radices, j in 1..p/2."""
    if p == 3:
        return -0.5
    if p == 5:
        return 0.30901699437494742410 if j == 1 else -0.80901699437494742410
    if p == 7:
        if j == 1:
            return 0.62348980185873353053
        return -0.22252093395631440429 if j == 2 else -0.90096886790241912624
    if p == 11:
        if j == 1:
            return 0.84125353283118116886
        if j == 2:
            return 0.41541501300188642553
        if j == 3:
            return -0.14231483827328514044
        return -0.65486073394528506406 if j == 4 else -0.95949297361449738989
    if j == 1:
        return 0.88545602565320989590
    if j == 2:
        return 0.56806474673115580251
    if j == 3:
        return 0.12053668025532305335
    if j == 4:
        return -0.35460488704253562597
    return -0.74851074817110109863 if j == 5 else -0.97094181742605202716


def _sine(p: Int, j: Int) -> Float64:
    """sin(2 pi j / p) for the odd radices, j in 1..p/2."""
    if p == 3:
        return 0.86602540378443864676
    if p == 5:
        return 0.95105651629515357212 if j == 1 else 0.58778525229247312917
    if p == 7:
        if j == 1:
            return 0.78183148246802980871
        return 0.97492791218182360702 if j == 2 else 0.43388373911755812048
    if p == 11:
        if j == 1:
            return 0.54064081745559758211
        if j == 2:
            return 0.90963199535451837141
        if j == 3:
            return 0.98982144188093273238
        return 0.75574957435425828377 if j == 4 else 0.28173255684142969771
    if j == 1:
        return 0.46472317204376854566
    if j == 2:
        return 0.82298386589365639458
    if j == 3:
        return 0.99270887409805399280
    if j == 4:
        return 0.93501624268541482343
    return 0.66312265824079520238 if j == 5 else 0.23931566428755776715


@always_inline
def _four[dt: DType, w: Int](mut a: Array[Z[dt, w], MAX_RADIX], i0: Int, i1: Int, i2: Int, i3: Int):
    """The transform of the four numbers at these places, in place."""
    var s = a[i0] + a[i2]
    var d = a[i0] - a[i2]
    var t = a[i1] + a[i3]
    var u = (a[i1] - a[i3]).turned()
    a[i0] = s + t
    a[i1] = d + u
    a[i2] = s - t
    a[i3] = d - u


@always_inline
def _odd[dt: DType, w: Int, p: Int](mut a: Array[Z[dt, w], MAX_RADIX]):
    """Terms of j and p - j together: their sums go with cosines, their differences with sines."""
    comptime half = p // 2
    comptime Lanes = SIMD[dt, w]
    var sums = Array[Z[dt, w], half](fill=a[0])
    var differences = Array[Z[dt, w], half](fill=a[0])
    var first = a[0]
    comptime for j in range(half):
        sums[j] = a[j + 1] + a[p - 1 - j]
        differences[j] = a[j + 1] - a[p - 1 - j]
        a[0] = a[0] + sums[j]
    comptime for k in range(1, half + 1):
        var even = first
        var odd = Z[dt, w](0, 0)
        comptime for j in range(1, half + 1):
            comptime q = (j * k) % p
            comptime place = q if q <= half else p - q
            comptime c = _cosine(p, place)
            comptime s = _sine(p, place) if q <= half else -_sine(p, place)
            var cosine = Lanes(c.cast[dt]())
            var sine = Lanes(s.cast[dt]())
            even = Z[dt, w](
                fma(sums[j - 1].re, cosine, even.re),
                fma(sums[j - 1].im, cosine, even.im),
            )
            comptime if j == 1:
                odd = differences[0].scaled(sine)
            else:
                odd = Z[dt, w](
                    fma(differences[j - 1].re, sine, odd.re),
                    fma(differences[j - 1].im, sine, odd.im),
                )
        a[k] = even + odd.turned()
        a[p - k] = even - odd.turned()


@always_inline
def butterfly[dt: DType, w: Int, r: Int](mut a: Array[Z[dt, w], MAX_RADIX]):
    """The transform of r numbers, in place, in order."""
    comptime if r == 2:
        var d = a[0] - a[1]
        a[0] = a[0] + a[1]
        a[1] = d
    elif r == 4:
        _four(a, 0, 1, 2, 3)
    elif r == 8:
        comptime root = SIMD[dt, w](0.70710678118654752440)
        comptime for j in range(4):
            var d = a[j] - a[j + 4]
            a[j] = a[j] + a[j + 4]
            a[j + 4] = d
        a[5] = Z[dt, w](a[5].re + a[5].im, a[5].im - a[5].re).scaled(root)
        a[6] = a[6].turned()
        a[7] = Z[dt, w](a[7].im - a[7].re, -(a[7].re + a[7].im)).scaled(root)
        _four(a, 0, 1, 2, 3)
        _four(a, 4, 5, 6, 7)
        # the sums gave the even points, the differences the odd ones
        var b = a.copy()
        comptime for j in range(4):
            a[2 * j] = b[j]
            a[2 * j + 1] = b[j + 4]
    else:
        _odd[dt, w, r](a)
