"""What kind of operation each row of the op table is: the one place that forward mode and vmap read it from.

A row that stands nowhere here has the general rules: in forward mode the derivative of its derivative, under vmap a
loop over the samples. tests/func/test_rules.py tries every row with samples under both.
"""

from __future__ import annotations

from dumbtorch.ops.table import TABLE


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Element by element; operands broadcast. Rows that broadcast are of this kind unless they stand in `PRODUCTS`.
POINTWISE = (
    _words(
        "abs neg exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh asinh acosh "
        "atanh sigmoid erf erfc erfinv lgamma digamma reciprocal square floor ceil trunc frac sign isnan isinf "
        "isfinite logical_not bitwise_not relu positive sgn signbit isposinf isneginf round gelu silu mish logsigmoid "
        "log_sigmoid hardsigmoid hardswish softplus elu leaky_relu hardtanh softshrink hardshrink threshold relu6 "
        "celu selu threshold_backward sigmoid_backward tanh_backward clone to_copy conj conj_physical resolve_conj "
        "resolve_neg neg_view real imag angle complex polar nan_to_num rsub heaviside frexp ldexp logit sinc "
        "special_erfcx special_ndtr special_log_ndtr special_ndtri special_entr special_i0 i0 special_i0e special_i1 "
        "special_i1e polygamma special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1 "
        "special_modified_bessel_i0 special_modified_bessel_i1 special_modified_bessel_k0 special_modified_bessel_k1 "
        "special_spherical_bessel_j0 "
        "special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1 special_airy_ai special_zeta "
        "special_xlogy special_xlog1py where clamp clamp_min clamp_max lerp addcmul addcdiv masked_fill "
        "dropout_backward copy fill _result igamma igammac special_gammainc special_gammaincc nextafter gcd lcm"
    )
    | {name for name in TABLE if name.endswith("_backward") and name.removesuffix("_backward") in _words(
        "gelu silu mish logsigmoid hardsigmoid hardswish softplus elu leaky_relu hardtanh softshrink hardshrink")}
)  # fmt: skip

#: Broadcast their first input only: products.
PRODUCTS = _words("addmm baddbmm addmv addbmm addr sspaddmm")

#: Linear in the tensors that carry gradient, all of them together: the tangent is the op of the tangents.
LINEAR = _words(
    "neg positive conj conj_physical resolve_conj resolve_neg neg_view real imag complex view_as_real view_as_complex "
    "clone to_copy add sub rsub sum mean cumsum view reshape transpose permute expand squeeze unsqueeze select "
    "slice diagonal unfold getitem split unbind select_backward slice_backward diagonal_backward "
    "getitem_backward strided_gather strided_scatter strided_put cat stack index index_put index_select index_add "
    "index_copy gather scatter scatter_add tril triu flip roll repeat constant_pad_nd pad_edges fft_c2c fft_r2c "
    "fft_c2r avg_pool1d avg_pool2d avg_pool3d avg_pool2d_backward max_pool2d_backward where masked_fill masked_select "
    "masked_scatter dropout_backward trace diag select_scatter slice_scatter diagonal_scatter "
    "copy fill embedding"
)

#: Rows whose last argument says whether vectors are wanted beside values, and where the values stand.
VECTORS = {"linalg_svd": 1, "linalg_eigh": 0, "linalg_eig": 0}

#: Numbers that such an op adds: they do not count for the tangent.
CONSTANTS = {"constant_pad_nd": {"value": 0}}

#: Linear in each of the named inputs alone; further inputs (a bias) are linear too and come with the first.
BILINEAR: dict[str, tuple[str, str]] = {
    "mul": ("input", "other"), "matmul": ("input", "other"), "mm": ("input", "mat2"), "bmm": ("input", "mat2"),
    "mv": ("input", "vec"), "dot": ("input", "tensor"), "outer": ("input", "vec2"), "linear": ("input", "weight"),
    "convolution": ("input", "weight"), "convolution_input": ("grad_output", "weight"),
    "convolution_weight": ("grad_output", "input"),
}  # fmt: skip


def is_pointwise(row: object) -> bool:
    """Whether a row works element by element."""
    name = row.name  # type: ignore[attr-defined]
    return name in POINTWISE or (row.broadcast and name not in PRODUCTS)  # type: ignore[attr-defined]
