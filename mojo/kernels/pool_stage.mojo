"""What the pooling kernels share: a plan of planes and windows, and its tasks."""
from std.sys import size_of

from kernels.conv_stage import Axis
from kernels.gemm_micro import acc_dtype, width
from kernels.gemm_tiles import ceildiv
from kernels.workspace import Workspace
from tensor.threads import Body, num_threads, parallel

comptime TASK_ELEMENTS = 16384
"""Input elements of a task; less than two of them stay on one thread."""


@fieldwise_init
struct Planes(ImplicitlyCopyable, Movable):
    """Planes of (batch, channel): address, sizes and element strides of a tensor (N, C, H, W)."""

    var data: Int
    var n: Int
    var c: Int
    var h: Int
    var w: Int
    var ns: Int
    var cs: Int
    var hs: Int
    var ws: Int

    @always_inline
    def offset(self, plane: Int) -> Int:
        """The first element of plane `plane`, counted through the batch."""
        return plane // self.c * self.ns + plane % self.c * self.cs

    @always_inline
    def flat(self) -> Bool:
        """The elements of a plane follow each other in memory."""
        return self.ws == 1 and self.hs == self.w


@fieldwise_init
struct Window(ImplicitlyCopyable, Movable):
    """Kernel, stride, padding and dilation of the two axes."""

    var kh: Int
    var kw: Int
    var sh: Int
    var sw: Int
    var ph: Int
    var pw: Int
    var dh: Int
    var dw: Int

    @always_inline
    def plain_pairs(self) -> Bool:
        """2 x 2 windows side by side."""
        return self.kh == 2 and self.kw == 2 and self.sh == 2 and self.sw == 2 and self.dh == 1 and self.dw == 1


@fieldwise_init
struct Tasks(ImplicitlyCopyable, Movable):
    """How planes are dealt out: to how many tasks, on how many threads."""

    var planes: Int
    var per_task: Int
    var workers: Int

    @staticmethod
    def of(planes: Int, elements: Int) -> Self:
        """For planes of `elements` elements each."""
        var per_task = max(1, TASK_ELEMENTS // max(1, elements))
        var workers = num_threads() if planes * elements >= 2 * TASK_ELEMENTS else 1
        return Self(planes, per_task, workers)

    @always_inline
    def count(self) -> Int:
        return ceildiv(self.planes, self.per_task)


@always_inline
def lanes[src: DType]() -> Int:
    """Elements that are handled side by side: a vector of float32, half as many of 8-byte types."""
    comptime if size_of[Scalar[src]]() == 8:
        return width[src]()
    else:
        return width[DType.float32]()
