"""Shape and stride algebra: sizes, contiguous strides, broadcasting, overlap. No tensor, no Python."""

from .runtime import MAX_RANK

comptime Dims = Array[Int, MAX_RANK]


@always_inline
def no_dims() -> Dims:
    return Dims(fill=0)


def shape_text(shape: Dims, ndim: Int) -> String:
    """A shape as error messages print it: [2, 3]."""
    var s = String("[")
    for i in range(ndim):
        if i > 0:
            s += ", "
        s += String(shape[i])
    return s + "]"


def checked_numel(shape: Dims, ndim: Int, itemsize: Int) raises -> Int:
    """The number of elements; refuses negative sizes and byte counts that overflow."""
    var n = 1
    var empty = False
    for i in range(ndim):
        var d = shape[i]
        if d < 0:
            raise Error(t"RuntimeError|Trying to create tensor with negative dimension {d}: {shape_text(shape, ndim)}")
        if d == 0:
            empty = True
            continue
        if n > (Int.MAX // itemsize) // d:
            raise Error(t"RuntimeError|Storage size calculation overflowed with sizes={shape_text(shape, ndim)}")
        n *= d
    return 0 if empty else n


@always_inline
def contiguous_strides(shape: Dims, ndim: Int) -> Dims:
    """Row-major strides in elements; a size of 0 counts as 1, as in PyTorch."""
    var strides = no_dims()
    var step = 1
    for j in range(ndim):
        var i = ndim - 1 - j
        strides[i] = step
        step *= max(shape[i], 1)
    return strides^


@always_inline
def is_contiguous(shape: Dims, strides: Dims, ndim: Int) -> Bool:
    var step = 1
    for j in range(ndim):
        var i = ndim - 1 - j
        if shape[i] == 0:
            return True
        if shape[i] != 1:
            if strides[i] != step:
                # an empty tensor is contiguous whatever its strides
                for k in range(i):
                    if shape[k] == 0:
                        return True
                return False
            step *= shape[i]
    return True


@always_inline
def same_dims(a: Dims, b: Dims, ndim: Int) -> Bool:
    for i in range(ndim):
        if a[i] != b[i]:
            return False
    return True


def broadcast_into(mut shape: Dims, mut ndim: Int, other: Dims, other_ndim: Int) -> Int:
    """Widens `shape` to its broadcast with `other`; the first dimension (from the front) that cannot match, or -1."""
    if other_ndim > ndim:
        var grow = other_ndim - ndim
        for j in range(ndim):
            shape[other_ndim - 1 - j] = shape[ndim - 1 - j]
        for j in range(grow):
            shape[j] = 1
        ndim = other_ndim
    var shift = ndim - other_ndim
    for j in range(other_ndim):
        var i = ndim - 1 - j
        var b = other[i - shift]
        if shape[i] == b or b == 1:
            continue
        if shape[i] != 1:
            return i
        shape[i] = b
    return -1


def expanded_strides(shape: Dims, strides: Dims, ndim: Int, out_shape: Dims, out_ndim: Int) -> Dims:
    """The strides that walk a tensor as if it had the (broadcast) out shape."""
    var result = no_dims()
    var shift = out_ndim - ndim
    for i in range(ndim):
        if shape[i] == out_shape[i + shift] and shape[i] != 1:
            result[i + shift] = strides[i]
    return result^


@always_inline
def wrap_dim(dim: Int, ndim: Int) raises -> Int:
    """A dimension counted from either end; a 0-d tensor has the dimensions -1 and 0."""
    var n = max(ndim, 1)
    if dim < -n or dim >= n:
        raise Error(t"IndexError|Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
    return dim + n if dim < 0 else dim


def extent(shape: Dims, strides: Dims, ndim: Int) -> Tuple[Int, Int]:
    """The lowest and one past the highest element offset that a (non-empty) layout reaches."""
    var low = 0
    var high = 0
    for i in range(ndim):
        if shape[i] == 0:
            return (0, 0)
        var step = strides[i] * (shape[i] - 1)
        if step < 0:
            low += step
        else:
            high += step
    return (low, high + 1)


def is_dense(shape: Dims, strides: Dims, ndim: Int) -> Bool:
    """Some order of the dimensions is contiguous: no gap, no overlap."""
    var used = Array[Bool, MAX_RANK](fill=False)
    var step = 1
    for _ in range(ndim):
        var found = -1
        for i in range(ndim):
            if not used[i] and (shape[i] == 1 or strides[i] == step):
                found = i
                break
        if found < 0:
            return False
        used[found] = True
        if shape[found] != 1:
            step *= shape[found]
    return True


def dense_strides(shape: Dims, strides: Dims, ndim: Int) -> Dims:
    """The strides themselves where they are dense, else dense ones in the same order (what `clone` preserves)."""
    if is_dense(shape, strides, ndim):
        return strides.copy()
    var order = no_dims()
    for i in range(ndim):
        order[i] = ndim - 1 - i
    for i in range(1, ndim):
        var dim1 = i
        for k in range(i):
            var dim0 = i - 1 - k
            var c = _compare_strides(shape, strides, order[dim0], order[dim1])
            if c > 0:
                var swap = order[dim0]
                order[dim0] = order[dim1]
                order[dim1] = swap
                dim1 = dim0
            elif c < 0:
                break
    var result = no_dims()
    var step = 1
    for i in range(ndim):
        result[order[i]] = step
        step *= max(shape[order[i]], 1)
    return result^


def _compare_strides(shape: Dims, strides: Dims, a: Int, b: Int) -> Int:
    if strides[a] == 0 or strides[b] == 0:
        return 0
    if strides[a] != strides[b]:
        return -1 if strides[a] < strides[b] else 1
    return 1 if shape[a] > shape[b] else 0


def has_internal_overlap(shape: Dims, strides: Dims, ndim: Int) -> Bool:
    """Two elements surely share memory (an expanded dimension). Other overlaps are too hard to tell, as in PyTorch."""
    for i in range(ndim):
        if shape[i] > 1 and strides[i] == 0:
            return True
    return False


def view_strides(shape: Dims, strides: Dims, ndim: Int, new_shape: Dims, new_ndim: Int, mut result: Dims) -> Bool:
    """Strides that show the same elements in the new shape without a copy, if there are any.

    Both shapes have the same number of elements. Dimensions are matched in groups from the back: a group of old
    dimensions that is contiguous among itself can be cut anew. (The rule of numpy's no-copy reshape.)"""
    var numel = 1
    for i in range(ndim):
        numel *= shape[i]
    if numel == 0:
        if ndim == new_ndim and same_dims(shape, new_shape, ndim):
            result = strides.copy()
        else:
            result = contiguous_strides(new_shape, new_ndim)
        return True
    var v = new_ndim - 1
    var chunk_base = strides[ndim - 1] if ndim > 0 else 1
    var tensor_numel = 1
    var view_numel = 1
    for j in range(ndim):
        var t = ndim - 1 - j
        tensor_numel *= shape[t]
        if t == 0 or (shape[t - 1] != 1 and strides[t - 1] != tensor_numel * chunk_base):
            while v >= 0 and (view_numel < tensor_numel or new_shape[v] == 1):
                result[v] = view_numel * chunk_base
                view_numel *= new_shape[v]
                v -= 1
            if view_numel != tensor_numel:
                return False
            if t > 0:
                chunk_base = strides[t - 1]
                tensor_numel = 1
                view_numel = 1
    while v >= 0:
        result[v] = 1 if v == new_ndim - 1 else result[v + 1] * new_shape[v + 1]
        v -= 1
    return True
