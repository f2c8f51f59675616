"""TensorBase: the CPython type behind class Tensor, its life cycle, attributes and operator slots."""

from std.ffi import external_call, c_int
from std.memory import Pointer, stack_allocation
from std.sys.info import size_of
from .call import Call, OpPtr, call_op, run_op
from .dtype import FLOAT16, itemsize
from .errors import python_error, set_python_error
from .layout import contiguous_strides, is_contiguous, same_dims
from .memory import (
    address_of,
    at,
    c_string,
    Words,
    function_at,
    load,
    store,
    zeroed,
)

from .object import (
    CONTIGUOUS, INFERENCE_TENSOR, LAZY, REQUIRES_GRAD, SPARSE, UNWATCHED, TensorObj, TPtr, alias_of, as_tensor, is_tensor,
    writes_of,
)  # fmt: skip
from .py import (
    Obj, class_of, decref, incref, is_long, is_subtype, new_ref, py_bool, py_int, symbol, tuple_new, tuple_set,
    type_name_of, xdecref,
)  # fmt: skip
from .runtime import MODE_INFERENCE, runtime
from .storage import release

comptime UnaryFn = def(Int) thin abi("C") -> Int
comptime BinaryFn = def(Int, Int) thin abi("C") -> Int
comptime TernaryFn = def(Int, Int, Int) thin abi("C") -> Int
comptime RichFn = def(Int, Int, c_int) thin abi("C") -> Int
comptime SetterFn = def(Int, Int, Int) thin abi("C") -> c_int
comptime VoidFn = def(Int) thin abi("C") -> None
comptime VisitFn = def(Int, Int) thin abi("C") -> c_int
comptime InquiryFn = def(Int) thin abi("C") -> c_int

# Positions in Runtime.slots: which op stands behind an operator of the type.
comptime SLOT_NAMES: StaticString = (
    "add subtract multiply true_divide floor_divide remainder power"
    " matrix_multiply and or xor lshift rshift negative absolute invert"
    " positive inplace_add inplace_subtract inplace_multiply"
    " inplace_true_divide inplace_floor_divide inplace_remainder inplace_power"
    " inplace_and inplace_or inplace_xor inplace_lshift inplace_rshift lt le eq"
    " ne gt ge getitem setitem"
)
comptime SLOT_NEG = 13
comptime SLOT_IADD = 17
comptime SLOT_LT = 29
comptime SLOT_GETITEM = 35


# ---------------------------------------------------------------- life cycle


def _dealloc(o: Int) abi("C") -> None:
    external_call["PyObject_GC_UnTrack", NoneType](o)
    var t = as_tensor(o)
    xdecref(t[].grad_fn)
    xdecref(t[].grad)
    xdecref(t[].base)
    if t[].storage_address != 0:
        release(t[].storage())
    runtime()[].live_tensors -= 1
    var tp = t[].ob_type
    external_call["PyObject_GC_Del", NoneType](o)
    decref(tp)


def _traverse(o: Int, visit: Int, arg: Int) abi("C") -> c_int:
    var f = function_at[VisitFn](visit)
    var t = as_tensor(o)
    var r = f(t[].ob_type, arg)
    if r != 0:
        return r
    if t[].grad_fn != 0:
        r = f(t[].grad_fn, arg)
        if r != 0:
            return r
    if t[].grad != 0:
        r = f(t[].grad, arg)
        if r != 0:
            return r
    if t[].base != 0:
        return f(t[].base, arg)
    return 0


def _clear(o: Int) abi("C") -> c_int:
    var t = as_tensor(o)
    var a = t[].grad_fn
    var b = t[].grad
    t[].grad_fn = 0
    t[].grad = 0
    xdecref(a)
    xdecref(b)
    # `base` stays: the layout of a view is not usable without it, and a base never refers to its views
    return 0


def _new(cls: Int, args: Int, kwargs: Int) abi("C") -> Int:
    """`Tensor(data)` goes through Python's __new__; the bare base makes no object without storage."""
    set_python_error(Error("TypeError|TensorBase cannot be made directly: use dumbtorch.tensor(...) or empty(...)"))
    return 0


def _hash(o: Int) abi("C") -> Int:
    # identity, as object's hash: operands compare elementwise
    return (o >> 4) | (o << 60)


# ---------------------------------------------------------------- attributes


def dims_tuple(values: TPtr, strides: Bool) -> Obj:
    """The sizes (as torch.Size) or the strides (as a tuple)."""
    var n = values[].rank()
    var rt = runtime()
    var r: Obj
    if strides or rt[].size_type == 0:
        r = tuple_new(n)
    else:
        # a tuple subclass adds no fields: same layout
        r = external_call["PyType_GenericAlloc", Int](rt[].size_type, n)
    if r == 0:
        return 0
    for i in range(n):
        tuple_set(r, i, py_int(values[].strides[i] if strides else values[].shape[i]))
    return r


def _get_shape(o: Int, closure: Int) abi("C") -> Int:
    return dims_tuple(as_tensor(o), False)


def _get_strides(o: Int, closure: Int) abi("C") -> Int:
    return dims_tuple(as_tensor(o), True)


def _get_dtype(o: Int, closure: Int) abi("C") -> Int:
    return new_ref(runtime()[].dtypes[as_tensor(o)[].code()])


def _get_device(o: Int, closure: Int) abi("C") -> Int:
    var rt = runtime()
    var code = as_tensor(o)[].device()
    # devices[0] is the CPU; accelerators follow, sixteen a type
    var slot = 0 if code == 0 else ((code >> 8) * 16 + (code & 15))
    if slot < 64 and rt[].devices[slot] != 0:
        return new_ref(rt[].devices[slot])
    var d = external_call["PyObject_CallMethod", Int](
        rt[].device_type,
        Int(StaticString("_from_code").unsafe_ptr()),
        Int(StaticString("n").unsafe_ptr()),
        code,
    )
    if d != 0 and slot < 64:
        rt[].devices[slot] = new_ref(d)
    return d


def _get_ndim(o: Int, closure: Int) abi("C") -> Int:
    return py_int(as_tensor(o)[].rank())


def _get_numel(o: Int, closure: Int) abi("C") -> Int:
    return py_int(as_tensor(o)[].numel)


def _get_itemsize(o: Int, closure: Int) abi("C") -> Int:
    return py_int(itemsize(as_tensor(o)[].code()))


def _get_offset(o: Int, closure: Int) abi("C") -> Int:
    return py_int(as_tensor(o)[].offset)


def _get_contiguous(o: Int, closure: Int) abi("C") -> Int:
    return py_bool(as_tensor(o)[].contiguous())


def _get_version(o: Int, closure: Int) abi("C") -> Int:
    return py_int(writes_of(as_tensor(o))[])


def _get_view_version(o: Int, closure: Int) abi("C") -> Int:
    return py_int(as_tensor(o)[].view_version)


def _set_view_version(o: Int, value: Int, closure: Int) abi("C") -> c_int:
    as_tensor(o)[].view_version = external_call["PyLong_AsSsize_t", Int](value)
    return 0


def _get_output_nr(o: Int, closure: Int) abi("C") -> Int:
    return py_int(Int(as_tensor(o)[].output_nr))


def _get_dtype_code(o: Int, closure: Int) abi("C") -> Int:
    return py_int(as_tensor(o)[].code())


def _get_device_code(o: Int, closure: Int) abi("C") -> Int:
    return py_int(as_tensor(o)[].device())


def _get_storage_id(o: Int, closure: Int) abi("C") -> Int:
    return py_int(as_tensor(o)[].storage_address)


def _object_or_none(o: Obj) -> Obj:
    return new_ref(o if o != 0 else runtime()[].none)


def _get_base(o: Int, closure: Int) abi("C") -> Int:
    return _object_or_none(as_tensor(o)[].base)


def _set_base(o: Int, value: Int, closure: Int) abi("C") -> c_int:
    var t = as_tensor(o)
    var old = t[].base
    t[].base = 0 if value == 0 or value == runtime()[].none else new_ref(value)
    xdecref(old)
    return 0


def _get_grad(o: Int, closure: Int) abi("C") -> Int:
    return _object_or_none(as_tensor(o)[].grad)


def _set_grad(o: Int, value: Int, closure: Int) abi("C") -> c_int:
    # checks of shape, dtype and device stand in Python's property
    var t = as_tensor(o)
    var old = t[].grad
    t[].grad = 0 if value == 0 or value == runtime()[].none else new_ref(value)
    xdecref(old)
    return 0


def _get_grad_fn_raw(o: Int, closure: Int) abi("C") -> Int:
    return _object_or_none(as_tensor(o)[].grad_fn)


def _get_grad_fn(o: Int, closure: Int) abi("C") -> Int:
    """The node that made this tensor; a view whose base was written in place asks Python to make it anew."""
    var t = as_tensor(o)
    if t[].base != 0 and t[].view_version != t[].storage()[].version and runtime()[].grad_fn_hook != 0:
        return external_call["PyObject_CallOneArg", Int](runtime()[].grad_fn_hook, o)
    return _object_or_none(t[].grad_fn)


def _get_requires_grad(o: Int, closure: Int) abi("C") -> Int:
    var t = as_tensor(o)
    var r = t[].requires_grad()
    if not r and t[].base != 0:
        r = as_tensor(t[].base)[].grad_fn != 0 and t[].view_version != t[].storage()[].version
    return py_bool(r)


def _set_requires_grad(o: Int, value: Int, closure: Int) abi("C") -> c_int:
    var t = as_tensor(o)
    if value == 0:
        set_python_error(Error("AttributeError|cannot delete requires_grad"))
        return -1
    var v = external_call["PyObject_IsTrue", c_int](value)
    if v < 0:
        return -1
    if t[].grad_fn != 0:
        if v == 0:
            set_python_error(
                Error(
                    "RuntimeError|you can only change requires_grad flags of"
                    " leaf variables. If you want to use a computed variable in"
                    " a subgraph that doesn't require differentiation use"
                    " var_no_grad = var.detach()."
                )
            )
            return -1
        return 0
    if v != 0:
        var code = t[].code()
        if code < FLOAT16:
            set_python_error(
                Error("RuntimeError|only Tensors of floating point and complex dtype can require gradients")
            )
            return -1
        if t[].flags & UInt16(INFERENCE_TENSOR) != 0 and runtime()[].mode() & MODE_INFERENCE == 0:
            set_python_error(
                Error(
                    "RuntimeError|Setting requires_grad=True on inference tensor outside InferenceMode is not allowed."
                )
            )
            return -1
        t[].flags |= UInt16(REQUIRES_GRAD)
    else:
        t[].flags &= ~UInt16(REQUIRES_GRAD)
    return 0


def _get_is_leaf(o: Int, closure: Int) abi("C") -> Int:
    return py_bool(as_tensor(o)[].grad_fn == 0)


def _get_flags(o: Int, closure: Int) abi("C") -> Int:
    return py_int(Int(as_tensor(o)[].flags))


def _set_flags(o: Int, value: Int, closure: Int) abi("C") -> c_int:
    var flags = UInt16(external_call["PyLong_AsSsize_t", Int](value))
    as_tensor(o)[].flags = flags
    if flags & UInt16(SPARSE) != 0:
        runtime()[].sparse = True
    return 0


# ---------------------------------------------------------------- methods


def _attach(o: Int, args: Int, nargs: Int) abi("C") -> Int:
    """`_attach(node, output_nr)`: the node that made this tensor, None to cut it off."""
    if nargs != 2:
        set_python_error(Error("TypeError|_attach() takes a node and an output number"))
        return 0
    var t = as_tensor(o)
    var node = load[Int](args)
    var old = t[].grad_fn
    t[].grad_fn = 0 if node == runtime()[].none else new_ref(node)
    t[].output_nr = Int32(external_call["PyLong_AsSsize_t", Int](load[Int](args + 8)))
    t[].view_version = t[].storage()[].version
    xdecref(old)
    return new_ref(runtime()[].none)


def _same(o: Int, args: Int, nargs: Int) abi("C") -> Int:
    """`_same(other)`: whether both have the same shape and dtype (what recording asks about each operand)."""
    if nargs != 1 or not is_tensor(load[Int](args)):
        set_python_error(Error("TypeError|_same() takes a Tensor"))
        return 0
    var t = as_tensor(o)
    var other = as_tensor(load[Int](args))
    var same = t[].dtype == other[].dtype and t[].ndim == other[].ndim
    return py_bool(same and same_dims(t[].shape, other[].shape, t[].rank()))


def _bump(o: Int, args: Int, nargs: Int) abi("C") -> Int:
    """Counts a write that did not go through an op."""
    writes_of(as_tensor(o))[] += 1
    return new_ref(runtime()[].none)


def _alias(o: Int, args: Int, nargs: Int) abi("C") -> Int:
    """A tensor on the same memory, with no history (what `detach` gives)."""
    try:
        return alias_of(as_tensor(o))
    except e:
        set_python_error(e)
        return 0


def _unwatched(o: Int, args: Int, nargs: Int) abi("C") -> Int:
    """The same, with a count of writes of its own (what `.data` gives)."""
    var alias = _alias(o, args, nargs)
    if alias != 0:
        var t = as_tensor(alias)
        t[].view_version = t[].storage()[].version
        t[].flags |= UInt16(UNWATCHED)
    return alias


def _data_ptr(o: Int, args: Int, nargs: Int) abi("C") -> Int:
    """The address of the first element; ends copy-on-write sharing, since the caller may write there."""
    try:
        var t = as_tensor(o)
        if t[].numel == 0:
            return py_int(0)
        var address = t[].writable()
        t[].storage()[].exported += 1  # for good: nobody tells when the address is forgotten
        return py_int(address)
    except e:
        set_python_error(e)
        return 0


def _set_data(o: Int, args: Int, nargs: Int) abi("C") -> Int:
    """`_set_data(other)`: this object shows other's memory, layout and dtype from now on."""
    from .object import set_layout
    from .storage import retain

    if nargs != 1 or not is_tensor(load[Int](args)):
        set_python_error(Error("TypeError|_set_data() takes a Tensor"))
        return 0
    var t = as_tensor(o)
    var other = as_tensor(load[Int](args))
    retain(other[].storage())
    release(t[].storage())
    t[].storage_address = other[].storage_address
    t[].offset = other[].offset
    t[].dtype = other[].dtype
    t[].flags = (t[].flags & ~UInt16(LAZY)) | (other[].flags & UInt16(LAZY))
    set_layout(t, other[].shape, other[].strides, other[].rank())
    return new_ref(runtime()[].none)


def _as_class(o: Int, args: Int, nargs: Int) abi("C") -> Int:
    """`_as_class(cls)`: a new object of a Tensor subclass on the same memory (Parameter and friends)."""
    from .object import set_layout
    from .storage import retain

    if nargs != 1 or not is_subtype(load[Int](args), runtime()[].base_type):
        set_python_error(Error("TypeError|_as_class() takes a subclass of Tensor"))
        return 0
    var t = as_tensor(o)
    var made = external_call["PyType_GenericAlloc", Int](load[Int](args), Int(0))
    if made == 0:
        return 0
    runtime()[].live_tensors += 1
    var v = as_tensor(made)
    retain(t[].storage())
    v[].storage_address = t[].storage_address
    v[].offset = t[].offset
    v[].dtype = t[].dtype
    v[].flags |= t[].flags & UInt16(LAZY)
    set_layout(v, t[].shape, t[].strides, t[].rank())
    return made


# ---------------------------------------------------------------- operators


def _call_slot(slot: Int, args: Words, nargs: Int) -> Obj:
    var op = runtime()[].slots[slot]
    if op == 0:
        set_python_error(Error("TypeError|this operator has no op behind it"))
        return 0
    return call_op(OpPtr(unsafe_from_address=op), args, nargs, 0)


@always_inline
def _operand_ok(o: Obj) -> Bool:
    """A tensor, or a number in the sense of the operators (others get NotImplemented, so that they may answer)."""
    if is_tensor(o):
        return True
    var tp = class_of(o)
    var rt = runtime()
    if is_long(o) or is_subtype(tp, rt[].float_type) or is_subtype(tp, rt[].complex_type):
        return True
    return _foreign_number(o)


@no_inline
def _foreign_number(o: Obj) -> Bool:
    """What has a dtype and cannot be written to is a NumPy scalar; arrays answer the operator themselves."""
    if external_call["PyObject_HasAttrString", c_int](o, Int(StaticString("dtype").unsafe_ptr())) == 0:
        return external_call["PyIndex_Check", c_int](o) != 0
    return external_call["PyObject_HasAttrString", c_int](o, Int(StaticString("__setitem__").unsafe_ptr())) == 0


def _binary[slot: Int](a: Int, b: Int) abi("C") -> Int:
    if not (_operand_ok(a) and _operand_ok(b)):
        return new_ref(runtime()[].not_implemented)
    var args = stack_allocation[2, Int]()
    args[unsafe_offset=0] = a
    args[unsafe_offset=1] = b
    return _call_slot(slot, args.as_unsafe_any_origin(), 2)


def _power[slot: Int](a: Int, b: Int, modulus: Int) abi("C") -> Int:
    if modulus != runtime()[].none and modulus != 0:
        return new_ref(runtime()[].not_implemented)
    return _binary[slot](a, b)


def _unary[slot: Int](a: Int) abi("C") -> Int:
    var args = stack_allocation[1, Int]()
    args[unsafe_offset=0] = a
    return _call_slot(slot, args.as_unsafe_any_origin(), 1)


def _compare(a: Int, b: Int, which: c_int) abi("C") -> Int:
    var args = stack_allocation[2, Int]()
    args[unsafe_offset=0] = a
    args[unsafe_offset=1] = b
    if not _operand_ok(b):
        # an array is compared for equality, and for nothing else, as PyTorch has it
        if (
            which == 2
            and external_call["PyObject_HasAttrString", c_int](b, Int(StaticString("__array__").unsafe_ptr())) != 0
        ):
            var method = external_call["PyObject_GetAttrString", Int](
                a, Int(StaticString("_equals_array").unsafe_ptr())
            )
            if method == 0:
                return 0
            var r = external_call["PyObject_CallOneArg", Int](method, b)
            decref(method)
            return r
        return new_ref(runtime()[].not_implemented)
    return _call_slot(SLOT_LT + Int(which), args.as_unsafe_any_origin(), 2)


def _basic_index_item(o: Obj) -> Bool:
    var rt = runtime()
    if o == rt[].none or o == rt[].ellipsis or class_of(o) == rt[].slice_type:
        return True
    return is_long(o) and class_of(o) != rt[].bool_type


def is_basic_index(key: Obj) -> Bool:
    """Ints, slices, None and `...`, alone or in a tuple: what a view can answer."""
    from .py import is_tuple, seq_item, seq_len

    if is_tuple(key):
        for i in range(seq_len(key)):
            if not _basic_index_item(seq_item(key, i)):
                return False
        return True
    return _basic_index_item(key)


def _getitem(o: Int, key: Int) abi("C") -> Int:
    var args = stack_allocation[2, Int]()
    args[unsafe_offset=0] = o
    args[unsafe_offset=1] = key
    if is_basic_index(key):
        return _call_slot(SLOT_GETITEM, args.as_unsafe_any_origin(), 2)
    var hook = runtime()[].getitem_hook
    if hook == 0:
        set_python_error(Error("TypeError|this index needs the Python layer"))
        return 0
    return external_call["PyObject_Vectorcall", Int](hook, args.as_unsafe_any_origin(), Int(2), Int(0))


def _setitem(o: Int, key: Int, value: Int) abi("C") -> c_int:
    if value == 0:
        set_python_error(Error("TypeError|Tensor does not support deleting items"))
        return -1
    var hook = runtime()[].setitem_hook
    if hook == 0:
        set_python_error(Error("TypeError|item assignment needs the Python layer"))
        return -1
    var args = stack_allocation[3, Int]()
    args[unsafe_offset=0] = o
    args[unsafe_offset=1] = key
    args[unsafe_offset=2] = value
    var r = external_call["PyObject_Vectorcall", Int](hook, args.as_unsafe_any_origin(), Int(3), Int(0))
    if r == 0:
        return -1
    decref(r)
    return 0


def _length(o: Int) abi("C") -> Int:
    var t = as_tensor(o)
    if t[].rank() == 0:
        set_python_error(Error("TypeError|len() of a 0-d tensor"))
        return -1
    return t[].shape[0]


# ---------------------------------------------------------------- the type


struct RawSlot:
    var slot: Int
    var function: Int


struct RawSpec:
    var name: Int
    var basicsize: Int32
    var itemsize: Int32
    var flags: Int64  # unsigned int and padding
    var slots: Int


struct GetSet:
    var name: Int
    var get: Int
    var set: Int
    var doc: Int
    var closure: Int


struct MethodDef:
    var name: Int
    var function: Int
    var flags: Int
    var doc: Int


struct TypeBuilder:
    """Collects slots, attributes and methods, then makes the type."""

    var slots: Int
    var num_slots: Int
    var attributes: Int
    var num_attributes: Int
    var methods: Int
    var num_methods: Int

    def __init__(out self):
        self.slots = Int(zeroed[RawSlot](96))
        self.num_slots = 0
        self.attributes = Int(zeroed[GetSet](64))
        self.num_attributes = 0
        self.methods = Int(zeroed[MethodDef](32))
        self.num_methods = 0

    def slot(mut self, id: Int, function: Int):
        var p = at[RawSlot](self.slots + self.num_slots * size_of[RawSlot]())
        p[].slot = id
        p[].function = function
        self.num_slots += 1

    def unary(mut self, id: Int, f: UnaryFn):
        var v = f
        self.slot(id, address_of(v))

    def binary(mut self, id: Int, f: BinaryFn):
        var v = f
        self.slot(id, address_of(v))

    def ternary(mut self, id: Int, f: TernaryFn):
        var v = f
        self.slot(id, address_of(v))

    def attribute(mut self, name: StaticString, get: BinaryFn):
        var p = at[GetSet](self.attributes + self.num_attributes * size_of[GetSet]())
        p[].name = c_string(String(name))
        var v = get
        p[].get = address_of(v)
        self.num_attributes += 1

    def attribute(mut self, name: StaticString, get: BinaryFn, setter: SetterFn):
        self.attribute(name, get)
        var p = at[GetSet](self.attributes + (self.num_attributes - 1) * size_of[GetSet]())
        var v = setter
        p[].set = address_of(v)

    def method(mut self, name: StaticString, f: TernaryFn):
        """A METH_FASTCALL method."""
        var p = at[MethodDef](self.methods + self.num_methods * size_of[MethodDef]())
        p[].name = c_string(String(name))
        var v = f
        p[].function = address_of(v)
        p[].flags = 0x80
        self.num_methods += 1


def make_tensor_base() raises -> Obj:
    """Makes the type dumbtorch._C.TensorBase."""
    var b = TypeBuilder()
    # tp_*
    var dealloc: VoidFn = _dealloc
    b.slot(52, address_of(dealloc))
    var traverse: def(Int, Int, Int) thin abi("C") -> c_int = _traverse
    b.slot(71, address_of(traverse))
    var clear: InquiryFn = _clear
    b.slot(51, address_of(clear))
    b.ternary(65, _new)
    b.unary(59, _hash)
    var rich: RichFn = _compare
    b.slot(67, address_of(rich))
    # nb_*: numbers of CPython's typeslots.h
    b.binary(7, _binary[0])  # add
    b.binary(36, _binary[1])  # subtract
    b.binary(29, _binary[2])  # multiply
    b.binary(37, _binary[3])  # true_divide
    b.binary(12, _binary[4])  # floor_divide
    b.binary(34, _binary[5])  # remainder
    b.ternary(33, _power[6])
    b.binary(75, _binary[7])  # matrix_multiply
    b.binary(8, _binary[8])  # and
    b.binary(31, _binary[9])  # or
    b.binary(38, _binary[10])  # xor
    b.binary(28, _binary[11])  # lshift
    b.binary(35, _binary[12])  # rshift
    b.unary(30, _unary[SLOT_NEG])
    b.unary(6, _unary[SLOT_NEG + 1])  # absolute
    b.unary(27, _unary[SLOT_NEG + 2])  # invert
    b.unary(32, _unary[SLOT_NEG + 3])  # positive
    b.binary(14, _binary[SLOT_IADD])
    b.binary(23, _binary[SLOT_IADD + 1])
    b.binary(18, _binary[SLOT_IADD + 2])
    b.binary(24, _binary[SLOT_IADD + 3])
    b.binary(16, _binary[SLOT_IADD + 4])
    b.binary(21, _binary[SLOT_IADD + 5])
    b.ternary(20, _power[SLOT_IADD + 6])
    b.binary(15, _binary[SLOT_IADD + 7])
    b.binary(19, _binary[SLOT_IADD + 8])
    b.binary(25, _binary[SLOT_IADD + 9])
    b.binary(17, _binary[SLOT_IADD + 10])
    b.binary(22, _binary[SLOT_IADD + 11])
    # mp_*
    b.unary(4, _length)
    b.binary(5, _getitem)
    var setitem: SetterFn = _setitem
    b.slot(3, address_of(setitem))

    b.attribute("shape", _get_shape)
    b.attribute("_strides", _get_strides)
    b.attribute("dtype", _get_dtype)
    b.attribute("device", _get_device)
    b.attribute("ndim", _get_ndim)
    b.attribute("_numel", _get_numel)
    b.attribute("itemsize", _get_itemsize)
    b.attribute("_offset", _get_offset)
    b.attribute("_contiguous", _get_contiguous)
    b.attribute("_version", _get_version)
    b.attribute("_view_version", _get_view_version, _set_view_version)
    b.attribute("output_nr", _get_output_nr)
    b.attribute("_dtype_code", _get_dtype_code)
    b.attribute("_device_code", _get_device_code)
    b.attribute("_storage_id", _get_storage_id)
    b.attribute("_base", _get_base, _set_base)
    b.attribute("_grad", _get_grad, _set_grad)
    b.attribute("_grad_fn", _get_grad_fn_raw)
    b.attribute("grad_fn", _get_grad_fn)
    b.attribute("requires_grad", _get_requires_grad, _set_requires_grad)
    b.attribute("is_leaf", _get_is_leaf)
    b.attribute("_flags", _get_flags, _set_flags)
    b.slot(73, b.attributes)

    b.method("_attach", _attach)
    b.method("_same", _same)
    b.method("_bump", _bump)
    b.method("_alias", _alias)
    b.method("_unwatched", _unwatched)
    b.method("data_ptr", _data_ptr)
    b.method("_set_data", _set_data)
    b.method("_as_class", _as_class)
    b.slot(64, b.methods)
    _add_buffer_slots(b)
    b.slot(0, 0)

    var spec = zeroed[RawSpec]()
    spec[].name = c_string("dumbtorch._C.TensorBase")
    spec[].basicsize = Int32(size_of[TensorObj]())
    # BASETYPE | HAVE_GC | DEFAULT (version tag)
    spec[].flags = Int64((1 << 10) | (1 << 14) | (1 << 18))
    spec[].slots = b.slots
    var tp = external_call["PyType_FromSpec", Int](Int(spec))
    if tp == 0:
        raise python_error()
    return tp


def _add_buffer_slots(mut b: TypeBuilder):
    from .buffer import get_buffer, release_buffer

    var get: def(Int, Int, c_int) thin abi("C") -> c_int = get_buffer
    var done: def(Int, Int) thin abi("C") -> None = release_buffer
    b.slot(1, address_of(get))
    b.slot(2, address_of(done))
