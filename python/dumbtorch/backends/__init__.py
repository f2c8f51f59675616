"""Settings of the libraries that PyTorch computes with, by PyTorch's names.

dumbtorch computes with kernels of its own. What asks for speed, for determinism or for full precision is granted
without these switches, so they are accepted and remembered; whether something is there is answered truthfully.
Reference: ``torch.backends``.
"""

from dumbtorch.backends import cpu, cuda, cudnn, mha, mkl, mkldnn, mps, openmp, opt_einsum

__all__ = ["cpu", "cuda", "cudnn", "mha", "mkl", "mkldnn", "mps", "openmp", "opt_einsum"]
