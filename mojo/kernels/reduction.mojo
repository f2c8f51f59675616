"""How a loss is reduced, as its last parameter says."""

from tensor.call import Call

comptime REDUCE_NONE = 0
comptime REDUCE_MEAN = 1
comptime REDUCE_SUM = 2


def reduction_of(call: Call, i: Int) raises -> Int:
    var text = call.string(i)
    if text == "mean":
        return REDUCE_MEAN
    if text == "sum":
        return REDUCE_SUM
    if text == "none":
        return REDUCE_NONE
    raise Error(t"ValueError|{text} is not a valid value for reduction")
