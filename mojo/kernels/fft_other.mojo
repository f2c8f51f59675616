"""Transforms of lengths with large prime factors: by the package ducc0, on arrays of NumPy that see our tensors' memory."""

from std.ffi import external_call
from tensor.errors import python_error
from tensor.object import alias_of, as_tensor
from tensor.py import (
    Obj,
    decref,
    get_attr,
    incref,
    py_int,
    tuple_new,
    tuple_set,
)
from tensor.threads import num_threads

comptime SEVERAL_THREADS = 1 << 16  # points


def _module(name: StaticString) raises -> Obj:
    """A new reference to a module."""
    var found = external_call["PyImport_ImportModule", Int](Int(name.unsafe_ptr()))
    if found == 0:
        external_call["PyErr_Clear", NoneType]()
        raise Error(
            "RuntimeError|torch.fft needs the packages ducc0 and numpy for"
            " lengths with a prime factor above 13: pip install ducc0 numpy"
        )
    return found


def _called(f: Obj, args: Obj) raises -> Obj:
    """The result of a call; takes both references over."""
    var made = 0 if f == 0 or args == 0 else external_call["PyObject_CallObject", Int](f, args)
    if f != 0:
        decref(f)
    if args != 0:
        decref(args)
    if made == 0:
        raise python_error()
    return made


def _array(numpy: Obj, tensor: Obj) raises -> Obj:
    """An array over the elements of a tensor, whose history does not matter."""
    var args = tuple_new(1)
    tuple_set(args, 0, alias_of(as_tensor(tensor)))
    return _called(get_attr(numpy, "asarray"), args)


def by_ducc(
    name: StaticString,
    source: Obj,
    result: Obj,
    dims: Obj,
    size: Int,
    forward: Bool,
    norm: Int,
) raises:
    """Calls ducc0's c2c, r2c or c2r (which also wants the size of its result) on tensors that are not empty."""
    var fft = _module("ducc0.fft")
    var numpy: Obj
    try:
        numpy = _module("numpy")
    except e:
        decref(fft)
        raise e^
    var items = List[Obj]()
    try:
        items.append(_array(numpy, source))
        incref(dims)
        items.append(dims)
        if size >= 0:
            items.append(py_int(size))
        items.append(external_call["PyBool_FromLong", Int](Int(forward)))
        items.append(py_int(norm))
        items.append(_array(numpy, result))
        items.append(py_int(num_threads() if as_tensor(result)[].numel >= SEVERAL_THREADS else 1))
    except e:
        for item in items:
            decref(item)
        decref(fft)
        raise e^
    finally:
        decref(numpy)
    var args = tuple_new(len(items))
    for i in range(len(items)):
        tuple_set(args, i, items[i])
    var f = get_attr(fft, name)
    decref(fft)
    decref(_called(f, args))
