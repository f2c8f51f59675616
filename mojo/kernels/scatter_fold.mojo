"""The op scatter_reduce: values folded into the places that an index names, by sum, product, mean, maximum or minimum."""

from std.utils.numerics import inf, neg_inf
from tensor.call import Call, Scalar2, register
from tensor.dtype import BOOL, FLOAT64, INT64, UINT8, category, dtype_of, is_complex, type_name
from tensor.layout import no_dims, wrap_dim
from tensor.memory import at
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref
from kernels.functor import compute

from kernels.index_api import (
    as_indices, check_apart, check_bounds, check_sizes, constant_of, element_dims, is_index, size_at, span_of, walk
)  # fmt: skip
from kernels.pointwise import unsupported
from kernels.results import done, target_of, write_into
from kernels.walk import ADD, MAXIMUM, MINIMUM, MULTIPLY, PUT

comptime MEAN = 6


def _mode(name: String) raises -> Int:
    if name == "sum":
        return ADD
    if name == "prod":
        return MULTIPLY
    if name == "mean":
        return MEAN
    if name == "amax":
        return MAXIMUM
    if name == "amin":
        return MINIMUM
    raise Error(t"RuntimeError|reduce argument must be either sum, prod, mean, amax or amin, got {name}")


def _identity(code: Int, mode: Int) -> Scalar2:
    """What a fold starts from."""
    var s = Scalar2(category(code), 0, 0, 0)
    if mode == MULTIPLY:
        s.i = 1
        s.d = 1
    elif mode == MAXIMUM or mode == MINIMUM:
        var low = mode == MAXIMUM
        s.d = neg_inf[DType.float64]() if low else inf[DType.float64]()
        if code == BOOL:
            s.i = 0 if low else 1
            s.d = Float64(s.i)
        comptime for c in range(UINT8, FLOAT64 + 1):
            comptime if dtype_of[c].is_integral():
                if code == c:
                    var v = Scalar[dtype_of[c]].MIN if low else Scalar[dtype_of[c]].MAX
                    s.i = Int(v.cast[DType.int64]())
    return s


def _put_constant(call: Call, a: TPtr, index: TPtr, dim: Int, value: Scalar2, mode: Int) raises:
    """Puts (or adds) one number at every place of a contiguous index."""
    var constant = constant_of(value, a)
    try:
        var span = span_of(a, a[].writable(), as_tensor(constant)[].data(), index[].data(), dim)
        element_dims(span, a, no_dims(), index)
        walk(call, a, span, mode)
    finally:
        decref(constant)


def _divide[dt: DType](a: Int, counts: Int, n: Int):
    """Elements over their counts; integers round down, what was not counted stays."""
    comptime C = compute[dt]
    for i in range(n):
        var count = at[Int64](counts)[unsafe_offset=i]
        if count < 2:
            continue
        var x = at[Scalar[dt]](a)[unsafe_offset=i].cast[C]()
        comptime if dt.is_floating_point():
            at[Scalar[dt]](a)[unsafe_offset=i] = (x / count.cast[C]()).cast[dt]()
        else:
            at[Scalar[dt]](a)[unsafe_offset=i] = (x.cast[DType.int64]() // count).cast[dt]()


def _average(call: Call, a: TPtr, index: TPtr, dim: Int, include_self: Bool) raises:
    """Divides the sums in `a` (contiguous, in host memory) by how many values went into each."""
    var one = Scalar2(1, 1, 1, 0)
    var counts = new_tensor(INT64, a[].shape, a[].rank())
    var c = as_tensor(counts)
    try:
        var start = constant_of(one if include_self else Scalar2(1, 0, 0, 0), c)
        try:
            write_into(counts, start)
        finally:
            decref(start)
        _put_constant(call, c, index, dim, one, ADD)
        comptime for k in range(UINT8, FLOAT64 + 1):
            if a[].code() == k:
                _divide[dtype_of[k]](a[].data(), c[].data(), a[].numel)
        # both parts of a complex number
        if is_complex(a[].code()):
            _divide_pairs(a, c)
    finally:
        decref(counts)


def _divide_pairs(a: TPtr, c: TPtr) raises:
    for i in range(a[].numel):
        var count = at[Int64](c[].data())[unsafe_offset=i].cast[DType.float64]()
        if count >= 2:
            for k in range(2 * i, 2 * i + 2):
                if a[].code() == 14:
                    var p = at[Float32](a[].data()).unsafe_offset(k)
                    p[] = p[] / count.cast[DType.float32]()
                elif a[].code() == 15:
                    var p = at[Float64](a[].data()).unsafe_offset(k)
                    p[] = p[] / count
                else:
                    raise Error("NotImplementedError|\"scatter_reduce\" not implemented for 'ComplexHalf'")


def scatter_reduce(mut call: Call) raises -> Obj:
    """Parameters (input, dim, index, src, reduce, include_self); also in place."""
    var t = call.tensor(0)
    var index = call.tensor(2)
    var source = call.tensor(3)
    var mode = _mode(call.string(4))
    var include_self = call.bool(5)
    var code = t[].code()
    if not is_index(index) and index[].numel != 0:
        raise Error("RuntimeError|scatter(): Expected dtype int32/int64 for index")
    var dim = wrap_dim(call.int(1), t[].rank())
    if source[].code() != code:
        raise Error("RuntimeError|scatter(): Expected self.dtype to be equal to src.dtype")
    if (mode == MEAN and code == BOOL) or (is_complex(code) and (mode == MAXIMUM or mode == MINIMUM)):
        raise unsupported(String("scatter_gather_tensor_cpu_reduce_", call.string(4)), code)
    if t[].device() != 0 and mode != ADD:
        raise call.fail("RuntimeError", "only sums are computed on a device; move the tensors with .cpu()")
    if index[].numel != 0:
        check_sizes(t, dim, index, source, True)
    var indices = as_indices(index)
    var target: Obj = 0
    var room: Obj = 0  # where a mean is computed
    try:
        check_bounds(indices, dim, size_at(t, dim))
        if call.inplace():
            check_apart(t, source)
            check_apart(t, index)
        target = target_of(call, t)
        if index[].numel != 0:
            var a = as_tensor(target)
            if mode == MEAN and not a[].contiguous():
                room = new_tensor(code, t[].shape, t[].rank())
                write_into(room, Int(t))
                a = as_tensor(room)
            var places = as_tensor(indices)
            if not include_self:
                _put_constant(call, a, places, dim, _identity(code, mode), PUT)
            var span = span_of(a, a[].writable(), source[].data(), places[].data(), dim)
            element_dims(span, a, source[].strides, places)
            walk(call, a, span, ADD if mode == MEAN else mode)
            if mode == MEAN:
                _average(call, a, places, dim, include_self)
            if room != 0:
                write_into(target, room)
    except e:
        for o in [indices, target, room]:
            if o != 0:
                decref(o)
        raise e^
    decref(indices)
    if room != 0:
        decref(room)
    return done(call, target)


@export("dumbtorch_register_scatter_fold")
def register_scatter_fold() abi("C") -> None:
    register[scatter_reduce]("scatter_reduce")
