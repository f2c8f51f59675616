"""Factorizations that solve linear systems: Cholesky, LU, LDL, triangular solves, least squares. By LAPACK, but for many
small matrices.
"""

from std.ffi import external_call
from std.sys.info import size_of
from tensor.call import Call, register
from tensor.dtype import COMPLEX64, FLOAT32, FLOAT64, INT32, complex_part, is_complex, itemsize
from tensor.layout import Dims, broadcast_into, no_dims, same_dims, shape_text
from tensor.memory import at, load, store
from tensor.object import TPtr, as_tensor, new_tensor
from tensor.py import Obj, decref

from kernels.lapack import (
    Matrices, Routine, as_ints, as_words, check_kind, check_like, check_matrix, check_square, clear_triangle, copied,
    letter, new_matrices, new_vectors, new_words, own_copy, readable, results,
)  # fmt: skip
from kernels.small import (
    LARGEST, is_small, small_cholesky, small_inverse, small_lu, small_lu_solve, small_triangular,
)  # fmt: skip
from kernels.transfer_api import contiguous_of, copy_into


def _count(t: TPtr) -> Int:
    """How many matrices there are."""
    var count = 1
    for i in range(t[].rank() - 2):
        count *= t[].shape[i]
    return count


def _small(t: TPtr) -> Bool:
    """Whether the matrices go in groups (kernels/small.mojo) rather than one by one to LAPACK."""
    var r = t[].rank()
    return is_small(t[].code(), t[].shape[r - 2], t[].shape[r - 1], _count(t))


def cholesky(mut call: Call) raises -> Obj:
    """Parameters (input, upper): the factor, and the order of the first minor that is not positive definite (or 0)."""
    var t = check_matrix(call, 0)
    check_square(call, t)
    var upper = call.bool(1)
    if _small(t):
        var infos = new_words(_count(t))
        var a = small_cholesky(t, upper, infos)
        return results(a.tensor, as_ints(infos, t[].shape, a.ndim, -1))
    var a = own_copy(t)
    var infos = new_words(a.count)
    var n = a.rows
    var f = Routine(letter(a.code) + "potrf", a.count)
    f.flag("U" if upper else "L")
    f.int(n)
    f.data(a.data(), a.step())
    f.int(a.ld())
    f.data(infos, 8)
    f.run_all(a.code, n * n * n // 3)
    clear_triangle(a, upper, n, itemsize(a.code))
    return results(a.tensor, as_ints(infos, t[].shape, a.ndim, -1))


def _factored(t: TPtr, mut pivots: Int, mut infos: Int) raises -> Matrices:
    """LU of a copy; the exchanges and the status as new words."""
    var k = min(t[].shape[t[].rank() - 1], t[].shape[t[].rank() - 2])
    var count = _count(t)
    infos = new_words(count)
    pivots = new_words(count * k)
    if _small(t):
        return small_lu(t, pivots, infos)
    var a = own_copy(t)
    var f = Routine(letter(a.code) + "getrf", a.count)
    f.int(a.rows)
    f.int(a.cols)
    f.data(a.data(), a.step())
    f.int(a.ld())
    f.data(pivots, 8 * k)
    f.data(infos, 8)
    f.run_all(a.code, a.rows * a.cols * k)
    return a


def _getrs(a: Matrices, pivots: Int, x: Matrices, adjoint: Bool) raises:
    if is_small(x.code, x.rows, x.cols, x.count):
        small_lu_solve(a, pivots, x, adjoint)
        return
    var infos = new_words(x.count)
    var f = Routine(letter(x.code) + "getrs", x.count)
    f.flag("C" if adjoint else "N")
    f.int(a.rows)
    f.int(x.cols)
    f.data(a.data(), a.step())
    f.int(a.ld())
    f.data(pivots, 8 * a.rows)
    f.data(x.data(), x.step())
    f.int(x.ld())
    f.data(infos, 8)
    f.run_all(x.code, 2 * a.rows * a.rows * x.cols)
    external_call["free", NoneType](infos)


def lu_factor(mut call: Call) raises -> Obj:
    """Parameters (input): LU in one matrix, the rows exchanged (from 1), the first zero pivot (or 0)."""
    var t = check_matrix(call, 0)
    var pivots = 0
    var infos = 0
    var a = _factored(t, pivots, infos)
    return results(
        a.tensor,
        as_ints(pivots, t[].shape, a.ndim, min(a.rows, a.cols)),
        as_ints(infos, t[].shape, a.ndim, -1),
    )


def _product[dt: DType, complex: Bool](lu: Matrices, pivots: Int, result: Int):
    """The product of each diagonal, its sign changed for every exchange."""
    comptime parts = 2 if complex else 1
    var n = lu.rows
    for b in range(lu.count):
        var p = at[Scalar[dt]](lu.data() + b * lu.step())
        var re = Scalar[dt](1)
        var im = Scalar[dt](0)
        var odd = False
        for i in range(n):
            var x = p[unsafe_offset=parts * i * (n + 1)]
            odd = odd != (load[Int32](pivots + 4 * (b * n + i)) != Int32(i + 1))
            comptime if complex:
                var y = p[unsafe_offset=parts * i * (n + 1) + 1]
                var real = re * x - im * y
                im = re * y + im * x
                re = real
            else:
                re *= x
        store[Scalar[dt]](result + b * parts * size_of[Scalar[dt]](), -re if odd else re)
        comptime if complex:
            store[Scalar[dt]](result + (b * 2 + 1) * size_of[Scalar[dt]](), -im if odd else im)


def det(mut call: Call) raises -> Obj:
    """Parameters (A): the determinant, the LU factors, their pivots."""
    var t = check_matrix(call, 0)
    check_square(call, t)
    var pivots = 0
    var infos = 0
    var a = _factored(t, pivots, infos)
    external_call["free", NoneType](infos)
    var piv = as_ints(pivots, t[].shape, a.ndim, a.rows)
    var made = new_tensor(a.code, t[].shape, a.ndim)
    var exchanges = as_tensor(piv)[].data()
    var result = as_tensor(made)[].data()
    if a.code == FLOAT32:
        _product[DType.float32, False](a, exchanges, result)
    elif a.code == FLOAT64:
        _product[DType.float64, False](a, exchanges, result)
    elif a.code == COMPLEX64:
        _product[DType.float32, True](a, exchanges, result)
    else:
        _product[DType.float64, True](a, exchanges, result)
    return results(made, a.tensor, piv)


def _common_batch(call: Call, a: TPtr, b: TPtr, mut batch: Dims) raises -> Int:
    """The batch shape of two batches of matrices that broadcast."""
    var ndim = a[].rank() - 2
    batch = a[].shape.copy()
    if broadcast_into(batch, ndim, b[].shape, b[].rank() - 2) >= 0:
        raise call.fail(
            "RuntimeError",
            String(
                t"the batch dimensions of shapes"
                t" {shape_text(a[].shape, a[].rank())} and"
                t" {shape_text(b[].shape, b[].rank())} do not broadcast"
            ),
        )
    return ndim


def _check_rows(call: Call, a: TPtr, b: TPtr, left: Bool) raises:
    var n = a[].shape[a[].rank() - 1]
    if b[].shape[b[].rank() - (2 if left else 1)] != n:
        raise call.fail(
            "RuntimeError",
            String(t"incompatible shapes {shape_text(a[].shape, a[].rank())} and {shape_text(b[].shape, b[].rank())}"),
        )


def _pivots_of(call: Call, i: Int, a: TPtr, batch: Dims, ndim: Int) raises -> Obj:
    """The int32 pivots of a factorization, checked, contiguous."""
    var p = call.tensor(i)
    var n = a[].shape[a[].rank() - 1]
    var fits = p[].code() == INT32 and p[].rank() == ndim + 1 and p[].shape[ndim] == n
    if not fits or not same_dims(p[].shape, batch, ndim):
        raise call.fail(
            "RuntimeError",
            String(t"expected int32 pivots of shape (*batch, {n}), got {shape_text(p[].shape, p[].rank())}"),
        )
    return contiguous_of(p, INT32)


def lu_solve(mut call: Call) raises -> Obj:
    """Parameters (LU, pivots, B, adjoint): X with A X = B, or with the adjoint of A. LU and pivots are expanded."""
    var lu = check_matrix(call, 0)
    check_square(call, lu)
    var b = check_matrix(call, 2)
    check_like(call, lu, b)
    _check_rows(call, lu, b, True)
    var batch = no_dims()
    var ndim = _common_batch(call, lu, b, batch)
    var adjoint = call.bool(3)
    var piv = _pivots_of(call, 1, lu, batch, ndim)
    var n = lu[].shape[lu[].rank() - 1]
    var pivots = as_words(as_tensor(piv))
    var bad = False
    for i in range(as_tensor(piv)[].numel):
        var p = load[Int](pivots + 8 * i)
        bad = bad or p < 1 or p > n
    decref(piv)
    if bad:
        external_call["free", NoneType](pivots)
        raise call.fail(
            "RuntimeError",
            String("pivots given to lu_solve must all be greater or equal to 1 and at most n"),
        )
    var a = readable(lu, batch, ndim)
    var x = copied(b, batch, ndim)
    _getrs(a, pivots, x, adjoint)
    decref(a.tensor)
    external_call["free", NoneType](pivots)
    return x.tensor


def solve(mut call: Call) raises -> Obj:
    """Parameters (A, B): X with A X = B, the LU factors of A, their pivots, the first zero pivot (or 0).

    Where a matrix is singular X holds whatever the substitution gives. Batches broadcast; then A is factored once.
    """
    var t = check_matrix(call, 0)
    check_square(call, t)
    var b = check_matrix(call, 1)
    check_like(call, t, b)
    _check_rows(call, t, b, True)
    var batch = no_dims()
    var ndim = _common_batch(call, t, b, batch)
    var pivots = 0
    var infos = 0
    var a = _factored(t, pivots, infos)
    var piv = as_ints(pivots, t[].shape, a.ndim, a.rows)
    var info = as_ints(infos, t[].shape, a.ndim, -1)
    var x = copied(b, batch, ndim)
    if x.count == a.count:
        pivots = as_words(as_tensor(piv))
        _getrs(a, pivots, x, False)
    else:
        var factors = copied(as_tensor(a.tensor), batch, ndim)
        var wide = _expanded(as_tensor(piv), batch, ndim)
        pivots = as_words(as_tensor(wide))
        _getrs(factors, pivots, x, False)
        decref(wide)
        decref(factors.tensor)
    external_call["free", NoneType](pivots)
    return results(x.tensor, a.tensor, piv, info)


def inverse(mut call: Call) raises -> Obj:
    """Parameters (A): the inverse, and the first zero pivot (or 0), where the inverse holds what the factors hold."""
    var t = check_matrix(call, 0)
    check_square(call, t)
    if _small(t):
        var status = new_words(_count(t))
        var made = small_inverse(t, status)
        return results(made.tensor, as_ints(status, t[].shape, made.ndim, -1))
    var pivots = 0
    var infos = 0
    var a = _factored(t, pivots, infos)
    var n = a.rows
    var again = new_words(a.count)
    var f = Routine(letter(a.code) + "getri", a.count)
    f.int(n)
    f.data(a.data(), a.step())
    f.int(a.ld())
    f.data(pivots, 8 * n)
    f.work_with_length(a.code)
    f.data(again, 8)
    f.run_all(a.code, 4 * n * n * n // 3)
    external_call["free", NoneType](again)
    external_call["free", NoneType](pivots)
    return results(a.tensor, as_ints(infos, t[].shape, a.ndim, -1))


def _expanded(t: TPtr, batch: Dims, ndim: Int) raises -> Obj:
    """A vector for each matrix, copied to a larger batch."""
    var made = new_vectors(t[].code(), batch, ndim, t[].shape[t[].rank() - 1])
    if as_tensor(made)[].numel > 0:
        copy_into(as_tensor(made), t)
    return made


def solve_triangular(mut call: Call) raises -> Obj:
    """Parameters (A, B, upper, left, unitriangular): X with A X = B, or X A = B."""
    var t = check_matrix(call, 0)
    check_square(call, t)
    var b = check_matrix(call, 1)
    check_like(call, t, b)
    var upper = call.bool(2)
    var left = call.bool(3)
    var unit = call.bool(4)
    _check_rows(call, t, b, left)
    var batch = no_dims()
    var ndim = _common_batch(call, t, b, batch)
    var a = readable(t, batch, ndim)
    var x = copied(b, batch, ndim)
    if a.rows <= LARGEST and is_small(x.code, x.rows, x.cols, x.count):
        small_triangular(a, x, upper, left, unit)
        decref(a.tensor)
        return x.tensor
    var f = Routine(letter(x.code) + "trsm", x.count)
    f.flag("L" if left else "R")
    f.flag("U" if upper else "L")
    f.flag("N")
    f.flag("U" if unit else "N")
    f.int(x.rows)
    f.int(x.cols)
    f.real(1, x.code)
    f.data(a.data(), a.step())
    f.int(a.ld())
    f.data(x.data(), x.step())
    f.int(x.ld())
    f.run_all(
        x.code,
        a.rows * x.rows * x.cols if as_tensor(x.tensor)[].numel > 0 else 0,
    )
    decref(a.tensor)
    return x.tensor


def ldl_factor(mut call: Call) raises -> Obj:
    """Parameters (input, hermitian): L and D in one matrix, the pivots, the first zero of D (or 0). Reads the lower part.
    """
    var t = check_matrix(call, 0)
    check_square(call, t)
    var hermitian = call.bool(1) and is_complex(t[].code())
    var a = own_copy(t)
    var n = a.rows
    var infos = new_words(a.count)
    var pivots = new_words(a.count * n)
    var f = Routine(letter(a.code) + ("hetrf" if hermitian else "sytrf"), a.count)
    f.flag("L")
    f.int(n)
    f.data(a.data(), a.step())
    f.int(a.ld())
    f.data(pivots, 8 * n)
    f.work_with_length(a.code)
    f.data(infos, 8)
    f.run_all(a.code, n * n * n // 3)
    clear_triangle(a, False, n, itemsize(a.code))
    return results(
        a.tensor,
        as_ints(pivots, t[].shape, a.ndim, n),
        as_ints(infos, t[].shape, a.ndim, -1),
    )


def ldl_solve(mut call: Call) raises -> Obj:
    """Parameters (LD, pivots, B, hermitian): X with A X = B. LD and pivots are expanded to the common batch."""
    var ld = check_matrix(call, 0)
    check_square(call, ld)
    var b = check_matrix(call, 2)
    check_like(call, ld, b)
    _check_rows(call, ld, b, True)
    var batch = no_dims()
    var ndim = _common_batch(call, ld, b, batch)
    var hermitian = call.bool(3) and is_complex(ld[].code())
    var piv = _pivots_of(call, 1, ld, batch, ndim)
    var n = ld[].shape[ld[].rank() - 1]
    var pivots = as_words(as_tensor(piv))
    var bad = False
    for i in range(as_tensor(piv)[].numel):
        var p = load[Int](pivots + 8 * i)
        # a negative one marks a block of two by two
        bad = bad or p == 0 or p > n or p < -n
    decref(piv)
    if bad:
        external_call["free", NoneType](pivots)
        raise call.fail("RuntimeError", String("pivots do not come from ldl_factor"))
    var a = readable(ld, batch, ndim)
    var x = copied(b, batch, ndim)
    var infos = new_words(x.count)
    var f = Routine(letter(x.code) + ("hetrs" if hermitian else "sytrs"), x.count)
    f.flag("L")
    f.int(n)
    f.int(x.cols)
    f.data(a.data(), a.step())
    f.int(a.ld())
    f.data(pivots, 8 * n)
    f.data(x.data(), x.step())
    f.int(x.ld())
    f.data(infos, 8)
    f.run_all(x.code, 2 * n * n * x.cols if as_tensor(x.tensor)[].numel > 0 else 0)
    decref(a.tensor)
    external_call["free", NoneType](infos)
    external_call["free", NoneType](pivots)
    return x.tensor


comptime GELS = 0
comptime GELSY = 1
comptime GELSD = 2
comptime GELSS = 3


def lstsq(mut call: Call) raises -> Obj:
    """Parameters (A, B, rcond, driver): a matrix of max(m, n) rows that holds the solution and residuals, the ranks, the
    singular values, the status. B has max(m, n) rows; the drivers are gels, gelsy, gelsd, gelss.
    """
    var t = check_matrix(call, 0)
    var b = check_matrix(call, 1)
    check_like(call, t, b)
    var rcond = call.float(2)
    var driver = call.int(3)
    var batch = no_dims()
    var ndim = _common_batch(call, t, b, batch)
    var a = copied(t, batch, ndim)
    var x = copied(b, batch, ndim)
    var m = a.rows
    var n = a.cols
    var k = min(m, n)
    if x.rows != max(m, n) or driver < 0 or driver > 3:
        raise call.fail(
            "RuntimeError",
            String(t"B must have {max(m, n)} rows, got {x.rows}"),
        )
    var real = complex_part(x.code)
    var infos = new_words(x.count)
    var ranks = new_words(x.count)
    var singular = new_vectors(real, batch, ndim, k if driver >= GELSD else 0)
    var pivots = new_words(x.count * n)
    if as_tensor(a.tensor)[].numel > 0 and x.cols > 0:
        var names = ["gels", "gelsy", "gelsd", "gelss"]
        var f = Routine(letter(x.code) + String(names[driver]), x.count)
        if driver == GELS:
            f.flag("N")
        f.int(m)
        f.int(n)
        f.int(x.cols)
        f.data(a.data(), a.step())
        f.int(a.ld())
        f.data(x.data(), x.step())
        f.int(x.ld())
        if driver == GELSY:
            f.data(pivots, 8 * n)
        if driver >= GELSD:
            f.data(as_tensor(singular)[].data(), k * itemsize(real))
        if driver != GELS:
            f.real(rcond, real)
            f.data(ranks, 8)
        f.work_with_length(x.code)
        if driver == GELSD:
            # bounds of LAPACK's manual, for leaves of at least 25 and at most 32 levels
            var levels = 1
            while (k >> levels) > 12:
                levels += 1
            levels += 1
            if is_complex(x.code):
                var smlsiz = 32
                var bound = 10 * max(m, n) + 2 * max(m, n) * smlsiz + 8 * max(m, n) * levels + 3 * smlsiz * x.cols
                bound += max((smlsiz + 1) * (smlsiz + 1), n * (1 + x.cols) + 2 * x.cols)
                f.work(bound * itemsize(real))
            f.work((3 * k * levels + 11 * k) * 8)
        elif is_complex(x.code) and driver == GELSY:
            f.work(2 * n * itemsize(real))
        elif is_complex(x.code) and driver == GELSS:
            f.work(5 * k * itemsize(real))
        f.data(infos, 8)
        f.run_all(x.code, 4 * m * n * k)
    external_call["free", NoneType](pivots)
    decref(a.tensor)
    return results(
        x.tensor,
        as_ints(ranks, batch, ndim, -1),
        singular,
        as_ints(infos, batch, ndim, -1),
    )


@export("dumbtorch_register_solve")
def register_solve() abi("C") -> None:
    register[cholesky]("linalg_cholesky_ex")
    register[lu_factor]("linalg_lu_factor_ex")
    register[det]("linalg_det")
    register[lu_solve]("linalg_lu_solve")
    register[solve]("linalg_solve_ex")
    register[inverse]("linalg_inv_ex")
    register[solve_triangular]("linalg_solve_triangular")
    register[ldl_factor]("linalg_ldl_factor_ex")
    register[ldl_solve]("linalg_ldl_solve")
    register[lstsq]("linalg_lstsq")
