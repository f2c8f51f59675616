"""Along one axis, what resampling makes each result of: a run of neighbouring elements and their weights.

All of PyTorch's ways to resize are such bands, and so are the windows of adaptive averages; the transposed band is the
derivative. Positions are computed in the dtype that PyTorch computes them in, float32 unless the tensor is float64, so
that the nearest element is the same one.
"""
from std.math import ceildiv, floor

from kernels.math_trig import sin

# the modes
comptime NEAREST = 0
comptime NEAREST_EXACT = 1
comptime LINEAR = 2
comptime CUBIC = 3
comptime LINEAR_SMOOTH = 4  # antialiased
comptime CUBIC_SMOOTH = 5
comptime AREA = 6
comptime LANCZOS_SMOOTH = 7


struct Band(Copyable, Movable):
    """Result i is the sum over k < counts[i] of weights[i * reach + k] times element starts[i] + k."""

    var size: Int
    var count: Int
    var reach: Int
    var starts: List[Int]
    var counts: List[Int]
    var weights: List[Float64]

    def __init__(out self, size: Int, count: Int, reach: Int):
        self.size = size
        self.count = count
        self.reach = reach
        self.starts = List[Int](length=count, fill=0)
        self.counts = List[Int](length=count, fill=0)
        self.weights = List[Float64](length=count * reach, fill=0)

    def identity(self) -> Bool:
        """Whether each result is the element at its own place."""
        if self.size != self.count:
            return False
        for i in range(self.count):
            if self.starts[i] != i or self.counts[i] != 1 or self.weights[i * self.reach] != 1:
                return False
        return True

    def choice(self) -> Bool:
        """Whether each result is one of the elements."""
        if self.reach != 1:
            return False
        for i in range(self.count):
            if self.counts[i] != 1 or self.weights[i] != 1:
                return False
        return True

    def transposed(self) -> Self:
        """The band of the derivative; runs of neighbouring elements meet runs of neighbouring results."""
        var first = List[Int](length=self.size, fill=Int.MAX)
        var last = List[Int](length=self.size, fill=-1)
        for i in range(self.count):
            for k in range(self.counts[i]):
                var j = self.starts[i] + k
                first[j] = min(first[j], i)
                last[j] = max(last[j], i)
        var reach = 1
        for j in range(self.size):
            reach = max(reach, last[j] - first[j] + 1) if last[j] >= 0 else reach
        var t = Self(self.count, self.size, reach)
        for j in range(self.size):
            if last[j] >= 0:
                t.starts[j] = first[j]
                t.counts[j] = last[j] - first[j] + 1
        for i in range(self.count):
            for k in range(self.counts[i]):
                var j = self.starts[i] + k
                t.weights[j * reach + i - t.starts[j]] = self.weights[i * self.reach + k]
        return t^


def _scale[dt: DType](size: Int, count: Int, align: Bool, factor: Float64) -> Scalar[dt]:
    """Elements for each result; a factor above 0 was given by the user."""
    if align:
        return Scalar[dt](size - 1) / Scalar[dt](count - 1) if count > 1 else 0
    if factor > 0:
        return Scalar[dt](1.0 / factor)
    return Scalar[dt](size) / Scalar[dt](count)


def _cubic_near[dt: DType](x: Scalar[dt], a: Scalar[dt]) -> Scalar[dt]:
    return ((a + 2) * x - (a + 3)) * x * x + 1


def _cubic_far[dt: DType](x: Scalar[dt], a: Scalar[dt]) -> Scalar[dt]:
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a


def _sinc[dt: DType](x: Scalar[dt]) -> Scalar[dt]:
    if x == 0:
        return 1
    var y = x * Scalar[dt](3.14159265358979323846)
    return sin(y) / y


def _filter[dt: DType](x_: Scalar[dt], mode: Int) -> Scalar[dt]:
    """The weight of an element at a distance: a triangle, Keys' cubic with a = -1/2, Lanczos' windowed sinc."""
    var x = abs(x_)
    if mode == LINEAR_SMOOTH:
        return 1 - x if x < 1 else 0
    if mode == LANCZOS_SMOOTH:
        return _sinc(x) * _sinc(x / 3) if x < 3 else 0
    if x < 1:
        return _cubic_near[dt](x, -0.5)
    return _cubic_far[dt](x, -0.5) if x < 2 else 0


def band[dt: DType](mode: Int, size: Int, count: Int, align: Bool, factor: Float64) -> Band:
    """The band of a mode from `size` elements to `count` results; positions are computed in `dt`."""
    if mode == AREA:
        var windows = Band(size, count, min(size, ceildiv(size, count) + 1))
        for i in range(count):
            var start = i * size // count
            var end = ceildiv((i + 1) * size, count)
            windows.starts[i] = start
            windows.counts[i] = end - start
            for k in range(end - start):
                windows.weights[i * windows.reach + k] = Float64(1) / Float64(end - start)
        return windows^
    var scale = _scale[dt](size, count, align, factor)
    if mode >= LINEAR_SMOOTH:
        return _smooth[dt](mode, size, count, scale)
    var reach = 1
    if mode == LINEAR:
        reach = min(2, size)
    elif mode == CUBIC:
        reach = min(4, size)
    var b = Band(size, count, reach)
    for i in range(count):
        var x: Scalar[dt]
        if mode == NEAREST:
            x = scale * Scalar[dt](i)
        elif mode == NEAREST_EXACT:
            x = scale * (Scalar[dt](i) + 0.5)
        elif align:
            x = scale * Scalar[dt](i)
        else:
            x = scale * (Scalar[dt](i) + 0.5) - 0.5
            if mode == LINEAR:
                x = max(x, 0)
        var place = Int(floor(x))
        if mode <= NEAREST_EXACT:
            b.starts[i] = min(place, size - 1)
            b.counts[i] = 1
            b.weights[i] = 1
            continue
        if mode == LINEAR:
            place = min(place, size - 1)
            var part = min(max(x - Scalar[dt](place), 0), 1)
            b.starts[i] = place
            b.counts[i] = 1 if place == size - 1 else 2
            b.weights[i * reach] = 1 if place == size - 1 else Float64(1 - part)
            if place < size - 1:
                b.weights[i * reach + 1] = Float64(part)
            continue
        var part = min(max(x - Scalar[dt](place), 0), 1)
        var start = max(0, min(place - 1, size - reach))
        b.starts[i] = start
        b.counts[i] = reach
        var w = (
            _cubic_far[dt](part + 1, -0.75),
            _cubic_near[dt](part, -0.75),
            _cubic_near[dt](1 - part, -0.75),
            _cubic_far[dt](2 - part, -0.75),
        )
        comptime for k in range(4):
            # Past the edges the elements there are meant.
            var j = max(0, min(place - 1 + k, size - 1))
            b.weights[i * reach + j - start] += Float64(w[k])
    return b^


def _smooth[dt: DType](mode: Int, size: Int, count: Int, scale: Scalar[dt]) -> Band:
    """Antialiased: the filter is as wide as a result is, measured in elements."""
    var half = Scalar[dt](1 if mode == LINEAR_SMOOTH else (2 if mode == CUBIC_SMOOTH else 3))
    var support = half * scale if scale >= 1 else half
    var inverse = 1 / scale if scale >= 1 else Scalar[dt](1)
    var b = Band(size, count, max(1, min(size, Int(support) * 2 + 3)))
    for i in range(count):
        var center = scale * (Scalar[dt](i) + 0.5)
        var start = max(Int(center - support + 0.5), 0)
        var end = min(Int(center + support + 0.5), size)
        var n = max(0, min(end - start, b.reach))
        var total = Scalar[dt](0)
        for k in range(n):
            total += _filter[dt]((Scalar[dt](start + k) - center + 0.5) * inverse, mode)
        b.starts[i] = start
        b.counts[i] = n
        for k in range(n):
            var w = _filter[dt]((Scalar[dt](start + k) - center + 0.5) * inverse, mode)
            b.weights[i * b.reach + k] = Float64(w / total if total != 0 else w)
    return b^
