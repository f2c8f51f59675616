"""The extension module: makes the tensor type, lets every kernel family register, and gives Python its few functions."""

from std.ffi import external_call
from tensor.module import build_module


def _register_families():
    external_call["dumbtorch_register_creation", NoneType]()
    external_call["dumbtorch_register_cast", NoneType]()
    external_call["dumbtorch_register_copy", NoneType]()
    external_call["dumbtorch_register_conjugate", NoneType]()
    external_call["dumbtorch_register_views", NoneType]()
    external_call["dumbtorch_register_slicing", NoneType]()
    external_call["dumbtorch_register_unary", NoneType]()
    external_call["dumbtorch_register_unary_exp", NoneType]()
    external_call["dumbtorch_register_unary_special", NoneType]()
    external_call["dumbtorch_register_join", NoneType]()
    external_call["dumbtorch_register_special_gamma", NoneType]()
    external_call["dumbtorch_register_special_bessel", NoneType]()
    external_call["dumbtorch_register_special_error", NoneType]()
    external_call["dumbtorch_register_orthogonal", NoneType]()
    external_call["dumbtorch_register_numbers", NoneType]()
    external_call["dumbtorch_register_binary", NoneType]()
    external_call["dumbtorch_register_binary_math", NoneType]()
    external_call["dumbtorch_register_comparison", NoneType]()
    external_call["dumbtorch_register_bits", NoneType]()
    external_call["dumbtorch_register_ternary", NoneType]()
    external_call["dumbtorch_register_activation", NoneType]()
    external_call["dumbtorch_register_activation_backward", NoneType]()
    external_call["dumbtorch_register_reducers", NoneType]()
    external_call["dumbtorch_register_extremes", NoneType]()
    external_call["dumbtorch_register_norms", NoneType]()
    external_call["dumbtorch_register_normalize", NoneType]()
    external_call["dumbtorch_register_conv", NoneType]()
    external_call["dumbtorch_register_pool", NoneType]()
    external_call["dumbtorch_register_regions", NoneType]()
    external_call["dumbtorch_register_resample", NoneType]()
    external_call["dumbtorch_register_grid_sample", NoneType]()
    external_call["dumbtorch_register_columns", NoneType]()
    external_call["dumbtorch_register_interop", NoneType]()
    external_call["dumbtorch_register_matmul", NoneType]()
    external_call["dumbtorch_register_solve", NoneType]()
    external_call["dumbtorch_register_spectral", NoneType]()
    external_call["dumbtorch_register_fft", NoneType]()
    external_call["dumbtorch_register_softmax", NoneType]()
    external_call["dumbtorch_register_loss", NoneType]()
    external_call["dumbtorch_register_attention", NoneType]()
    external_call["dumbtorch_register_attention_backward", NoneType]()
    external_call["dumbtorch_register_ctc", NoneType]()
    external_call["dumbtorch_register_recurrent", NoneType]()
    external_call["dumbtorch_register_loss_pointwise", NoneType]()
    external_call["dumbtorch_register_loss_nll", NoneType]()
    external_call["dumbtorch_register_optim", NoneType]()
    external_call["dumbtorch_register_optim_rules", NoneType]()
    external_call["dumbtorch_register_index", NoneType]()
    external_call["dumbtorch_register_bags", NoneType]()
    external_call["dumbtorch_register_index_joint", NoneType]()
    external_call["dumbtorch_register_scatter_fold", NoneType]()
    external_call["dumbtorch_register_arrange", NoneType]()
    external_call["dumbtorch_register_resize", NoneType]()
    external_call["dumbtorch_register_masked", NoneType]()
    external_call["dumbtorch_register_scan", NoneType]()
    external_call["dumbtorch_register_sort", NoneType]()
    external_call["dumbtorch_register_select", NoneType]()
    external_call["dumbtorch_register_running", NoneType]()
    external_call["dumbtorch_register_search", NoneType]()
    external_call["dumbtorch_register_histogram", NoneType]()
    external_call["dumbtorch_register_random", NoneType]()
    external_call["dumbtorch_register_sample", NoneType]()
    # after the ops whose tables they join
    external_call["dumbtorch_register_complex_unary", NoneType]()
    external_call["dumbtorch_register_complex_binary", NoneType]()
    external_call["dumbtorch_register_complex_reduce", NoneType]()
    external_call["dumbtorch_register_float8", NoneType]()
    external_call["dumbtorch_register_counts", NoneType]()


def _init() -> Int:
    return build_module(_register_families)


@export("PyInit__C_v3")
def init_v3() abi("C") -> Int:
    return _init()


@export("PyInit__C_v4")
def init_v4() abi("C") -> Int:
    return _init()


@export("PyInit__C_neon")
def init_neon() abi("C") -> Int:
    return _init()
