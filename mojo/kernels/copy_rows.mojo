"""Rows of bytes from one place to another, both at a fixed step: the inner loop of joining and padding."""

from tensor.memory import at, load, memcpy, store


@always_inline
def _pairs[w: Int](to: Int, to_step: Int, from_: Int, from_step: Int, bytes: Int, rows: Int):
    """Rows of w to 2 w bytes: two vectors that may overlap."""
    for r in range(rows):
        var t = at[UInt8](to + r * to_step)
        var f = at[UInt8](from_ + r * from_step)
        var head = f.unsafe_load[width=w](0)
        var tail = f.unsafe_load[width=w](bytes - w)
        t.unsafe_store(0, head)
        t.unsafe_store(bytes - w, tail)


@no_inline
def copy_rows(to: Int, to_step: Int, from_: Int, from_step: Int, bytes: Int, rows: Int):
    """Copies rows of `bytes` bytes whose beginnings are so many bytes apart; the target is apart from the source."""
    if bytes > 128:
        for r in range(rows):
            memcpy(to + r * to_step, from_ + r * from_step, bytes)
        return
    comptime for w in [64, 32, 16, 8, 4]:
        if bytes >= w:
            _pairs[w](to, to_step, from_, from_step, bytes, rows)
            return
    for r in range(rows):
        for i in range(bytes):
            store[UInt8](to + r * to_step + i, load[UInt8](from_ + r * from_step + i))
