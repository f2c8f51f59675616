"""The cells of recurrent layers: what becomes of the gates' sums at one step, and the derivative.

A cell keeps KEPT numbers for each hidden unit, side by side in blocks of `hidden`; before the step the first ones hold
the sums of the input's and (ADDED of them) the state's products, after it what the derivative needs. A cell whose last
product is not ADDED finds it, with its own bias, in the block after the others (GRU: n = tanh(x + r * h)).

Elman 1990; Hochreiter and Schmidhuber 1997; Cho et al. 2014.
"""

from std.memory import bitcast
from std.sys.intrinsics import masked_store

from kernels.gemm_micro import at, first_lanes, load_first, ptr
from kernels.math import maximum, sigmoid, tanh
from kernels.narrow import narrow


@always_inline
def get[dt: DType, w: Int, part: Bool](address: Int, i: Int, lanes: Int) -> SIMD[dt, w]:
    """Elements i .. i + w; with `part` only the first lanes of them, the rest zero."""
    comptime if part:
        return load_first[dt, w](ptr[dt](at[dt](address, i)), lanes)
    else:
        return ptr[dt](address).unsafe_load[width=w](i)


@always_inline
def put[dt: DType, w: Int, part: Bool](address: Int, i: Int, lanes: Int, v: SIMD[dt, w]):
    comptime if dt == DType.bfloat16:
        put[DType.uint16, w, part](address, i, lanes, bitcast[DType.uint16, w](v))
    elif part:
        masked_store[w](v, ptr[dt](at[dt](address, i)), first_lanes[w](lanes))
    else:
        ptr[dt](address).unsafe_store(i, v)


@fieldwise_init
struct Unit(ImplicitlyCopyable, Movable):
    """Addresses of the same hidden units in what a step reads and writes; 0 for what a cell has not."""

    var gates: Int  # KEPT blocks
    var before: Int  # the state before the step
    var cell: Int  # LSTM: the cell after the step, kept
    var running: Int  # LSTM: the cell, read and overwritten; backward: its gradient; GRU backward: the state's
    var cell_before: Int  # backward only
    var grads: Int  # backward only: the gates' gradients, blocks as in `gates`


trait Cell:
    comptime GATES: Int  # products of the input, and of the state, for each hidden unit
    comptime ADDED: Int  # how many of them are only added
    comptime KEPT: Int
    comptime HAS_CELL: Bool
    comptime CARRIES: Bool  # the state has an own part in the next one, besides the products

    @staticmethod
    def forward[dt: DType, w: Int, part: Bool](u: Unit, h: Int, lanes: Int) -> SIMD[dt, w]:
        """The new state; `h` is the number of hidden units, the distance of the blocks."""
        ...

    @staticmethod
    def backward[dt: DType, src: DType, w: Int, part: Bool](u: Unit, h: Int, lanes: Int, g: SIMD[dt, w]):
        """Writes the gradients of the gates' sums, as `src`, for the gradient `g` of the new state."""
        ...


struct Tanh(Cell):
    comptime GATES = 1
    comptime ADDED = 1
    comptime KEPT = 1
    comptime HAS_CELL = False
    comptime CARRIES = False

    @staticmethod
    @always_inline
    def forward[dt: DType, w: Int, part: Bool](u: Unit, h: Int, lanes: Int) -> SIMD[dt, w]:
        return tanh(get[dt, w, part](u.gates, 0, lanes))

    @staticmethod
    @always_inline
    def backward[dt: DType, src: DType, w: Int, part: Bool](u: Unit, h: Int, lanes: Int, g: SIMD[dt, w]):
        var y = get[dt, w, part](u.gates, 0, lanes)
        put[src, w, part](u.grads, 0, lanes, narrow[src](g * (1 - y * y)))


struct Relu(Cell):
    comptime GATES = 1
    comptime ADDED = 1
    comptime KEPT = 1
    comptime HAS_CELL = False
    comptime CARRIES = False

    @staticmethod
    @always_inline
    def forward[dt: DType, w: Int, part: Bool](u: Unit, h: Int, lanes: Int) -> SIMD[dt, w]:
        return maximum(get[dt, w, part](u.gates, 0, lanes), SIMD[dt, w](0))

    @staticmethod
    @always_inline
    def backward[dt: DType, src: DType, w: Int, part: Bool](u: Unit, h: Int, lanes: Int, g: SIMD[dt, w]):
        var y = get[dt, w, part](u.gates, 0, lanes)
        put[src, w, part](u.grads, 0, lanes, narrow[src](y.le(0).select(SIMD[dt, w](0), g)))


struct LSTM(Cell):
    """Kept: i, f, g, o."""

    comptime GATES = 4
    comptime ADDED = 4
    comptime KEPT = 4
    comptime HAS_CELL = True
    comptime CARRIES = False

    @staticmethod
    @always_inline
    def forward[dt: DType, w: Int, part: Bool](u: Unit, h: Int, lanes: Int) -> SIMD[dt, w]:
        var i = sigmoid(get[dt, w, part](u.gates, 0, lanes))
        var f = sigmoid(get[dt, w, part](u.gates, h, lanes))
        var g = tanh(get[dt, w, part](u.gates, 2 * h, lanes))
        var o = sigmoid(get[dt, w, part](u.gates, 3 * h, lanes))
        var c = f * get[dt, w, part](u.running, 0, lanes) + i * g
        put[dt, w, part](u.gates, 0, lanes, i)
        put[dt, w, part](u.gates, h, lanes, f)
        put[dt, w, part](u.gates, 2 * h, lanes, g)
        put[dt, w, part](u.gates, 3 * h, lanes, o)
        put[dt, w, part](u.running, 0, lanes, c)
        put[dt, w, part](u.cell, 0, lanes, c)
        return o * tanh(c)

    @staticmethod
    @always_inline
    def backward[dt: DType, src: DType, w: Int, part: Bool](u: Unit, h: Int, lanes: Int, g: SIMD[dt, w]):
        var i = get[dt, w, part](u.gates, 0, lanes)
        var f = get[dt, w, part](u.gates, h, lanes)
        var n = get[dt, w, part](u.gates, 2 * h, lanes)
        var o = get[dt, w, part](u.gates, 3 * h, lanes)
        var t = tanh(get[dt, w, part](u.cell, 0, lanes))
        var dc = get[dt, w, part](u.running, 0, lanes) + g * o * (1 - t * t)
        put[src, w, part](u.grads, 0, lanes, narrow[src](dc * n * i * (1 - i)))
        put[src, w, part](u.grads, h, lanes, narrow[src](dc * get[dt, w, part](u.cell_before, 0, lanes) * f * (1 - f)))
        put[src, w, part](u.grads, 2 * h, lanes, narrow[src](dc * i * (1 - n * n)))
        put[src, w, part](u.grads, 3 * h, lanes, narrow[src](g * t * o * (1 - o)))
        put[dt, w, part](u.running, 0, lanes, dc * f)


struct GRU(Cell):
    """Kept: r, z, n and the state's product that r multiplies. The gradients of r, z, that product, and n's sum."""

    comptime GATES = 3
    comptime ADDED = 2
    comptime KEPT = 4
    comptime HAS_CELL = False
    comptime CARRIES = True

    @staticmethod
    @always_inline
    def forward[dt: DType, w: Int, part: Bool](u: Unit, h: Int, lanes: Int) -> SIMD[dt, w]:
        var r = sigmoid(get[dt, w, part](u.gates, 0, lanes))
        var z = sigmoid(get[dt, w, part](u.gates, h, lanes))
        var n = tanh(get[dt, w, part](u.gates, 2 * h, lanes) + r * get[dt, w, part](u.gates, 3 * h, lanes))
        put[dt, w, part](u.gates, 0, lanes, r)
        put[dt, w, part](u.gates, h, lanes, z)
        put[dt, w, part](u.gates, 2 * h, lanes, n)
        return n + z * (get[dt, w, part](u.before, 0, lanes) - n)

    @staticmethod
    @always_inline
    def backward[dt: DType, src: DType, w: Int, part: Bool](u: Unit, h: Int, lanes: Int, g: SIMD[dt, w]):
        var r = get[dt, w, part](u.gates, 0, lanes)
        var z = get[dt, w, part](u.gates, h, lanes)
        var n = get[dt, w, part](u.gates, 2 * h, lanes)
        var dn = g * (1 - z) * (1 - n * n)
        put[src, w, part](u.grads, 0, lanes, narrow[src](dn * get[dt, w, part](u.gates, 3 * h, lanes) * r * (1 - r)))
        put[src, w, part](u.grads, h, lanes, narrow[src](g * (get[dt, w, part](u.before, 0, lanes) - n) * z * (1 - z)))
        put[src, w, part](u.grads, 2 * h, lanes, narrow[src](dn * r))
        put[src, w, part](u.grads, 3 * h, lanes, narrow[src](dn))
        put[dt, w, part](u.running, 0, lanes, g * z)
