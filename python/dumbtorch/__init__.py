"""dumbtorch: tensors, gradients and neural networks on Mojo kernels, with the interface of PyTorch.

>>> import dumbtorch as torch
>>> x = torch.ones(3, requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 2., 2.])
"""

from __future__ import annotations

import importlib
from builtins import float as _float
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dumbtorch import (
    _load,  # noqa: F401  # loads the extension: everything else needs it
    autograd,
    cuda,
    fft,
    linalg,
    nn,
    ops,
    optim,
    random,
    return_types,
    sparse,
    special,
    storage,
    torch_version,
    utils,
    version,
)
from dumbtorch._alias import install_as_torch, uninstall_as_torch
from dumbtorch._alias import missing as _missing
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
    layout,
    long,
    promote_types,
    result_type,
    set_default_dtype,
    short,
    sparse_coo,
    strided,
    uint8,
    uint16,
    uint32,
    uint64,
)
from dumbtorch._formats import channels_last, channels_last_3d, contiguous_format, memory_format, preserve_format
from dumbtorch._functions import METHODS as _METHODS
from dumbtorch._legacy import TYPES as _TYPES
from dumbtorch._legacy import set_default_tensor_type, typename
from dumbtorch._printing import get_printoptions, printoptions, set_printoptions
from dumbtorch._settings import (
    are_deterministic_algorithms_enabled,
    get_deterministic_debug_mode,
    get_float32_matmul_precision,
    get_num_interop_threads,
    is_deterministic_algorithms_warn_only_enabled,
    is_warn_always_enabled,
    set_deterministic_debug_mode,
    set_float32_matmul_precision,
    set_flush_denormal,
    set_num_interop_threads,
    set_warn_always,
    use_deterministic_algorithms,
)
from dumbtorch._size import Size
from dumbtorch._sparse import sparse_coo_tensor
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
from dumbtorch.autograd.anomaly_mode import (
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    set_anomaly_enabled,
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
from dumbtorch.sparse import mm as spmm
from dumbtorch.storage import CLASSES as _STORAGES
from dumbtorch.storage import TypedStorage, UntypedStorage, from_file, is_storage
from dumbtorch.utils.dlpack import to_dlpack
from dumbtorch.version import __version__

inf = _float("inf")
nan = _float("nan")
pi = 3.141592653589793
e = 2.718281828459045
newaxis = None

__all__ = [
    "layout",
    "sparse",
    "sparse_coo",
    "sparse_coo_tensor",
    "spmm",
    "strided",
    "set_default_tensor_type",
    "typename",
    "are_deterministic_algorithms_enabled",
    "get_deterministic_debug_mode",
    "get_float32_matmul_precision",
    "get_num_interop_threads",
    "is_deterministic_algorithms_warn_only_enabled",
    "is_warn_always_enabled",
    "set_deterministic_debug_mode",
    "set_float32_matmul_precision",
    "set_flush_denormal",
    "set_num_interop_threads",
    "set_warn_always",
    "use_deterministic_algorithms",
    "TypedStorage",
    "UntypedStorage",
    "from_file",
    "is_storage",
    "to_dlpack",
    "storage",
    "testing",
    "accelerator",
    "torch_version",
    "install_as_torch",
    "uninstall_as_torch",
    "backends",
    "cpu",
    "load",
    "load_npz",
    "load_safetensors",
    "mps",
    "multiprocessing",
    "save",
    "save_npz",
    "save_safetensors",
    "serialization",
    "types",
    "xpu",
    "version",
    "__version__",
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
    "array_api",
    "autograd",
    "cuda",
    "fft",
    "linalg",
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
    "return_types",
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
    "channels_last",
    "channels_last_3d",
    "contiguous_format",
    "memory_format",
    "preserve_format",
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
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled",
    "set_anomaly_enabled",
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
globals().update(_METHODS)
for _name in (
    "adaptive_avg_pool1d", "alpha_dropout", "avg_pool1d", "bilinear", "celu", "celu_", "conv1d",
    "feature_alpha_dropout", "max_pool1d", "pairwise_distance", "prelu", "rrelu", "rrelu_", "selu", "selu_",
    "threshold", "threshold_",
):  # fmt: skip
    globals()[_name] = getattr(nn.functional, _name)
globals().update(_TYPES)
globals().update(_STORAGES)

_LATER = frozenset({
    "accelerator", "array_api", "backends", "cpu", "datasets", "distributions", "func", "functional", "mps",
    "multiprocessing", "serialization", "signal", "testing", "training", "types", "xpu",
})  # fmt: skip
_FILES = frozenset({"load", "load_npz", "load_safetensors", "save", "save_npz", "save_safetensors"})

_ARRAY_API = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")


def _array_namespace(self: Any, /, *, api_version: str | None = None) -> Any:
    """The functions of the Python array API standard: `dumbtorch.array_api`.

    Raises ValueError for a version of the standard that it does not follow.
    """
    if api_version is not None and api_version not in _ARRAY_API:
        versions = ", ".join(_ARRAY_API)
        raise ValueError(f"__array_namespace__: there are the versions {versions}, not {api_version!r}")
    return importlib.import_module("dumbtorch.array_api")


# here, for the standard's functions are made of tensors: their class cannot know them
Tensor.__array_namespace__ = _array_namespace  # type: ignore[attr-defined]

if TYPE_CHECKING:
    # mypy meets uses of these names before it has read a function's types; a variable's it knows.
    __getattr__: Callable[[str], Any]
else:

    def __getattr__(name: str) -> Any:
        """Loads the parts that few programs need when they are first asked for."""
        if name == "vmap":
            return importlib.import_module("dumbtorch.func").vmap
        if name in _LATER:
            return importlib.import_module(f"dumbtorch.{name}")
        if name in _FILES:
            found = globals()[name] = getattr(importlib.import_module("dumbtorch.serialization"), name)
            return found
        raise _missing("dumbtorch", name)


del _name
