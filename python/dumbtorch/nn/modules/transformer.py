"""The transformer of Vaswani et al. (2017): encoder and decoder layers, their stacks, and both together."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import is_grad_enabled
from dumbtorch.nn import functional as F
from dumbtorch.nn import init
from dumbtorch.nn.functional._multihead import _canonical_mask
from dumbtorch.nn.modules.activation import GELU, ReLU
from dumbtorch.nn.modules.container import ModuleList
from dumbtorch.nn.modules.dropout import Dropout
from dumbtorch.nn.modules.linear import Linear
from dumbtorch.nn.modules.module import Module
from dumbtorch.nn.modules.multihead import MultiheadAttention
from dumbtorch.nn.modules.normalization import LayerNorm

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

#: Set by `backends.mha`.
leaves_out_padding = True

Activation = str | Callable[[Tensor], Tensor]


def _activation(activation: Activation) -> Callable[[Tensor], Tensor]:
    if not isinstance(activation, str):
        return activation
    if activation not in ("relu", "gelu"):
        raise RuntimeError(f"activation should be relu/gelu, not {activation}")
    return F.relu if activation == "relu" else F.gelu


def _subsequent(size: int, device: Any = None, dtype: Any = None) -> Tensor:
    mask: Tensor = ops.triu(ops.full((size, size), -math.inf, device=device, dtype=dtype), diagonal=1)
    return mask


def _is_causal(mask: Tensor | None, hint: bool | None, length: int) -> bool:
    """The hint, or without one whether the mask is the causal one for this length."""
    if hint is not None or mask is None:
        return hint is True
    causal = _subsequent(length, mask.device, mask.dtype)
    return mask.shape == causal.shape and bool((mask == causal).all())


def _length(x: Tensor, batch_first: bool) -> int:
    return x.shape[1 if x.ndim == 3 and batch_first else 0]


def _masks(
    mask: Tensor | None, name: str, padding: Tensor | None, padding_name: str, dtype: Any
) -> tuple[Tensor | None, Tensor | None]:
    """Both masks as numbers to be added."""
    padding = _canonical_mask(padding, padding_name, None if mask is None else mask.dtype, name, dtype)
    return _canonical_mask(mask, name, None, "", dtype, False), padding


class _Layer(Module):
    """What encoder and decoder layers share: attention to oneself and a feed-forward network."""

    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int, dropout: float, activation: Activation, eps: float,
        batch_first: bool, norm_first: bool, bias: bool, device: Any, dtype: Any, others: tuple[str, ...], norms: int,
    ) -> None:  # fmt: skip
        super().__init__()
        for name in ("self_attn", *others):
            made = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype
            )
            self.add_module(name, made)
        self.linear1 = Linear(d_model, dim_feedforward, bias, device, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, device, dtype)
        self.norm_first = norm_first
        for number in range(1, norms + 1):
            self.add_module(f"norm{number}", LayerNorm(d_model, eps, bias=bias, device=device, dtype=dtype))
        for number in range(1, norms + 1):
            self.add_module(f"dropout{number}", Dropout(dropout))
        self.activation = _activation(activation)

    def _attended(
        self, attention: Any, x: Tensor, memory: Tensor, mask: Tensor | None, padding: Tensor | None, causal: bool
    ) -> Tensor:
        made: Tensor = attention(
            x, memory, memory, attn_mask=mask, key_padding_mask=padding, need_weights=False, is_causal=causal
        )[0]
        return made

    def _fed(self, x: Tensor) -> Tensor:
        made: Tensor = self.linear2(self.dropout(self.activation(self.linear1(x))))
        return made

    def _add(self, x: Tensor, number: int, made_of: Callable[[Tensor], Tensor]) -> Tensor:
        """x and what a block makes of it, normalized before the block or after the sum."""
        norm, dropout = getattr(self, f"norm{number}"), getattr(self, f"dropout{number}")
        if self.norm_first:
            return x + dropout(made_of(norm(x)))
        made: Tensor = norm(x + dropout(made_of(x)))
        return made


class TransformerEncoderLayer(_Layer):
    """Attention of a sequence to itself, then two linear layers around an activation.

    Each is added to its input, and the sum is normalized. src is (S, N, E), with `batch_first` (N, S, E), without a
    batch (S, E); `forward` gives the same shape. `activation` is "relu", "gelu" or a function. `norm_first`
    normalizes before each block instead of after it. Masks are those of `MultiheadAttention`. RuntimeError for
    another activation. Reference: `torch.nn.TransformerEncoderLayer`.

        >>> nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)(dumbtorch.rand(2, 5, 16)).shape
        torch.Size([2, 5, 16])
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device,
            dtype, (), 2,
        )  # fmt: skip
        self.activation_relu_or_gelu = 0
        if self.activation is F.relu or isinstance(self.activation, ReLU):
            self.activation_relu_or_gelu = 1
        elif self.activation is F.gelu or isinstance(self.activation, GELU):
            self.activation_relu_or_gelu = 2

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        mask, padding = _masks(src_mask, "src_mask", src_key_padding_mask, "src_key_padding_mask", src.dtype)
        x = self._add(src, 1, lambda x: self._attended(self.self_attn, x, x, mask, padding, is_causal))
        return self._add(x, 2, self._fed)


class TransformerDecoderLayer(_Layer):
    """Attention of a sequence to itself, then to a memory, then two linear layers around an activation.

    tgt is (T, N, E) and memory (S, N, E), with `batch_first` (N, T, E) and (N, S, E); otherwise as
    `TransformerEncoderLayer`. Reference: `torch.nn.TransformerDecoderLayer`.

        >>> layer = nn.TransformerDecoderLayer(16, 4, 32, batch_first=True)
        >>> layer(dumbtorch.rand(2, 3, 16), dumbtorch.rand(2, 5, 16)).shape
        torch.Size([2, 3, 16])
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device,
            dtype, ("multihead_attn",), 3,
        )  # fmt: skip

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        own, other = self.self_attn, self.multihead_attn
        x = self._add(tgt, 1, lambda x: self._attended(own, x, x, tgt_mask, tgt_key_padding_mask, tgt_is_causal))
        x = self._add(
            x,
            2,
            lambda x: self._attended(other, x, memory, memory_mask, memory_key_padding_mask, memory_is_causal),
        )
        return self._add(x, 3, self._fed)


def _clones(layer: Module, count: int) -> ModuleList:
    return ModuleList([copy.deepcopy(layer) for _ in range(count)])


class TransformerEncoder(Module):
    """`num_layers` copies of an encoder layer one after the other, then `norm`.

    `enable_nested_tensor` and `mask_check` are PyTorch's: without gradients and with padding at the ends only, its
    stack leaves out the padding, whose places are zeros before `norm`; the same comes out here. Reference:
    `torch.nn.TransformerEncoder`.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _clones(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.use_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check
        why = self._why_padding_stays(encoder_layer)
        if enable_nested_tensor and why:
            warnings.warn(
                f"enable_nested_tensor is True, but self.use_nested_tensor is False because {why}", stacklevel=2
            )
            self.use_nested_tensor = False

    @staticmethod
    def _why_padding_stays(layer: Any) -> str:
        """Why PyTorch would not leave out the padding; empty if it would."""
        if not isinstance(layer, TransformerEncoderLayer):
            return "encoder_layer was not TransformerEncoderLayer"
        attention: Any = layer.self_attn
        for holds, why in (
            (layer.norm_first, "norm_first was True"),
            (
                not attention.batch_first,
                "self_attn.batch_first was not True(use batch_first for better inference performance)",
            ),
            (not attention._qkv_same_embed_dim, "self_attn._qkv_same_embed_dim was not True"),
            (attention.in_proj_bias is None, "self_attn was passed bias=False"),
            (not layer.activation_relu_or_gelu, "activation_relu_or_gelu was not True"),
            (layer.norm1.eps != layer.norm2.eps, "norm1.eps was not equal to encoder_layer.norm2.eps"),
            (attention.num_heads % 2 == 1, "self_attn.num_heads is odd"),
        ):
            if holds:
                return f"encoder_layer.{why}"
        return ""

    def _left_out(self, src: Tensor, mask: Tensor | None, padding: Tensor | None) -> Tensor | None:
        """The places (N, S) that PyTorch leaves out, or None."""
        if padding is None or mask is not None or src.ndim != 3 or not (self.use_nested_tensor and leaves_out_padding):
            return None
        if self.layers[0].training:
            return None
        if is_grad_enabled() and (src.requires_grad or any(p.requires_grad for p in self.layers[0].parameters())):
            return None
        out = padding != 0
        aligned = not self.mask_check or bool((out[:, 1:] | ~out[:, :-1]).all())
        return out if aligned else None

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        mask, padding = _masks(mask, "mask", src_key_padding_mask, "src_key_padding_mask", src.dtype)
        first: Any = self.layers[0]
        causal = _is_causal(mask, is_causal, _length(src, first.self_attn.batch_first))
        left_out = self._left_out(src, mask, padding)
        output = src
        for layer in self.layers:
            output = layer(output, src_mask=mask, is_causal=causal, src_key_padding_mask=padding)
        if left_out is not None:
            output = output.masked_fill(left_out.unsqueeze(-1), 0.0)
        return output if self.norm is None else self.norm(output)


class TransformerDecoder(Module):
    """`num_layers` copies of a decoder layer in turn, then `norm`. Reference: `torch.nn.TransformerDecoder`."""

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _clones(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        first: Any = self.layers[0]
        causal = _is_causal(tgt_mask, tgt_is_causal, _length(tgt, first.self_attn.batch_first))
        output = tgt
        for layer in self.layers:
            output = layer(
                output,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=causal,
                memory_is_causal=memory_is_causal,
            )
        return output if self.norm is None else self.norm(output)


class Transformer(Module):
    """An encoder of src (S, N, E) and a decoder of tgt (T, N, E) that attends to what the encoder made: (T, N, E).

    With `batch_first` (N, S, E) and (N, T, E). `custom_encoder` and `custom_decoder` take the place of the stacks.
    RuntimeError for sizes that do not fit. Reference: `torch.nn.Transformer`.

        >>> model = nn.Transformer(16, 4, 1, 1, 32)
        >>> model(dumbtorch.rand(5, 2, 16), dumbtorch.rand(3, 2, 16)).shape
        torch.Size([3, 2, 16])
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        options = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)

        if custom_encoder is None:
            layer: Module = TransformerEncoderLayer(*options, device, dtype)
            custom_encoder = TransformerEncoder(layer, num_encoder_layers, norm())
        if custom_decoder is None:
            layer = TransformerDecoderLayer(*options, device, dtype)
            custom_decoder = TransformerDecoder(layer, num_decoder_layers, norm())
        self.encoder = custom_encoder
        self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        batch = 0 if self.batch_first else 1
        if src.ndim == 3 and src.shape[batch] != tgt.shape[batch]:
            raise RuntimeError("the batch number of src and tgt must be equal")
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise RuntimeError("the feature number of src and tgt must be equal to d_model")
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        made: Tensor = self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )
        return made

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The causal mask (sz, sz) as numbers to be added: -inf above the diagonal."""
        return _subsequent(sz, device, dtype)

    def _reset_parameters(self) -> None:
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)
