"""What a loop reads and writes, and in which order it goes over the dimensions."""

from .layout import Dims, no_dims

comptime MAX_OPERANDS = 6

comptime DIRECT = 0  # contiguous over the whole space, kernel dtype: used in place
comptime ROW = 1  # contiguous along the fastest dimension
comptime GATHER = 2  # anything else
comptime CONSTANT = 3  # one element for the whole space


struct Operand(Copyable):
    var data: Int
    var code: Int  # its own dtype
    var kernel_code: Int  # the dtype the kernel works in
    var mode: Int
    var strides: Dims  # in bytes, fastest dimension first

    def __init__(out self):
        self.data = 0
        self.code = 0
        self.kernel_code = 0
        self.mode = DIRECT
        self.strides = no_dims()


def sorted_dims(operands: Array[Operand, MAX_OPERANDS], count: Int, shape: Dims, ndim: Int) -> Dims:
    """The dimensions, fastest first: by the operands' strides, the first operand that tells decides (as PyTorch)."""
    var order = no_dims()
    var n = ndim
    for i in range(n):
        order[i] = n - 1 - i
    for i in range(1, n):
        var dim1 = i
        var j = i - 1
        while j >= 0:
            var c = _compare_dims(operands, count, shape, order[j], order[dim1])
            if c > 0:
                var t = order[j]
                order[j] = order[dim1]
                order[dim1] = t
                dim1 = j
            elif c < 0:
                break
            j -= 1
    return order^


def _compare_dims(operands: Array[Operand, MAX_OPERANDS], count: Int, shape: Dims, a: Int, b: Int) -> Int:
    for k in range(count):
        # an operand with no data yet (an output still to be allocated) has no say
        if operands[k].data == 0:
            continue
        var sa = operands[k].strides[a]
        var sb = operands[k].strides[b]
        if sa == 0 or sb == 0:
            continue
        if sa < sb:
            return -1
        if sa > sb:
            return 1
        if shape[a] > shape[b]:
            return 1
    return 0
