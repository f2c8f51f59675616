"""Nested Python sequences of numbers as a tensor: shape, dtype, then one pass that writes the elements.

The rules are those of torch.tensor: the shape is read down the first items, the dtype is the promotion of every leaf,
and only the writing pass compares lengths. Lists and tuples are read where they lie; whatever may run Python code (a
subclass, `__float__`, another kind of sequence) goes a slow way that holds references and reads the list anew.
"""

from std.ffi import _Global, c_int, external_call
from tensor.call import Scalar2, dtype_code

from tensor.dtype import (
    BCOMPLEX32, BOOL, COMPLEX128, COMPLEX32, COMPLEX64, FLOAT64, FLOAT8_E5M2, INT64, NUM_DTYPES, UINT64, dtype_name,
    dtype_of, is_complex, is_floating, is_integral, itemsize,
)  # fmt: skip
from tensor.errors import python_error
from tensor.layout import Dims, checked_numel, no_dims
from std.memory import Pointer
from tensor.memory import at, load, store
from tensor.object import as_tensor, is_tensor, new_tensor
from tensor.promote import promoted

from tensor.py import (
    Obj, class_of, decref, error_occurred, get_attr, incref, is_long, is_sequence, is_str, is_subtype, seq_item, seq_len, symbol,
    type_name_of,
)  # fmt: skip
from tensor.runtime import MAX_RANK, runtime
from kernels.interop_buffer import buffer_dtype, copy_of_array
from kernels.interop_values import scalar_in

comptime BYTES_SUBCLASS = 1 << 27


struct Types(Movable):
    """Addresses of the classes that leaves are compared with, looked up once a process."""

    var list_type: Obj
    var tuple_type: Obj
    # NumPy's, 0 until something has imported it
    var numpy_generic: Obj
    var numpy_array: Obj

    def __init__(out self):
        self.list_type = symbol("PyList_Type")
        self.tuple_type = symbol("PyTuple_Type")
        self.numpy_generic = 0
        self.numpy_array = 0

    def has_numpy(mut self) -> Bool:
        if self.numpy_array == 0:
            self._find_numpy()
        return self.numpy_array != 0

    @no_inline
    def _find_numpy(mut self):
        """Finds NumPy among the imported modules: no object can be NumPy's before that."""
        var name = external_call["PyUnicode_InternFromString", Int](Int(StaticString("numpy").unsafe_ptr()))
        var module = external_call["PyImport_GetModule", Int](name)
        decref(name)
        if module == 0:
            return
        self.numpy_generic = get_attr(module, "generic")
        self.numpy_array = get_attr(module, "ndarray")
        decref(module)
        if self.numpy_generic == 0 or self.numpy_array == 0:
            # a module that is still being imported
            external_call["PyErr_Clear", NoneType]()
            self.numpy_array = 0


comptime _TYPES = _Global[StorageType=Types, "DUMBTORCH_INTEROP_TYPES", Types.__init__]


@always_inline
def _types() -> Pointer[Types, MutUntrackedOrigin]:
    try:
        return at[Types](Int(_TYPES.get_or_create_ptr()))
    except:
        # the initialiser cannot raise
        return at[Types](8)


struct Reader(Movable):
    """Reads one nested sequence. `code` is -1 until the dtype is known."""

    var code: Int
    var shape: Dims
    var ndim: Int
    # what the leaves seen so far promote to: bits 1 bool, 2 int, 4 float, 8 complex, and the dtype of the others
    var seen: Int
    var other: Int
    # exact types, compared by address
    var float_type: Obj
    var long_type: Obj
    var bool_type: Obj
    var true_: Obj
    var list_type: Obj
    var tuple_type: Obj
    # NumPy scalars come in runs of one type
    var last_type: Obj
    var last_code: Int

    def __init__(out self):
        var rt = runtime()
        self.code = -1
        self.shape = no_dims()
        self.ndim = 0
        self.seen = 0
        self.other = -1
        self.float_type = rt[].float_type
        self.long_type = rt[].long_type
        self.bool_type = rt[].bool_type
        self.true_ = rt[].true_
        self.list_type = _types()[].list_type
        self.tuple_type = _types()[].tuple_type
        self.last_type = 0
        self.last_code = -1

    def is_numpy_scalar(self, o: Obj) -> Bool:
        return _types()[].has_numpy() and is_subtype(class_of(o), _types()[].numpy_generic)

    def is_numpy_array(self, o: Obj) -> Bool:
        return _types()[].has_numpy() and is_subtype(class_of(o), _types()[].numpy_array)

    # ------------------------------------------------------------ shape

    @always_inline
    def _is_row(self, o: Obj) -> Bool:
        """A list or tuple, exactly."""
        var tp = class_of(o)
        return tp == self.list_type or tp == self.tuple_type

    def _nests(mut self, o: Obj) -> Bool:
        """Whether o is a sequence of further items (a tensor or a number is a leaf)."""
        if self._is_row(o):
            return True
        var tp = class_of(o)
        if tp == self.float_type or tp == self.long_type or is_tensor(o) or self.is_numpy_scalar(o):
            return False
        return external_call["PySequence_Check", c_int](o) != 0

    def find_shape(mut self, data: Obj) raises:
        var o = data
        incref(o)
        try:
            while self._nests(o):
                if self.ndim == MAX_RANK or is_str(o):
                    raise Error(t"ValueError|too many dimensions '{type_name_of(o)}'")
                var n = external_call["PySequence_Size", Int](o)
                if n < 0:
                    raise python_error()
                self.shape[self.ndim] = n
                self.ndim += 1
                if n == 0:
                    break
                var first = external_call["PySequence_GetItem", Int](o, Int(0))
                if first == 0:
                    external_call["PyErr_Clear", NoneType]()
                    raise Error(t"ValueError|could not determine the shape of object type '{type_name_of(o)}'")
                decref(o)
                o = first
        finally:
            decref(o)

    # ------------------------------------------------------------ dtype

    def find_dtype(mut self, data: Obj) raises:
        """Infers `code` from every leaf."""
        self._scan(data, 0)
        var rt = runtime()
        var code = self.other
        if self.seen & 1:
            code = BOOL if code < 0 else promoted(code, BOOL)
        if self.seen & 2:
            code = INT64 if code < 0 else promoted(code, INT64)
        if self.seen & 4:
            code = rt[].default_dtype if code < 0 else promoted(code, rt[].default_dtype)
        if self.seen & 8:
            var z = COMPLEX128 if rt[].default_dtype == FLOAT64 else COMPLEX64
            code = z if code < 0 else promoted(code, z)
        self.code = code

    def _scan(mut self, o: Obj, depth: Int) raises:
        if not self._is_row(o):
            self._scan_other(o, depth)
            return
        if depth > MAX_RANK:
            raise Error(t"ValueError|too many dimensions '{type_name_of(o)}'")
        var n = seq_len(o)
        if n == 0:
            self.seen |= 4
            return
        var exact_list = class_of(o) == self.list_type
        var items = load[Int](o + 24) if exact_list else o + 24
        var seen = self.seen
        var i = 0
        while i < n:
            var item = load[Int](items + 8 * i)
            var tp = class_of(item)
            if tp == self.float_type:
                seen |= 4
            elif tp == self.long_type:
                seen |= 2
            elif tp == self.bool_type:
                seen |= 1
            else:
                if item == o:
                    raise Error("TypeError|new(): self-referential lists are incompatible")
                self.seen |= seen
                incref(item)
                try:
                    self._scan(item, depth + 1)
                finally:
                    decref(item)
                # the item's own code may have changed the list
                n = seq_len(o)
                items = load[Int](o + 24) if exact_list else o + 24
            i += 1
        self.seen |= seen

    @no_inline
    def _scan_other(mut self, o: Obj, depth: Int) raises:
        """A leaf that is not of an exact builtin type, or another kind of sequence."""
        var rt = runtime()
        var tp = class_of(o)
        if is_tensor(o):
            self._join(as_tensor(o)[].code())
        elif tp == self.last_type:
            self._join(self.last_code)
        elif self.is_numpy_scalar(o) and not is_str(o):
            self.last_code = buffer_dtype(o)
            self.last_type = tp
            self._join(self.last_code)
        elif is_subtype(tp, rt[].float_type):
            self.seen |= 4
        elif tp == rt[].bool_type:
            self.seen |= 1
        elif is_long(o):
            self.seen |= 2
        elif is_subtype(tp, rt[].complex_type):
            self.seen |= 8
        elif _is_text(o):
            raise _text_error(o)
        elif self.is_numpy_array(o):
            self._join(buffer_dtype(o))
        elif external_call["PySequence_Check", c_int](o) != 0:
            var items = external_call["PySequence_Tuple", Int](o)
            if items == 0:
                raise python_error()
            try:
                self._scan(items, depth)
            finally:
                decref(items)
        else:
            raise Error(t"RuntimeError|Could not infer dtype of {type_name_of(o)}")

    def _join(mut self, code: Int) raises:
        self.other = code if self.other < 0 else promoted(self.other, code)

    # ------------------------------------------------------------ elements

    def write(mut self, data: Obj, target: Int) raises:
        """Writes every element, in row-major order, from the address on."""
        comptime for c in range(NUM_DTYPES):
            if self.code == c:
                if self.ndim == 0:
                    _put_slow[c](self, data, target)
                else:
                    _ = self._write_level[c](data, 0, target)

    def _write_level[code: Int](mut self, o: Obj, dim: Int, target: Int) raises -> Int:
        """Writes a sequence at `dim`; the address after its last element."""
        var row = external_call["PySequence_Fast", Int](o, Int(StaticString("not a sequence").unsafe_ptr()))
        if row == 0:
            raise python_error()
        try:
            var n = self.shape[dim]
            if seq_len(row) != n:
                raise Error(t"ValueError|expected sequence of length {n} at dim {dim} (got {seq_len(row)})")
            if dim == self.ndim - 1:
                self._write_row[code](row, n, target)
                return target + n * itemsize(code)
            var place = target
            for i in range(n):
                _check_length(row, n)
                place = self._write_level[code](seq_item(row, i), dim + 1, place)
            return place
        finally:
            decref(row)

    def _write_row[code: Int](mut self, row: Obj, n: Int, target: Int) raises:
        var in_list = not self._is_inline(row)
        var items = load[Int](row + 24) if in_list else row + 24
        var place = target
        for i in range(n):
            var o = load[Int](items + 8 * i)
            if not _put_fast[code](self, o, place):
                incref(o)
                try:
                    _put_slow[code](self, o, place)
                finally:
                    decref(o)
                # a conversion in Python may have changed the list
                _check_length(row, n)
                items = load[Int](row + 24) if in_list else row + 24
            place += itemsize(code)

    @always_inline
    def _is_inline(self, row: Obj) -> Bool:
        """A tuple keeps its items in the object, a list beside it."""
        return class_of(row) == self.tuple_type or (class_of(row) != self.list_type and _is_tuple(row))


def _is_tuple(o: Obj) -> Bool:
    return external_call["PyType_GetFlags", Int](class_of(o)) & (1 << 26) != 0


def _is_text(o: Obj) -> Bool:
    return is_str(o) or external_call["PyType_GetFlags", Int](class_of(o)) & BYTES_SUBCLASS != 0


def _text_error(o: Obj) -> Error:
    return Error(t"TypeError|new(): invalid data type '{type_name_of(o)}'")


def _check_length(row: Obj, n: Int) raises:
    if seq_len(row) != n:
        raise Error("RuntimeError|the data changed its length while it was being read")


# ---------------------------------------------------------------- one element


@always_inline
def _put_fast[code: Int](reader: Reader, o: Obj, place: Int) -> Bool:
    """Writes an exact float, int or bool that needs no check; False leaves it to `_put_slow`."""
    var tp = class_of(o)
    comptime if code == BOOL:
        if tp == reader.bool_type:
            store[UInt8](place, UInt8(Int(o == reader.true_)))
            return True
        return False
    elif is_integral(code):
        if tp == reader.bool_type:
            store[Scalar[dtype_of[code]]](place, Scalar[dtype_of[code]](Int(o == reader.true_)))
            return True
        if tp != reader.long_type:
            return False
        var v = external_call["PyLong_AsSsize_t", Int](o)
        if v == -1:
            # perhaps too large for an int64: the slow way tells
            external_call["PyErr_Clear", NoneType]()
            return False
        comptime if code != INT64:
            comptime limit = Int(Scalar[dtype_of[code]].MAX) if code != UINT64 else Int.MAX
            if v < 0 or v > limit:
                return False
        store[Scalar[dtype_of[code]]](place, Scalar[dtype_of[code]](v))
        return True
    else:
        var d: Float64
        if tp == reader.float_type:
            d = load[Float64](o + 16)  # PyFloatObject: refcount, type, value
        elif tp == reader.long_type:
            var v = external_call["PyLong_AsSsize_t", Int](o)
            if v == -1:
                external_call["PyErr_Clear", NoneType]()
                return False
            d = Float64(v)
        elif tp == reader.bool_type:
            d = Float64(Int(o == reader.true_))
        else:
            return False
        _put_real[code](place, d, 0)
        return True


@always_inline
def _put_real[code: Int](place: Int, re: Float64, im: Float64):
    """Writes a floating or complex element; halves are rounded from float32, as PyTorch does."""
    comptime if code == COMPLEX128:
        store[Float64](place, re)
        store[Float64](place + 8, im)
    elif code == COMPLEX64:
        store[Float32](place, re.cast[DType.float32]())
        store[Float32](place + 4, im.cast[DType.float32]())
    elif code == COMPLEX32:
        store[Float16](place, re.cast[DType.float32]().cast[DType.float16]())
        store[Float16](place + 2, im.cast[DType.float32]().cast[DType.float16]())
    elif code == BCOMPLEX32:
        store[BFloat16](place, re.cast[DType.float32]().cast[DType.bfloat16]())
        store[BFloat16](place + 2, im.cast[DType.float32]().cast[DType.bfloat16]())
    elif code == FLOAT64:
        store[Float64](place, re)
    elif code == FLOAT8_E5M2:
        # overflows to infinity, where the library's cast saturates
        var x = re.cast[DType.float32]()
        if abs(x) >= 61440:
            store[UInt8](place, UInt8(0x7C) | UInt8(Int(x < 0) << 7))
        else:
            store[Scalar[dtype_of[code]]](place, x.cast[dtype_of[code]]())
    else:
        store[Scalar[dtype_of[code]]](place, re.cast[DType.float32]().cast[dtype_of[code]]())


@no_inline
def _put_slow[code: Int](mut reader: Reader, o: Obj, place: Int) raises:
    """Writes any object that converts to the dtype; raises what PyTorch raises for the others."""
    if _put_fast[code](reader, o, place):
        return
    comptime if code == BOOL:
        store[UInt8](place, UInt8(Int(_truth(o))))
    elif is_integral(code):
        store[Scalar[dtype_of[code]]](place, _integer[code](reader, o))
    elif is_complex(code):
        var s = _complex(o)
        _put_real[code](place, s.d, s.im)
    else:
        _put_real[code](place, _real(o), 0)


def _truth(o: Obj) raises -> Bool:
    if is_tensor(o):
        var s = _element(o)
        return s.i != 0 or s.d != 0 or s.im != 0
    var v = external_call["PyObject_IsTrue", c_int](o)
    if v < 0:
        raise python_error()
    return v != 0


def _element(o: Obj) raises -> Scalar2:
    var t = as_tensor(o)
    if t[].numel != 1:
        raise Error(t"ValueError|only one element tensors can be converted to Python scalars, got {t[].numel} elements")
    return scalar_in(t)


def _real(o: Obj) raises -> Float64:
    if is_tensor(o):
        var s = _element(o)
        if s.category == 3 and s.im != 0:
            raise Error("RuntimeError|value cannot be converted to type double without overflow")
        return s.d
    var d = external_call["PyFloat_AsDouble", Float64](o)
    if d == -1 and error_occurred():
        raise python_error()
    return d


def _complex(o: Obj) raises -> Scalar2:
    if is_tensor(o):
        return _element(o)
    if is_subtype(class_of(o), runtime()[].complex_type):
        return Scalar2(
            3,
            0,
            external_call["PyComplex_RealAsDouble", Float64](o),
            external_call["PyComplex_ImagAsDouble", Float64](o),
        )
    # NumPy's complex64 is no complex: only its own conversion keeps the imaginary part
    var convert = external_call["PyObject_GetAttrString", Int](o, Int(StaticString("__complex__").unsafe_ptr()))
    if convert != 0:
        var z = external_call["PyObject_CallNoArgs", Int](convert)
        decref(convert)
        if z == 0:
            raise python_error()
        var s = Scalar2(
            3,
            0,
            external_call["PyComplex_RealAsDouble", Float64](z),
            external_call["PyComplex_ImagAsDouble", Float64](z),
        )
        decref(z)
        if error_occurred():
            raise python_error()
        return s
    external_call["PyErr_Clear", NoneType]()
    return Scalar2(2, 0, _real(o), 0)


def _overflow(code: Int) -> Error:
    return Error(t"RuntimeError|value cannot be converted to type {dtype_name(code)} without overflow")


def _integer[code: Int](mut reader: Reader, o: Obj) raises -> Scalar[dtype_of[code]]:
    """An integer that fits; a float is truncated; an unsigned dtype takes small negative values modulo 2**bits."""
    comptime T = Scalar[dtype_of[code]]
    if is_tensor(o):
        var t = as_tensor(o)
        if t[].numel != 1 or t[].code() > UINT64:
            raise Error("TypeError|only integer tensors of a single element can be converted to an index")
        return _fits[code](scalar_in(t).i)
    if is_subtype(class_of(o), reader.float_type):
        var d = external_call["PyFloat_AsDouble", Float64](o)
        comptime if code == UINT64:
            if not (d > -1.8446744073709552e19 and d < 1.8446744073709552e19):
                raise _overflow(code)
            return d.cast[DType.uint64]().cast[dtype_of[code]]() if d >= 0 else (-d).cast[DType.uint64]().cast[
                dtype_of[code]
            ]() * ~T(0)
        else:
            if not (d >= -9.223372036854775808e18 and d < 9.223372036854775808e18):
                raise _overflow(code)
            return _fits[code](Int(d.cast[DType.int64]()))
    if is_long(o):
        return _long[code](o)
    if reader.is_numpy_scalar(o) and buffer_dtype(o) == BOOL:
        return T(Int(_truth(o)))
    var n = external_call["PyNumber_Index", Int](o)
    if n == 0:
        raise python_error()
    try:
        return _long[code](n)
    finally:
        decref(n)


def _long[code: Int](o: Obj) raises -> Scalar[dtype_of[code]]:
    comptime if code == UINT64:
        var u = external_call["PyLong_AsUnsignedLongLong", Int](o)
        if u == -1 and error_occurred():
            raise python_error()
        return Scalar[dtype_of[code]](UInt64(u))
    else:
        var v = external_call["PyLong_AsSsize_t", Int](o)
        if v == -1 and error_occurred():
            external_call["PyErr_Clear", NoneType]()
            raise Error("ValueError|Overflow when unpacking long long")
        return _fits[code](v)


@always_inline
def _fits[code: Int](v: Int) raises -> Scalar[dtype_of[code]]:
    comptime T = Scalar[dtype_of[code]]
    comptime if code != INT64 and code != UINT64:
        comptime high = Int(T.MAX)
        comptime low = Int(T.MIN) if Int(T.MIN) < 0 else -high
        if v < low or v > high:
            raise _overflow(code)
    return Int64(v).cast[dtype_of[code]]()


def tensor_from(data: Obj, dtype: Int) raises -> Obj:
    """A new CPU tensor from nested sequences or a number; `dtype` -1 infers it."""
    var reader = Reader()
    if not reader._is_row(data):
        if _is_text(data):
            raise _text_error(data)
        if reader.is_numpy_array(data):
            return copy_of_array(data, dtype)
    reader.find_shape(data)
    if dtype < 0:
        reader.find_dtype(data)
    else:
        reader.code = dtype
    _ = checked_numel(reader.shape, reader.ndim, itemsize(reader.code))
    var t = new_tensor(reader.code, reader.shape, reader.ndim)
    try:
        if as_tensor(t)[].numel > 0:
            reader.write(data, as_tensor(t)[].data())
    except e:
        decref(t)
        raise e^
    return t
