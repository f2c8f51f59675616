"""How many threads one operation may use."""

from __future__ import annotations

import os
from operator import index

from dumbtorch import _C

__all__ = ["get_num_threads", "set_num_threads"]


def get_num_threads() -> int:
    """Threads that one operation may use, the calling one included; at first the CPUs that the process may run on.

    Reference: ``torch.get_num_threads``.
    """
    return _C.get_num_threads()


def set_num_threads(num_threads: int) -> None:
    """Sets the threads of later operations (64 at most; more count as 64). Results do not depend on it.

    Raises RuntimeError below 1 and for what is no int. Reference: ``torch.set_num_threads``.

    >>> set_num_threads(1)
    """
    if isinstance(num_threads, bool) or not hasattr(num_threads, "__index__"):
        raise RuntimeError(f"set_num_threads expects an int, but got {type(num_threads).__name__}")
    number = index(num_threads)
    if number < 1:
        raise RuntimeError(f"set_num_threads expects a positive integer, but got {number}")
    _C.set_num_threads(min(number, 64))


# A forked child has none of its parent's threads: its first parallel operation makes new ones.
os.register_at_fork(after_in_child=_C.after_fork)
