"""Nodes of the recorded graph: their CPython type, and the recorders that make them.

Python's class Node derives from NodeBase and each row of the op table has a subclass of it. A recorder is what an op
calls after its kernel when the call is recorded: a function made of a plan that says which slots carry gradient and
what the derivative needs. The same could be written in Python, at several times the cost of a small kernel.
"""

from std.ffi import external_call, c_int, _Global
from std.memory import Pointer
from std.sys.info import size_of
from .errors import python_error, set_python_error
from .layout import same_dims
from .memory import address_of, at, c_string, function_at, load, zeroed
from .object import INFERENCE_TENSOR, REQUIRES_GRAD, TPtr, alias_of, as_tensor, is_tensor, writes_of
from .py import (
    Obj,
    call1,
    decref,
    incref,
    is_sequence,
    new_ref,
    py_int,
    seq_item,
    seq_len,
    tuple_new,
    tuple_set,
    xdecref,
)
from .pytype import MethodDef, RawSlot, RawSpec, dims_tuple
from .runtime import runtime

comptime MAX_CARRIERS = 8
comptime MAX_KEPT = 12

# What a recorder keeps: the kinds of an entry of its plan.
comptime KEEP_OBJECT = 0  # the argument itself
comptime KEEP_TENSOR = 1  # the argument and its version
comptime KEEP_RESULT = 2  # an alias of the result and its version
comptime KEEP_SHAPE = 3
comptime KEEP_DTYPE = 4
comptime KEEP_STRIDES = 5
comptime KEEP_OFFSET = 6
comptime KEEP_DEVICE = 7
comptime KEEP_VERSIONS = 8  # of the tensors in a list


struct NodeObj:
    var ob_refcnt: Int
    var ob_type: Obj
    var edges: Obj
    var saved: Obj
    var meta: Obj
    var extra: Obj
    var seq: Obj


struct Kept(Copyable, ImplicitlyCopyable):
    var kind: Int
    var slot: Int
    var users: Int  # bit i: needed for the gradient of carrier i; 0: always


struct Plan:
    var cls: Obj
    var num_carriers: Int
    var carriers: Array[Int, MAX_CARRIERS]  # slots
    var num_kept: Int
    var kept: Array[Kept, MAX_KEPT]
    var broadcast: Bool
    var casts: Bool


comptime PlanPtr = Pointer[Plan, MutUntrackedOrigin]
comptime NodePtr = Pointer[NodeObj, MutUntrackedOrigin]


struct Counter(Movable):
    var value: Int

    def __init__(out self):
        self.value = 0


comptime _COUNTER = _Global[StorageType=Counter, "DUMBTORCH_NODES", Counter.__init__]


@always_inline
def next_number() -> Obj:
    """The number of a new node: larger than those of all nodes that it can lead to."""
    try:
        var counter = at[Counter](Int(_COUNTER.get_or_create_ptr()))
        counter[].value += 1
        return py_int(counter[].value)
    except:
        # the initialiser cannot raise
        return py_int(0)


def tick(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """tick() -> the number of a node made in Python."""
    return next_number()


# ---------------------------------------------------------------- the type


def _dealloc(o: Int) abi("C") -> None:
    external_call["PyObject_GC_UnTrack", NoneType](o)
    var n = NodePtr(unsafe_from_address=o)
    xdecref(n[].edges)
    xdecref(n[].saved)
    xdecref(n[].meta)
    xdecref(n[].extra)
    xdecref(n[].seq)
    var tp = n[].ob_type
    external_call["PyObject_GC_Del", NoneType](o)
    decref(tp)


def _traverse(o: Int, visit: Int, arg: Int) abi("C") -> c_int:
    var f = function_at[def(Int, Int) thin abi("C") -> c_int](visit)
    # the type, then edges, saved, meta, extra
    for i in range(1, 6):
        var field = load[Int](o + 8 * i)
        if field != 0:
            var r = f(field, arg)
            if r != 0:
                return r
    return 0


def _clear(o: Int) abi("C") -> c_int:
    var n = NodePtr(unsafe_from_address=o)
    var edges = n[].edges
    var saved = n[].saved
    var extra = n[].extra
    n[].edges = 0
    n[].saved = 0
    n[].extra = 0
    xdecref(edges)
    xdecref(saved)
    xdecref(extra)
    return 0


def _new(cls: Int, args: Int, kwargs: Int) abi("C") -> Int:
    return external_call["PyType_GenericAlloc", Int](cls, Int(0))


struct Member:
    var name: Int
    var kind: Int  # an int and padding
    var offset: Int
    var flags: Int  # an int and padding
    var doc: Int


def make_node_base() raises -> Obj:
    """Makes the type dumbtorch._C.NodeBase."""
    var members = zeroed[Member](6)
    comptime NAMES: StaticString = "edges saved meta extra seq"
    var names = String(NAMES).split(" ")
    for i in range(5):
        var m = at[Member](Int(members) + i * size_of[Member]())
        m[].name = c_string(String(names[i]))
        m[].kind = 16  # T_OBJECT_EX: what Python's own slots are, so that reading it is as fast
        m[].offset = 16 + 8 * i
    var slots = zeroed[RawSlot](8)
    var dealloc: def(Int) thin abi("C") -> None = _dealloc
    var traverse: def(Int, Int, Int) thin abi("C") -> c_int = _traverse
    var clear: def(Int) thin abi("C") -> c_int = _clear
    var make: def(Int, Int, Int) thin abi("C") -> Int = _new
    var ids = [52, 71, 51, 65, 72]
    var functions = [address_of(dealloc), address_of(traverse), address_of(clear), address_of(make), Int(members)]
    for i in range(5):
        var s = at[RawSlot](Int(slots) + i * size_of[RawSlot]())
        s[].slot = ids[i]
        s[].function = functions[i]
    var spec = zeroed[RawSpec]()
    spec[].name = c_string("dumbtorch._C.NodeBase")
    spec[].basicsize = Int32(size_of[NodeObj]())
    # BASETYPE | HAVE_GC | DEFAULT (version tag)
    spec[].flags = Int64((1 << 10) | (1 << 14) | (1 << 18))
    spec[].slots = Int(slots)
    var tp = external_call["PyType_FromSpec", Int](Int(spec))
    if tp == 0:
        raise python_error()
    return tp


# ---------------------------------------------------------------- recorders


def make_recorder(module: Int, args: Int, nargs: Int) abi("C") -> Int:
    """make_recorder(cls, carriers, kept, broadcast, casts) -> record(out, slots).

    `carriers` are the slots that carry gradient, `kept` the entries of what is kept: kind | slot << 8 | users << 16.
    """
    if nargs != 5:
        set_python_error(Error("TypeError|make_recorder() takes 5 arguments"))
        return 0
    var carriers = load[Int](args + 8)
    var kept = load[Int](args + 16)
    if seq_len(carriers) > MAX_CARRIERS or seq_len(kept) > MAX_KEPT:
        set_python_error(Error("ValueError|make_recorder(): too many inputs or too much to keep"))
        return 0
    var plan = zeroed[Plan]()
    plan[].cls = new_ref(load[Int](args))
    plan[].num_carriers = seq_len(carriers)
    for i in range(seq_len(carriers)):
        plan[].carriers[i] = _long(seq_item(carriers, i))
    plan[].num_kept = seq_len(kept)
    for i in range(seq_len(kept)):
        var code = _long(seq_item(kept, i))
        plan[].kept[i].kind = code & 255
        plan[].kept[i].slot = code >> 8 & 255
        plan[].kept[i].users = code >> 16
    plan[].broadcast = _long(load[Int](args + 24)) != 0
    plan[].casts = _long(load[Int](args + 32)) != 0
    var capsule = external_call["PyCapsule_New", Int](Int(plan), Int(0), Int(0))
    if capsule == 0:
        return 0
    var def_ = zeroed[MethodDef]()
    var f: def(Int, Int, Int) thin abi("C") -> Int = _record
    def_[].name = c_string("record")
    def_[].function = address_of(f)
    def_[].flags = 0x80  # METH_FASTCALL
    var r = external_call["PyCMethod_New", Int](Int(def_), capsule, Int(0), Int(0))
    decref(capsule)
    return r


def _long(o: Obj) -> Int:
    return external_call["PyLong_AsSsize_t", Int](o)


@always_inline
def _edge(o: Obj, none: Obj) -> Obj:
    """Where the gradient of an argument goes: None, a node, (node, output number), or the leaf itself. A new reference,
    0 when Python raised."""
    if not is_tensor(o):
        return new_ref(none)
    var t = as_tensor(o)
    if t[].base != 0 and t[].view_version != t[].storage()[].version and runtime()[].grad_fn_hook != 0:
        # the base was written to since: Python puts the view behind that write
        var fresh = call1(runtime()[].grad_fn_hook, o)
        if fresh == 0:
            return 0
        decref(fresh)
    if t[].grad_fn == 0:
        return new_ref(o if t[].flags & UInt16(REQUIRES_GRAD) != 0 else none)
    if t[].output_nr == 0:
        return new_ref(t[].grad_fn)
    var pair = tuple_new(2)
    tuple_set(pair, 0, new_ref(t[].grad_fn))
    tuple_set(pair, 1, py_int(Int(t[].output_nr)))
    return pair


def _versions(o: Obj) -> Obj:
    """A tuple of the versions of the tensors in a list; -1 for anything else in it."""
    var n = seq_len(o) if is_sequence(o) else 0
    var t = tuple_new(n)
    for i in range(n):
        var item = seq_item(o, i)
        tuple_set(t, i, py_int(writes_of(as_tensor(item))[] if is_tensor(item) else -1))
    return t


@always_inline
def _same(a: TPtr, b: TPtr) -> Bool:
    return a[].dtype == b[].dtype and a[].ndim == b[].ndim and same_dims(a[].shape, b[].shape, a[].rank())


def _record(capsule: Int, args: Int, nargs: Int) abi("C") -> Int:
    """record(out, slots): makes the node of a call and attaches it to the result."""
    # PyCapsule: refcount, type, pointer
    var plan = PlanPtr(unsafe_from_address=load[Int](capsule + 16))
    var result = load[Int](args)
    var slots = load[Int](args + 8) + 24  # a tuple's items
    var none = runtime()[].none
    var out = as_tensor(result)
    if plan[].casts and out[].code() < 9:
        return new_ref(none)  # integers and bool carry no gradient
    var edges = tuple_new(plan[].num_carriers)
    var live = 0
    for i in range(plan[].num_carriers):
        var e = _edge(load[Int](slots + 8 * plan[].carriers[i]), none)
        if e == 0:
            decref(edges)
            return 0
        if e != none:
            live |= 1 << i
        tuple_set(edges, i, e)

    var count = 0
    for i in range(plan[].num_kept):
        var kind = plan[].kept[i].kind
        count += 2 if kind == KEEP_TENSOR or kind == KEEP_RESULT else 1
    var saved = tuple_new(count)
    var at_ = 0
    for i in range(plan[].num_kept):
        var k = plan[].kept[i]
        var needed = k.users == 0 or k.users & live != 0
        var o = load[Int](slots + 8 * k.slot)
        if k.kind == KEEP_TENSOR:
            var version = -1
            if needed and is_tensor(o):
                if as_tensor(o)[].flags & UInt16(INFERENCE_TENSOR) != 0:
                    set_python_error(
                        Error(
                            "RuntimeError|Inference tensors cannot be saved for backward. Please do not use Tensors"
                            " created in inference mode in computation tracked by autograd. To work around this, you"
                            " can make a clone to get a normal tensor and use it in autograd, or use `torch.no_grad()`"
                            " instead of `torch.inference_mode()`."
                        )
                    )
                    decref(edges)
                    decref(saved)
                    return 0
                version = writes_of(as_tensor(o))[]
            tuple_set(saved, at_, new_ref(o if needed else none))
            tuple_set(saved, at_ + 1, py_int(version))
            at_ += 2
            continue
        if k.kind == KEEP_RESULT:
            var alias = none
            if needed:
                try:
                    alias = alias_of(out)
                except e:
                    set_python_error(e)
                    decref(edges)
                    decref(saved)
                    return 0
            else:
                incref(none)
            tuple_set(saved, at_, alias)
            tuple_set(saved, at_ + 1, py_int(out[].storage()[].version))
            at_ += 2
            continue
        var value: Obj
        if k.kind == KEEP_OBJECT:
            value = new_ref(o)
        elif k.kind == KEEP_VERSIONS:
            value = _versions(o)
        elif not needed or not is_tensor(o):
            value = new_ref(none)
        elif k.kind == KEEP_SHAPE:
            value = dims_tuple(as_tensor(o), False)
        elif k.kind == KEEP_STRIDES:
            value = dims_tuple(as_tensor(o), True)
        elif k.kind == KEEP_DTYPE:
            value = new_ref(runtime()[].dtypes[as_tensor(o)[].code()])
        elif k.kind == KEEP_OFFSET:
            value = py_int(as_tensor(o)[].offset)
        else:
            value = external_call["PyObject_GetAttrString", Int](o, Int(StaticString("device").unsafe_ptr()))
        if value == 0:
            decref(edges)
            decref(saved)
            return 0
        tuple_set(saved, at_, value)
        at_ += 1

    var meta = new_ref(none)
    if plan[].broadcast:
        for i in range(plan[].num_carriers):
            if live >> i & 1 == 0:
                continue
            var t = as_tensor(load[Int](slots + 8 * plan[].carriers[i]))
            if _same(t, out):
                continue
            if meta == none:
                meta = tuple_new(plan[].num_carriers)
                for j in range(plan[].num_carriers):
                    tuple_set(meta, j, new_ref(none))
                decref(none)
            var pair = tuple_new(2)
            tuple_set(pair, 0, dims_tuple(t, False))
            tuple_set(pair, 1, new_ref(runtime()[].dtypes[t[].code()]))
            tuple_set(meta, i, pair)
            decref(none)

    var made = external_call["PyType_GenericAlloc", Int](plan[].cls, Int(0))
    if made == 0:
        decref(edges)
        decref(saved)
        decref(meta)
        return 0
    var node = NodePtr(unsafe_from_address=made)
    node[].edges = edges
    node[].saved = saved
    node[].meta = meta
    node[].extra = new_ref(none)
    node[].seq = next_number()
    var old = out[].grad_fn
    out[].grad_fn = made
    out[].output_nr = 0
    out[].view_version = out[].storage()[].version
    xdecref(old)
    return new_ref(none)
