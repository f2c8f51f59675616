"""Windows for spectra and filters. Reference: ``torch.signal``."""

from __future__ import annotations

from dumbtorch.signal import windows

__all__ = ["windows"]
