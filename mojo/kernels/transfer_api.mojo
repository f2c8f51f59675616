"""What the copy family offers to the others without their compiling it again."""

from std.ffi import external_call
from tensor.errors import python_error
from tensor.object import TPtr


def copy_into(dst: TPtr, src: TPtr) raises:
    """`dst[...] = src`, broadcast and cast, on any devices; the caller has checked shapes and overlap."""
    if external_call["dumbtorch_write", Int](Int(dst), Int(src)) != 0:
        raise python_error()
