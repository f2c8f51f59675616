"""The sampler of distributed training, where PyTorch has it: ``torch.utils.data.distributed``."""

from .sampler import DistributedSampler

__all__ = ["DistributedSampler"]
