"""Ops as Python callables: one signature parser, one place for modes and recording, typed access to arguments.

An `Op` is made by Python's op table (`make_op`) and names a kernel that a family registered. Calling it parses the
arguments into slots, runs the kernel's function on them and, when some operand carries gradient, lets Python record
the call. A kernel's function is `def(mut Call) raises -> Obj`, registered with `register[f](name, data)`.
"""

from std.ffi import external_call, c_int
from std.memory import Pointer, stack_allocation
from std.sys.info import size_of
from .dtype import FLOAT32, dtype_name
from .errors import python_error, set_python_error
from .layout import Dims, no_dims
from .memory import Ptr, address_of, at, c_string, Words, function_at, load, store, words, zeroed

from .object import (
    INFERENCE_TENSOR, LAZY, REQUIRES_GRAD, TPtr, as_tensor, is_sparse, is_tensor, replace_storage, writes_of,
)  # fmt: skip

from .py import (
    Obj, class_of, decref, error_occurred, get_attr, incref, is_long, is_sequence, is_str, is_subtype, new_ref, py_int, py_str,
    seq_item, seq_len, string_of, tuple_new, tuple_set, type_name_of,
)  # fmt: skip
from .runtime import Kernel, MAX_RANK, MODE_INFERENCE, MODE_NO_GRAD, MODE_TRACE, RuntimePtr, runtime
from .storage import device_table

comptime MAX_PARAMS = 16

comptime DIFFERENTIABLE = 1
comptime INPLACE = 2
comptime HAS_OUT = 4
comptime VIEW = 8
comptime TAKES_LAZY = 16  # the kernel minds pending conjugations and negations of its arguments

comptime KernelFn = def(OpPtr, Words, Int) thin abi("C") -> Int


struct Op:
    """A callable op. Made once at import, never freed."""

    var impl: Int
    var data: Int
    var num_params: Int
    var num_positional: Int
    var flags: Int
    var names: Array[Obj, MAX_PARAMS]  # interned str objects
    var defaults: Array[Obj, MAX_PARAMS]
    var kinds: Array[UInt8, MAX_PARAMS]
    var name: Int  # C string
    var record: Obj
    var inplace: Obj
    var trace: Obj
    var out_name: Obj


comptime OpPtr = Pointer[Op, MutUntrackedOrigin]


# ---------------------------------------------------------------- what a kernel's function sees


@fieldwise_init
struct Scalar2(Copyable, ImplicitlyCopyable):
    """A Python number: its category (0 bool, 1 int, 2 float, 3 complex) and its value in each."""

    var category: Int
    var i: Int
    var d: Float64
    var im: Float64


struct Call(Movable):
    """One call of an op: typed access to its argument slots, with errors that name op and argument."""

    var op: OpPtr
    var slots: Int  # address of the argument words: a struct may not hold `Words`
    var out: Obj  # the out= tensor, the written tensor of an in-place op, or 0

    @always_inline
    def __init__(out self, op: OpPtr, slots: Words, result: Obj):
        self.op = op
        self.slots = Int(slots)
        self.out = result

    @always_inline
    def obj(self, i: Int) -> Obj:
        return load[Int](self.slots + 8 * i)

    @always_inline
    def is_none(self, i: Int) -> Bool:
        return self.obj(i) == runtime()[].none

    @always_inline
    def data(self) -> Int:
        return self.op[].data

    @always_inline
    def has_out(self) -> Bool:
        return self.out != 0

    @always_inline
    def inplace(self) -> Bool:
        return self.op[].flags & INPLACE != 0

    def name(self) -> String:
        return String(unsafe_from_utf8=_span(self.op[].name))

    def param(self, i: Int) -> String:
        return string_of(self.op[].names[i])

    @always_inline
    def is_tensor(self, i: Int) -> Bool:
        return is_tensor(self.obj(i))

    @always_inline
    def tensor(self, i: Int) raises -> TPtr:
        var o = self.obj(i)
        if not is_tensor(o):
            raise self.type_error(i, "Tensor")
        return as_tensor(o)

    @no_inline
    def type_error(self, i: Int, expected: StaticString) -> Error:
        return Error(
            t"TypeError|{self.name()}(): argument '{self.param(i)}' (position {i + 1}) must be {expected},"
            t" not {type_name_of(self.obj(i))}"
        )

    def fail(self, kind: StaticString, text: String) -> Error:
        """An error of a Python type whose message starts with the op's name."""
        return Error(t"{kind}|{self.name()}(): {text}")

    def int(self, i: Int) raises -> Int:
        """An int argument (anything with __index__; a one-element integer tensor too)."""
        return int_of(self.obj(i), self, i)

    def bool(self, i: Int) raises -> Bool:
        var v = external_call["PyObject_IsTrue", c_int](self.obj(i))
        if v < 0:
            raise python_error()
        return v != 0

    def float(self, i: Int) raises -> Float64:
        var s = self.scalar(i)
        if s.im != 0:
            raise Error("RuntimeError|value cannot be converted to type double without overflow")
        return s.d

    def scalar(self, i: Int) raises -> Scalar2:
        """A Python number (or a 0-d tensor, read as one)."""
        var s = Scalar2(0, 0, 0, 0)
        if not number_of(self.obj(i), s):
            if error_occurred():
                raise python_error()
            raise self.type_error(i, "Number")
        return s

    def string(self, i: Int) raises -> String:
        if not is_str(self.obj(i)):
            raise self.type_error(i, "str")
        return string_of(self.obj(i))

    def dtype(self, i: Int, default: Int) raises -> Int:
        """A dtype argument's code, `default` for None."""
        var o = self.obj(i)
        var rt = runtime()
        if o == rt[].none:
            return default
        var code = dtype_code(o)
        if code < 0:
            raise self.type_error(i, "torch.dtype")
        return code

    def device(self, i: Int, default: Int) raises -> Int:
        """A device argument as type << 8 | index, `default` for None."""
        var o = self.obj(i)
        if o == runtime()[].none:
            return default
        return device_code(o)

    def dims(self, i: Int, mut out_dims: Dims) raises -> Int:
        """An int or a sequence of ints into `out_dims`; how many there were (a lone int is one)."""
        return ints_of(self.obj(i), self, i, out_dims)


def _span(c_text: Int) -> Span[UInt8, MutUntrackedOrigin]:
    return Span[UInt8, MutUntrackedOrigin](unsafe_ptr=at[UInt8](c_text), length=external_call["strlen", Int](c_text))


def int_of(o: Obj, call: Call, i: Int) raises -> Int:
    if class_of(o) == runtime()[].bool_type or not is_long(o):
        if is_subtype(class_of(o), runtime()[].float_type):
            raise call.type_error(i, "int")
        var n = external_call["PyNumber_Index", Int](o)
        if n == 0:
            external_call["PyErr_Clear", NoneType]()
            raise call.type_error(i, "int")
        var v = external_call["PyLong_AsSsize_t", Int](n)
        decref(n)
        if v == -1 and error_occurred():
            raise python_error()
        return v
    var v = external_call["PyLong_AsSsize_t", Int](o)
    if v == -1 and error_occurred():
        external_call["PyErr_Clear", NoneType]()
        raise call.fail("RuntimeError", "Overflow when unpacking long")
    return v


def ints_of(o: Obj, call: Call, i: Int, mut result: Dims) raises -> Int:
    if not is_sequence(o):
        result[0] = int_of(o, call, i)
        return 1
    var n = seq_len(o)
    if n > MAX_RANK:
        raise call.fail("RuntimeError", String(t"at most {MAX_RANK} dimensions are supported, got {n}"))
    for j in range(n):
        result[j] = int_of(seq_item(o, j), call, i)
    return n


def number_of(o: Obj, mut s: Scalar2) -> Bool:
    """Reads a Python bool, int, float or complex (or an object that converts, such as a NumPy scalar)."""
    var rt = runtime()
    var tp = class_of(o)
    if tp == rt[].bool_type:
        s.category = 0
        s.i = Int(o == rt[].true_)
        s.d = Float64(s.i)
        return True
    if is_long(o):
        s.category = 1
        var v = external_call["PyLong_AsSsize_t", Int](o)
        if v == -1 and error_occurred():
            # past int64: uint64 keeps its bits, more is an overflow
            external_call["PyErr_Clear", NoneType]()
            v = external_call["PyLong_AsUnsignedLongLong", Int](o)
            if v == -1 and error_occurred():
                external_call["PyErr_Clear", NoneType]()
                var text = String("Overflow when unpacking long")
                set_python_error(Error(t"RuntimeError|{text}"))
                return False
            s.i = v
            s.d = Float64(UInt64(v))
            return True
        s.i = v
        s.d = Float64(v)
        return True
    if is_subtype(tp, rt[].float_type):
        s.category = 2
        s.d = external_call["PyFloat_AsDouble", Float64](o)
        s.i = _to_int(s.d)
        return True
    if is_subtype(tp, rt[].complex_type):
        s.category = 3
        s.d = external_call["PyComplex_RealAsDouble", Float64](o)
        s.im = external_call["PyComplex_ImagAsDouble", Float64](o)
        s.i = _to_int(s.d)
        return True
    if is_tensor(o):
        var t = as_tensor(o)
        if t[].numel != 1:
            return False
        var method = get_attr(o, "item")
        if method == 0:
            return False
        var item = external_call["PyObject_CallNoArgs", Int](method)
        decref(method)
        if item == 0:
            return False
        var ok = number_of(item, s)
        decref(item)
        return ok
    if is_sequence(o) or is_str(o) or o == rt[].none:
        return False
    # NumPy scalars and other numbers: integers have __index__, the rest __float__
    if external_call["PyIndex_Check", c_int](o) != 0:
        var n = external_call["PyNumber_Index", Int](o)
        if n != 0:
            var ok = number_of(n, s)
            decref(n)
            return ok
        external_call["PyErr_Clear", NoneType]()
    if external_call["PyObject_HasAttrString", c_int](o, Int(StaticString("__float__").unsafe_ptr())) != 0:
        if external_call["PyObject_HasAttrString", c_int](o, Int(StaticString("ndim").unsafe_ptr())) != 0:
            var f = external_call["PyNumber_Float", Int](o)
            if f == 0:
                external_call["PyErr_Clear", NoneType]()
                return False
            s.category = 2
            s.d = external_call["PyFloat_AsDouble", Float64](f)
            s.i = _to_int(s.d)
            decref(f)
            return True
    return False


@always_inline
def _to_int(d: Float64) -> Int:
    # defined for every double: out of range and NaN give 0
    if d > -9.2e18 and d < 9.2e18:
        return Int(d)
    return 0


def dtype_code(o: Obj) -> Int:
    var rt = runtime()
    for code in range(19):
        if rt[].dtypes[code] == o:
            return code
    # Python's own types name a dtype too
    if o == rt[].float_type:
        return 12
    if o == rt[].bool_type:
        return 0
    if o == rt[].long_type:
        return 5
    if o == rt[].complex_type:
        return 15
    return -1


def device_code(o: Obj) raises -> Int:
    """The code of a device object, a string such as "cpu" or "cuda:1", or a device index."""
    var rt = runtime()
    var owned: Obj
    if is_subtype(class_of(o), rt[].device_type):
        owned = new_ref(o)
    else:
        owned = external_call["PyObject_CallOneArg", Int](rt[].device_type, o)
        if owned == 0:
            raise python_error()
    var c = external_call["PyObject_GetAttrString", Int](owned, Int(StaticString("_code").unsafe_ptr()))
    decref(owned)
    if c == 0:
        raise python_error()
    var code = external_call["PyLong_AsSsize_t", Int](c)
    decref(c)
    if code == 0:
        return 0
    if rt[].device_tables[code >> 8] == 0:
        # Python loads the accelerator's extension, or explains what was looked for
        var method = get_attr(rt[].device_type, "_load")
        if method == 0:
            raise python_error()
        var number = py_int(code)
        var done = external_call["PyObject_CallOneArg", Int](method, number)
        decref(number)
        decref(method)
        if done == 0:
            raise python_error()
        decref(done)
    var table = device_table(code)
    if code & 255 == 255:
        return (code & ~255) | table[].current
    if code & 255 >= table[].count:
        raise Error(t"RuntimeError|invalid device ordinal {code & 255}: there are {table[].count} devices of this type")
    return code


# ---------------------------------------------------------------- registration


comptime ImplFn = def(mut Call) raises thin -> Obj


def _entry[f: ImplFn](op: OpPtr, slots: Words, result: Int) abi("C") -> Int:
    var call = Call(op, slots, result)
    try:
        return f(call)
    except e:
        set_python_error(e)
        return 0


def register[f: ImplFn](name: String, data: Int = 0):
    """Registers a kernel function under the name that the op table uses."""
    var fn_: KernelFn = _entry[f]
    runtime()[].kernels.append(Kernel(name, address_of(fn_), data))


# ---------------------------------------------------------------- calling


def op_of(function_self: Obj) -> OpPtr:
    # PyCapsule: refcount, type, pointer
    return OpPtr(unsafe_from_address=load[Int](function_self + 16))


def op_vectorcall(function_self: Obj, args: Int, nargs_: Int, kwnames: Obj) abi("C") -> Obj:
    """The METH_FASTCALL | METH_KEYWORDS entry of every op."""
    return call_op(op_of(function_self), words(args), nargs_, kwnames)


@always_inline
def call_op(op: OpPtr, args: Words, nargs: Int, kwnames: Obj) -> Obj:
    if kwnames == 0 and nargs == op[].num_params and nargs <= op[].num_positional:
        return run_op(op, args, 0)
    return _parse_and_run(op, args, nargs, kwnames, False)


def op_rawcall(function_self: Obj, args: Int, nargs: Int, kwnames: Obj) abi("C") -> Obj:
    """The entry of `raw(op)`: the kernel alone, no recording."""
    return _parse_and_run(op_of(function_self), words(args), nargs, kwnames, True)


@no_inline
def _parse_and_run(op: OpPtr, args: Words, nargs: Int, kwnames: Obj, raw: Bool) -> Obj:
    var slots = stack_allocation[MAX_PARAMS, Int]()
    comptime for i in range(MAX_PARAMS):
        slots[unsafe_offset=i] = 0
    var n = op[].num_params
    var result: Obj = 0
    var limit = n if raw else op[].num_positional
    if nargs > limit:
        _set_arity_error(op, nargs, limit)
        return 0
    for i in range(nargs):
        slots[unsafe_offset=i] = args[unsafe_offset=i]
    if kwnames != 0:
        for k in range(seq_len(kwnames)):
            var key = seq_item(kwnames, k)
            var value = args[unsafe_offset=nargs + k]
            var found = -1
            for i in range(n):
                if op[].names[i] == key:
                    found = i
                    break
            if found < 0:
                found = _find_keyword(op, key)
            if found == -2:
                if value != runtime()[].none:
                    result = value
                continue
            if found < 0:
                _set_keyword_error(op, key, "got an unexpected keyword argument")
                return 0
            if slots[unsafe_offset=found] != 0:
                _set_keyword_error(op, key, "got multiple values for argument")
                return 0
            slots[unsafe_offset=found] = value
    var rt = runtime()
    for i in range(n):
        if slots[unsafe_offset=i] == 0:
            var d = op[].defaults[i]
            if d == rt[].required:
                _set_missing_error(op, i)
                return 0
            slots[unsafe_offset=i] = d
    if result != 0 and not is_tensor(result):
        set_python_error(Error(t"TypeError|{op_name(op)}(): argument 'out' must be Tensor, not {type_name_of(result)}"))
        return 0
    if raw:
        return run_raw(op, slots.as_unsafe_any_origin(), result)
    return run_op(op, slots.as_unsafe_any_origin(), result)


def op_name(op: OpPtr) -> String:
    return String(unsafe_from_utf8=_span(op[].name))


def _find_keyword(op: OpPtr, key: Obj) -> Int:
    """A keyword that was not the interned object: by text. -2 is out=; 'input', 'other', 'axis', 'keepdims' are aliases.
    """
    var text = string_of(key)
    if text == "out" and op[].flags & HAS_OUT != 0:
        return -2
    for i in range(op[].num_params):
        if string_of(op[].names[i]) == text:
            return i
    var alias = String("")
    if text == "input" or text == "self":
        # the first parameter is `input` to functions and self to methods
        var first = string_of(op[].names[0]) if op[].num_params > 0 else String("")
        if first == "self" or first == "input":
            return 0
    if text == "axis":
        alias = "dim"
    elif text == "keepdims":
        alias = "keepdim"
    elif text == "x":
        alias = "self"
    elif text == "x2":
        alias = "other"
    if alias != "":
        for i in range(op[].num_params):
            if string_of(op[].names[i]) == alias:
                return i
    return -1


@no_inline
def _set_arity_error(op: OpPtr, nargs: Int, limit: Int):
    set_python_error(Error(t"TypeError|{op_name(op)}() takes {limit} positional arguments but {nargs} were given"))


@no_inline
def _set_keyword_error(op: OpPtr, key: Obj, text: StaticString):
    set_python_error(Error(t"TypeError|{op_name(op)}() {text} '{string_of(key)}'"))


@no_inline
def _set_target_error(op: OpPtr, target: Obj):
    var name = string_of(op[].names[0])
    set_python_error(
        Error(t"TypeError|{op_name(op)}(): argument '{name}' (position 1) must be Tensor, not {type_name_of(target)}")
    )


@no_inline
def _set_missing_error(op: OpPtr, i: Int):
    var missing = string_of(op[].names[i])
    set_python_error(Error(t"TypeError|{op_name(op)}() missing 1 required positional arguments: \"{missing}\""))


@always_inline
def _carries_grad(op: OpPtr, slots: Words) -> Bool:
    for i in range(op[].num_params):
        var kind = op[].kinds[i]
        if kind == 46:  # '.'
            continue
        var o = slots[unsafe_offset=i]
        if is_tensor(o):
            if as_tensor(o)[].requires_grad():
                return True
        elif kind == 84 and is_sequence(o):  # 'T'
            for j in range(seq_len(o)):
                var item = seq_item(o, j)
                if is_tensor(item) and as_tensor(item)[].requires_grad():
                    return True
    return False


@always_inline
def run_raw(op: OpPtr, slots: Words, out_: Obj) -> Obj:
    var target = out_
    if op[].flags & INPLACE != 0:
        target = slots[]
        if not is_tensor(target):
            _set_target_error(op, target)
            return 0
    if runtime()[].lazy and op[].flags & (VIEW | TAKES_LAZY) == 0 and (_any_lazy(op, slots) or _is_lazy(target)):
        return _run_resolved(op, slots, target)
    var f = function_at[KernelFn](op[].impl)
    var r = f(op, slots, target)
    if target != 0 and r != 0:
        writes_of(as_tensor(target))[] += 1
    return r


# ---------------------------------------------------------------- sparse tensors


@no_inline
def _any_sparse(op: OpPtr, slots: Words, out_: Obj) -> Bool:
    for i in range(op[].num_params):
        var o = slots[unsafe_offset=i]
        if is_sequence(o):
            for j in range(seq_len(o)):
                if is_sparse(seq_item(o, j)):
                    return True
        elif is_sparse(o):
            return True
    return is_sparse(out_)


@no_inline
def _run_sparse(op: OpPtr, slots: Words, out_: Obj) -> Obj:
    """Leaves the op to Python, which finds in the arguments why it was called."""
    if op[].trace == 0:
        var name = op_name(op)
        set_python_error(
            Error(t"NotImplementedError|Could not run 'aten::{name}' with arguments from the 'SparseCPU' backend.")
        )
        return 0
    return _call_hook(op[].trace, op, slots, new_ref(out_) if out_ != 0 else 0)


# ---------------------------------------------------------------- pending conjugations and negations


@always_inline
def _is_lazy(o: Obj) -> Bool:
    return o != 0 and is_tensor(o) and as_tensor(o)[].lazy() != 0


@no_inline
def _any_lazy(op: OpPtr, slots: Words) -> Bool:
    for i in range(op[].num_params):
        var o = slots[unsafe_offset=i]
        if is_sequence(o):
            for j in range(seq_len(o)):
                if _is_lazy(seq_item(o, j)):
                    return True
        elif _is_lazy(o):
            return True
    return False


def _resolved(o: Obj) -> Obj:
    """A new reference to the object, or to a copy without pending work. 0 with the Python error set when it fails."""
    if not _is_lazy(o):
        return new_ref(o)
    return external_call["dumbtorch_resolved", Int](o)


def _resolved_argument(o: Obj) -> Obj:
    if not is_sequence(o):
        return _resolved(o)
    var n = seq_len(o)
    var t = tuple_new(n)
    for j in range(n):
        var item = _resolved(seq_item(o, j))
        if item == 0:
            decref(t)
            return 0
        tuple_set(t, j, item)
    return t


@no_inline
def _run_resolved(op: OpPtr, slots: Words, target: Obj) -> Obj:
    """Runs a kernel that knows nothing of pending work: on resolved copies; what it writes is written back."""
    var plain = stack_allocation[MAX_PARAMS, Int]()
    var made = 0
    var r: Obj = 0
    var to = _resolved(target) if target != 0 else 0
    var ok = target == 0 or to != 0
    for i in range(op[].num_params):
        if not ok:
            break
        var o = slots[unsafe_offset=i]
        var given = new_ref(to) if o == target and target != 0 else _resolved_argument(o)
        plain[unsafe_offset=i] = given
        ok = given != 0
        made += Int(ok)
    if ok:
        var f = function_at[KernelFn](op[].impl)
        r = f(op, plain.as_unsafe_any_origin(), to)
    if r != 0 and target != 0:
        if to != target:
            if _write_back(target, to) != 0:
                decref(r)
                r = 0
            elif r == to:
                decref(r)
                r = new_ref(target)
        writes_of(as_tensor(target))[] += 1
    for i in range(made):
        decref(plain[unsafe_offset=i])
    if to != 0:
        decref(to)
    return r


def _write_back(target: Obj, source: Obj) -> Int:
    var t = as_tensor(target)
    var s = as_tensor(source)
    try:
        if t[].numel != s[].numel or t[].rank() != s[].rank():
            # an out= argument that was given another shape
            t[].flags &= ~UInt16(LAZY)
            replace_storage(t, t[].code(), s[].shape, s[].rank())
    except e:
        set_python_error(e)
        return -1
    return external_call["dumbtorch_write", Int](target, source)


@always_inline
def run_op(op: OpPtr, slots: Words, out_: Obj) -> Obj:
    """Runs an op on complete slots, with modes and recording."""
    var rt = runtime()
    var mode = rt[].mode()
    if rt[].sparse and _any_sparse(op, slots, out_):
        return _run_sparse(op, slots, out_)
    if mode & MODE_TRACE != 0 and op[].trace != 0:
        return _call_hook(op[].trace, op, slots, new_ref(out_) if out_ != 0 else 0)
    if op[].flags & INPLACE != 0 and mode & MODE_INFERENCE == 0 and _is_inference(slots[]):
        set_python_error(
            Error(
                "RuntimeError|Inplace update to inference tensor outside InferenceMode is not allowed. You can make a"
                " clone to get a normal tensor before doing inplace update."
            )
        )
        return 0
    if op[].flags & DIFFERENTIABLE == 0 or mode & MODE_NO_GRAD != 0 or not _carries_grad(op, slots):
        if op[].flags & INPLACE != 0 and mode & MODE_NO_GRAD == 0:
            # a write of constants into something with history still changes that history
            var first = slots[]
            if is_tensor(first):
                var t = as_tensor(first)
                if t[].requires_grad() or (t[].base != 0 and as_tensor(t[].base)[].requires_grad()):
                    return _call_hook(op[].inplace, op, slots, 0)
        var made = run_raw(op, slots, out_)
        if mode & MODE_INFERENCE != 0 and op[].flags & INPLACE == 0 and out_ == 0 and made != slots[]:
            _mark_inference(made)
        return made
    if op[].flags & INPLACE != 0:
        return _call_hook(op[].inplace, op, slots, 0)
    if out_ != 0:
        set_python_error(
            Error(
                t"RuntimeError|{op_name(op)}(): functions with out=... arguments don't support automatic"
                t" differentiation, but one of the arguments requires grad."
            )
        )
        return 0
    var r = run_raw(op, slots, 0)
    if r == 0 or r == slots[]:
        return r  # an argument that is its own result has its history already
    return _call_hook(op[].record, op, slots, r)


@always_inline
def _is_inference(o: Obj) -> Bool:
    return is_tensor(o) and as_tensor(o)[].flags & UInt16(INFERENCE_TENSOR) != 0


@no_inline
def _mark_inference(made: Obj):
    """Marks new tensors (not views, which follow their base) as made in inference mode."""
    if made == 0:
        return
    if is_tensor(made):
        if as_tensor(made)[].base == 0:
            as_tensor(made)[].flags |= UInt16(INFERENCE_TENSOR)
    elif is_sequence(made):
        for i in range(seq_len(made)):
            _mark_inference(seq_item(made, i))


@no_inline
def _call_hook(hook: Obj, op: OpPtr, slots: Words, result: Obj) -> Obj:
    """Calls a Python hook with the slots as a tuple (after the result, whose reference is taken)."""
    if hook == 0:
        if result != 0:
            return result
        set_python_error(Error(t"RuntimeError|{op_name(op)}(): has no autograd hook"))
        return 0
    var n = op[].num_params
    var t = tuple_new(n)
    if t == 0:
        if result != 0:
            decref(result)
        return 0
    for i in range(n):
        tuple_set(t, i, new_ref(slots[unsafe_offset=i]))
    var args = stack_allocation[2, Int]()
    var count = 1
    if result != 0:
        args[unsafe_offset=0] = result
        args[unsafe_offset=1] = t
        count = 2
    else:
        args[unsafe_offset=0] = t
    var r = external_call["PyObject_Vectorcall", Int](hook, args.as_unsafe_any_origin(), count, Int(0))
    decref(t)
    if result == 0:
        return r
    if r == 0:
        decref(result)
        return 0
    if r == runtime()[].none:
        decref(r)
        return result
    decref(result)
    return r
