"""Parallel regions of kernels, and the interpreter's lock."""

from tensor.py import release_gil, take_gil
from tensor.threads import MAX_THREADS, Body, num_threads, parallel

#: Elements from which one thread lets other Python threads run meanwhile: as many as for an elementwise loop.
comptime LONG = 8 * 32768


def run_tasks[B: Body](body: B, tasks: Int, work: Int, workers: Int = MAX_THREADS):
    """Runs `body.run(0 .. tasks-1, worker)`, without the interpreter's lock where several threads do it or where `work`,
    the number of elements, is long.
    """
    if work < LONG and (tasks <= 1 or num_threads() == 1):
        for task in range(tasks):
            body.run(task, 0)
        return
    var held = release_gil()
    parallel(body, tasks, workers)
    take_gil(held)
