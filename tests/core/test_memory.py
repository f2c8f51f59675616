"""The CPU memory pool seen from Python: statistics, limits, out-of-memory, reuse."""

import gc
import os

import pytest

import dumbtorch
from dumbtorch import memory

MIB = 1 << 20


@pytest.fixture(autouse=True)
def machine_limit():
    gc.collect()
    yield
    gc.collect()
    memory.set_memory_limit(None)


def counted(*names: str) -> list[int]:
    stats = memory.memory_stats()
    return [stats[name] for name in names]


def test_statistics_follow_tensors() -> None:
    names = ("allocated_bytes.current", "active_blocks.current", "live_tensors.current")
    before = counted(*names)
    t = dumbtorch.empty(3 * MIB, dtype=dumbtorch.uint8)
    view = t[10:]
    after = counted(*names)
    assert 3 * MIB <= after[0] - before[0] <= 3.4 * MIB
    assert after[1] - before[1] == 2, "the block and its header"
    assert after[2] - before[2] == 2
    del t
    assert counted(*names)[0] - before[0] >= 3 * MIB, "the view keeps the memory"
    del view
    assert counted(*names) == before


def test_peak_and_reset() -> None:
    memory.reset_peak_memory_stats()
    base = memory.memory_allocated()
    t = dumbtorch.empty(8 * MIB, dtype=dumbtorch.uint8)
    del t
    assert memory.memory_allocated() == base
    assert memory.max_memory_allocated() >= base + 8 * MIB
    memory.reset_peak_memory_stats()
    assert memory.max_memory_allocated() == base


def test_freed_memory_is_reused_and_given_back() -> None:
    memory.empty_cache()
    assert counted("cached_bytes.current") == [0]
    t = dumbtorch.empty(2 * MIB, dtype=dumbtorch.uint8)
    address = t.data_ptr()
    del t
    assert counted("cached_bytes.current")[0] >= 2 * MIB
    hits = counted("num_hits")[0]
    t = dumbtorch.empty(2 * MIB, dtype=dumbtorch.uint8)
    assert t.data_ptr() == address
    assert counted("num_hits")[0] > hits
    del t
    memory.empty_cache()
    assert counted("cached_bytes.current") == [0]
    assert memory.memory_reserved() == memory.memory_allocated()


def test_limit_is_honoured_and_everything_stays_usable() -> None:
    memory.empty_cache()
    limit = memory.memory_allocated() + 16 * MIB
    memory.set_memory_limit(limit)
    held = [dumbtorch.ones(MIB, dtype=dumbtorch.uint8) for _ in range(10)]
    with pytest.raises(dumbtorch.OutOfMemoryError, match="set_memory_limit"):
        dumbtorch.empty(8 * MIB, dtype=dumbtorch.uint8)
    with pytest.raises(dumbtorch.OutOfMemoryError):
        held[0] + dumbtorch.ones(MIB, dtype=dumbtorch.int64)
    assert memory.memory_allocated() <= limit
    assert all(t[-1].item() == 1 for t in held)
    held[0] += 1
    assert held[0].tolist()[:3] == [2, 2, 2]
    held.clear()
    dumbtorch.empty(8 * MIB, dtype=dumbtorch.uint8)


def test_many_small_blocks_stop_at_the_limit() -> None:
    memory.set_memory_limit(memory.memory_allocated() + MIB)
    held = []
    with pytest.raises(dumbtorch.OutOfMemoryError):
        for _ in range(100_000):
            held.append(dumbtorch.empty(200))
    assert 700 < len(held) < 1300
    count = len(held)
    del held[::2]
    held += [dumbtorch.empty(200) for _ in range(count // 2 - 1)]


def test_lowering_the_limit_frees_what_is_kept() -> None:
    t = dumbtorch.empty(32 * MIB, dtype=dumbtorch.uint8)
    del t
    limit = memory.memory_allocated() + MIB
    memory.set_memory_limit(limit)
    assert memory.memory_reserved() <= limit


@pytest.mark.parametrize("size", [1 << 40, 1 << 50, 1 << 59])
def test_absurd_sizes_raise(size: int) -> None:
    memory.set_memory_limit(1 << 62)
    before = memory.memory_allocated()
    with pytest.raises(RuntimeError):
        dumbtorch.empty(size, 16, dtype=dumbtorch.int64)
    if size >= 1 << 50:
        with pytest.raises(dumbtorch.OutOfMemoryError):
            dumbtorch.empty(size, dtype=dumbtorch.uint8)
    assert memory.memory_allocated() == before


def test_limit_is_validated() -> None:
    t = dumbtorch.empty(MIB)
    for bad in (0, -5, memory.memory_allocated() - 1):
        with pytest.raises(ValueError, match="in use"):
            memory.set_memory_limit(bad)
    for wrong in (1.5, "1G", True):
        with pytest.raises(TypeError, match="number of bytes"):
            memory.set_memory_limit(wrong)
    assert t.numel() == MIB


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_allocations_leave_nothing_behind() -> None:
    sizes = (1, 60, 1000, 5000, 40_000)

    def work(rounds: int) -> None:
        for n in range(rounds):
            dumbtorch.empty(sizes[n % 5])

    work(1000)
    before, start = resident(), counted("allocated_bytes.current", "active_blocks.current", "live_tensors.current")
    work(100_000)
    assert counted("allocated_bytes.current", "active_blocks.current", "live_tensors.current") == start
    assert resident() - before < 4 * MIB


def test_summary_is_a_table() -> None:
    lines = dumbtorch.memory_summary().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert any("in use by tensors" in line for line in lines)
