"""Orthogonal and spectral factorizations: QR, singular values, eigenvalues. By LAPACK, where the matrices are not small."""

from std.ffi import external_call
from tensor.call import Call, register
from tensor.dtype import (
    COMPLEX64,
    COMPLEX128,
    FLOAT32,
    FLOAT64,
    complex_part,
    is_complex,
    itemsize,
)
from tensor.layout import same_dims
from tensor.memory import at, load, memcpy, memset, store
from tensor.object import TPtr, as_tensor
from tensor.py import Obj, decref, new_ref

from kernels.lapack import (
    Matrices, Routine, as_ints, check_like, check_matrix, check_square, clear_triangle, copied, letter, new_matrices,
    new_vectors, new_words, own_copy, readable, results,
)  # fmt: skip
from kernels.reflectors import fits, qr_by_rows
from kernels.small import is_small, small_qr
from kernels.symmetric import eigen_small, is_small_symmetric
from kernels.transfer_api import contiguous_of, copy_into


# ---------------------------------------------------------------- QR


def _geqrf(a: Matrices, tau: Obj) raises:
    var k = min(a.rows, a.cols)
    var infos = new_words(a.count)
    var f = Routine(letter(a.code) + "geqrf", a.count)
    f.int(a.rows)
    f.int(a.cols)
    f.data(a.data(), a.step())
    f.int(a.ld())
    f.data(as_tensor(tau)[].data(), k * itemsize(a.code))
    f.work_with_length(a.code)
    f.data(infos, 8)
    f.run_all(a.code, 2 * a.rows * a.cols * k)
    external_call["free", NoneType](infos)


def _orgqr(q: Matrices, tau: Obj, k: Int) raises:
    """Turns the first k reflectors into the columns of the orthogonal matrix, in place."""
    var infos = new_words(q.count)
    var f = Routine(letter(q.code) + ("ungqr" if is_complex(q.code) else "orgqr"), q.count)
    f.int(q.rows)
    f.int(q.cols)
    f.int(k)
    f.data(q.data(), q.step())
    f.int(q.ld())
    f.data(as_tensor(tau)[].data(), k * itemsize(q.code))
    f.work_with_length(q.code)
    f.data(infos, 8)
    f.run_all(q.code, 4 * q.rows * q.cols * max(k, 1))
    external_call["free", NoneType](infos)


def geqrf(mut call: Call) raises -> Obj:
    """Parameters (input): R above and the reflectors below the diagonal, their factors."""
    var t = check_matrix(call, 0)
    var a = own_copy(t)
    var tau = new_vectors(a.code, t[].shape, a.ndim, min(a.rows, a.cols))
    if as_tensor(tau)[].numel > 0:
        _geqrf(a, tau)
    return results(a.tensor, tau)


def _check_reflectors(call: Call, a: TPtr, tau: TPtr) raises -> Int:
    """The number of reflectors."""
    var r = a[].rank()
    check_like(call, a, tau)
    var fits = tau[].rank() == r - 1 and same_dims(a[].shape, tau[].shape, r - 2)
    if not fits or tau[].shape[r - 2] > min(a[].shape[r - 1], a[].shape[r - 2]):
        raise call.fail("RuntimeError", String("tau does not fit the matrix of reflectors"))
    return tau[].shape[r - 2]


def householder_product(mut call: Call) raises -> Obj:
    """Parameters (input, tau): the first columns of the product of reflectors."""
    var t = check_matrix(call, 0)
    var k = _check_reflectors(call, t, call.tensor(1))
    if t[].shape[t[].rank() - 2] < t[].shape[t[].rank() - 1]:
        raise call.fail(
            "RuntimeError",
            String("input must have at least as many rows as columns"),
        )
    var tau = contiguous_of(call.tensor(1), t[].code())
    var q = own_copy(t)
    if as_tensor(q.tensor)[].numel > 0:
        _orgqr(q, tau, k)
    decref(tau)
    return q.tensor


def ormqr(mut call: Call) raises -> Obj:
    """Parameters (input, tau, other, left, transpose): Q @ other, other @ Q, or with the adjoint of Q."""
    var t = check_matrix(call, 0)
    var k = _check_reflectors(call, t, call.tensor(1))
    var other = check_matrix(call, 2)
    check_like(call, t, other)
    var left = call.bool(3)
    var adjoint = call.bool(4)
    var r = t[].rank()
    var side = other[].rank() - (2 if left else 1)
    if other[].rank() != r or not same_dims(t[].shape, other[].shape, r - 2) or other[].shape[side] != t[].shape[r - 2]:
        raise call.fail(
            "RuntimeError",
            String("other does not fit the matrix of reflectors"),
        )
    var tau = contiguous_of(call.tensor(1), t[].code())
    var c = own_copy(other)
    if as_tensor(c.tensor)[].numel > 0 and k > 0:
        var a = readable(t, t[].shape, r - 2)
        var infos = new_words(c.count)
        var f = Routine(
            letter(c.code) + ("unmqr" if is_complex(c.code) else "ormqr"),
            c.count,
        )
        f.flag("L" if left else "R")
        f.flag("N" if not adjoint else "C" if is_complex(c.code) else "T")
        f.int(c.rows)
        f.int(c.cols)
        f.int(k)
        f.data(a.data(), a.step())
        f.int(a.ld())
        f.data(as_tensor(tau)[].data(), k * itemsize(c.code))
        f.data(c.data(), c.step())
        f.int(c.ld())
        f.work_with_length(c.code)
        f.data(infos, 8)
        f.run_all(c.code, 4 * c.rows * c.cols * k)
        decref(a.tensor)
        external_call["free", NoneType](infos)
    decref(tau)
    return c.tensor


def _no_q(t: TPtr) raises -> Obj:
    """What stands for a Q that was not asked for."""
    return new_vectors(t[].code(), t[].shape, 0, 0)


def qr(mut call: Call) raises -> Obj:
    """Parameters (input, mode): Q and R; mode 0 is reduced, 1 complete, 2 R alone (Q then is empty)."""
    var t = check_matrix(call, 0)
    var mode = call.int(1)
    var r = t[].rank()
    var m = t[].shape[r - 2]
    var n = t[].shape[r - 1]
    var k = min(m, n)
    var size = itemsize(t[].code())
    var q_cols = 0 if mode == 2 else m if mode == 1 else k
    var r_rows = m if mode == 1 else k
    var upper = new_matrices(t[].code(), t[].shape, r - 2, r_rows, n)
    if is_small(t[].code(), m, n, upper.count):
        if mode == 2:
            small_qr(t, 0, 0, upper)
            return results(_no_q(t), upper.tensor)
        var made = new_matrices(t[].code(), t[].shape, r - 2, m, q_cols)
        small_qr(t, made.data(), q_cols, upper)
        return results(made.tensor, upper.tensor)
    if fits(t[].code(), m, n) and upper.count > 0:
        var source = new_ref(Int(t)) if upper.count == 1 else contiguous_of(t, t[].code())
        var made = new_matrices(t[].code(), t[].shape, r - 2, m, q_cols)
        qr_by_rows(as_tensor(source), made.data(), q_cols, upper)
        decref(source)
        if mode == 2:
            decref(made.tensor)
            return results(_no_q(t), upper.tensor)
        return results(made.tensor, upper.tensor)
    var a = own_copy(t)
    var tau = new_vectors(a.code, t[].shape, a.ndim, k)
    if as_tensor(tau)[].numel > 0:
        _geqrf(a, tau)
    for b in range(a.count):
        for j in range(n):
            memcpy(
                upper.data() + b * upper.step() + j * r_rows * size,
                a.data() + b * a.step() + j * m * size,
                r_rows * size,
            )
    clear_triangle(upper, True, r_rows, size)
    if mode == 2:
        decref(a.tensor)
        decref(tau)
        return results(_no_q(t), upper.tensor)
    var q = a
    if q_cols != n:
        q = new_matrices(a.code, t[].shape, a.ndim, m, q_cols)
        for b in range(a.count):
            memcpy(
                q.data() + b * q.step(),
                a.data() + b * a.step(),
                m * min(n, q_cols) * size,
            )
        decref(a.tensor)
    if as_tensor(q.tensor)[].numel > 0:
        _orgqr(q, tau, k)
    decref(tau)
    return results(q.tensor, upper.tensor)


# ---------------------------------------------------------------- singular values, eigenvalues


def _identity(m: Matrices):
    """Ones on the diagonals, zeros elsewhere."""
    memset(m.data(), 0, m.count * m.step())
    for b in range(m.count):
        for i in range(min(m.rows, m.cols)):
            var place = m.data() + b * m.step() + i * (m.rows + 1) * itemsize(m.code)
            if complex_part(m.code) == FLOAT32:
                store[Float32](place, 1)
            else:
                store[Float64](place, 1)


def svd(mut call: Call) raises -> Obj:
    """Parameters (input, full_matrices, compute_uv): U, S, Vh and the status; U and Vh are empty without compute_uv."""
    var t = check_matrix(call, 0)
    var full = call.bool(1)
    var vectors = call.bool(2)
    var a = own_copy(t)
    var m = a.rows
    var n = a.cols
    var k = min(m, n)
    var real = complex_part(a.code)
    var part = itemsize(real)
    var infos = new_words(a.count)
    var s = new_vectors(real, t[].shape, a.ndim, k)
    var u = new_matrices(
        a.code,
        t[].shape,
        a.ndim,
        m if vectors else 0,
        (m if full else k) if vectors else 0,
    )
    var vh = new_matrices(
        a.code,
        t[].shape,
        a.ndim,
        (n if full else k) if vectors else 0,
        n if vectors else 0,
    )
    if k > 0:
        var f = Routine(letter(a.code) + "gesdd", a.count)
        f.flag("N" if not vectors else "A" if full else "S")
        f.int(m)
        f.int(n)
        f.data(a.data(), a.step())
        f.int(a.ld())
        f.data(as_tensor(s)[].data(), k * part)
        f.data(u.data() if vectors else 0, u.step())
        f.int(u.ld())
        f.data(vh.data() if vectors else 0, vh.step())
        f.int(vh.ld())
        f.work_with_length(a.code)
        if is_complex(a.code):
            var big = max(m, n)
            f.work((k * max(5 * k + 7, 2 * big + 2 * k + 1) if vectors else 7 * k) * part)
        f.work(8 * k * 8)
        f.data(infos, 8)
        f.run_all(a.code, (16 if vectors else 4) * m * n * k)
    else:
        _identity(u)
        _identity(vh)
    decref(a.tensor)
    return results(u.tensor, s, vh.tensor, as_ints(infos, t[].shape, a.ndim, -1))


def _eigen_small(a: Matrices, w: Obj, lower: Bool) raises -> Bool:
    """Whether our own kernel could do all matrices; else they are as they were."""
    var kept = 0
    var size = a.count * a.step()
    if a.count > 1:
        # it works in place, and one that it cannot do sends all to LAPACK
        kept = external_call["malloc", Int](max(size, 1))
        if kept == 0:
            return False
        memcpy(kept, a.data(), size)
    var done = new_words(a.count)
    eigen_small(a, as_tensor(w)[].data(), lower, done)
    var all = True
    for b in range(a.count):
        all = all and load[Int](done + 8 * b) != 0
    external_call["free", NoneType](done)
    if not all and kept != 0:
        memcpy(a.data(), kept, size)
    external_call["free", NoneType](kept)
    return all


def eigh(mut call: Call) raises -> Obj:
    """Parameters (input, lower, compute_v): ascending eigenvalues, eigenvectors (empty without compute_v), the status.
    """
    var t = check_matrix(call, 0)
    check_square(call, t)
    var lower = call.bool(1)
    var vectors = call.bool(2)
    var a = own_copy(t)
    var n = a.rows
    var real = complex_part(a.code)
    var part = itemsize(real)
    var infos = new_words(a.count)
    var w = new_vectors(real, t[].shape, a.ndim, n)
    var left = n > 0
    if vectors and is_small_symmetric(a.code, n):
        left = not _eigen_small(a, w, lower)
    if left:
        var complex = is_complex(a.code)
        var f = Routine(letter(a.code) + ("heevd" if complex else "syevd"), a.count)
        f.flag("V" if vectors else "N")
        f.flag("L" if lower else "U")
        f.int(n)
        f.data(a.data(), a.step())
        f.int(a.ld())
        f.data(as_tensor(w)[].data(), n * part)
        f.work_with_length(a.code)
        # LAPACK's own sizes of the two other work arrays
        if complex:
            var length = (1 + 5 * n + 2 * n * n) if vectors else max(n, 1)
            f.work(length * part)
            f.int(length)
        var ints = (3 + 5 * n) if vectors else 1
        f.work(ints * 8)
        f.int(ints)
        f.data(infos, 8)
        f.run_all(a.code, (9 if vectors else 2) * n * n * n)
    if vectors:
        return results(w, a.tensor, as_ints(infos, t[].shape, a.ndim, -1))
    decref(a.tensor)
    var none = new_matrices(a.code, t[].shape, a.ndim, 0, 0)
    return results(w, none.tensor, as_ints(infos, t[].shape, a.ndim, -1))


def _pair_up[
    dt: DType
](re: Int, im: Int, vectors: Int, values: Int, result: Int, n: Int, with_vectors: Bool,):
    """Makes LAPACK's real description of one matrix's eigenvalues and vectors complex: a conjugate pair of values has the
    real and the imaginary part of its vector in two columns."""
    var wr = at[Scalar[dt]](re)
    var wi = at[Scalar[dt]](im)
    var w = at[Scalar[dt]](values)
    for j in range(n):
        w[unsafe_offset=2 * j] = wr[unsafe_offset=j]
        w[unsafe_offset=2 * j + 1] = wi[unsafe_offset=j]
    if not with_vectors:
        return
    var v = at[Scalar[dt]](vectors)
    var o = at[Scalar[dt]](result)
    var j = 0
    while j < n:
        var pair = wi[unsafe_offset=j] != 0 and j + 1 < n
        for i in range(n):
            var x = v[unsafe_offset=j * n + i]
            var y = v[unsafe_offset=(j + 1) * n + i] if pair else Scalar[dt](0)
            o[unsafe_offset=2 * (j * n + i)] = x
            o[unsafe_offset=2 * (j * n + i) + 1] = y
            if pair:
                o[unsafe_offset=2 * ((j + 1) * n + i)] = x
                o[unsafe_offset=2 * ((j + 1) * n + i) + 1] = -y
        j += 2 if pair else 1


def eig(mut call: Call) raises -> Obj:
    """Parameters (input, compute_v): complex eigenvalues, eigenvectors (empty without compute_v), the status."""
    var t = check_matrix(call, 0)
    check_square(call, t)
    var with_vectors = call.bool(1)
    var a = own_copy(t)
    var n = a.rows
    var complex = is_complex(a.code)
    var code = a.code if complex else COMPLEX64 if a.code == FLOAT32 else COMPLEX128
    var size = itemsize(a.code)
    var real = complex_part(a.code)
    var infos = new_words(a.count)
    var side = n if with_vectors else 0
    var w = new_vectors(code, t[].shape, a.ndim, n)
    var v = new_matrices(code, t[].shape, a.ndim, side, side)
    if n > 0 and a.count > 0:
        var re: Obj = 0
        var im: Obj = 0
        var columns = v
        if not complex:
            re = new_vectors(real, t[].shape, a.ndim, n)
            im = new_vectors(real, t[].shape, a.ndim, n)
            columns = new_matrices(real, t[].shape, a.ndim, side, side)
        var f = Routine(letter(a.code) + "geev", a.count)
        f.flag("N")
        f.flag("V" if with_vectors else "N")
        f.int(n)
        f.data(a.data(), a.step())
        f.int(a.ld())
        if complex:
            f.data(as_tensor(w)[].data(), n * size)
        else:
            f.data(as_tensor(re)[].data(), n * size)
            f.data(as_tensor(im)[].data(), n * size)
        f.data(0)
        f.int(1)
        f.data(columns.data() if with_vectors else 0, columns.step())
        f.int(columns.ld())
        f.work_with_length(a.code)
        if complex:
            f.work(2 * n * itemsize(real))
        f.data(infos, 8)
        f.run_all(a.code, 25 * n * n * n)
        if not complex:
            for b in range(a.count):
                var at_re = as_tensor(re)[].data() + b * n * size
                var at_im = as_tensor(im)[].data() + b * n * size
                var at_v = columns.data() + b * columns.step()
                var to_w = as_tensor(w)[].data() + 2 * b * n * size
                var to_v = v.data() + b * v.step()
                if a.code == FLOAT32:
                    _pair_up[DType.float32](at_re, at_im, at_v, to_w, to_v, n, with_vectors)
                else:
                    _pair_up[DType.float64](at_re, at_im, at_v, to_w, to_v, n, with_vectors)
            decref(re)
            decref(im)
            decref(columns.tensor)
    decref(a.tensor)
    return results(w, v.tensor, as_ints(infos, t[].shape, a.ndim, -1))


@export("dumbtorch_register_spectral")
def register_spectral() abi("C") -> None:
    register[geqrf]("geqrf")
    register[householder_product]("linalg_householder_product")
    register[ormqr]("ormqr")
    register[qr]("linalg_qr")
    register[svd]("linalg_svd")
    register[eigh]("linalg_eigh")
    register[eig]("linalg_eig")
