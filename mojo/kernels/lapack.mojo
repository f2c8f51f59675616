"""Calls of LAPACK: the library found at run time, matrices in its column-major order, one loop over a batch of them.

The library is OpenBLAS as the package scipy-openblas64 brings it: 64-bit integers, names such as `scipy_dgetrf_64_`. It is
opened when a routine is first wanted. Fortran takes every argument by address, so that one function type serves all
routines; the lengths of character arguments follow the last one, by value, and are all 1.
"""

from std.ffi import c_int, external_call
from std.math import ceildiv
from tensor.call import Call
from tensor.dtype import (
    COMPLEX64,
    COMPLEX128,
    FLOAT32,
    FLOAT64,
    INT32,
    complex_part,
    is_complex,
    itemsize,
    type_name,
)
from tensor.errors import python_error
from tensor.layout import Dims, no_dims, same_dims, shape_text
from tensor.memory import (
    at,
    c_string,
    function_at,
    load,
    memset,
    shared_word,
    store,
)
from tensor.object import TPtr, as_tensor, new_strided, new_tensor
from tensor.py import (
    Obj,
    decref,
    get_attr,
    incref,
    release_gil,
    string_of,
    take_gil,
    tuple_new,
    tuple_set,
)
from tensor.threads import Body, num_threads, parallel
from kernels.transfer_api import copy_into
from kernels.workspace import Workspace

comptime MAX_ARGS = 20
comptime Fortran = def(
    Int,
    Int,
    Int,
    Int,
    Int,
    Int,
    Int,
    Int,
    Int,
    Int,
    Int,
    Int,
    Int,
    Int,
    Int,
    Int,
    Int,
    Int,
    Int,
    Int,
) thin abi("C") -> None
comptime LONG_WORK = 1 << 20  # operations worth releasing the interpreter's lock
comptime CALL_WORK = 256  # what a call of LAPACK takes at least
comptime SPREAD_WORK = 1 << 15  # operations of a batch worth several threads
comptime OWN_THREADS_WORK = 1 << 22  # operations of one matrix worth OpenBLAS's own threads


# ---------------------------------------------------------------- the library

# The extension's shared words (tensor/memory.mojo) that hold the library's handle and its thread count.
comptime _HANDLE_WORD = 6
comptime _THREADS_WORD = 7


def _open() raises -> Int:
    """The handle of the library, opened at the first call."""
    if shared_word(_HANDLE_WORD)[] != 0:
        return shared_word(_HANDLE_WORD)[]
    var module = external_call["PyImport_ImportModule", Int](Int(StaticString("scipy_openblas64").unsafe_ptr()))
    if module == 0:
        external_call["PyErr_Clear", NoneType]()
        raise Error(
            "RuntimeError|torch.linalg needs LAPACK: install the package"
            " scipy-openblas64 (pip install scipy-openblas64)"
        )
    var path = String("")
    for name in ["get_lib_dir", "get_library"]:
        var f = external_call["PyObject_GetAttrString", Int](module, c_string(String(name)))
        if f == 0:
            decref(module)
            raise python_error()
        var text: Obj
        if name == "get_lib_dir":
            text = external_call["PyObject_CallNoArgs", Int](f)
        else:
            var yes = external_call["PyBool_FromLong", Int](Int(1))
            text = external_call["PyObject_CallOneArg", Int](f, yes)
            decref(yes)
        decref(f)
        if text == 0:
            decref(module)
            raise python_error()
        path += ("" if path == "" else "/") + string_of(text)
        decref(text)
    decref(module)
    var handle = external_call["dlopen", Int](c_string(path), c_int(2))  # RTLD_NOW
    if handle == 0:
        raise Error(t"RuntimeError|torch.linalg cannot open LAPACK at {path}")
    shared_word(_HANDLE_WORD)[] = handle
    return handle


def _symbol(name: String) raises -> Int:
    var text = c_string(name)
    var found = external_call["dlsym", Int](_open(), at[UInt8](text))
    external_call["free", NoneType](text)
    if found == 0:
        raise Error(t"RuntimeError|the installed scipy-openblas64 has no routine {name}")
    return found


def _use_threads(n: Int) raises:
    """Sets OpenBLAS's thread count, if it is another one."""
    if shared_word(_THREADS_WORD)[] == n:
        return
    comptime Setter = def(c_int) thin abi("C") -> None
    function_at[Setter](_symbol("scipy_openblas_set_num_threads64_"))(c_int(n))
    shared_word(_THREADS_WORD)[] = n


def letter(code: Int) -> String:
    """The first letter of a routine for this dtype."""
    if code == FLOAT32:
        return "s"
    if code == FLOAT64:
        return "d"
    return "c" if code == COMPLEX64 else "z"


# ---------------------------------------------------------------- a routine on a batch


struct Routine(Body, Movable):
    """A LAPACK routine and its arguments, run on every matrix of a batch.

    Arguments are added in the routine's order; `step` is by how many bytes one advances from matrix to matrix. The
    object owns the numbers it points to and its scratch; results of the status argument go to `infos`.
    """

    var f: Int
    var count: Int
    var args: Array[Int, MAX_ARGS]
    var steps: Array[Int, MAX_ARGS]
    var scratch: Array[Int, MAX_ARGS]  # bytes a worker, 0: no scratch
    var numbers: Int  # heap words that number arguments point to
    var space: Workspace
    var per_worker: Int
    var batch: Int
    var per_task: Int

    def __init__(out self, name: String, batch: Int) raises:
        self.f = _symbol("scipy_" + name + "_64_")
        self.count = 0
        self.args = Array[Int, MAX_ARGS](fill=1)
        self.steps = Array[Int, MAX_ARGS](fill=0)
        self.scratch = Array[Int, MAX_ARGS](fill=0)
        self.numbers = external_call["calloc", Int](MAX_ARGS, Int(16))
        self.space = Workspace(0, 0, -1)
        self.per_worker = 0
        self.batch = batch
        self.per_task = 1

    def __deinit__(deinit self):
        external_call["free", NoneType](self.numbers)
        self.space.give()

    def data(mut self, address: Int, step: Int = 0):
        """An array, which is the address itself."""
        # where LAPACK reads nothing it wants an address, and may write a size there
        self.args[self.count] = address if address != 0 else self.numbers + 16 * self.count
        self.steps[self.count] = step
        self.count += 1

    def int(mut self, value: Int):
        store[Int](self.numbers + 16 * self.count, value)
        self.data(self.numbers + 16 * self.count)

    def flag(mut self, text: String):
        """A character argument."""
        self.int(Int(text.as_bytes()[0]))

    def real(mut self, value: Float64, code: Int):
        """A number of the dtype, which may be complex."""
        var p = self.numbers + 16 * self.count
        if complex_part(code) == FLOAT32:
            store[Float32](p, value.cast[DType.float32]())
        else:
            store[Float64](p, value)
        self.data(p)

    def work(mut self, bytes: Int):
        """Scratch, of which each thread gets its own."""
        self.scratch[self.count] = (max(bytes, 16) + 63) // 64 * 64
        self.data(0)

    def work_with_length(mut self, code: Int):
        """The scratch whose best size the routine tells, and its length, the argument after it."""
        self.scratch[self.count] = -itemsize(code)
        self.data(0)
        self.int(-1)

    def _call(self, args: Array[Int, MAX_ARGS]):
        function_at[Fortran](self.f)(
            args[0], args[1], args[2], args[3], args[4], args[5], args[6], args[7], args[8], args[9],
            args[10], args[11], args[12], args[13], args[14], args[15], args[16], args[17], args[18], args[19],
        )  # fmt: skip

    def _query(mut self, code: Int):
        """Asks the routine for the size of its scratch."""
        for i in range(self.count):
            if self.scratch[i] < 0:
                self._call(self.args)
                var size: Int
                if complex_part(code) == FLOAT32:
                    size = Int(load[Float32](self.args[i]))
                else:
                    size = Int(load[Float64](self.args[i]))
                # single precision rounds large sizes, perhaps down
                size = max(size + size // (1 << 20), 1)
                store[Int](self.args[i + 1], size)
                self.scratch[i] = (size * -self.scratch[i] + 63) // 64 * 64

    def run_all(mut self, code: Int, cost: Int) raises:
        """Runs the routine on every matrix; `cost` is about how many operations one takes."""
        if self.batch == 0:
            return
        var threads = num_threads()
        var spread = threads > 1 and self.batch > 1 and self.batch * cost >= SPREAD_WORK and cost < OWN_THREADS_WORK
        _use_threads(1 if spread or cost < OWN_THREADS_WORK else threads)
        self._query(code)
        for i in range(self.count):
            self.per_worker += self.scratch[i]
        var workers = min(threads, self.batch) if spread else 1
        if self.per_worker > 0:
            self.space = Workspace.take(self.per_worker * workers)
            if self.space.address == 0:
                raise Error("OutOfMemoryError|torch.linalg: no memory for the scratch of LAPACK")
        var held = release_gil() if self.batch * (cost + CALL_WORK) > LONG_WORK else 0
        if spread:
            self.per_task = ceildiv(self.batch, 4 * workers)
            parallel(self, ceildiv(self.batch, self.per_task), workers)
        else:
            self.per_task = self.batch
            self.run(0, 0)
        if held != 0:
            take_gil(held)

    def run(self, task: Int, worker: Int):
        var args = self.args.copy()
        var place = self.space.address + worker * self.per_worker
        for i in range(self.count):
            if self.scratch[i] != 0:
                args[i] = place
                place += self.scratch[i]
        for b in range(task * self.per_task, min((task + 1) * self.per_task, self.batch)):
            for i in range(self.count):
                if self.steps[i] != 0:
                    args[i] = self.args[i] + b * self.steps[i]
            self._call(args)


# ---------------------------------------------------------------- matrices


@fieldwise_init
struct Matrices(Copyable, ImplicitlyCopyable, Movable):
    """A batch of matrices as LAPACK reads it: contiguous, each column-major. Owns nothing."""

    var tensor: Obj
    var code: Int
    var rows: Int
    var cols: Int
    var ndim: Int  # of the batch
    var count: Int

    def data(self) -> Int:
        return as_tensor(self.tensor)[].data()

    def step(self) -> Int:
        return self.rows * self.cols * itemsize(self.code)

    def ld(self) -> Int:
        """The distance of two columns: at least 1, as LAPACK wants it of empty matrices too."""
        return max(self.rows, 1)


def check_matrix(call: Call, i: Int) raises -> TPtr:
    """An argument that must be a batch of matrices of a dtype that LAPACK has."""
    var t = call.tensor(i)
    if t[].rank() < 2:
        raise call.fail(
            "RuntimeError",
            String(t"argument '{call.param(i)}' must have at least 2 dimensions"),
        )
    check_kind(call, t)
    return t


def check_kind(call: Call, t: TPtr) raises:
    var code = t[].code()
    if code != FLOAT32 and code != FLOAT64 and code != COMPLEX64 and code != COMPLEX128:
        raise call.fail("RuntimeError", String(t"not implemented for '{type_name(code)}'"))
    if t[].device() != 0:
        raise call.fail(
            "RuntimeError",
            "computed on the CPU only; move the tensor with .cpu()",
        )


def check_square(call: Call, t: TPtr) raises:
    var r = t[].rank()
    if t[].shape[r - 1] != t[].shape[r - 2]:
        raise call.fail(
            "RuntimeError",
            String(t"the matrices must be square, got shape {shape_text(t[].shape, r)}"),
        )


def check_like(call: Call, t: TPtr, other: TPtr) raises:
    if t[].code() != other[].code():
        raise call.fail(
            "RuntimeError",
            String(t"expected one dtype, got {type_name(t[].code())} and {type_name(other[].code())}"),
        )


def new_matrices(code: Int, batch: Dims, ndim: Int, rows: Int, cols: Int) raises -> Matrices:
    """Uninitialised column-major matrices."""
    var shape = batch.copy()
    var strides = no_dims()
    shape[ndim] = rows
    shape[ndim + 1] = cols
    strides[ndim] = 1
    strides[ndim + 1] = max(rows, 1)
    var step = max(rows, 1) * max(cols, 1)
    var count = 1
    for j in range(ndim):
        var i = ndim - 1 - j
        strides[i] = step
        step *= max(batch[i], 1)
        count *= batch[i]
    return Matrices(
        new_strided(code, shape, strides, ndim + 2),
        code,
        rows,
        cols,
        ndim,
        count,
    )


def copied(t: TPtr, batch: Dims, ndim: Int) raises -> Matrices:
    """A tensor's matrices in new column-major memory, broadcast to the batch shape."""
    var r = t[].rank()
    var made = new_matrices(t[].code(), batch, ndim, t[].shape[r - 2], t[].shape[r - 1])
    try:
        if as_tensor(made.tensor)[].numel > 0:
            copy_into(as_tensor(made.tensor), t)
    except e:
        decref(made.tensor)
        raise e^
    return made


def own_copy(t: TPtr) raises -> Matrices:
    return copied(t, t[].shape, t[].rank() - 2)


def readable(t: TPtr, batch: Dims, ndim: Int) raises -> Matrices:
    """The matrices of a tensor that LAPACK only reads: itself (a new reference) where it lies right, else a copy."""
    var r = t[].rank()
    if r == ndim + 2 and same_dims(t[].shape, batch, ndim) and t[].numel > 0:
        var rows = t[].shape[r - 2]
        var step = rows * t[].shape[r - 1]
        var fits = (rows == 1 or t[].strides[r - 2] == 1) and (t[].shape[r - 1] == 1 or t[].strides[r - 1] == rows)
        var count = 1
        for j in range(ndim):
            var i = ndim - 1 - j
            fits = fits and (batch[i] == 1 or t[].strides[i] == step)
            step *= batch[i]
            count *= batch[i]
        if fits:
            incref(Int(t))
            return Matrices(Int(t), t[].code(), rows, t[].shape[r - 1], ndim, count)
    return copied(t, batch, ndim)


def new_vectors(code: Int, batch: Dims, ndim: Int, n: Int) raises -> Obj:
    """An uninitialised vector for each matrix."""
    var shape = batch.copy()
    shape[ndim] = n
    return new_tensor(code, shape, ndim + 1)


def new_words(count: Int) raises -> Int:
    """Zeroed heap words: what LAPACK writes integers to."""
    var p = external_call["calloc", Int](max(count, 1), Int(8))
    if p == 0:
        raise Error("OutOfMemoryError|torch.linalg: no memory")
    return p


def as_ints(words: Int, batch: Dims, ndim: Int, n: Int) raises -> Obj:
    """An int32 tensor of LAPACK's integers: a number a matrix, or n of them with n >= 0. Frees the words."""
    var made: Obj
    if n < 0:
        made = new_tensor(INT32, batch, ndim)
    else:
        made = new_vectors(INT32, batch, ndim, n)
    var t = as_tensor(made)
    for i in range(t[].numel):
        store[Int32](t[].data() + 4 * i, Int32(load[Int](words + 8 * i)))
    external_call["free", NoneType](words)
    return made


def as_words(t: TPtr) raises -> Int:
    """Heap words of the values of a contiguous int32 tensor."""
    var words = new_words(t[].numel)
    for i in range(t[].numel):
        store[Int](words + 8 * i, Int(load[Int32](t[].data() + 4 * i)))
    return words


def results(*items: Obj) -> Obj:
    """A tuple that takes the items over."""
    var made = tuple_new(len(items))
    for i in range(len(items)):
        tuple_set(made, i, items[i])
    return made


def clear_triangle(m: Matrices, lower: Bool, rows: Int, size: Int):
    """Sets what lies below (or above) the diagonal of every matrix to zero."""
    for b in range(m.count):
        var base = m.data() + b * m.step()
        for j in range(m.cols):
            var column = base + j * m.rows * size
            var start = min(j + 1, rows) if lower else 0
            var stop = rows if lower else min(j, rows)
            if stop > start:
                memset(column + start * size, 0, (stop - start) * size)
