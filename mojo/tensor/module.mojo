"""The functions of the extension module: making ops, setting modes and classes, memory statistics."""

from std.ffi import external_call, c_int
from std.memory import Pointer
from std.sys.info import size_of
from .allocator import pool
from .call import MAX_PARAMS, Op, OpPtr, ints_of, op_rawcall, op_vectorcall
from .dtype import promote
from .errors import python_error, set_python_error
from .memory import Ptr, address_of, at, c_string, load, store, zeroed
from .object import as_tensor, is_tensor

from .py import (
    Obj, decref, error_occurred, incref, is_str, new_ref, py_bool, py_int, py_str, seq_item, seq_len, string_of,
    tuple_new, tuple_set,
)  # fmt: skip
from .graph import find_ways, follow, new_walk, waiting_nodes
from .node import make_node_base, make_recorder, tick
from .pytype import MethodDef, SLOT_NAMES, make_tensor_base
from .runtime import Kernel, MAX_DEVICE_TYPES, runtime
from .storage import DEVICE_ABI, DeviceTable
from .threads import num_threads, reset_after_fork, set_num_threads

comptime FastFn = def(Int, Int, Int) thin abi("C") -> Int
comptime KeywordFn = def(Int, Int, Int, Int) thin abi("C") -> Int


def _none() -> Obj:
    return new_ref(runtime()[].none)


@always_inline
def _arg(args: Int, i: Int) -> Obj:
    return load[Int](args + 8 * i)


def _to_int(o: Obj) -> Int:
    return external_call["PyLong_AsSsize_t", Int](o)


def _expect(nargs: Int, n: Int, name: StaticString) -> Bool:
    if nargs != n:
        set_python_error(Error(t"TypeError|{name}() takes {n} arguments, got {nargs}"))
        return False
    return True


def make_op(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """make_op(name, kernel, names, defaults, num_positional, kinds, flags, doc) -> a callable op."""
    if not _expect(nargs, 8, "make_op"):
        return 0
    var rt = runtime()
    var name = string_of(_arg(args, 0))
    var kernel = string_of(_arg(args, 1))
    var names = _arg(args, 2)
    var defaults = _arg(args, 3)
    var kinds = string_of(_arg(args, 5))
    var n = seq_len(names)
    if n > MAX_PARAMS or seq_len(defaults) != n or kinds.byte_length() != n:
        set_python_error(Error(t"ValueError|make_op(): {name}: names, defaults and kinds must have the same length"))
        return 0
    var found = -1
    for i in range(len(rt[].kernels)):
        if rt[].kernels[i].name == kernel:
            found = i
    if found < 0:
        set_python_error(Error(t"AttributeError|make_op(): {name}: no kernel is registered as '{kernel}'"))
        return 0
    var op = zeroed[Op]()
    op[].impl = rt[].kernels[found].impl
    op[].data = rt[].kernels[found].data
    op[].num_params = n
    op[].num_positional = _to_int(_arg(args, 4))
    op[].flags = _to_int(_arg(args, 6))
    op[].name = c_string(name)
    for i in range(n):
        # interned, so that keywords of a call compare by identity
        var text = new_ref(seq_item(names, i))
        external_call["PyUnicode_InternInPlace", NoneType](Pointer(to=text))
        op[].names[i] = text
        op[].defaults[i] = new_ref(seq_item(defaults, i))
        op[].kinds[i] = kinds.unsafe_ptr()[unsafe_offset=i]
    return _function(op_vectorcall, op, string_of(_arg(args, 7)))


def _function(f: KeywordFn, op: OpPtr, doc: String) -> Obj:
    var capsule = external_call["PyCapsule_New", Int](Int(op), Int(0), Int(0))
    if capsule == 0:
        return 0
    var def_ = zeroed[MethodDef]()
    var v = f
    def_[].name = op[].name
    def_[].function = address_of(v)
    def_[].flags = 0x80 | 0x02  # METH_FASTCALL | METH_KEYWORDS
    def_[].doc = c_string(doc)
    var r = external_call["PyCMethod_New", Int](Int(def_), capsule, Int(0), Int(0))
    decref(capsule)
    return r


def _op_behind(o: Obj) -> OpPtr:
    """The op of a function made by make_op: PyCFunctionObject keeps its self after the method definition."""
    return OpPtr(unsafe_from_address=load[Int](load[Int](o + 24) + 16))


def _is_op(o: Obj) -> Bool:
    from .py import class_of, symbol

    if class_of(o) != symbol("PyCFunction_Type"):
        return False
    var def_ = load[Int](o + 16)
    var f: KeywordFn = op_vectorcall
    return load[Int](def_ + 8) == address_of(f)


def _check_op(o: Obj, name: StaticString) -> Bool:
    if not _is_op(o):
        set_python_error(Error(t"TypeError|{name}(): expected an op"))
        return False
    return True


def raw(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """raw(op) -> the op without recording."""
    if not _expect(nargs, 1, "raw") or not _check_op(_arg(args, 0), "raw"):
        return 0
    return _function(op_rawcall, _op_behind(_arg(args, 0)), String("The op's kernel alone: no recording."))


def set_hooks(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """set_hooks(op, record, inplace, trace): Python callables, None for none."""
    if not _expect(nargs, 4, "set_hooks") or not _check_op(_arg(args, 0), "set_hooks"):
        return 0
    var op = _op_behind(_arg(args, 0))
    op[].record = _hook(_arg(args, 1))
    op[].inplace = _hook(_arg(args, 2))
    op[].trace = _hook(_arg(args, 3))
    return _none()


def _hook(o: Obj) -> Obj:
    return 0 if o == runtime()[].none else new_ref(o)


def set_slot(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """set_slot(name, op): the op behind an operator of the tensor type, such as "add" or "getitem"."""
    if not _expect(nargs, 2, "set_slot") or not _check_op(_arg(args, 1), "set_slot"):
        return 0
    var name = string_of(_arg(args, 0))
    var all = String(SLOT_NAMES)
    var names = all.split(" ")
    for i in range(len(names)):
        if names[i] == name:
            runtime()[].slots[i] = Int(_op_behind(_arg(args, 1)))
            return _none()
    set_python_error(Error(t"ValueError|set_slot(): unknown slot {name}"))
    return 0


def set_python_hooks(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """set_python_hooks(getitem, setitem, grad_fn): what indexing and stale views call."""
    if not _expect(nargs, 3, "set_python_hooks"):
        return 0
    var rt = runtime()
    rt[].getitem_hook = _hook(_arg(args, 0))
    rt[].setitem_hook = _hook(_arg(args, 1))
    rt[].grad_fn_hook = _hook(_arg(args, 2))
    return _none()


def as_method(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """as_method(op) -> an attribute for class Tensor that binds self."""
    if not _expect(nargs, 1, "as_method"):
        return 0
    return external_call["PyInstanceMethod_New", Int](_arg(args, 0))


def set_dtypes(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """set_dtypes(objects): the dtype objects in code order."""
    if not _expect(nargs, 1, "set_dtypes"):
        return 0
    var seq = _arg(args, 0)
    for i in range(seq_len(seq)):
        runtime()[].dtypes[i] = new_ref(seq_item(seq, i))
    return _none()


def set_types(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """set_types(tensor, size, device, out_of_memory_error): classes of the Python layer."""
    if not _expect(nargs, 4, "set_types"):
        return 0
    var rt = runtime()
    if _arg(args, 0) != rt[].none:
        rt[].tensor_type = new_ref(_arg(args, 0))
    if _arg(args, 1) != rt[].none:
        rt[].size_type = new_ref(_arg(args, 1))
    if _arg(args, 2) != rt[].none:
        rt[].device_type = new_ref(_arg(args, 2))
    if _arg(args, 3) != rt[].none:
        rt[].oom_error = new_ref(_arg(args, 3))
    return _none()


def set_device_table(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """set_device_table(type, address): the functions of an accelerator's extension, for a type of device; 0 takes them
    away. Refuses an extension that was built from other sources."""
    if not _expect(nargs, 2, "set_device_table"):
        return 0
    var kind = external_call["PyLong_AsSsize_t", Int](_arg(args, 0))
    var address = external_call["PyLong_AsSsize_t", Int](_arg(args, 1))
    if error_occurred():
        return 0
    if kind < 1 or kind >= MAX_DEVICE_TYPES:
        set_python_error(Error(t"ValueError|set_device_table: no device type {kind}"))
        return 0
    if address != 0 and at[DeviceTable](address)[].abi != DEVICE_ABI:
        set_python_error(
            Error("RuntimeError|the accelerator's extension was built from other sources than this one; rebuild both")
        )
        return 0
    runtime()[].device_tables[kind] = address
    return _none()


def kernels(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """kernels() -> the names of all registered kernels."""
    var rt = runtime()
    var n = len(rt[].kernels)
    var t = tuple_new(n)
    for i in range(n):
        tuple_set(t, i, py_str(rt[].kernels[i].name))
    return t


def get_mode(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """get_mode() -> this thread's mode bits."""
    return py_int(runtime()[].mode())


def set_mode(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """set_mode(bits) -> the bits before."""
    if not _expect(nargs, 1, "set_mode"):
        return 0
    var rt = runtime()
    var old = rt[].mode()
    rt[].set_mode(_to_int(_arg(args, 0)))
    return py_int(old)


def is_grad_enabled(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """is_grad_enabled() -> whether this thread records."""
    return py_bool(runtime()[].mode() & 1 == 0)


def promote_codes(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """promote(a, b) -> the common dtype code, -1 for none."""
    if not _expect(nargs, 2, "promote"):
        return 0
    return py_int(promote(_to_int(_arg(args, 0)), _to_int(_arg(args, 1))))


def set_default_dtype(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """set_default_dtype(code)."""
    if not _expect(nargs, 1, "set_default_dtype"):
        return 0
    runtime()[].default_dtype = _to_int(_arg(args, 0))
    return _none()


def get_threads(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """get_num_threads() -> threads that one op may use."""
    return py_int(num_threads())


def set_threads(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """set_num_threads(n)."""
    if not _expect(nargs, 1, "set_num_threads"):
        return 0
    var n = _to_int(_arg(args, 0))
    if n == -1 and error_occurred():
        return 0
    if n < 1:
        set_python_error(Error("RuntimeError|set_num_threads expects a positive integer"))
        return 0
    set_num_threads(n)
    return _none()


def after_fork(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """after_fork(): a forked child has no pool threads."""
    reset_after_fork()
    return _none()


def memory_counters(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """memory_counters() -> (allocated, peak, kept, reserved peak, requests, hits, blocks, limit, keep limit, tensors).
    """
    var p = pool()
    var t = tuple_new(10)
    tuple_set(t, 0, py_int(p[].allocated))
    tuple_set(t, 1, py_int(p[].allocated_peak))
    tuple_set(t, 2, py_int(p[].kept))
    tuple_set(t, 3, py_int(p[].reserved_peak))
    tuple_set(t, 4, py_int(p[].requests))
    tuple_set(t, 5, py_int(p[].hits))
    tuple_set(t, 6, py_int(p[].live_blocks))
    tuple_set(t, 7, py_int(p[].limit))
    tuple_set(t, 8, py_int(p[].keep_limit))
    tuple_set(t, 9, py_int(runtime()[].live_tensors))
    return t


def memory_control(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """memory_control(what, value): 0 empty the cache, 1 limit, 2 keep limit, 3 reset the peaks."""
    if not _expect(nargs, 2, "memory_control"):
        return 0
    var what = _to_int(_arg(args, 0))
    var value = _to_int(_arg(args, 1))
    if value == -1 and error_occurred():
        return 0
    var p = pool()
    if what == 0:
        p[].trim()
    elif what == 1:
        p[].limit = value
        p[]._shrink(max(value - p[].allocated, 0))
    elif what == 2:
        p[].keep_limit = value
        p[]._shrink(value)
    else:
        p[].allocated_peak = p[].allocated
        p[].reserved_peak = p[].allocated + p[].kept
    return _none()


def _add(module: Obj, name: StaticString, f: FastFn):
    var def_ = zeroed[MethodDef]()
    var v = f
    def_[].name = c_string(String(name))
    def_[].function = address_of(v)
    def_[].flags = 0x80  # METH_FASTCALL
    var o = external_call["PyCMethod_New", Int](Int(def_), module, Int(0), Int(0))
    _ = external_call["PyModule_AddObject", Int32](module, def_[].name, o)


struct ModuleDef:
    var fields: Array[Int, 13]


def build_module(register_families: def() thin -> None) -> Int:
    """Creates the module object: called once, by the import system."""
    try:
        var rt = runtime()
        var definition = zeroed[ModuleDef]()
        definition[].fields[0] = 1  # reference count
        definition[].fields[5] = c_string("dumbtorch._C")
        definition[].fields[7] = -1  # no per-interpreter state
        var m = external_call["PyModule_Create2", Int](Int(definition), Int32(1013))
        if m == 0:
            return 0
        rt[].base_type = make_tensor_base()
        rt[].tensor_type = rt[].base_type
        _ = external_call["PyModule_AddObject", Int32](
            m, Int(StaticString("TensorBase").unsafe_ptr()), new_ref(rt[].base_type)
        )
        _ = external_call["PyModule_AddObject", Int32](m, Int(StaticString("NodeBase").unsafe_ptr()), make_node_base())
        # a unique object that marks a parameter without default
        rt[].required = external_call["PyObject_CallNoArgs", Int](load_object_type())
        _ = external_call["PyModule_AddObject", Int32](
            m, Int(StaticString("required").unsafe_ptr()), new_ref(rt[].required)
        )
        register_families()
        _add(m, "make_op", make_op)
        _add(m, "make_recorder", make_recorder)
        _add(m, "tick", tick)
        _add(m, "new_walk", new_walk)
        _add(m, "follow", follow)
        _add(m, "waiting_nodes", waiting_nodes)
        _add(m, "find_ways", find_ways)
        _add(m, "raw", raw)
        _add(m, "set_hooks", set_hooks)
        _add(m, "set_slot", set_slot)
        _add(m, "set_python_hooks", set_python_hooks)
        _add(m, "as_method", as_method)
        _add(m, "set_dtypes", set_dtypes)
        _add(m, "set_types", set_types)
        _add(m, "kernels", kernels)
        _add(m, "set_device_table", set_device_table)
        _add(m, "get_mode", get_mode)
        _add(m, "set_mode", set_mode)
        _add(m, "is_grad_enabled", is_grad_enabled)
        _add(m, "promote", promote_codes)
        _add(m, "set_default_dtype", set_default_dtype)
        _add(m, "get_num_threads", get_threads)
        _add(m, "set_num_threads", set_threads)
        _add(m, "after_fork", after_fork)
        _add(m, "memory_counters", memory_counters)
        _add(m, "memory_control", memory_control)
        return m
    except e:
        set_python_error(e)
        return 0


def load_object_type() -> Obj:
    from .py import symbol

    return symbol("PyBaseObject_Type")
