"""Scratch memory for kernels: 64-byte aligned blocks that are kept between calls, safe for threads and forks.

A block belongs to one call at a time. Blocks above `KEEP_BYTES` are given back to the system at once.
"""
from std.atomic import Atomic, Ordering
from std.ffi import _Global, c_int, external_call
from std.memory import Pointer
from std.memory.alloc import unsafe_alloc
from std.sys import CompilationTarget
from tensor.allocator import aligned_block

comptime SLOTS = 80
comptime KEEP_BYTES = 48 << 20
comptime _ALIGN = 64
comptime _HUGE = 2 << 20
comptime _MADV_HUGEPAGE = 14


struct _Slot:
    """One cache line: all zeros is free and empty."""

    var taken: Atomic[Int32]
    var address: Int
    var bytes: Int
    var _pad: Array[Int64, 5]


comptime _Slots = Pointer[_Slot, MutUntrackedOrigin]


struct _Table(Movable):
    var slots: Int

    def __init__(out self):
        var words = unsafe_alloc[Int](SLOTS * 8, alignment=_ALIGN)
        for i in range(SLOTS * 8):
            words[unsafe_offset=i] = 0
        self.slots = Int(words)


comptime _TABLE = _Global[StorageType=_Table, "DUMBTORCH_WORKSPACES", _Table.__init__]


def _allocate(bytes: Int) -> Int:
    var align = _HUGE if bytes >= _HUGE else _ALIGN
    var size = (bytes + align - 1) // align * align
    var address = aligned_block(size, align)
    comptime if CompilationTarget.is_linux():
        if align == _HUGE and address != 0:
            # Packed panels are read by long strided walks: large pages spare the TLB.
            _ = external_call["madvise", c_int](address, size, c_int(_MADV_HUGEPAGE))
    return address


@fieldwise_init
struct Workspace(ImplicitlyCopyable, Movable):
    """A block of scratch memory; `address` is 0 when there is no memory for it."""

    var address: Int
    var bytes: Int
    var slot: Int  # -1: not from the table

    @staticmethod
    def take(bytes: Int) -> Self:
        """A block of at least this many bytes, contents undefined; hand it back with `give`."""
        if bytes <= 0:
            return Self(0, 0, -1)
        try:
            var slots = _Slots(unsafe_from_address=_TABLE.get_or_create_ptr()[].slots)
            for i in range(SLOTS):
                var free = Int32(0)
                var s = slots.unsafe_offset(i)
                if s[].taken.load[ordering=Ordering.RELAXED]() == 0 and s[].taken.compare_exchange(free, 1):
                    if s[].bytes < bytes:
                        if s[].address != 0:
                            _ = external_call["free", NoneType](s[].address)
                        # Grow by half at least, so that a rising series of sizes does not allocate every time.
                        s[].bytes = max(bytes, min(s[].bytes + s[].bytes // 2, KEEP_BYTES))
                        s[].address = _allocate(s[].bytes)
                        if s[].address == 0:
                            s[].bytes = 0
                    return Self(s[].address, s[].bytes, i)
        except:
            pass
        return Self(_allocate(bytes), bytes, -1)

    def give(self):
        """Ends the use of the block."""
        if self.slot < 0:
            if self.address != 0:
                _ = external_call["free", NoneType](self.address)
            return
        try:
            var s = _Slots(unsafe_from_address=_TABLE.get_or_create_ptr()[].slots).unsafe_offset(self.slot)
            if s[].bytes > KEEP_BYTES:
                _ = external_call["free", NoneType](s[].address)
                s[].address = 0
                s[].bytes = 0
            s[].taken.store[ordering=Ordering.RELEASE](0)
        except:
            pass
