"""MultiheadAttention and transformers beside PyTorch's: values, gradients, states, printing, warnings, errors."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch
from tests.nn.support import assert_close, copy_state, random, tensor_of

LIBRARIES = (dumbtorch, torch)


def masks(kind: str, *shape: int, seed: int = 5) -> np.ndarray | None:
    """A mask of no row that sees nothing: bools of what is hidden, or numbers."""
    if kind == "none":
        return None
    made = random(shape, seed)
    if kind == "bool":
        made = made > 0.8
        made[..., 0] = False
    return made


def pair(name: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    """The same module twice, in float64, with the same random weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine, other = (getattr(T.nn, name)(*args, **options, dtype=T.float64) for T in LIBRARIES)
    for seed, parameter in enumerate(other.parameters()):
        parameter.data = torch.from_numpy(random(parameter.shape, seed) * 0.3)
    copy_state(mine, other)
    return mine, other


def compare(modules: tuple[Any, Any], arrays: list[np.ndarray], **given: np.ndarray | Any) -> None:
    """Results and the gradients of inputs, masks of numbers and parameters."""
    results = []
    for T, module in zip(LIBRARIES, modules, strict=True):
        inputs: list[Any] = []
        for i, a in enumerate(arrays):
            # the same array again is the same tensor again, as in self-attention
            twin = next((inputs[j] for j in range(i) if arrays[j] is a), None)
            inputs.append(tensor_of(T, a, True) if twin is None else twin)
        named = {k: tensor_of(T, v, v.dtype.kind == "f") if isinstance(v, np.ndarray) else v for k, v in given.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = module(*inputs, **named)
        outs = [x for x in out if x is not None] if isinstance(out, tuple) else [out]
        sum((x * tensor_of(T, random(x.shape, 8))).sum() for x in outs).backward()
        leaves = [*inputs, *(v for v in named.values() if isinstance(v, T.Tensor) and v.requires_grad)]
        results.append([*outs, *(x.grad for x in leaves), *(p.grad for p in module.parameters())])
        module.zero_grad()
    assert_close(*results)


@pytest.mark.parametrize(("padding", "mask"), [*itertools.product(("none", "bool", "float"), repeat=2)])
@pytest.mark.parametrize("need_weights", [False, True])
def test_multihead_masks(padding: str, mask: str, need_weights: bool) -> None:
    for batch_first, options in ((False, {}), (True, {"add_bias_kv": True, "add_zero_attn": True, "bias": False})):
        modules = pair("MultiheadAttention", 12, 3, batch_first=batch_first, **options)
        q, k = random((2, 5, 12), 1), random((2, 7, 12), 2)
        q, k = (x if batch_first else np.ascontiguousarray(x.swapaxes(0, 1)) for x in (q, k))
        for shape in ((5, 7), (6, 5, 7)):
            given = {"key_padding_mask": masks(padding, 2, 7), "attn_mask": masks(mask, *shape)}
            compare(modules, [q, k, k], need_weights=need_weights, average_attn_weights=len(shape) == 2, **given)


@pytest.mark.parametrize("batch_first", [False, True])
def test_multihead_kinds_of_input(batch_first: bool) -> None:
    x, y, z = (random((4, 4, 12), i) for i in range(3))
    modules = pair("MultiheadAttention", 12, 4, batch_first=batch_first)
    for arrays in ([x, x, x], [x, y, y], [x, y, z], [x[0]] * 3, [x[0], y[0], z[0]]):
        for need_weights in (False, True):
            compare(modules, arrays, need_weights=need_weights)
    causal = np.triu(np.ones((4, 4), bool), 1)
    compare(modules, [x, x, x], attn_mask=causal, is_causal=True, need_weights=False)
    compare(modules, [x, x, x], attn_mask=causal, is_causal=True)
    modules = pair("MultiheadAttention", 12, 4, kdim=5, vdim=7, batch_first=batch_first)
    compare(modules, [x, random((4, 4, 5), 4), random((4, 4, 7), 5)], need_weights=False)


def test_static_keys_and_values() -> None:
    for T in LIBRARIES:
        T.manual_seed(0)
    mine, other = pair("MultiheadAttention", 12, 3)
    x = random((5, 2, 12), 1)
    results = []
    for T, module in zip(LIBRARIES, (mine, other), strict=True):
        given = [tensor_of(T, random((6, 4, 4), seed)) for seed in (2, 3)]
        q = tensor_of(T, x)
        results.append(
            T.nn.functional.multi_head_attention_forward(
                q, q, q, 12, 3, module.in_proj_weight, module.in_proj_bias, None, None, False, 0.0,
                module.out_proj.weight, module.out_proj.bias, static_k=given[0], static_v=given[1],
            )
        )  # fmt: skip
    assert_close(*results)


def test_dropout_of_weights() -> None:
    dumbtorch.manual_seed(0)
    module = dumbtorch.nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
    x = dumbtorch.rand(2, 40, 8)
    _, weights = module(x, x, x, average_attn_weights=False)
    assert 0.4 < (weights == 0).double().mean().item() < 0.6
    first, second = (module(x, x, x, need_weights=False)[0] for _ in range(2))
    assert not dumbtorch.equal(first, second)
    module.eval()
    assert dumbtorch.equal(module(x, x, x, need_weights=False)[0], module(x, x, x, need_weights=False)[0])


def outcome(T: Any, name: str, call: Any) -> tuple[Any, list[str]]:
    """The type and text of the error and the texts of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call(T)
            error = None
        except Exception as e:
            error = (type(e).__name__, str(e).replace("dumbtorch", "torch"))
    return error, [str(w.message) for w in caught]


def _attend(T: Any, *shapes: tuple[int, ...], heads: int = 2, **masks_: Any) -> Any:
    module = T.nn.MultiheadAttention(8, heads)
    given = {k: T.ones(v[0], dtype=getattr(T, v[1])) if isinstance(v, tuple) else v for k, v in masks_.items()}
    return module(*(T.ones(s) for s in shapes), **given)


@pytest.mark.parametrize(
    "call",
    [
        lambda T: T.nn.MultiheadAttention(0, 2),
        lambda T: T.nn.MultiheadAttention(9, 2),
        lambda T: _attend(T, (8,), (8,), (8,)),
        lambda T: _attend(T, (3, 2, 8), (3, 8), (3, 8)),
        lambda T: _attend(T, (3, 8), (3, 2, 8), (3, 2, 8)),
        lambda T: _attend(T, (3, 2, 7), (3, 2, 7), (3, 2, 7)),
        lambda T: _attend(T, (3, 2, 8), (4, 2, 8), (5, 2, 8)),
        lambda T: _attend(T, (3, 2, 8), (4, 2, 8), (4, 2, 8), key_padding_mask=((4,), "bool")),
        lambda T: _attend(T, (3, 2, 8), (4, 2, 8), (4, 2, 8), key_padding_mask=((2, 3), "bool")),
        lambda T: _attend(T, (3, 2, 8), (4, 2, 8), (4, 2, 8), key_padding_mask=((3, 4), "bool")),
        lambda T: _attend(T, (3, 8), (4, 8), (4, 8), key_padding_mask=((2, 4), "bool")),
        lambda T: _attend(T, (3, 2, 8), (4, 2, 8), (4, 2, 8), attn_mask=((4, 4), "bool")),
        lambda T: _attend(T, (3, 2, 8), (4, 2, 8), (4, 2, 8), attn_mask=((2, 3, 4), "bool")),
        lambda T: _attend(T, (3, 2, 8), (4, 2, 8), (4, 2, 8), attn_mask=((4,), "bool")),
        lambda T: _attend(T, (3, 8), (4, 8), (4, 8), attn_mask=((3, 3, 4), "bool")),
        lambda T: _attend(T, (3, 2, 8), (4, 2, 8), (4, 2, 8), attn_mask=((3, 4), "int64")),
        lambda T: _attend(
            T, (3, 2, 8), (4, 2, 8), (4, 2, 8), attn_mask=((3, 4), "float32"), key_padding_mask=((2, 4), "bool")
        ),
        lambda T: _attend(T, (3, 2, 8), (4, 2, 8), (4, 2, 8), is_causal=True),
        lambda T: T.nn.TransformerEncoderLayer(8, 2, activation="tanh"),
        lambda T: T.nn.TransformerEncoder(T.nn.TransformerEncoderLayer(8, 2), 1),
        lambda T: T.nn.TransformerEncoder(T.nn.TransformerEncoderLayer(8, 2, batch_first=True, norm_first=True), 1),
        lambda T: T.nn.TransformerEncoder(T.nn.TransformerEncoderLayer(8, 1, batch_first=True), 1),
        lambda T: T.nn.TransformerEncoder(T.nn.TransformerEncoderLayer(8, 2, batch_first=True, bias=False), 1),
        lambda T: T.nn.TransformerEncoder(T.nn.TransformerEncoderLayer(8, 2, batch_first=True, activation=T.tanh), 1),
        lambda T: T.nn.TransformerEncoder(T.nn.TransformerEncoderLayer(8, 2, batch_first=True), 1),
        lambda T: T.nn.Transformer(8, 2, 1, 1, 8)(T.ones(3, 2, 8), T.ones(3, 1, 8)),
        lambda T: T.nn.Transformer(8, 2, 1, 1, 8)(T.ones(3, 2, 8), T.ones(3, 2, 7)),
    ],
)
def test_errors_and_warnings(call: Any) -> None:
    mine, other = (outcome(T, "", call) for T in LIBRARIES)
    assert mine == other


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_layers(batch_first: bool, norm_first: bool) -> None:
    options = {"dropout": 0.0, "batch_first": batch_first, "norm_first": norm_first}
    x, memory = random((4, 4, 8), 1), random((4, 4, 8), 2)
    causal = np.triu(np.full((4, 4), -np.inf), 1)
    for activation in ("relu", "gelu"):
        modules = pair("TransformerEncoderLayer", 8, 2, 16, activation=activation, **options)
        for given in ({}, {"src_mask": masks("bool", 4, 4), "src_key_padding_mask": masks("bool", 4, 4)}):
            compare(modules, [x], **given)
        compare(modules, [x], src_mask=causal, is_causal=True)
        compare(modules, [x[0]])
        modules = pair("TransformerDecoderLayer", 8, 2, 16, activation=activation, bias=norm_first, **options)
        compare(modules, [x, memory], tgt_mask=causal, memory_key_padding_mask=masks("float", 4, 4))


@pytest.mark.parametrize("batch_first", [False, True])
def test_whole_transformer(batch_first: bool) -> None:
    modules = pair("Transformer", 8, 2, 2, 2, 16, dropout=0.0, batch_first=batch_first)
    source, target = random((3, 3, 8), 1), random((3, 3, 8), 2)
    compare(modules, [source, target])
    causal = np.triu(np.full((3, 3), -np.inf), 1)
    given = {"src_key_padding_mask": masks("float", 3, 3), "memory_key_padding_mask": masks("float", 3, 3)}
    compare(modules, [source, target], tgt_mask=causal, src_mask=causal, **given)
    for T, module in zip(LIBRARIES, modules, strict=True):
        made = module.generate_square_subsequent_mask(3)
        assert made.dtype == T.float32 and np.array_equal(made.numpy(), causal)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_padding_without_gradients() -> None:
    x = random((3, 6, 8), 1)
    padded = np.arange(6) >= np.array([[6], [4], [2]])
    for padding in (padded, np.where(padded, -np.inf, 0.0), np.roll(padded, 1, 1), None):
        results = []
        for T in LIBRARIES:
            T.backends.mha.set_fastpath_enabled(padding is not None)
        padding = padded if padding is None else padding
        for T, layer in zip(LIBRARIES, pair("TransformerEncoderLayer", 8, 2, 16, batch_first=True), strict=True):
            stack = T.nn.TransformerEncoder(layer, 2).eval()
            with T.no_grad():
                results.append(stack(tensor_of(T, x), src_key_padding_mask=tensor_of(T, padding)))
            T.backends.mha.set_fastpath_enabled(True)
        assert_close(*results)


@pytest.mark.parametrize(
    "make",
    [
        lambda nn: nn.MultiheadAttention(8, 2),
        lambda nn: nn.MultiheadAttention(8, 2, bias=False, add_bias_kv=True, kdim=3, vdim=5),
        lambda nn: nn.TransformerEncoderLayer(8, 2, 16, activation=nn.GELU()),
        lambda nn: nn.TransformerDecoderLayer(8, 2, 16, bias=False),
        lambda nn: nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
    ],
)
def test_states_and_printing(make: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine, other = (make(T.nn) for T in LIBRARIES)
    assert repr(mine) == repr(other)
    a, b = mine.state_dict(), other.state_dict()
    assert list(a) == list(b)
    for name, value in b.items():
        assert tuple(a[name].shape) == tuple(value.shape), name
        # drawn from the same distribution, or the same constant
        spread = value.std(correction=0).item()
        if value.numel() < 20:
            assert (a[name].std(correction=0).item() > 0) == (spread > 0), name
        else:
            assert abs(a[name].std(correction=0).item() - spread) <= 0.3 * spread + 1e-12, name


def test_described_masks() -> None:
    from dumbtorch.nn.attention import SDPBackend, bias, sdpa_kernel

    q, k = dumbtorch.from_numpy(random((1, 2, 3, 8), 1)), dumbtorch.from_numpy(random((1, 2, 5, 8), 2))
    F = dumbtorch.nn.functional
    for mask in (bias.causal_upper_left(3, 5), bias.causal_lower_right(3, 5)):
        expected = F.scaled_dot_product_attention(q, k, k, mask._materialize())
        assert_close(F.scaled_dot_product_attention(q, k, k, mask), expected)
        with pytest.raises(ValueError, match="CausalBias should not be used"):
            F.scaled_dot_product_attention(q, k, k, mask, is_causal=True)
    assert repr(bias.causal_lower_right(2, 3)) == repr(dumbtorch.ones(2, 3, dtype=dumbtorch.bool).tril(1))
    with pytest.warns(UserWarning, match="Lower right causal bias"):
        bias.causal_lower_right(3, 2)
    with pytest.raises(AssertionError):
        bias.causal_upper_left(3)
    for backends in (SDPBackend.MATH, [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
        with sdpa_kernel(backends):
            F.scaled_dot_product_attention(q, k, k)
    with pytest.raises(AssertionError, match="Backend must be an instance"), sdpa_kernel("math"):
        pass
    switches = dumbtorch.backends.cuda
    with sdpa_kernel(SDPBackend.MATH):
        assert switches.math_sdp_enabled() and not switches.flash_sdp_enabled()
    assert switches.flash_sdp_enabled()
    with pytest.warns(FutureWarning, match="deprecated"), switches.sdp_kernel(enable_math=False):
        assert switches.flash_sdp_enabled() and not switches.math_sdp_enabled()
    switches.enable_flash_sdp(False)
    assert not switches.flash_sdp_enabled()
    switches.enable_flash_sdp(True)
    assert {b.name: int(b) for b in SDPBackend} == {
        name: int(value) for name, value in torch.nn.attention.SDPBackend.__members__.items()
    }
