"""The thread pool: one parallel region at a time, each worker with a share of the tasks of its own.

`parallel(body, ntasks)` runs `body.run(task, worker)` for every task and returns when all are done. The tasks are dealt
out in equal runs: a worker takes those of its own share first, from the front, and then helps the others, from the back
of theirs. So an operation on a tensor gives each core the part that it had in the operation before, which is still in
its caches, and yet a region never depends on a worker being scheduled: the calling thread is worker 0, and a worker
that the kernel has put aside costs only the task it holds. A region that starts while another one runs (nested, or from
a second Python thread with the GIL released) runs serially in its caller.

Workers spin for `SPIN_NS` after a region, then sleep on a futex; a caller that has run out of tasks spins for a shorter
time, then sleeps as well, because on a busy machine a spinning thread takes the core from the one it waits for.
"""
from std.atomic import Atomic, Ordering
from std.bit import pop_count
from std.ffi import _Global, c_int, external_call
from std.memory import Pointer
from std.memory.alloc import unsafe_alloc
from std.sys import CompilationTarget, llvm_intrinsic
from std.time import perf_counter_ns

comptime MAX_THREADS = 64
"""The largest thread count that `set_num_threads` takes."""

comptime GRAIN = 32768
"""Elements that are worth one task of a simple elementwise loop."""

comptime SPIN_NS = 30_000
"""How long an idle worker looks for the next region before it sleeps."""

comptime WAIT_SPIN_NS = 8_000
"""How long a caller spins for tasks that others still run before it sleeps."""

comptime MOVE_NS = 1_000_000
"""How often a worker may move itself to another CPU."""

comptime MAX_UNITS = (1 << 20) - 1
"""The largest number of units that the tasks of a region are claimed by."""

comptime STATE_BYTES = 8192

comptime _TaskFn = def(Int, Int, Int) thin abi("C") -> None  # (address of the body, task, worker)
comptime _ThreadFn = def(Int) thin abi("C") -> Int

comptime IS_LINUX = CompilationTarget.is_linux()
comptime SYS_FUTEX = 202 if CompilationTarget.is_x86() else 98
comptime FUTEX_WAIT_PRIVATE = 128
comptime FUTEX_WAKE_PRIVATE = 129
comptime MADV_WIPEONFORK = 18


trait Body:
    """The work of a parallel region."""

    def run(self, task: Int, worker: Int):
        """Does one task; `worker` is in `[0, num_threads())`, and no two tasks that run at once have the same one."""
        ...


struct _State:
    """Shared by the threads, one cache line a field that several of them write. All zeros is a fresh pool."""

    # generation << 40 | thread limit << 8 | shares: says that a region is there.
    var ticket: Atomic[UInt64]
    var _pad0: Array[Int64, 15]
    # Units not finished yet; also the futex that the caller sleeps on.
    var pending: Atomic[Int32]
    var caller_sleeps: Atomic[Int32]
    var _pad1: Array[Int64, 15]
    # The futex that idle workers sleep on, and how many of them do.
    var wake: Atomic[Int32]
    var sleepers: Atomic[Int32]
    var _pad2: Array[Int64, 15]
    var busy: Atomic[Int32]
    var stop: Atomic[Int32]
    var spawned: Int  # worker threads made so far, and their pthread_t; written while busy is held
    var threads: Array[Int, MAX_THREADS]
    var _pad3: Array[Int64, 14]
    var fn_: _TaskFn
    var body: Int
    var ntasks: Int
    var unit: Int  # tasks that are claimed at once
    var caller_cpu: Int
    var _pad4: Array[Int64, 11]
    # The shares, one cache line each: generation << 40 | end << 20 | next, the units that nobody has claimed. A worker
    # claims by one compare-and-swap, and only from a share of the generation of the ticket whose limit it keeps. It
    # looks at the fields above only after that, and a region cannot end (so they cannot change) while a claimed unit is
    # unfinished: a late worker can never run a task of a region that is gone.
    var shares: Array[UInt64, 8 * MAX_THREADS]


comptime _StatePtr = Pointer[_State, MutUntrackedOrigin]
comptime _Word = Pointer[Int, MutUntrackedOrigin]


struct _Pool(Movable):
    var state: Int
    var limit: Int

    def __init__(out self):
        self.state = _new_state()
        self.limit = _available_cpus()


comptime _POOL = _Global[StorageType=_Pool, "DUMBTORCH_THREADS", _Pool.__init__]


def _new_state() -> Int:
    """Zeroed memory for a `_State`; on Linux a forked child finds it zeroed again, hence with no threads in it."""
    comptime if IS_LINUX:
        # PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS
        var p = external_call["mmap", Int](Int(0), Int(STATE_BYTES), c_int(3), c_int(0x22), c_int(-1), Int(0))
        if p != -1:
            _ = external_call["madvise", c_int](p, Int(STATE_BYTES), c_int(MADV_WIPEONFORK))
            return p
    var s = Int(unsafe_alloc[Int](STATE_BYTES // 8, alignment=128))
    _zero(s)
    return s


def _zero(state: Int):
    var w = _Word(unsafe_from_address=state)
    for i in range(STATE_BYTES // 8):
        w[unsafe_offset=i] = 0


def _available_cpus() -> Int:
    """CPUs that this process may run on, 1..MAX_THREADS."""
    var n = 0
    comptime if IS_LINUX:
        var mask = Array[UInt64, 128](fill=0)
        if external_call["sched_getaffinity", c_int](c_int(0), Int(1024), Int(Pointer(to=mask))) == 0:
            for i in range(128):
                n += Int(pop_count(mask[i]))
    else:
        comptime SC_NPROCESSORS_ONLN = 58 if CompilationTarget.is_macos() else 84
        n = external_call["sysconf", Int](c_int(SC_NPROCESSORS_ONLN))
    return max(1, min(n, MAX_THREADS))


@always_inline
def _pause():
    comptime if CompilationTarget.is_x86():
        llvm_intrinsic["llvm.x86.sse2.pause", NoneType]()
    else:
        llvm_intrinsic["llvm.aarch64.hint", NoneType](Int32(1))


@always_inline
def _address[T: AnyType](ref x: T) -> Int:
    return Int(Pointer(to=x))


@always_inline
def _cpu() -> Int:
    comptime if IS_LINUX:
        return Int(external_call["sched_getcpu", c_int]())
    else:
        return -1


def _move_away(cpu: Int):
    """Moves the calling thread to another CPU than this one, where it may; its affinity is the same afterwards."""
    comptime if IS_LINUX:
        var mask = Array[UInt64, 128](fill=0)
        var address = Int(Pointer(to=mask))
        if external_call["sched_getaffinity", c_int](c_int(0), Int(1024), address) != 0:
            return
        var bit = UInt64(1) << UInt64(cpu & 63)
        if cpu < 0 or cpu >= 8192 or (mask[cpu >> 6] & bit) == 0:
            return
        mask[cpu >> 6] ^= bit
        # Fails, and changes nothing, where no other CPU is left.
        if external_call["sched_setaffinity", c_int](c_int(0), Int(1024), address) == 0:
            mask[cpu >> 6] ^= bit
            _ = external_call["sched_setaffinity", c_int](c_int(0), Int(1024), address)


def _sleep_while(word: Int, value: Int32):
    """Sleeps while the 32-bit word is `value`; may also return for no reason."""
    comptime if IS_LINUX:
        _ = external_call["syscall", Int](
            Int(SYS_FUTEX), word, Int(FUTEX_WAIT_PRIVATE), Int(value), Int(0), Int(0), Int(0)
        )
    else:
        _ = external_call["usleep", c_int](c_int(50))


def _wake(word: Int, count: Int):
    comptime if IS_LINUX:
        _ = external_call["syscall", Int](Int(SYS_FUTEX), word, Int(FUTEX_WAKE_PRIVATE), count, Int(0), Int(0), Int(0))


def _trampoline[B: Body](body: Int, task: Int, worker: Int) abi("C") -> None:
    Pointer[B, MutUntrackedOrigin](unsafe_from_address=body)[].run(task, worker)


@always_inline
def _limit(ticket: UInt64) -> Int:
    return Int((ticket >> 8) & 0xFF)


@always_inline
def _shares(ticket: UInt64) -> Int:
    return Int(ticket & 0xFF)


@always_inline
def _share(st: _StatePtr, k: Int) -> Pointer[Atomic[UInt64], MutUntrackedOrigin]:
    return Pointer[Atomic[UInt64], MutUntrackedOrigin](unsafe_from_address=_address(st[].shares) + 64 * k)


@always_inline
def _claim(share: Pointer[Atomic[UInt64], MutUntrackedOrigin], ticket: UInt64, front: Bool) -> Int:
    """Takes a unit from one end of a share of the ticket's region; -1 if none is left."""
    var s = share[].load[ordering=Ordering.ACQUIRE]()
    while s >> 40 == ticket >> 40:
        var next = s & 0xFFFFF
        var end = (s >> 20) & 0xFFFFF
        if next >= end:
            break
        # On failure `s` is what the share holds now.
        if share[].compare_exchange(s, s + 1 if front else s - (1 << 20)):
            return Int(next if front else end - 1)
    return -1


@always_inline
def _run_unit(st: _StatePtr, unit: Int, worker: Int):
    var start = unit * st[].unit
    for task in range(start, min(start + st[].unit, st[].ntasks)):
        st[].fn_(st[].body, task, worker)


def _work(st: _StatePtr, ticket: UInt64, worker: Int) -> Int:
    """Claims and runs units of the ticket's region until none is left; returns how many."""
    var done = 0
    var n = _shares(ticket)
    for i in range(n):
        var k = (worker + i) % n
        while True:
            var unit = _claim(_share(st, k), ticket, i == 0)
            if unit < 0:
                break
            _run_unit(st, unit, worker)
            done += 1
            if worker > 0:
                _finish(st, 1)
    return done


@always_inline
def _finish(st: _StatePtr, count: Int):
    # Once pending is 0 the caller may leave and start another region: a wake that comes late is then only spurious.
    if st[].pending.fetch_sub(Int32(count)) == Int32(count) and st[].caller_sleeps.load() != 0:
        _wake(_address(st[].pending), 1)


def _worker(arg: Int) abi("C") -> Int:
    var st = _StatePtr(unsafe_from_address=_Word(unsafe_from_address=arg)[])
    var worker = _Word(unsafe_from_address=arg)[unsafe_offset=1]
    var idle_since = perf_counter_ns()
    var moved = 0
    var seen = UInt64(0)  # the ticket of the last region that this worker has looked through
    while True:
        var t = st[].ticket.load[ordering=Ordering.ACQUIRE]()
        if t != seen:
            # On a busy machine the kernel tends to wake a worker on the caller's CPU, where it only takes turns with it.
            if worker < _limit(t) and _cpu() == st[].caller_cpu:
                var now = perf_counter_ns()
                if now - moved > MOVE_NS:
                    _move_away(st[].caller_cpu)
                    moved = now
            if worker < _limit(t) and _work(st, t, worker) > 0:
                idle_since = perf_counter_ns()
            seen = t
        for _ in range(16):
            if st[].ticket.load[ordering=Ordering.RELAXED]() != seen:
                break
            _pause()
        if perf_counter_ns() - idle_since < SPIN_NS:
            continue
        # A caller either sees this sleeper after it published its tasks, or published them before the check below.
        if st[].stop.load() != 0:
            return 0
        _ = st[].sleepers.fetch_add(1)
        var seq = st[].wake.load()
        if st[].ticket.load() == seen and st[].stop.load() == 0:
            _sleep_while(_address(st[].wake), seq)
        _ = st[].sleepers.fetch_sub(1)
        comptime if IS_LINUX:
            idle_since = perf_counter_ns()


def _spawn(st: _StatePtr, workers: Int):
    """Makes worker threads up to this many; with fewer (no more threads allowed) a region is only slower."""
    while st[].spawned < workers:
        var arg = unsafe_alloc[Int](2)  # state, worker; lives as long as the thread
        arg[] = Int(st)
        arg[unsafe_offset=1] = st[].spawned + 1
        var f: _ThreadFn = _worker
        var thread = _address(st[].threads) + 8 * st[].spawned
        var rc = external_call["pthread_create", c_int](thread, Int(0), Pointer(to=f).unsafe_bitcast[Int]()[], Int(arg))
        if rc != 0:
            arg.unsafe_free()
            return
        st[].spawned += 1


def stop_threads():
    """Ends the workers (a later region makes new ones). Call it, between regions, before their code is unmapped: before
    the library is closed, and at the end of a program under `mojo run`.
    """
    var st: _StatePtr
    try:
        st = _StatePtr(unsafe_from_address=_POOL.get_or_create_ptr()[].state)
    except:
        return
    st[].stop.store(1)
    _ = st[].wake.fetch_add(1)
    _wake(_address(st[].wake), MAX_THREADS)
    for i in range(st[].spawned):
        _ = external_call["pthread_join", c_int](st[].threads[i], Int(0))
    st[].spawned = 0
    st[].stop.store(0)


def _serial[B: Body](body: B, ntasks: Int):
    for t in range(ntasks):
        body.run(t, 0)


def parallel[B: Body](body: B, ntasks: Int, max_workers: Int = MAX_THREADS):
    """Runs `body.run(0 .. ntasks-1, worker)` on the pool and returns when all of them are done.

    Worker `w` begins with the `w`-th of equal runs of the tasks; whoever is done helps the others. `worker` is in
    `[0, min(num_threads(), max_workers))`. Pass the `num_threads()` that scratch was sized with as `max_workers`, so
    that a `set_num_threads` from another thread in between cannot give a larger worker. Scratch must belong to the
    call: two regions may run at once (one of them serially, as worker 0). Memory written before the call is visible to
    all tasks, and theirs after it.
    """
    if ntasks <= 1:
        if ntasks == 1:
            body.run(0, 0)
        return
    var pool: Pointer[_Pool, MutUntrackedOrigin]
    try:
        pool = _POOL.get_or_create_ptr()
    except:
        _serial(body, ntasks)
        return
    var limit = min(pool[].limit, max_workers)
    var st = _StatePtr(unsafe_from_address=pool[].state)
    var free = Int32(0)
    if limit <= 1 or st[].busy.load[ordering=Ordering.RELAXED]() != 0 or not st[].busy.compare_exchange(free, 1):
        _serial(body, ntasks)
        return
    var workers = min(limit, ntasks) - 1
    if st[].spawned < workers:
        _spawn(st, workers)
    st[].fn_ = _trampoline[B]
    st[].body = Int(Pointer(to=body))
    st[].ntasks = ntasks
    st[].unit = blocks_for(ntasks, MAX_UNITS)
    st[].caller_cpu = _cpu()
    var units = blocks_for(ntasks, st[].unit)
    var shares = min(workers + 1, units)
    st[].pending.store[ordering=Ordering.RELAXED](Int32(units))
    var generation = ((st[].ticket.load[ordering=Ordering.RELAXED]() >> 40) + 1) << 40
    for k in range(shares):
        var next = UInt64(units * k // shares)
        var end = UInt64(units * (k + 1) // shares)
        _share(st, k)[].store[ordering=Ordering.RELEASE](generation | (end << 20) | next)
    var ticket = generation | (UInt64(limit) << 8) | UInt64(shares)
    st[].ticket.store(ticket)
    if st[].sleepers.load() > 0:
        _ = st[].wake.fetch_add(1)
        # Enough of them, unless some that sleep are above the limit and would take the wake for nothing.
        _wake(_address(st[].wake), workers if st[].spawned < limit else MAX_THREADS)
    var own = _work(st, ticket, 0)
    if own > 0:
        _ = st[].pending.fetch_sub(Int32(own))
    _wait(st)
    st[].busy.store[ordering=Ordering.RELEASE](0)


@always_inline
def _wait(st: _StatePtr):
    if st[].pending.load[ordering=Ordering.ACQUIRE]() == 0:
        return
    for _ in range(32):
        _pause()
        if st[].pending.load[ordering=Ordering.ACQUIRE]() == 0:
            return
    var since = perf_counter_ns()
    while st[].pending.load[ordering=Ordering.ACQUIRE]() != 0:
        if perf_counter_ns() - since < WAIT_SPIN_NS:
            _pause()
            continue
        st[].caller_sleeps.store(1)
        while True:
            var left = st[].pending.load()
            if left == 0:
                break
            _sleep_while(_address(st[].pending), left)
        st[].caller_sleeps.store(0)


def num_threads() -> Int:
    """Threads of a parallel region, the caller included; at first the CPUs that the process may run on."""
    try:
        return _POOL.get_or_create_ptr()[].limit
    except:
        return 1


def set_num_threads(n: Int):
    """Sets the threads of later regions, clamped to 1..MAX_THREADS. Threads are made when a region first needs them."""
    try:
        _POOL.get_or_create_ptr()[].limit = max(1, min(n, MAX_THREADS))
    except:
        pass


def reset_after_fork():
    """Forgets the threads of the parent; call it in a forked child before any region (on Linux the kernel does it)."""
    try:
        _zero(_POOL.get_or_create_ptr()[].state)
    except:
        pass


@always_inline
def blocks_for(n: Int, block: Int) -> Int:
    """How many blocks of `block` cover `n`: the same for every thread count, as reductions need it."""
    return (n + block - 1) // block


def tasks_for(n: Int, grain: Int = GRAIN) -> Int:
    """A task count for a loop over `n` elements: 1 below two grains, else at most four for each thread.

    It depends on the thread count, so use it only where the split cannot change the result.
    """
    if n < 2 * grain:
        return 1
    var nt = num_threads()
    return 1 if nt == 1 else min(n // grain, 4 * nt)


@always_inline
def task_range(n: Int, ntasks: Int, task: Int, align: Int = 16) -> Tuple[Int, Int]:
    """The part `[start, end)` of `n` elements that is task `task` of `ntasks`; starts are multiples of `align`."""
    var step = (blocks_for(n, ntasks) + align - 1) // align * align
    var start = min(task * step, n)
    return (start, min(start + step, n))
