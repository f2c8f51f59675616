"""Whether transformers in evaluation leave out padding. Reference: ``torch.backends.mha``."""

from __future__ import annotations

from dumbtorch.nn.modules import transformer

__all__ = ["get_fastpath_enabled", "set_fastpath_enabled"]


def get_fastpath_enabled() -> bool:
    """Whether `nn.TransformerEncoder` may leave out padding where no gradient is asked for: True at first."""
    return transformer.leaves_out_padding


def set_fastpath_enabled(value: bool) -> None:
    """What `get_fastpath_enabled` says from now on."""
    transformer.leaves_out_padding = value
