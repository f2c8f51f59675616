"""The thread pool: every task runs once, whatever the region, the nesting and the thread count."""
from std.atomic import Atomic
from std.ffi import c_int, external_call
from std.memory import Pointer
from std.memory.alloc import unsafe_alloc
from std.testing import TestSuite, assert_equal, assert_true
from std.time import perf_counter_ns

from tensor.threads import (
    Body,
    MAX_THREADS,
    blocks_for,
    num_threads,
    parallel,
    reset_after_fork,
    set_num_threads,
    stop_threads,
    task_range,
    tasks_for,
)

comptime Counters = Pointer[Atomic[Int64], MutUntrackedOrigin]


def zeroed(n: Int) -> Int:
    var p = unsafe_alloc[Int64](n)
    for i in range(n):
        p[unsafe_offset=i] = 0
    return Int(p)


def read(address: Int, i: Int) -> Int:
    return Int(Pointer[Int64, MutUntrackedOrigin](unsafe_from_address=address)[unsafe_offset=i])


def free(address: Int):
    Pointer[Int64, MutUntrackedOrigin](unsafe_from_address=address).unsafe_free()


@fieldwise_init
struct Count(Body, Copyable):
    """Adds one to the counter of its task; marks `bad` when a worker is out of range or used twice at once."""

    var counters: Int
    var in_use: Int
    var bad: Int
    var limit: Int
    var spin: Int

    def run(self, task: Int, worker: Int):
        var use = Counters(unsafe_from_address=self.in_use)
        var bad = Counters(unsafe_from_address=self.bad)
        if worker < 0 or worker >= self.limit:
            _ = bad[].fetch_add(1)
            return
        if use[unsafe_offset=worker].fetch_add(1) != 0:
            _ = bad[].fetch_add(1)
        for _ in range(self.spin):
            _ = perf_counter_ns()
        _ = Counters(unsafe_from_address=self.counters)[unsafe_offset=task].fetch_add(1)
        _ = use[unsafe_offset=worker].fetch_sub(1)


def check(ntasks: Int, spin: Int = 0, regions: Int = 1) raises:
    var counters = zeroed(ntasks + 1)
    var in_use = zeroed(MAX_THREADS)
    var bad = zeroed(1)
    for _ in range(regions):
        parallel(Count(counters, in_use, bad, num_threads(), spin), ntasks)
    for i in range(ntasks):
        assert_equal(read(counters, i), regions)
    assert_equal(read(bad, 0), 0)
    free(counters)
    free(in_use)
    free(bad)


def test_every_task_runs_once() raises:
    for n in [0, 1, 2, 3, 7, 64, 1000]:
        check(n)
        check(n, 100)


def test_more_tasks_than_units() raises:
    check((1 << 21) + 3)


def test_stress() raises:
    check(2, 0, 100_000)
    check(5, 0, 20_000)


def test_regions_after_sleep() raises:
    for _ in range(20):
        _ = external_call["usleep", c_int](c_int(500))
        check(4, 50)


def test_set_num_threads() raises:
    var before = num_threads()
    assert_true(before >= 1 and before <= MAX_THREADS)
    for round in range(200):
        var n = 1 + (round * 7) % 5
        set_num_threads(n)
        assert_equal(num_threads(), n)
        check(1 + round % 11, round % 30)
    set_num_threads(0)
    assert_equal(num_threads(), 1)
    set_num_threads(1000)
    assert_equal(num_threads(), MAX_THREADS)
    set_num_threads(before)


@fieldwise_init
struct MaxWorker(Body, Copyable):
    var seen: Int

    def run(self, task: Int, worker: Int):
        for _ in range(20):
            _ = perf_counter_ns()
        _ = Counters(unsafe_from_address=self.seen)[unsafe_offset=worker].fetch_add(1)


def test_max_workers() raises:
    var before = num_threads()
    set_num_threads(6)
    var seen = zeroed(MAX_THREADS)
    for _ in range(300):
        parallel(MaxWorker(seen), 16, 2)
    var low = read(seen, 0) + read(seen, 1)
    assert_equal(low, 300 * 16)
    free(seen)
    set_num_threads(before)


@fieldwise_init
struct Nest(Body, Copyable):
    var outer: Int
    var inner: Int

    def run(self, task: Int, worker: Int):
        _ = Counters(unsafe_from_address=self.outer)[unsafe_offset=task].fetch_add(1)
        parallel(MaxWorker(self.inner), 5)


def test_nested_runs_serially() raises:
    var outer = zeroed(8)
    var inner = zeroed(MAX_THREADS)
    for _ in range(100):
        parallel(Nest(outer, inner), 8)
    for i in range(8):
        assert_equal(read(outer, i), 100)
    assert_equal(read(inner, 0), 100 * 8 * 5)  # all of them as worker 0 of a serial region
    free(outer)
    free(inner)


struct Rival:
    var stop: Atomic[Int64]
    var regions: Atomic[Int64]
    var wrong: Atomic[Int64]


def rival(arg: Int) abi("C") -> Int:
    """Regions from a second thread, at the same time as the test's."""
    var r = Pointer[Rival, MutUntrackedOrigin](unsafe_from_address=arg)
    while r[].stop.load() == 0:
        try:
            check(6, 3)
            _ = r[].regions.fetch_add(1)
        except:
            _ = r[].wrong.fetch_add(1)
    _ = r[].stop.fetch_add(1)
    return 0


def test_concurrent_callers() raises:
    var r = zeroed(3)
    var thread = zeroed(1)
    var f: def(Int) thin abi("C") -> Int = rival
    var address = Pointer(to=f).unsafe_bitcast[Int]()[]
    assert_equal(external_call["pthread_create", c_int](thread, Int(0), address, r), 0)
    check(6, 3, 3000)
    var p = Pointer[Rival, MutUntrackedOrigin](unsafe_from_address=r)
    while p[].regions.load() < 100 and p[].wrong.load() == 0:
        check(6, 3, 10)
    _ = p[].stop.fetch_add(1)
    assert_equal(external_call["pthread_join", c_int](read(thread, 0), Int(0)), 0)
    free(thread)
    assert_equal(read(r, 2), 0)
    free(r)


def test_fork() raises:
    check(8, 10)
    for manual in range(2):
        var pid = external_call["fork", c_int]()
        if pid == 0:
            if manual:
                reset_after_fork()
            var ok = True
            try:
                check(8, 50, 50)
            except:
                ok = False
            external_call["_exit", NoneType](c_int(0 if ok else 1))
        var status = zeroed(1)
        assert_equal(external_call["waitpid", c_int](pid, status, c_int(0)), pid)
        assert_equal(read(status, 0), 0)
        free(status)
    check(8, 10, 10)


def test_stop() raises:
    check(8, 10)
    stop_threads()
    check(8, 10)


def test_splits() raises:
    assert_equal(tasks_for(10), 1)
    assert_true(tasks_for(1 << 24) >= num_threads())
    assert_equal(blocks_for(0, 4), 0)
    assert_equal(blocks_for(9, 4), 3)
    for n in [1, 15, 16, 100, 100_001]:
        for ntasks in [1, 2, 7]:
            var at = 0
            for t in range(ntasks):
                var r = task_range(n, ntasks, t)
                assert_equal(r[0], at)
                at = r[1]
            assert_equal(at, n)


def main() raises:
    TestSuite.discover_tests[__functions_in_module()]().run()
    stop_threads()
