"""The few CPython calls the extension makes. A PyObject* is an Int here: 0 is NULL."""

from std.ffi import external_call, c_int
from std.memory import Pointer, stack_allocation
from .memory import at, load, store

comptime Obj = Int  # PyObject*


def symbol(name: StaticString) -> Int:
    """The address of a data symbol of the interpreter (None, exception types, ...)."""
    return external_call["dlsym", Int](Int(0), name.unsafe_ptr())


@always_inline
def incref(o: Obj):
    # Immortal objects (3.12+) keep their 32-bit mark in the count: Py_IncRef knows.
    external_call["Py_IncRef", NoneType](o)


@always_inline
def decref(o: Obj):
    external_call["Py_DecRef", NoneType](o)


@always_inline
def new_ref(o: Obj) -> Obj:
    incref(o)
    return o


@always_inline
def xdecref(o: Obj):
    if o != 0:
        decref(o)


@always_inline
def class_of(o: Obj) -> Obj:
    return load[Int](o + 8)


@always_inline
def is_subtype(tp: Obj, base: Obj) -> Bool:
    return tp == base or external_call["PyType_IsSubtype", c_int](tp, base) != 0


@always_inline
def type_flags(tp: Obj) -> Int:
    # unsigned long tp_flags: read through the API, its offset is not ours to know
    return external_call["PyType_GetFlags", Int](tp)


comptime _LONG = 1 << 24
comptime _LIST = 1 << 25
comptime _TUPLE = 1 << 26
comptime _UNICODE = 1 << 28
comptime HAVE_GC = 1 << 14


@always_inline
def is_long(o: Obj) -> Bool:
    return type_flags(class_of(o)) & _LONG != 0


@always_inline
def is_list(o: Obj) -> Bool:
    return type_flags(class_of(o)) & _LIST != 0


@always_inline
def is_tuple(o: Obj) -> Bool:
    return type_flags(class_of(o)) & _TUPLE != 0


@always_inline
def is_sequence(o: Obj) -> Bool:
    return type_flags(class_of(o)) & (_TUPLE | _LIST) != 0


@always_inline
def is_str(o: Obj) -> Bool:
    return type_flags(class_of(o)) & _UNICODE != 0


@always_inline
def error_occurred() -> Bool:
    return external_call["PyErr_Occurred", Int]() != 0


@always_inline
def py_int(v: Int) -> Obj:
    return external_call["PyLong_FromSsize_t", Int](v)


@always_inline
def py_float(v: Float64) -> Obj:
    return external_call["PyFloat_FromDouble", Int](v)


@always_inline
def py_bool(v: Bool) -> Obj:
    return external_call["PyBool_FromLong", Int](Int(v))


def py_str(text: String) -> Obj:
    return external_call["PyUnicode_FromStringAndSize", Int](text.unsafe_ptr(), text.byte_length())


@always_inline
def tuple_new(n: Int) -> Obj:
    return external_call["PyTuple_New", Int](n)


@always_inline
def tuple_set(t: Obj, i: Int, stolen: Obj):
    # PyTupleObject: refcount, type, ob_size, ob_item[]; the tuple is new and ours
    store[Int](t + 24 + 8 * i, stolen)


@always_inline
def seq_len(o: Obj) -> Int:
    """Length of a list or tuple: both keep ob_size in the same place."""
    return load[Int](o + 16)


@always_inline
def seq_item(o: Obj, i: Int) -> Obj:
    """A borrowed item of a list or tuple."""
    if is_tuple(o):
        return load[Int](o + 24 + 8 * i)
    return load[Int](load[Int](o + 24) + 8 * i)


def string_of(o: Obj) -> String:
    """A copy of a str object's text ('' when it is no str)."""
    if o == 0 or not is_str(o):
        return String("")
    var n = 0
    var p = external_call["PyUnicode_AsUTF8AndSize", Int](o, Pointer(to=n))
    if p == 0:
        external_call["PyErr_Clear", NoneType]()
        return String("")
    return String(unsafe_from_utf8=Span[UInt8, MutUntrackedOrigin](unsafe_ptr=at[UInt8](p), length=n))


def type_name_of(o: Obj) -> String:
    """The name of an object's class, for error messages."""
    var n = external_call["PyObject_GetAttrString", Int](class_of(o), Int(StaticString("__name__").unsafe_ptr()))
    if n == 0:
        external_call["PyErr_Clear", NoneType]()
        return String("object")
    var s = string_of(n)
    decref(n)
    return s


def get_attr(o: Obj, name: StaticString) -> Obj:
    """A new reference to an attribute, or 0 with the Python error set."""
    return external_call["PyObject_GetAttrString", Int](o, Int(name.unsafe_ptr()))


@always_inline
def call1(f: Obj, a: Obj) -> Obj:
    return external_call["PyObject_CallOneArg", Int](f, a)


def call2(f: Obj, a: Obj, b: Obj) -> Obj:
    var args = stack_allocation[2, Int]()
    args[unsafe_offset=0] = a
    args[unsafe_offset=1] = b
    return external_call["PyObject_Vectorcall", Int](f, args.as_unsafe_any_origin(), Int(2), Int(0))


@always_inline
def release_gil() -> Int:
    return external_call["PyEval_SaveThread", Int]()


@always_inline
def take_gil(state: Int):
    external_call["PyEval_RestoreThread", NoneType](state)
