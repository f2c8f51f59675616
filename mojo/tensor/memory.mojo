"""Raw addresses as typed pointers. Addresses travel as Int between objects built apart."""

from std.memory import Pointer
from std.memory.alloc import unsafe_alloc
from std.ffi import external_call
from std.sys import CompilationTarget
from std.sys._assembly import inlined_assembly

# Heap memory. The compiler takes a call whose arguments are Ints or untracked pointers for one that cannot reach the
# caller's stack (it marks it as a tail call): a stack address passed so is read as garbage. Addresses of stack
# variables therefore travel as `Words` or `Numbers`, whose origin says that they may alias anything.
comptime Ptr[T: AnyType] = Pointer[T, MutUntrackedOrigin]
comptime Words = Pointer[Int, MutAnyOrigin]
comptime Numbers = Pointer[Float64, MutAnyOrigin]


@always_inline
def at[T: AnyType](address: Int) -> Ptr[T]:
    """The pointer with this (non-zero) address."""
    return Ptr[T](unsafe_from_address=address)


@always_inline
def load[T: TrivialRegisterPassable](address: Int) -> T:
    return at[T](address)[]


@always_inline
def store[T: TrivialRegisterPassable](address: Int, value: T):
    at[T](address)[] = value


# Words of the extension that all its objects share, at a fixed address: where the process-wide structures are. The
# runtime library finds them by name, which costs as much as a small op.
comptime RUNTIME_WORD = 0
comptime POOL_WORD = 1
comptime THREADS_WORD = 2


@always_inline
def shared_word(i: Int) -> Ptr[Int]:
    """One of the extension's shared words, 0 at first."""
    var address: Int
    comptime if CompilationTarget.is_x86():
        address = inlined_assembly[
            ".comm dumbtorch_words, 64, 64\n.hidden dumbtorch_words\nleaq dumbtorch_words(%rip), $0",
            Int, constraints="=r", has_side_effect=False,
        ]()  # fmt: skip
    else:
        address = inlined_assembly[
            ".comm dumbtorch_words, 64, 64\n.hidden dumbtorch_words\nadrp $0, dumbtorch_words\nadd $0, $0, :lo12:dumbtorch_words",
            Int, constraints="=r", has_side_effect=False,
        ]()  # fmt: skip
    return at[Int](address + 8 * i)


@always_inline
def memcpy(dst: Int, src: Int, n: Int):
    _ = external_call["memcpy", Int](dst, src, n)


@always_inline
def memset(dst: Int, byte: Int, n: Int):
    _ = external_call["memset", Int](dst, Int32(byte), n)


@always_inline
def words(address: Int) -> Words:
    """Heap words in the type that may also hold stack words."""
    return Words(unsafe_from_address=address)


def zeroed[T: AnyType](count: Int = 1) -> Ptr[T]:
    """Zero-filled memory for `count` plain structs, never freed by us: for tables that live as long as the process."""
    from std.sys.info import size_of

    return at[T](external_call["calloc", Int](count, size_of[T]()))


def c_string(text: String) -> Int:
    """A NUL-terminated copy that is never freed (names and docs that CPython keeps)."""
    var n = text.byte_length()
    var p = external_call["malloc", Int](n + 1)
    memcpy(p, Int(text.unsafe_ptr()), n)
    store[UInt8](p + n, 0)
    return p


@always_inline
def address_of[F: AnyType](ref function: F) -> Int:
    """The machine address held in a function-pointer variable."""
    return Pointer(to=function).unsafe_bitcast[Int]()[]


@always_inline
def function_at[F: TrivialRegisterPassable](address: Int) -> F:
    """The function-pointer value with this machine address."""
    var a = address
    return Pointer(to=a).unsafe_bitcast[F]()[]
