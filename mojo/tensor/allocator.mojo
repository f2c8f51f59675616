"""The CPU memory pool: free lists by size class, an LRU bound on what is kept, statistics.

The interpreter lock is the pool's lock: blocks are taken and returned only while it is held.

Blocks up to 4 KiB are carved from slabs and live in 64-byte classes. Larger ones come in eight classes a power of two,
and a freed one is kept for the next request of its class. Memory kept plus memory in use never exceeds the highest use
seen by more than `SLACK`, so that caching does not raise the peak. Blocks from `MAPPED` bytes on are mapped from the
system (2 MiB aligned and advised to use huge pages when big), so that what is given back is free at once: the C library
would keep them in its heap, between blocks that are in use.
"""

from std.bit import count_leading_zeros
from std.ffi import external_call, c_int, _Global
from std.memory import Pointer
from std.sys import CompilationTarget
from .memory import POOL_WORD, at, load, shared_word, store

comptime SMALL = 4096
comptime SMALL_CLASSES = 65
comptime CLASSES = SMALL_CLASSES + 36 * 8
comptime SLAB = 1 << 16
comptime HUGE = 2 << 20
comptime MAX_BLOCK = 1 << 47  # the address space of a process: the classes end here
comptime MAPPED = 1 << 18 if CompilationTarget.is_linux() else MAX_BLOCK + 1
comptime SLACK = 32 << 20


struct FreeBlock:
    """What a kept block holds in its own first bytes: its place in its class list and in the LRU list."""

    var next: Int
    var prev: Int
    var newer: Int
    var older: Int
    var size: Int
    var class_index: Int


struct Pool(Movable):
    var heads: Array[Int, CLASSES]
    var newest: Int
    var oldest: Int
    var slab: Int
    var slab_left: Int
    # statistics, in bytes and blocks
    var allocated: Int
    var allocated_peak: Int
    var kept: Int
    var reserved_peak: Int
    var requests: Int
    var hits: Int
    var live_blocks: Int
    var limit: Int
    var keep_limit: Int

    def __init__(out self):
        self.heads = Array[Int, CLASSES](fill=0)
        self.newest = 0
        self.oldest = 0
        self.slab = 0
        self.slab_left = 0
        self.allocated = 0
        self.allocated_peak = 0
        self.kept = 0
        self.reserved_peak = 0
        self.requests = 0
        self.hits = 0
        self.live_blocks = 0
        var ram = physical_memory()
        self.limit = ram
        self.keep_limit = ram // 8

    @always_inline
    def take(mut self, nbytes: Int) -> Int:
        """A 64-byte aligned block, or 0 when the limit or the machine refuses."""
        self.requests += 1
        if nbytes <= SMALL:
            var c = max((nbytes + 63) >> 6, 1)
            if self.allocated + (c << 6) > self.limit:
                return 0
            var block = self.heads[c]
            if block != 0:
                self.heads[c] = load[Int](block)
                self.hits += 1
            else:
                block = self._carve(c << 6)
                if block == 0:
                    return 0
            self._count(c << 6)
            return block
        return self._take_big(nbytes)

    @always_inline
    def give(mut self, block: Int, nbytes: Int):
        """Returns a block taken with the same `nbytes`."""
        self.live_blocks -= 1
        if nbytes <= SMALL:
            var c = max((nbytes + 63) >> 6, 1)
            store[Int](block, self.heads[c])
            self.heads[c] = block
            self.allocated -= c << 6
            return
        self._give_big(block, nbytes)

    @always_inline
    def _count(mut self, size: Int):
        self.live_blocks += 1
        self.allocated += size
        if self.allocated > self.allocated_peak:
            self.allocated_peak = self.allocated

    @no_inline
    def _carve(mut self, size: Int) -> Int:
        if self.slab_left < size:
            self.slab = aligned_block(SLAB, 64)
            if self.slab == 0:
                self.slab_left = 0
                return 0
            self.slab_left = SLAB
        var p = self.slab
        self.slab += size
        self.slab_left -= size
        return p

    @no_inline
    def _take_big(mut self, nbytes: Int) -> Int:
        if nbytes > MAX_BLOCK:
            return 0
        var c = class_index(nbytes)
        var size = class_size(nbytes)
        if self.allocated + size > self.limit:
            return 0
        var block = self.heads[c]
        if block != 0:
            self._unlink(block)
            self.hits += 1
            self._count(size)
            return block
        var ceiling = min(max(self.allocated_peak, self.allocated + size) + SLACK, self.limit)
        self._shrink(max(ceiling - self.allocated - size, 0))
        block = _system_block(size)
        if block == 0:
            self.trim()
            block = _system_block(size)
            if block == 0:
                return 0
        self._count(size)
        self.reserved_peak = max(self.reserved_peak, self.allocated + self.kept)
        return block

    @no_inline
    def _give_big(mut self, block: Int, nbytes: Int):
        var size = class_size(nbytes)
        self.allocated -= size
        if size > self.keep_limit:
            _give_back(block, size)
            return
        var f = at[FreeBlock](block)
        var c = class_index(nbytes)
        f[].size = size
        f[].class_index = c
        f[].prev = 0
        f[].next = self.heads[c]
        if f[].next != 0:
            at[FreeBlock](f[].next)[].prev = block
        self.heads[c] = block
        f[].newer = 0
        f[].older = self.newest
        if self.newest != 0:
            at[FreeBlock](self.newest)[].newer = block
        self.newest = block
        if self.oldest == 0:
            self.oldest = block
        self.kept += size
        self._shrink(self.keep_limit)

    def _unlink(mut self, block: Int):
        var f = at[FreeBlock](block)
        if f[].prev != 0:
            at[FreeBlock](f[].prev)[].next = f[].next
        else:
            self.heads[f[].class_index] = f[].next
        if f[].next != 0:
            at[FreeBlock](f[].next)[].prev = f[].prev
        if f[].newer != 0:
            at[FreeBlock](f[].newer)[].older = f[].older
        else:
            self.newest = f[].older
        if f[].older != 0:
            at[FreeBlock](f[].older)[].newer = f[].newer
        else:
            self.oldest = f[].newer
        self.kept -= f[].size

    def _shrink(mut self, keep: Int):
        """Frees the blocks least recently returned until at most `keep` bytes are kept."""
        while self.kept > keep and self.oldest != 0:
            var block = self.oldest
            self._unlink(block)
            _give_back(block, at[FreeBlock](block)[].size)

    def trim(mut self):
        """Gives every kept block back to the system."""
        self._shrink(0)


comptime _POOL = _Global[StorageType=Pool, "DUMBTORCH_CPU_POOL", Pool.__init__]


@always_inline
def pool() -> Pointer[Pool, MutUntrackedOrigin]:
    var address = shared_word(POOL_WORD)[]
    if address == 0:
        address = _find_pool()
    return at[Pool](address)


@no_inline
def _find_pool() -> Int:
    try:
        var address = Int(_POOL.get_or_create_ptr())
        shared_word(POOL_WORD)[] = address
        return address
    except:
        # the initialiser cannot raise
        return 8


@always_inline
def class_index(nbytes: Int) -> Int:
    var k = 63 - Int(count_leading_zeros(UInt64(nbytes - 1)))
    var step = ((nbytes - 1) >> (k - 3)) + 1
    return SMALL_CLASSES + (k - 12) * 8 + step - 9


@always_inline
def class_size(nbytes: Int) -> Int:
    var k = 63 - Int(count_leading_zeros(UInt64(nbytes - 1)))
    return (((nbytes - 1) >> (k - 3)) + 1) << (k - 3)


def _system_block(size: Int) -> Int:
    """A block of a class above `SMALL` from the system, 0 if it has none."""
    if size < MAPPED:
        return aligned_block(size, 64)
    var margin = HUGE if size >= 2 * HUGE else 0
    # PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS
    var p = external_call["mmap", Int](Int(0), size + margin, c_int(3), c_int(0x22), c_int(-1), Int(0))
    if p == -1:
        return 0
    if margin > 0:
        var block = (p + HUGE - 1) & -HUGE
        if block > p:
            _ = external_call["munmap", c_int](p, block - p)
        if p + margin > block:
            _ = external_call["munmap", c_int](block + size, p + margin - block)
        _ = external_call["madvise", c_int](block, size, c_int(14))  # MADV_HUGEPAGE: fewer page faults
        return block
    return p


def _give_back(block: Int, size: Int):
    if size < MAPPED:
        external_call["free", NoneType](block)
    else:
        _ = external_call["munmap", c_int](block, size)


def aligned_block(size: Int, alignment: Int) -> Int:
    var p = 0
    if external_call["posix_memalign", c_int](Pointer(to=p), alignment, size) != 0:
        return 0
    return p


def physical_memory() -> Int:
    comptime SC_PHYS_PAGES = 85
    comptime SC_PAGESIZE = 30
    var pages = external_call["sysconf", Int](Int32(SC_PHYS_PAGES))
    var page = external_call["sysconf", Int](Int32(SC_PAGESIZE))
    return pages * page if pages > 0 and page > 0 else 1 << 45
