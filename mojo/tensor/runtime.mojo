"""The process-wide state of the extension: Python objects it hands out, the registered kernels, the modes.

One struct, created once at import and shared by every object file of the extension."""

from std.ffi import external_call, c_int, _Global
from std.memory import Pointer
from .dtype import NUM_DTYPES, FLOAT32
from .memory import RUNTIME_WORD, at, load, shared_word
from .py import Obj, symbol

comptime MAX_RANK = 16
comptime MAX_SLOTS = 64
comptime MAX_DEVICE_TYPES = 4

# Bits of the per-thread mode word.
comptime MODE_NO_GRAD = 1
comptime MODE_INFERENCE = 2
comptime MODE_TRACE = 4


@fieldwise_init
struct Kernel(Copyable):
    """One registered kernel: the function an op calls and the data that it is called with."""

    var name: String
    var impl: Int
    var data: Int


struct Runtime(Movable):
    # interpreter singletons
    var none: Obj
    var not_implemented: Obj
    var true_: Obj
    var false_: Obj
    var ellipsis: Obj
    var slice_type: Obj
    var long_type: Obj
    var float_type: Obj
    var complex_type: Obj
    var bool_type: Obj
    var required: Obj
    # exception types
    var type_error: Obj
    var value_error: Obj
    var index_error: Obj
    var runtime_error: Obj
    var attribute_error: Obj
    var buffer_error: Obj
    var memory_error: Obj
    var not_implemented_error: Obj
    var oom_error: Obj
    # classes of this package
    var base_type: Obj
    var tensor_type: Obj
    var size_type: Obj
    var device_type: Obj
    var devices: Array[Obj, 64]
    var dtypes: Array[Obj, 32]
    var default_dtype: Int
    # kernels and ops
    var kernels: List[Kernel]
    var slots: Array[Int, MAX_SLOTS]
    var casts: Array[Int, NUM_DTYPES * NUM_DTYPES]
    # devices other than the CPU: address of a DeviceTable, 0 when absent
    var device_tables: Array[Int, MAX_DEVICE_TYPES]
    # Python callables for what the extension leaves to Python
    var getitem_hook: Obj
    var setitem_hook: Obj
    var repr_hook: Obj
    var grad_fn_hook: Obj
    var mode_key: Int32
    var live_tensors: Int
    var lazy: Bool  # a tensor with a pending conjugation or negation was made: arguments have to be looked at
    var sparse: Bool  # the same for a sparse tensor

    def __init__(out self):
        self.none = symbol("_Py_NoneStruct")
        self.not_implemented = symbol("_Py_NotImplementedStruct")
        self.true_ = symbol("_Py_TrueStruct")
        self.false_ = symbol("_Py_FalseStruct")
        self.ellipsis = symbol("_Py_EllipsisObject")
        self.slice_type = symbol("PySlice_Type")
        self.long_type = symbol("PyLong_Type")
        self.float_type = symbol("PyFloat_Type")
        self.complex_type = symbol("PyComplex_Type")
        self.bool_type = symbol("PyBool_Type")
        self.required = 0
        self.type_error = _exception("PyExc_TypeError")
        self.value_error = _exception("PyExc_ValueError")
        self.index_error = _exception("PyExc_IndexError")
        self.runtime_error = _exception("PyExc_RuntimeError")
        self.attribute_error = _exception("PyExc_AttributeError")
        self.buffer_error = _exception("PyExc_BufferError")
        self.memory_error = _exception("PyExc_MemoryError")
        self.not_implemented_error = _exception("PyExc_NotImplementedError")
        self.oom_error = self.memory_error
        self.base_type = 0
        self.tensor_type = 0
        self.size_type = 0
        self.device_type = 0
        self.devices = Array[Obj, 64](fill=0)
        self.dtypes = Array[Obj, 32](fill=0)
        self.default_dtype = FLOAT32
        self.kernels = List[Kernel]()
        self.slots = Array[Int, MAX_SLOTS](fill=0)
        self.casts = Array[Int, NUM_DTYPES * NUM_DTYPES](fill=0)
        self.device_tables = Array[Int, MAX_DEVICE_TYPES](fill=0)
        self.getitem_hook = 0
        self.setitem_hook = 0
        self.repr_hook = 0
        self.grad_fn_hook = 0
        var key = Int32(0)
        _ = external_call["pthread_key_create", c_int](Pointer(to=key), Int(0))
        self.mode_key = key
        self.live_tensors = 0
        self.lazy = False
        self.sparse = False

    @always_inline
    def mode(self) -> Int:
        """The calling thread's mode word; 0 in a thread that never set one."""
        return external_call["pthread_getspecific", Int](self.mode_key)

    @always_inline
    def set_mode(self, mode: Int):
        _ = external_call["pthread_setspecific", c_int](self.mode_key, mode)


def _exception(name: StaticString) -> Obj:
    # PyExc_* are variables that hold the class
    var variable = symbol(name)
    return 0 if variable == 0 else load[Int](variable)


comptime RuntimePtr = Pointer[Runtime, MutUntrackedOrigin]
comptime _RUNTIME = _Global[StorageType=Runtime, "DUMBTORCH_RUNTIME", Runtime.__init__]


@always_inline
def runtime() -> RuntimePtr:
    var address = shared_word(RUNTIME_WORD)[]
    if address == 0:
        address = _find_runtime()
    return at[Runtime](address)


@no_inline
def _find_runtime() -> Int:
    try:
        var address = Int(_RUNTIME.get_or_create_ptr())
        shared_word(RUNTIME_WORD)[] = address
        return address
    except:
        # the initialiser cannot raise
        return 8
