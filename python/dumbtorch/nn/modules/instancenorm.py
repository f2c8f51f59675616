"""Normalization of each channel of each sample: `InstanceNorm1d`, `InstanceNorm2d`, `InstanceNorm3d`."""

from __future__ import annotations

import warnings
from typing import Any

from dumbtorch._tensor import Tensor
from dumbtorch.nn import functional as F
from dumbtorch.nn.modules.batchnorm import _NormBase

__all__ = ["InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"]


class _InstanceNorm(_NormBase):
    spatial = 0

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _check_input_dim(self, input: Tensor) -> None:
        low, high = self.spatial + 1, self.spatial + 2
        if input.ndim not in (low, high):
            raise ValueError(f"expected {low}D or {high}D input (got {input.ndim}D input)")

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        if local_metadata.get("version") is None and not self.track_running_stats:
            found = [key for key in (prefix + "running_mean", prefix + "running_var") if key in state_dict]
            if found:
                names = " and ".join(f'"{key}"' for key in found)
                error_msgs.append(
                    f"Unexpected running stats buffer(s) {names} for {type(self).__name__} with "
                    "track_running_stats=False. Remove these keys from the state dict, or set "
                    "track_running_stats=True if they are needed."
                )
                for key in found:
                    state_dict.pop(key)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        place = input.ndim - self.spatial - 1
        if input.shape[place] != self.num_features:
            if self.affine:
                raise ValueError(
                    f"expected input's size at dim={place} to match num_features ({self.num_features}), "
                    f"but got: {input.shape[place]}."
                )
            warnings.warn(
                f"input's size at dim={place} does not match num_features. You can silence this warning by not passing "
                "in num_features, which is not used because affine=False",
                stacklevel=2,
            )
        batched = input if place else input.unsqueeze(0)
        result = F.instance_norm(
            batched,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return result if place else result.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each sample of (N, C, L) or (C, L) less its mean, over its standard deviation.

    Without weights and running statistics unless asked for. ValueError for other ranks.
    Reference: `torch.nn.InstanceNorm1d` (Ulyanov et al., 2016).

        >>> nn.InstanceNorm1d(8)(dumbtorch.rand(4, 8, 5)).shape
        torch.Size([4, 8, 5])
    """

    spatial = 1


class InstanceNorm2d(_InstanceNorm):
    """Each channel of each sample of (N, C, H, W) or (C, H, W) normalized; see `InstanceNorm1d`.

    >>> nn.InstanceNorm2d(8)(dumbtorch.rand(4, 8, 5, 5)).shape
    torch.Size([4, 8, 5, 5])
    """

    spatial = 2


class InstanceNorm3d(_InstanceNorm):
    """Each channel of each sample of (N, C, D, H, W) or (C, D, H, W) normalized; see `InstanceNorm1d`.

    >>> nn.InstanceNorm3d(8)(dumbtorch.rand(4, 8, 3, 5, 5)).shape
    torch.Size([4, 8, 3, 5, 5])
    """

    spatial = 3
