"""The algebra of shapes and strides, and the transposing copy, against element-by-element models."""

from std.testing import TestSuite, assert_equal, assert_false, assert_raises, assert_true
from tensor.allocator import aligned_block

from tensor.layout import (
    Dims, broadcast_into, checked_numel, contiguous_strides, dense_strides, extent, is_contiguous, is_dense, no_dims,
    same_dims, view_strides, wrap_dim,
)  # fmt: skip
from tensor.memory import load, store
from kernels.transfer import transpose


def dims(values: List[Int]) -> Dims:
    var d = no_dims()
    for i in range(len(values)):
        d[i] = values[i]
    return d^


def offset_of(position: Int, shape: Dims, strides: Dims, ndim: Int) -> Int:
    """The element offset of a row-major position."""
    var rest = position
    var at = 0
    for j in range(ndim):
        var i = ndim - 1 - j
        at += (rest % shape[i]) * strides[i]
        rest //= shape[i]
    return at


def test_view_strides_show_the_same_elements() raises:
    var shapes: List[List[Int]] = [[2, 6], [3, 4], [12], [2, 3, 2], [1, 12], [12, 1], [2, 1, 6], [4, 3]]
    # the memory that the views are taken of: contiguous, transposed, every second element, a stretched dimension
    var strides: List[List[Int]] = [[6, 1], [1, 2], [12, 2], [0, 1]]
    for s in strides:
        for new in shapes:
            var old = dims([2, 6])
            var from_ = dims(s)
            var to = dims(new)
            var made = no_dims()
            if not view_strides(old, from_, 2, to, len(new), made):
                # refused: then no row of the new shape may be one run of the old one
                assert_false(is_contiguous(old, from_, 2))
                continue
            for p in range(12):
                assert_equal(offset_of(p, old, from_, 2), offset_of(p, to, made, len(new)))


def test_contiguity_ignores_sizes_of_one_and_empty_tensors() raises:
    assert_true(is_contiguous(dims([2, 3]), dims([3, 1]), 2))
    assert_true(is_contiguous(dims([2, 1, 3]), dims([3, 99, 1]), 3))
    assert_true(is_contiguous(dims([0, 3]), dims([7, 7]), 2))
    assert_false(is_contiguous(dims([2, 3]), dims([1, 2]), 2))
    assert_true(is_dense(dims([2, 3]), dims([1, 2]), 2))
    assert_false(is_dense(dims([2, 3]), dims([6, 2]), 2))


def test_dense_strides_keep_the_order_of_the_dimensions() raises:
    assert_true(same_dims(dense_strides(dims([2, 3]), dims([1, 2]), 2), dims([1, 2]), 2))
    # sliced and transposed: gaps go, the order stays
    assert_true(same_dims(dense_strides(dims([2, 3]), dims([2, 8]), 2), dims([1, 2]), 2))
    assert_true(same_dims(dense_strides(dims([2, 3]), dims([16, 2]), 2), dims([3, 1]), 2))


def test_broadcasting() raises:
    var shape = dims([3, 1])
    var ndim = 2
    assert_equal(broadcast_into(shape, ndim, dims([2, 1, 4]), 3), -1)
    assert_equal(ndim, 3)
    assert_true(same_dims(shape, dims([2, 3, 4]), 3))
    assert_equal(broadcast_into(shape, ndim, dims([5]), 1), 2)


def test_refusals() raises:
    assert_equal(wrap_dim(-2, 2), 0)
    with assert_raises(contains="Dimension out of range"):
        _ = wrap_dim(2, 2)
    with assert_raises(contains="negative dimension"):
        _ = checked_numel(dims([2, -1]), 2, 4)
    with assert_raises(contains="overflowed"):
        _ = checked_numel(dims([1 << 40, 1 << 40]), 2, 4)
    var e = extent(dims([2, 3]), dims([10, 2]), 2)
    assert_equal(e[0], 0)
    assert_equal(e[1], 15)


def test_transposing_every_edge() raises:
    var rows: List[Int] = [1, 7, 16, 17, 33]
    for r in rows:
        for c in rows:
            var s = aligned_block(r * c * 4, 64)
            var d = aligned_block(r * c * 4, 64)
            for i in range(r * c):
                store[Int32](s + 4 * i, Int32(i))
            transpose(d, r * 4, s, c * 4, r, c, 4)
            for i in range(r):
                for j in range(c):
                    assert_equal(load[Int32](d + (j * r + i) * 4), Int32(i * c + j))


def main() raises:
    TestSuite.discover_tests[__functions_in_module()]().run()
