"""Which functors have kernels on an accelerator, and the launch of one.

A family is a list of functors (`pointwise_*.mojo`), compiled apart. `find` gives a functor's kernels by its name;
`DeviceTable.pointwise` runs them over a planned loop.
"""

from std.memory import Pointer
from max.gpu.host import DeviceContext

from kernels.functor import (
    ALL_INTS, BOOLS, Binary, Comparison, FLOATS, HALVES, Predicate, Ternary, Unary, functor_name,
)  # fmt: skip
from kernels.gpu.elementwise import binary_kernel, comparison_kernel, predicate_kernel, ternary_kernel, unary_kernel
from kernels.gpu.launch import AS_BOOL, AS_FLOAT32, AS_FLOAT64, AS_INT64, CLASSES, class_type, grid
from kernels.gpu.work import THREADS, Work
from tensor.memory import Ptr, address_of, at, zeroed

comptime LaunchFn = def(Int, Pointer[Work, MutAnyOrigin], Int) thin abi("C") -> Int
comptime ON_INT64 = 1  # bools are computed as 0 and 1
comptime BITS = 2  # every operand but the mask is read as the unsigned integer of its size


struct Kernels:
    """The kernels of one functor."""

    var launch: Array[Int, CLASSES]  # by the type they compute in; 0: none
    var dtypes: Int  # bit i: dtype code i can be computed
    var flags: Int
    var next: Int  # the next in the list of all
    var name: Int  # C string
    var entry: Int  # a family's function that is registered under the name, and no kernels


comptime KernelsPtr = Ptr[Kernels]


struct Registry(Movable):
    var first: Int

    def __init__(out self):
        self.first = 0


from std.ffi import _Global

comptime _REGISTRY = _Global[StorageType=Registry, "DUMBTORCH_DEVICE_FUNCTORS", Registry.__init__]


def registry() -> Ptr[Registry]:
    try:
        return at[Registry](Int(_REGISTRY.get_or_create_ptr()))
    except:
        # the initialiser cannot raise
        return at[Registry](8)


def short_name(name: String) -> String:
    """A functor's name without the package: an object that is compiled from the family's own file leaves it out."""
    return name.replace("kernels.", "")


def new_kernels(name: String, dtypes: Int, flags: Int = 0) -> KernelsPtr:
    """A record for a functor's kernels, in the list that `find` searches."""
    from tensor.memory import c_string

    var k = zeroed[Kernels]()
    k[].dtypes = dtypes
    k[].flags = flags
    k[].name = c_string(short_name(name))
    k[].next = registry()[].first
    registry()[].first = Int(k)
    return k


def register_entry(name: String, address: Int):
    """Makes `DeviceTable.find` return a family's function, which is called as that family defines."""
    new_kernels(name, 0)[].entry = address


@always_inline
def _supports(dtypes: Int, c: Int) -> Bool:
    if c == AS_FLOAT32:
        return dtypes & (HALVES | 1 << 11) != 0
    if c == AS_FLOAT64:
        return dtypes & (1 << 12) != 0
    if c == AS_INT64:
        return dtypes & ALL_INTS != 0
    return dtypes & BOOLS != 0


def queue[kernel: def(Work) thin -> None](index: Int, w: Work) raises:
    """Puts a grid-stride kernel on the device's current stream."""
    from kernels.gpu.device import device

    var d = device(index)
    d[].context().enqueue_function[kernel](w, grid_dim=grid(Int(w.n), d[].processors), block_dim=THREADS)


def _launch[kernel: def(Work) thin -> None](index: Int, w: Pointer[Work, MutAnyOrigin], reserved: Int) abi("C") -> Int:
    from kernels.gpu.device import fail

    try:
        queue[kernel](index, w[])
        return 0
    except e:
        return fail(e, "pointwise")


def unary[F: Unary, dtypes: Int]():
    """Kernels of a functor of one operand for the dtypes of a mask (see kernels/functor.mojo)."""
    var k = new_kernels(functor_name[F](), dtypes)
    comptime for c in range(CLASSES):
        comptime if _supports(dtypes, c):
            var f: LaunchFn = _launch[unary_kernel[F, class_type[c]]]
            k[].launch[c] = address_of(f)


def predicate[F: Predicate, dtypes: Int]():
    var k = new_kernels(functor_name[F](), dtypes, ON_INT64)
    comptime for c in range(AS_BOOL):
        comptime if _supports(dtypes, c):
            var f: LaunchFn = _launch[predicate_kernel[F, class_type[c]]]
            k[].launch[c] = address_of(f)


def binary[F: Binary, dtypes: Int]():
    var k = new_kernels(functor_name[F](), dtypes)
    comptime for c in range(CLASSES):
        comptime if _supports(dtypes, c):
            var f: LaunchFn = _launch[binary_kernel[F, class_type[c]]]
            k[].launch[c] = address_of(f)


def comparison[F: Comparison, dtypes: Int]():
    var k = new_kernels(functor_name[F](), dtypes, ON_INT64)
    comptime for c in range(AS_BOOL):
        comptime if _supports(dtypes, c):
            var f: LaunchFn = _launch[comparison_kernel[F, class_type[c]]]
            k[].launch[c] = address_of(f)


def ternary[F: Ternary, dtypes: Int]():
    var k = new_kernels(functor_name[F](), dtypes)
    comptime for c in range(CLASSES):
        comptime if _supports(dtypes, c):
            var f: LaunchFn = _launch[ternary_kernel[F, class_type[c]]]
            k[].launch[c] = address_of(f)
