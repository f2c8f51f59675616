"""The devices of this process: contexts and streams, memory kept for reuse, the last error.

Every object of an accelerator's extension finds the one `Devices` by its name. A device is opened when it is first used.
A block that a tensor gives up is kept for the next one of its size that is allocated on the same stream: work on a stream
runs in order, so the block may be handed out again while the work that read it is still queued.
"""

from std.ffi import _Global
from std.memory import Pointer
from max.gpu.host import DeviceAttribute, DeviceBuffer, DeviceContext, DeviceEvent, DeviceStream, HostBuffer
from tensor.memory import at, c_string, memcpy

comptime GRANULE = 512  # block sizes are multiples of it ...
comptime LARGE = 1 << 20  # ... and from here on of this
comptime Buffer = DeviceBuffer[DType.uint8]
comptime STAGING = 1 << 20  # bytes of host memory that small copies to the device wait in
comptime STAGED = 1 << 16  # the largest such copy


@fieldwise_init
struct Block(Copyable):
    """A block that came from the device: in use or kept."""

    var buffer: Buffer
    var size: Int
    var stream: Int  # the current stream when it was handed out
    var users: List[Int]  # other streams that work on it


@fieldwise_init
struct Locked(Copyable):
    """A block of the host's memory that is page-locked: a copy from it need not be waited for."""

    var buffer: HostBuffer[DType.uint8]
    var size: Int
    var event: Int  # the end of the last copy from it, -1: there was none


struct Device(Copyable):
    """One opened device."""

    var contexts: List[DeviceContext]  # one for each stream; the first is the default stream
    var streams: List[DeviceStream]  # those that were made here
    var events: List[DeviceEvent]
    var stream: Int  # the current one
    var processors: Int
    var blocks: Dict[Int, Block]  # by address
    var kept: Dict[Int, List[Int]]  # by size and stream: addresses
    var allocated: Int
    var allocated_peak: Int
    var reserved: Int
    var reserved_peak: Int
    var allocations: Int
    var frees: Int
    var staging: HostBuffer[DType.uint8]
    var staged: Int  # where the next small copy goes
    var locked: Dict[Int, Locked]  # by address
    var locked_kept: Dict[Int, List[Int]]  # by size: addresses of those that nobody holds

    def __init__(out self, index: Int) raises:
        var context = DeviceContext(device_id=index)
        self.processors = context.get_attribute(DeviceAttribute.MULTIPROCESSOR_COUNT)
        self.contexts = [context]
        self.streams = List[DeviceStream]()
        self.events = List[DeviceEvent]()
        self.stream = 0
        self.blocks = Dict[Int, Block]()
        self.kept = Dict[Int, List[Int]]()
        self.allocated = 0
        self.allocated_peak = 0
        self.reserved = 0
        self.reserved_peak = 0
        self.allocations = 0
        self.frees = 0
        self.staging = context.enqueue_create_host_buffer[DType.uint8](STAGING)
        self.staged = 0
        self.locked = Dict[Int, Locked]()
        self.locked_kept = Dict[Int, List[Int]]()
        context.synchronize()

    def upload(mut self, dst: Int, src: Int, nbytes: Int) raises:
        """Copies from the host's memory on the current stream; the source may change when this returns.

        What is small is put aside in page-locked memory and does not wait for the work that is queued."""
        var context = self.context()
        var target = Buffer(context, at[UInt8](dst), nbytes, owning=False)
        if nbytes > STAGED:
            context.enqueue_copy(target, at[UInt8](src))
            context.synchronize()
            return
        if self.staged + nbytes > STAGING:
            # the copies from its beginning must be over
            self.synchronize()
            self.staged = 0
        var place = Int(self.staging.unsafe_ptr()) + self.staged
        self.staged += (nbytes + 63) // 64 * 64
        memcpy(place, src, nbytes)
        context.enqueue_copy(target, at[UInt8](place))

    def lock(mut self, nbytes: Int) raises -> Int:
        """The address of at least `nbytes` bytes of page-locked host memory."""
        var size = _rounded(nbytes)
        if size in self.locked_kept and len(self.locked_kept[size]) > 0:
            var address = self.locked_kept[size].pop()
            var event = self.locked[address].event
            if event >= 0:
                self.events[event].synchronize()
            return address
        var buffer = self.contexts[0].enqueue_create_host_buffer[DType.uint8](size)
        self.contexts[0].synchronize()
        var address = Int(buffer.unsafe_ptr())
        self.locked[address] = Locked(buffer, size, -1)
        return address

    def unlock(mut self, address: Int) raises:
        """Keeps page-locked memory for the next who asks for that size: copies from it may still be queued."""
        var size = self.locked[address].size
        if size not in self.locked_kept:
            self.locked_kept[size] = List[Int]()
        self.locked_kept[size].append(address)

    def upload_locked(mut self, dst: Int, src: Int, nbytes: Int, block: Int) raises:
        """Queues a copy on the current stream from inside of the page-locked memory at `block`; waits for nothing."""
        var context = self.context()
        context.enqueue_copy(Buffer(context, at[UInt8](dst), nbytes, owning=False), at[UInt8](src))
        if self.locked[block].event < 0:
            self.events.append(self.contexts[0].create_event())
            self.locked[block].event = len(self.events) - 1
        context.stream().record_event(self.events[self.locked[block].event])

    def record_stream(mut self, address: Int, stream: Int) raises:
        """A block is used on another stream too: it is not handed out again before that use is over."""
        if address in self.blocks and self.blocks[address].stream != stream:
            self.blocks[address].users.append(stream)

    def new_stream(mut self, priority: Int) raises -> Int:
        """Another stream's number."""
        var first = self.contexts[0]
        if first.num_streams() <= len(self.contexts):
            self.streams.append(first.create_stream(priority=priority))
        self.contexts.append(first.select_stream(len(self.contexts)))
        return len(self.contexts) - 1

    def context(self) -> DeviceContext:
        """The context whose work queues on the current stream."""
        return self.contexts[self.stream]

    def alloc(mut self, nbytes: Int) raises -> Int:
        """The address of at least `nbytes` bytes; raises when the device has no more."""
        var size = _rounded(nbytes)
        var key = size * 256 + (self.stream & 255)
        var address: Int
        if key in self.kept and len(self.kept[key]) > 0:
            address = self.kept[key].pop()
        else:
            address = self._fresh(size)
        self.allocated += size
        self.allocated_peak = max(self.allocated_peak, self.allocated)
        self.allocations += 1
        return address

    def _fresh(mut self, size: Int) raises -> Int:
        var buffer: Buffer
        try:
            buffer = self.context().enqueue_create_buffer[DType.uint8](size)
        except:
            # what is kept may be what is missing
            self.trim()
            buffer = self.context().enqueue_create_buffer[DType.uint8](size)
        var address = Int(buffer.unsafe_ptr())
        self.blocks[address] = Block(buffer, size, self.stream, List[Int]())
        self.reserved += size
        self.reserved_peak = max(self.reserved_peak, self.reserved)
        return address

    def free(mut self, address: Int) raises:
        """Keeps a block for the next tensor of its size."""
        ref block = self.blocks[address]
        for user in block.users:
            self.contexts[block.stream].enqueue_wait_for(self.contexts[user])
        block.users.clear()
        var key = block.size * 256 + (block.stream & 255)
        self.allocated -= block.size
        self.frees += 1
        if key not in self.kept:
            self.kept[key] = List[Int]()
        self.kept[key].append(address)

    def trim(mut self) raises:
        """Gives the kept blocks back to the device, once the work queued on them is done."""
        self.synchronize()
        for entry in self.kept.items():
            for address in entry.value:
                self.reserved -= self.blocks[address].size
                _ = self.blocks.pop(address)
        self.kept = Dict[Int, List[Int]]()
        for entry in self.locked_kept.items():
            for address in entry.value:
                _ = self.locked.pop(address)
        self.locked_kept = Dict[Int, List[Int]]()
        self.synchronize()

    def synchronize(self) raises:
        for i in range(len(self.contexts)):
            self.contexts[i].synchronize()


def _rounded(nbytes: Int) -> Int:
    var unit = GRANULE if nbytes < LARGE else LARGE
    return (max(nbytes, 1) + unit - 1) // unit * unit


struct Devices(Movable):
    var opened: List[Optional[Device]]
    var error: Int  # C string
    var table: Int  # the DeviceTable, once made

    def __init__(out self):
        self.opened = List[Optional[Device]]()
        self.error = c_string("")
        self.table = 0


comptime _DEVICES = _Global[StorageType=Devices, "DUMBTORCH_DEVICES", Devices.__init__]


def devices() -> Pointer[Devices, MutUntrackedOrigin]:
    try:
        return at[Devices](Int(_DEVICES.get_or_create_ptr()))
    except:
        # the initialiser cannot raise
        return at[Devices](8)


def device(index: Int) raises -> Pointer[Device, MutUntrackedOrigin]:
    """An opened device."""
    var all = devices()
    while len(all[].opened) <= index:
        all[].opened.append(None)
    if not all[].opened[index]:
        all[].opened[index] = Device(index)
    return at[Device](Int(Pointer(to=all[].opened[index].value())))


def fail(error: Error, what: String) -> Int:
    """Keeps an error's text for `DeviceTable.error`; the status that tells of it."""
    devices()[].error = c_string(String(t"{what}: {error}"))
    return -1
