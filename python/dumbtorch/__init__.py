"""dumbtorch: tensors, gradients and neural networks on Mojo kernels, with the interface of PyTorch.

>>> import dumbtorch as torch
>>> x = torch.ones(3, requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 2., 2.])
"""

from __future__ import annotations

from builtins import float as _float
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dumbtorch import (
    _load,  # noqa: F401  # loads the extension: everything else needs it
    autograd,
    cuda,
    nn,
    ops,
    optim,
    random,
    special,
    utils,
)
from dumbtorch._device import device, get_default_device, set_default_device
from dumbtorch._dtypes import (
    bcomplex32,
    bfloat16,
    bool,
    can_cast,
    cdouble,
    cfloat,
    chalf,
    complex32,
    complex64,
    complex128,
    double,
    dtype,
    finfo,
    float,
    float8_e4m3fn,
    float8_e5m2,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    iinfo,
    int,
    int8,
    int16,
    int32,
    int64,
    long,
    promote_types,
    result_type,
    set_default_dtype,
    short,
    uint8,
    uint16,
    uint32,
    uint64,
)
from dumbtorch._printing import get_printoptions, printoptions, set_printoptions
from dumbtorch._size import Size
from dumbtorch._tensor import Tensor
from dumbtorch._threads import get_num_threads, set_num_threads
from dumbtorch.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from dumbtorch.memory import (
    OutOfMemoryError,
    empty_cache,
    memory_stats,
    memory_summary,
    reset_peak_memory_stats,
    set_memory_limit,
)
from dumbtorch.random import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)

inf = _float("inf")
nan = _float("nan")
pi = 3.141592653589793
e = 2.718281828459045
newaxis = None

__all__ = [
    "get_num_threads",
    "set_num_threads",
    "get_printoptions",
    "get_num_threads",
    "printoptions",
    "set_printoptions",
    "set_num_threads",
    "empty_cache",
    "memory_stats",
    "memory_summary",
    "reset_peak_memory_stats",
    "set_memory_limit",
    "autograd",
    "cuda",
    "nn",
    "ops",
    "optim",
    "OutOfMemoryError",
    "Generator",
    "default_generator",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "random",
    "special",
    "utils",
    "seed",
    "set_rng_state",
    "Size",
    "Tensor",
    "bcomplex32",
    "bfloat16",
    "bool",
    "can_cast",
    "cdouble",
    "cfloat",
    "chalf",
    "complex128",
    "complex32",
    "complex64",
    "device",
    "double",
    "dtype",
    "e",
    "enable_grad",
    "finfo",
    "float",
    "float16",
    "float32",
    "float64",
    "float8_e4m3fn",
    "float8_e5m2",
    "get_default_device",
    "get_default_dtype",
    "half",
    "iinfo",
    "inf",
    "inference_mode",
    "int",
    "int16",
    "int32",
    "int64",
    "int8",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "long",
    "nan",
    "newaxis",
    "no_grad",
    "pi",
    "promote_types",
    "result_type",
    "set_default_device",
    "set_default_dtype",
    "set_grad_enabled",
    "short",
    "uint16",
    "uint32",
    "uint64",
    "uint8",
]

# The functions of the table become plain attributes: a module's __getattr__ would cost more than a small op.
globals().update(ops.FUNCTIONS)

if TYPE_CHECKING:
    # mypy meets uses of these names before it has read a function's types; a variable's it knows.
    __getattr__: Callable[[str], Any]
