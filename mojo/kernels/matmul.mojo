"""Matrix products: matmul, mm, bmm, mv, dot, outer, addmm, baddbmm, linear, all on the GEMM of gemm.mojo.

Operands keep their strides: a transposed or sliced matrix is read where it lies. `Matrices` describes an operand as a
batch of matrices; batch dimensions broadcast by offsets.
"""

from std.ffi import external_call
from std.memory import Pointer
from tensor.call import Call, Scalar2, register

from tensor.dtype import (
    BFLOAT16, COMPLEX128, COMPLEX64, FLOAT16, FLOAT32, FLOAT64, dtype_of, is_complex, itemsize, type_name,
)  # fmt: skip
from tensor.layout import Dims, broadcast_into, no_dims, same_dims, shape_text
from tensor.memory import address_of, at, function_at, store
from tensor.errors import python_error
from tensor.object import CONJUGATE, NEGATIVE, TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref, incref, release_gil, take_gil
from tensor.storage import check_status, device_table
from kernels.gemm import gemm, gemm_batched
from kernels.transfer_api import copy_into
from kernels.gemm_micro import acc_dtype
from kernels.pointwise import broadcast_error, check_writable, resize_out


struct Product(Copyable):
    """`count` products C[m, n] = alpha * A[m, k] @ B[k, n] + beta * C (+ bias): everything a GEMM has to know."""

    var code: Int
    var count: Int
    var m: Int
    var n: Int
    var k: Int
    var alpha: Float64
    var beta: Float64
    var a: Int
    var ars: Int
    var acs: Int
    var a_offsets: Int
    var b: Int
    var brs: Int
    var bcs: Int
    var b_offsets: Int
    var c: Int
    var crs: Int
    var ccs: Int
    var c_offsets: Int
    var bias: Int
    var alpha_im: Float64
    var beta_im: Float64
    var conj: Int  # 1: of complex matrices A stands for its conjugate; 2: B does

    def __init__(out self, code: Int, m: Int, n: Int, k: Int):
        self.code = code
        self.count = 1
        self.m = m
        self.n = n
        self.k = k
        self.alpha = 1
        self.beta = 0
        self.a = 0
        self.ars = 0
        self.acs = 0
        self.a_offsets = 0
        self.b = 0
        self.brs = 0
        self.bcs = 0
        self.b_offsets = 0
        self.c = 0
        self.crs = n
        self.ccs = 1
        self.c_offsets = 0
        self.bias = 0
        self.alpha_im = 0
        self.beta_im = 0
        self.conj = 0


def _multiply[dt: DType](p: Product):
    comptime A = acc_dtype[dt]()
    if p.a_offsets == 0:
        gemm[dt](
            p.m, p.n, p.k, p.alpha.cast[A](), p.a, p.ars, p.acs, p.b, p.brs, p.bcs, p.beta.cast[A](), p.c, p.crs,
            p.ccs, p.bias,
        )  # fmt: skip
    else:
        gemm_batched[dt](
            p.count, p.m, p.n, p.k, p.alpha.cast[A](), p.a, p.ars, p.acs, p.a_offsets, p.b, p.brs, p.bcs, p.b_offsets,
            p.beta.cast[A](), p.c, p.crs, p.ccs, p.c_offsets,
        )  # fmt: skip


def multiply(call: Call, p: Product, device: Int) raises:
    """Runs a product, without the interpreter lock when it is long."""
    if device != 0:
        comptime LaunchFn = def(Int, Pointer[Product, MutAnyOrigin]) thin abi("C") -> Int
        var q = p.copy()
        var f = function_at[LaunchFn](device_table(device)[].product)
        check_status(f(device & 255, Pointer(to=q).as_unsafe_any_origin()), device, call.name())
        return
    var held = 0
    if p.count * p.m * p.n * max(p.k, 1) > 1 << 21:
        held = release_gil()
    var status = 0
    if is_complex(p.code):
        var q = p.copy()
        status = external_call["dumbtorch_complex_product", Int](Int(Pointer(to=q)))
        _ = q^
    comptime for c in [1, 2, 3, 4, 5, 9, 10, 11, 12]:
        if p.code == c:
            _multiply[dtype_of[c]](p)
    if held != 0:
        take_gil(held)
    if status != 0:
        raise Error(t"OutOfMemoryError|{call.name()}(): no memory for the scratch of a complex product")


@export("dumbtorch_real_product")
def real_product(p: Pointer[Product, MutAnyOrigin]) abi("C") -> None:
    """A product of float32 or float64 matrices, for complex_gemm.mojo."""
    if p[].code == FLOAT32:
        _multiply[DType.float32](p[])
    else:
        _multiply[DType.float64](p[])


def _check_code(call: Call, code: Int) raises:
    if not (code >= 1 and code <= 5) and not (code >= FLOAT16 and code <= FLOAT64) and not is_complex(code):
        raise Error(t"NotImplementedError|\"{call.name()}\" not implemented for '{type_name(code)}'")


def _lower(code: Int) -> String:
    """A dtype as PyTorch's mm names it in its error: float, double, c10::Half, long int."""
    if code == FLOAT32:
        return "float"
    if code == FLOAT64:
        return "double"
    if code == FLOAT16:
        return "c10::Half"
    if code == BFLOAT16:
        return "c10::BFloat16"
    if code == 5:
        return "long int"
    if code == 4:
        return "int"
    if code == COMPLEX64:
        return "c10::complex<float>"
    if code == COMPLEX128:
        return "c10::complex<double>"
    return type_name(code)


def _same_dtype(call: Call, a: TPtr, b: TPtr) raises:
    if a[].code() != b[].code():
        raise Error(
            t"RuntimeError|{call.name()}(): expected m1 and m2 to have the same dtype, but got: {_lower(a[].code())} !="
            t" {_lower(b[].code())}"
        )
    if a[].device() != b[].device():
        raise Error(
            t"RuntimeError|{call.name()}(): expected all tensors to be on the same device, but found at least two"
        )
    _check_code(call, a[].code())


def _cannot_multiply(m: Int, k: Int, k2: Int, n: Int) -> Error:
    return Error(t"RuntimeError|mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {k2}x{n})")


def _result(call: Call, code: Int, shape: Dims, ndim: Int, device: Int) raises -> Obj:
    """The output: `out=` when given (resized, checked), else new memory. A new reference."""
    if not call.has_out():
        return new_tensor(code, shape, ndim, device)
    var o = as_tensor(call.out)
    if o[].code() != code:
        raise Error(
            t"RuntimeError|Expected out tensor to have dtype {_lower(code)}, but got {_lower(o[].code())} instead"
        )
    if o[].rank() != ndim or not same_dims(o[].shape, shape, ndim):
        if call.inplace():
            raise Error(
                t"RuntimeError|output with shape {shape_text(o[].shape, o[].rank())} doesn't match the broadcast shape"
                t" {shape_text(shape, ndim)}"
            )
        resize_out(o, shape, ndim)
    check_writable(o)
    incref(call.out)
    return call.out


def _shares_memory(o: Obj, t: TPtr) -> Bool:
    return as_tensor(o)[].storage_address == t[].storage_address


# ---------------------------------------------------------------- matmul


def matmul(mut call: Call) raises -> Obj:
    """Parameters (input, other): vectors, matrices, broadcasting batches of matrices."""
    var a = call.tensor(0)
    var b = call.tensor(1)
    return product_of(call, a, b)


def product_of(mut call: Call, a: TPtr, b: TPtr) raises -> Obj:
    """The matrix product in the sense of matmul. A pending conjugation of an operand is done in passing."""
    if (a[].lazy() | b[].lazy()) & NEGATIVE != 0:
        return _resolved_product(call, a, b)
    if a[].rank() == 0 or b[].rank() == 0:
        raise Error(
            t"RuntimeError|both arguments to matmul need to be at least 1D, but they are {a[].rank()}D and"
            t" {b[].rank()}D"
        )
    _same_dtype(call, a, b)
    var ra = a[].rank()
    var rb = b[].rank()
    # the matrix of each operand: a vector is a row on the left, a column on the right
    var m = a[].shape[ra - 2] if ra > 1 else 1
    var k = a[].shape[ra - 1]
    var k2 = b[].shape[rb - 2] if rb > 1 else b[].shape[0]
    var n = b[].shape[rb - 1] if rb > 1 else 1
    if k != k2:
        raise _matmul_error(a, b, m, k, k2, n)
    var p = Product(a[].code(), m, n, k)
    p.conj = Int(a[].lazy() & CONJUGATE != 0) | (Int(b[].lazy() & CONJUGATE != 0) << 1)
    p.ars = a[].strides[ra - 2] if ra > 1 else 0
    p.acs = a[].strides[ra - 1]
    p.brs = b[].strides[rb - 2] if rb > 1 else b[].strides[0]
    p.bcs = b[].strides[rb - 1] if rb > 1 else 0
    var batch = no_dims()
    var nbatch = 0
    var batch_a = max(ra - 2, 0)
    var batch_b = max(rb - 2, 0)
    if batch_a > 0 or batch_b > 0:
        _ = broadcast_into(batch, nbatch, a[].shape, batch_a)
        var before = batch.copy()
        var before_ndim = nbatch
        var bad = broadcast_into(batch, nbatch, b[].shape, batch_b)
        if bad >= 0:
            var x = before[bad - (nbatch - before_ndim)]
            var y = b[].shape[bad - (nbatch - batch_b)]
            raise Error(
                t"RuntimeError|The size of tensor a ({x}) must match the size of tensor b ({y}) at non-singleton"
                t" dimension {bad}"
            )
    var shape = batch.copy()
    var ndim = nbatch
    if ra > 1:
        shape[ndim] = m
        ndim += 1
    if rb > 1:
        shape[ndim] = n
        ndim += 1
    var made = _result(call, p.code, shape, ndim, a[].device())
    # an output that shares memory with an operand, or with odd strides, is computed aside
    var o = as_tensor(made)
    if call.has_out() and (
        _shares_memory(made, a) or _shares_memory(made, b) or not o[].contiguous() or o[].lazy() != 0
    ):
        var aside = new_tensor(p.code, shape, ndim, a[].device())
        _run_batches(call, p, a, b, batch, nbatch, batch_a, batch_b, as_tensor(aside)[].data())
        copy_into(as_tensor(made), as_tensor(aside))
        decref(aside)
        return made
    _run_batches(call, p, a, b, batch, nbatch, batch_a, batch_b, o[].writable() if call.has_out() else o[].data())
    return made


def _resolved_product(mut call: Call, a: TPtr, b: TPtr) raises -> Obj:
    """The product of copies without pending negations."""
    var x = external_call["dumbtorch_resolved", Int](Int(a))
    if x == 0:
        raise python_error()
    var y = external_call["dumbtorch_resolved", Int](Int(b))
    if y == 0:
        decref(x)
        raise python_error()
    try:
        return product_of(call, as_tensor(x), as_tensor(y))
    finally:
        decref(x)
        decref(y)


def _run_batches(
    call: Call, mut p: Product, a: TPtr, b: TPtr, batch: Dims, nbatch: Int, batch_a: Int, batch_b: Int, c: Int
) raises:
    p.a = a[].data()
    p.b = b[].data()
    p.c = c
    var count = 1
    for i in range(nbatch):
        count *= batch[i]
    if count == 0 or p.m == 0 or p.n == 0:
        return
    if nbatch == 0:
        multiply(call, p, a[].device())
        return
    # batches of the left operand against one matrix are one taller matrix, when its rows are evenly spaced
    if batch_b == 0 and _even_rows(a, p):
        p.m *= count
        multiply(call, p, a[].device())
        return
    var table = external_call["malloc", Int](count * 24)
    if table == 0:
        raise Error("OutOfMemoryError|matmul(): no memory for the batch table")
    for i in range(count):
        var rest = i
        var oa = 0
        var ob = 0
        for j in range(nbatch):
            var d = nbatch - 1 - j
            var index = rest % batch[d]
            rest //= batch[d]
            var da = d - (nbatch - batch_a)
            if da >= 0 and a[].shape[da] != 1:
                oa += index * a[].strides[da]
            var db = d - (nbatch - batch_b)
            if db >= 0 and b[].shape[db] != 1:
                ob += index * b[].strides[db]
        store[Int](table + 8 * i, oa)
        store[Int](table + 8 * (count + i), ob)
        store[Int](table + 8 * (2 * count + i), i * p.m * p.n)
    p.count = count
    p.a_offsets = table
    p.b_offsets = table + 8 * count
    p.c_offsets = table + 16 * count
    try:
        multiply(call, p, a[].device())
    except e:
        external_call["free", NoneType](table)
        raise e
    external_call["free", NoneType](table)


def _even_rows(a: TPtr, mut p: Product) -> Bool:
    """Whether all rows of a batch of matrices lie a constant step apart (which is then p.ars)."""
    var step = 0
    var expected = 0
    for j in range(a[].rank() - 1):
        var d = a[].rank() - 2 - j
        if a[].shape[d] == 1:
            continue
        if step == 0:
            step = a[].strides[d]
            expected = step * a[].shape[d]
            if step == 0:
                return False
        elif a[].strides[d] != expected:
            return False
        else:
            expected *= a[].shape[d]
    p.ars = step if step != 0 else p.k
    return True


def _matmul_error(a: TPtr, b: TPtr, m: Int, k: Int, k2: Int, n: Int) -> Error:
    if a[].rank() == 1 and b[].rank() == 1:
        return Error(
            t"RuntimeError|inconsistent tensor size, expected tensor [{k}] and src [{k2}] to have the same number of"
            t" elements, but got {k} and {k2} elements respectively"
        )
    if a[].rank() == 2 and b[].rank() == 1:
        return Error(t"RuntimeError|size mismatch, got input ({m}), mat ({m}x{k}), vec ({k2})")
    if a[].rank() > 2 and b[].rank() > 2:
        var count = 1
        for i in range(a[].rank() - 2):
            count *= a[].shape[i]
        return Error(
            t"RuntimeError|Expected size for first two dimensions of batch2 tensor to be: [{count}, {k}] but got:"
            t" [{count}, {k2}]."
        )
    return _cannot_multiply(m, k, k2, n)


# ---------------------------------------------------------------- the named forms


def mm(mut call: Call) raises -> Obj:
    """Parameters (input, mat2): two matrices."""
    var a = call.tensor(0)
    var b = call.tensor(1)
    if a[].rank() != 2:
        raise Error("RuntimeError|self must be a matrix")
    if b[].rank() != 2:
        raise Error("RuntimeError|mat2 must be a matrix")
    if a[].shape[1] != b[].shape[0]:
        raise _cannot_multiply(a[].shape[0], a[].shape[1], b[].shape[0], b[].shape[1])
    return product_of(call, a, b)


def _check_bmm(a: TPtr, b: TPtr) raises:
    if a[].rank() != 3:
        raise Error("RuntimeError|batch1 must be a 3D tensor")
    if b[].rank() != 3:
        raise Error("RuntimeError|batch2 must be a 3D tensor")
    if a[].shape[0] != b[].shape[0] or a[].shape[2] != b[].shape[1]:
        raise Error(
            t"RuntimeError|Expected size for first two dimensions of batch2 tensor to be: [{a[].shape[0]},"
            t" {a[].shape[2]}] but got: [{b[].shape[0]}, {b[].shape[1]}]."
        )


def bmm(mut call: Call) raises -> Obj:
    """Parameters (input, mat2): two batches of matrices of the same length."""
    _check_bmm(call.tensor(0), call.tensor(1))
    return product_of(call, call.tensor(0), call.tensor(1))


def mv(mut call: Call) raises -> Obj:
    """Parameters (input, vec): a matrix and a vector."""
    var a = call.tensor(0)
    var b = call.tensor(1)
    if a[].rank() != 2 or b[].rank() != 1:
        raise Error(t"RuntimeError|vector + matrix @ vector expected, got {b[].rank()}, {a[].rank()}, {b[].rank()}")
    return product_of(call, a, b)


def dot(mut call: Call) raises -> Obj:
    """Parameters (input, tensor): two vectors."""
    var a = call.tensor(0)
    var b = call.tensor(1)
    if a[].rank() != 1 or b[].rank() != 1:
        raise Error(t"RuntimeError|1D tensors expected, but got {a[].rank()}D and {b[].rank()}D tensors")
    if a[].code() != b[].code():
        raise Error(
            t"RuntimeError|dot : expected both vectors to have same dtype, but found {type_name(a[].code())} and"
            t" {type_name(b[].code())}"
        )
    return product_of(call, a, b)


def addmm(mut call: Call) raises -> Obj:
    """Parameters (input, mat1, mat2, beta, alpha): beta * input + alpha * (mat1 @ mat2)."""
    var a = call.tensor(1)
    var b = call.tensor(2)
    if a[].rank() != 2:
        raise Error(t"RuntimeError|mat1 must be a matrix, got {a[].rank()}-D tensor")
    if b[].rank() != 2:
        raise Error(t"RuntimeError|mat2 must be a matrix, got {b[].rank()}-D tensor")
    if a[].shape[1] != b[].shape[0]:
        raise _cannot_multiply(a[].shape[0], a[].shape[1], b[].shape[0], b[].shape[1])
    return _add_product(call, call.tensor(0), a, b, 3, 4)


def baddbmm(mut call: Call) raises -> Obj:
    """Parameters (input, batch1, batch2, beta, alpha): beta * input + alpha * (batch1 @ batch2)."""
    _check_bmm(call.tensor(1), call.tensor(2))
    return _add_product(call, call.tensor(0), call.tensor(1), call.tensor(2), 3, 4)


def _add_product(mut call: Call, t: TPtr, a: TPtr, b: TPtr, beta_slot: Int, alpha_slot: Int) raises -> Obj:
    if t[].code() != a[].code():
        raise Error(
            t"RuntimeError|self and mat2 must have the same dtype, but got {type_name(t[].code())} and"
            t" {type_name(a[].code())}"
        )
    if a[].code() != b[].code():
        raise Error(
            t"RuntimeError|self and mat2 must have the same dtype, but got {type_name(a[].code())} and"
            t" {type_name(b[].code())}"
        )
    _same_dtype(call, a, b)
    var beta = call.scalar(beta_slot)
    var alpha = call.scalar(alpha_slot)
    if (alpha.im != 0 or beta.im != 0) and not is_complex(a[].code()):
        raise Error("RuntimeError|value cannot be converted to type double without overflow")
    var keeps = beta.d != 0 or beta.im != 0
    var r = a[].rank()
    var shape = a[].shape.copy()
    shape[r - 1] = b[].shape[r - 1]
    check_expands(t, shape, r)
    var made = _result(call, a[].code(), shape, r, a[].device())
    var o = as_tensor(made)
    var in_place = made == Int(t)
    # an output among the factors, or one that must first be filled from memory it shares, is computed aside
    if call.has_out() and (
        _shares_memory(made, a) or _shares_memory(made, b) or (not in_place and _shares_memory(made, t))
    ):
        var aside = new_tensor(a[].code(), shape, r, a[].device())
        if keeps:
            copy_into(as_tensor(aside), t)
        _products_onto(call, as_tensor(aside), a, b, alpha, beta)
        copy_into(o, as_tensor(aside))
        decref(aside)
        return made
    if not in_place and keeps:
        copy_into(o, t)
    _products_onto(call, o, a, b, alpha, beta)
    return made


def _products_onto(call: Call, o: TPtr, a: TPtr, b: TPtr, alpha: Scalar2, beta: Scalar2) raises:
    """Computes o = alpha * a @ b + beta * o for matrices or equal batches of them."""
    var r = a[].rank()
    var p = Product(a[].code(), a[].shape[r - 2], b[].shape[r - 1], a[].shape[r - 1])
    p.alpha = alpha.d
    p.alpha_im = alpha.im
    p.beta = beta.d
    p.beta_im = beta.im
    p.ars = a[].strides[r - 2]
    p.acs = a[].strides[r - 1]
    p.brs = b[].strides[r - 2]
    p.bcs = b[].strides[r - 1]
    p.crs = o[].strides[r - 2]
    p.ccs = o[].strides[r - 1]
    p.c = o[].writable()
    if o[].numel == 0:
        return
    var size = itemsize(p.code)
    var c = p.c
    for i in range(a[].shape[0] if r == 3 else 1):
        p.a = a[].data() + (i * a[].strides[0] * size if r == 3 else 0)
        p.b = b[].data() + (i * b[].strides[0] * size if r == 3 else 0)
        p.c = c + (i * o[].strides[0] * size if r == 3 else 0)
        multiply(call, p, a[].device())


def check_expands(t: TPtr, shape: Dims, ndim: Int) raises:
    """Refuses a tensor that does not broadcast to the shape."""
    var shift = ndim - t[].rank()
    var bad = 0 if shift < 0 else -1
    for i in range(t[].rank()):
        if bad < 0 and t[].shape[i] != 1 and t[].shape[i] != shape[i + shift]:
            bad = i + shift
    if bad >= 0:
        raise Error(
            t"RuntimeError|The expanded size of the tensor ({shape[bad]}) must match the existing size"
            t" ({t[].shape[max(bad - shift, 0)]}) at non-singleton dimension {bad}.  Target sizes:"
            t" {shape_text(shape, ndim)}.  Tensor sizes: {shape_text(t[].shape, t[].rank())}"
        )


def linear(mut call: Call) raises -> Obj:
    """Parameters (input, weight, bias): input @ weight.T + bias, weight (out, in) or (in,)."""
    var x = call.tensor(0)
    var w = call.tensor(1)
    if w[].rank() > 2 or w[].rank() == 0:
        raise call.fail("RuntimeError", String(t"expected a weight of 1 or 2 dimensions, got {w[].rank()}"))
    if x[].rank() == 0:
        raise Error("RuntimeError|both arguments to linear need to be at least 1D, but they are 0D and 2D")
    _same_dtype(call, x, w)
    var r = x[].rank()
    var k = x[].shape[r - 1]
    var n = w[].shape[0] if w[].rank() == 2 else 1
    var wk = w[].shape[w[].rank() - 1]
    var rows = 1
    for i in range(r - 1):
        rows *= x[].shape[i]
    if k != wk:
        raise _cannot_multiply(rows, k, wk, n)
    var shape = x[].shape.copy()
    var ndim = r
    if w[].rank() == 2:
        shape[r - 1] = n
    else:
        ndim = r - 1
    var p = Product(x[].code(), rows, n, k)
    p.acs = x[].strides[r - 1]
    p.ars = x[].strides[r - 2] if r > 1 else 0
    p.brs = w[].strides[w[].rank() - 1]
    p.bcs = w[].strides[0] if w[].rank() == 2 else 0
    p.b = w[].data()
    var made = new_tensor(p.code, shape, ndim, x[].device())
    var o = as_tensor(made)
    p.c = o[].data()
    try:
        if not call.is_none(2):
            var bias = call.tensor(2)
            if bias[].code() != p.code:
                raise call.fail(
                    "RuntimeError",
                    String(t"expected bias to have dtype {type_name(p.code)}, but got {type_name(bias[].code())}"),
                )
            check_expands(bias, shape, ndim)
            if bias[].rank() == 1 and bias[].shape[0] == n and (n == 1 or bias[].strides[0] == 1) and n > 0:
                p.bias = bias[].data()
            elif o[].numel > 0:
                copy_into(o, bias)
                p.beta = 1
        if o[].numel == 0:
            return made
        if r <= 2 or _even_rows(x, p):
            p.a = x[].data()
            multiply(call, p, x[].device())
        else:
            # rows without one step: matrix by matrix over the leading dimensions
            var size = itemsize(p.code)
            var per = x[].shape[r - 2]
            var count = rows // max(per, 1)
            p.m = per
            p.ars = x[].strides[r - 2]
            for i in range(count):
                var rest = i
                var offset = 0
                for j in range(2, r):
                    var d = r - 1 - j
                    offset += (rest % x[].shape[d]) * x[].strides[d]
                    rest //= x[].shape[d]
                p.a = x[].data() + offset * size
                p.c = o[].data() + i * per * n * size
                multiply(call, p, x[].device())
    except e:
        decref(made)
        raise e
    return made


def outer(mut call: Call) raises -> Obj:
    """Parameters (input, vec2): the product of a column and a row."""
    var a = call.tensor(0)
    var b = call.tensor(1)
    if a[].rank() != 1:
        raise Error(t"RuntimeError|outer: Expected 1-D argument self, but got {a[].rank()}-D")
    if b[].rank() != 1:
        raise Error(t"RuntimeError|outer: Expected 1-D argument vec2, but got {b[].rank()}-D")
    _same_dtype(call, a, b)
    var shape = no_dims()
    shape[0] = a[].shape[0]
    shape[1] = b[].shape[0]
    var made = _result(call, a[].code(), shape, 2, a[].device())
    var o = as_tensor(made)
    var p = Product(a[].code(), shape[0], shape[1], 1)
    p.ars = a[].strides[0]
    p.bcs = b[].strides[0]
    p.a = a[].data()
    p.b = b[].data()
    p.crs = o[].strides[0]
    p.ccs = o[].strides[1]
    p.c = o[].writable()
    if o[].numel > 0:
        multiply(call, p, a[].device())
    return made


@export("dumbtorch_register_matmul")
def register_matmul() abi("C") -> None:
    register[matmul]("matmul")
    register[mm]("mm")
    register[bmm]("bmm")
    register[mv]("mv")
    register[dot]("dot")
    register[addmm]("addmm")
    register[baddbmm]("baddbmm")
    register[linear]("linear")
    register[outer]("outer")
