"""The CPU memory pool: accounting, reuse, limits, eviction."""

from std.testing import TestSuite, assert_equal, assert_true
from tensor.allocator import CLASSES, MAX_BLOCK, Pool, class_index, class_size
from tensor.memory import memset

comptime MIB = 1 << 20


def test_classes_hold_their_sizes() raises:
    var last = 0
    for k in range(12, 47):
        for extra in [1, 100, (1 << k) // 3, 1 << k]:
            var n = (1 << k) + extra
            var size = class_size(n)
            assert_true(size >= n and size <= n + n // 8 + 1)
            assert_true(class_index(n) >= last and class_index(n) < CLASSES)
            assert_equal(class_index(size), class_index(n))
            last = class_index(n)
    assert_true(class_index(MAX_BLOCK) < CLASSES)


def test_blocks_are_aligned_and_apart() raises:
    var p = Pool()
    var blocks = List[Int]()
    var sizes = [1, 64, 65, 1000, 4096, 4097, 70_000, 5 * MIB]
    for n in sizes:
        for _ in range(3):
            var b = p.take(n)
            assert_true(b != 0 and b % 64 == 0)
            memset(b, 255, n)
            for other in blocks:
                assert_true(other != b)
            blocks.append(b)
    for i in range(len(blocks)):
        p.give(blocks[i], sizes[i // 3])
    assert_equal(p.allocated, 0)
    assert_equal(p.live_blocks, 0)
    p.trim()
    assert_equal(p.kept, 0)
    assert_equal(p.oldest, 0)
    assert_equal(p.newest, 0)


def test_a_freed_block_answers_the_next_request() raises:
    var p = Pool()
    for n in [100, 10_000, 3 * MIB]:
        var a = p.take(n)
        p.give(a, n)
        var hits = p.hits
        assert_equal(p.take(n), a)
        assert_equal(p.hits, hits + 1)
        p.give(a, n)
    p.trim()


def test_the_limit_refuses_and_recovers() raises:
    var p = Pool()
    p.limit = 10 * MIB
    var a = p.take(6 * MIB)
    assert_true(a != 0)
    var before = p.allocated
    assert_equal(p.take(6 * MIB), 0)
    assert_equal(p.allocated, before)
    assert_equal(p.live_blocks, 1)
    # what is kept makes room: memory in use and kept never pass the limit together
    p.give(a, 6 * MIB)
    var b = p.take(9 * MIB)
    assert_true(b != 0)
    assert_true(p.allocated + p.kept <= p.limit)
    p.give(b, 9 * MIB)
    p.limit = 32
    assert_equal(p.take(64), 0)
    assert_equal(p.take(9 * MIB), 0)
    p.trim()


def test_huge_requests_are_refused() raises:
    var p = Pool()
    p.limit = 1 << 62
    for n in [MAX_BLOCK + 1, 1 << 55, Int.MAX - 4096]:
        assert_equal(p.take(n), 0)
    assert_equal(p.allocated, 0)


def test_the_oldest_kept_blocks_go_first() raises:
    var p = Pool()
    p.keep_limit = 8 * MIB
    # a size above the bound is never kept
    var big = p.take(9 * MIB)
    p.give(big, 9 * MIB)
    assert_equal(p.kept, 0)
    var blocks = List[Int]()
    for i in range(5):
        blocks.append(p.take((2 + i % 2) * MIB))
    for i in range(5):
        p.give(blocks[i], (2 + i % 2) * MIB)
        assert_true(p.kept <= p.keep_limit)
    # sizes 2 3 2 3 2 came back: the last three are kept
    assert_equal(p.kept, 7 * MIB)
    assert_equal(p.oldest, blocks[2])
    assert_equal(p.newest, blocks[4])
    assert_equal(p.take(2 * MIB), blocks[4])
    assert_equal(p.newest, blocks[3])
    p.give(blocks[4], 2 * MIB)
    p.trim()


def test_caching_does_not_raise_the_peak() raises:
    var p = Pool()
    for i in range(40):
        var n = (16 + i) * MIB
        p.give(p.take(n), n)
    assert_true(p.reserved_peak <= p.allocated_peak + 32 * MIB)
    p.trim()


def main() raises:
    TestSuite.discover_tests[__functions_in_module()]().run()
