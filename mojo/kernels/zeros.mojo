"""Memory filled with zeros, on the threads."""

from std.math import ceildiv
from tensor.memory import memset
from tensor.py import release_gil, take_gil
from tensor.threads import Body, num_threads, parallel

comptime ALONE = 1 << 18  # bytes that are not worth a second thread


@fieldwise_init
struct _Zeros(Body):
    var data: Int
    var nbytes: Int
    var per_task: Int

    def run(self, task: Int, worker: Int):
        var start = task * self.per_task
        memset(self.data + start, 0, min(self.per_task, self.nbytes - start))


def zero_bytes(data: Int, nbytes: Int):
    """Writes zeros, with the interpreter lock held when it is called."""
    if nbytes < ALONE or num_threads() == 1:
        memset(data, 0, nbytes)
        return
    var work = _Zeros(data, nbytes, ceildiv(ceildiv(nbytes, 4 * num_threads()), 64) * 64)
    var held = release_gil()
    parallel(work, ceildiv(nbytes, work.per_task))
    take_gil(held)
