"""Spectral normalization by a forward pre-hook: the older form; see `parametrizations.spectral_norm`."""

from __future__ import annotations

from typing import Any

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import no_grad
from dumbtorch.nn import functional as F
from dumbtorch.nn.modules.module import Module
from dumbtorch.nn.parameter import Parameter
from dumbtorch.nn.utils._norms import singular_dim

__all__ = ["SpectralNorm", "remove_spectral_norm", "spectral_norm"]


class SpectralNorm:
    """The hook: before forward, `name` is `name_orig` over its largest singular value.

    Power iteration follows the singular vectors `name_u` and `name_v`, which are buffers.
    """

    _version: int = 1

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.name = name
        self.dim = dim
        self.n_power_iterations = n_power_iterations
        self.eps = eps

    def reshape_weight_to_matrix(self, weight: Tensor) -> Tensor:
        """`dim` as rows, the rest as columns."""
        if self.dim != 0:
            weight = weight.permute(self.dim, *(d for d in range(weight.ndim) if d != self.dim))
        return weight.reshape(weight.shape[0], -1)

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """The normalized tensor; moves the vectors on first if asked."""
        weight = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        matrix = self.reshape_weight_to_matrix(weight)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(F.normalize(matrix.t() @ u, dim=0, eps=self.eps))
                    u.copy_(F.normalize(matrix @ v, dim=0, eps=self.eps))
                if self.n_power_iterations > 0:
                    u, v = u.clone(), v.clone()  # what backward needs is not changed by the next forward
        return weight / ops.dot(u, matrix @ v)

    def remove(self, module: Module) -> None:
        """Make `name` a parameter again, of its present value."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        delattr(module, self.name)
        delattr(module, self.name + "_u")
        delattr(module, self.name + "_v")
        delattr(module, self.name + "_orig")
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, do_power_iteration=module.training))

    def _solve_v_and_rescale(self, matrix: Tensor, u: Tensor, target_sigma: Any) -> Tensor:
        """A v with u = normalize(W v) and u W v = sigma: v = (W^T W)^-1 W^T u scaled."""
        v = ops.chain_matmul(matrix.t().mm(matrix).pinverse(), matrix.t(), u.unsqueeze(1)).squeeze(1)
        return v * (target_sigma / ops.dot(u, matrix @ v))

    @staticmethod
    def apply(module: Module, name: str, n_power_iterations: int, dim: int, eps: float) -> SpectralNorm:
        """Split `module.name` and register the hooks."""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm) and hook.name == name:
                raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
        made = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        with no_grad():
            matrix = made.reshape_weight_to_matrix(weight)
            rows, columns = matrix.shape
            u = F.normalize(weight.new_empty((rows,)).normal_(0, 1), dim=0, eps=eps)
            v = F.normalize(weight.new_empty((columns,)).normal_(0, 1), dim=0, eps=eps)
        delattr(module, name)
        module.register_parameter(name + "_orig", weight)
        # a plain attribute until the first forward: something that is shaped like the weight
        setattr(module, name, weight.data)
        module.register_buffer(name + "_u", u)
        module.register_buffer(name + "_v", v)
        module.register_forward_pre_hook(made)
        module._register_state_dict_hook(_Versions(made))
        module._register_load_state_dict_pre_hook(_OldState(made))
        return made


class _OldState:
    """Before loading: state of the version that kept the normalized weight and no v."""

    def __init__(self, made: SpectralNorm) -> None:
        self.made = made

    def __call__(self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any) -> None:
        name = self.made.name
        version = local_metadata.get("spectral_norm", {}).get(name + ".version", None)
        if version is not None and version >= 1:
            return
        key = prefix + name
        if version is None and all(key + end in state_dict for end in ("_orig", "_u", "_v")) and key not in state_dict:
            return
        needed = [key + end for end in ("_orig", "", "_u")]
        if not all(one in state_dict for one in needed):
            return
        with no_grad():
            original = state_dict[key + "_orig"]
            weight = state_dict.pop(key)
            sigma = (original / weight).mean()
            matrix = self.made.reshape_weight_to_matrix(original)
            state_dict[key + "_v"] = self.made._solve_v_and_rescale(matrix, state_dict[key + "_u"], sigma)


class _Versions:
    """After saving: the format's version stands in the metadata."""

    def __init__(self, made: SpectralNorm) -> None:
        self.made = made

    def __call__(self, module: Module, state_dict: Any, prefix: str, local_metadata: Any) -> None:
        found = local_metadata.setdefault("spectral_norm", {})
        key = self.made.name + ".version"
        if key in found:
            raise RuntimeError(f"Unexpected key in metadata['spectral_norm']: {key}")
        found[key] = self.made._version


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """w over its largest singular value, as a matrix of `dim` (0, or 1 for transposed convolutions) by the rest.

    Reference: `torch.nn.utils.spectral_norm` (Miyato et al., 2018).
    """
    SpectralNorm.apply(module, name, n_power_iterations, singular_dim(module) if dim is None else dim, eps)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Undo `spectral_norm`; ValueError if there is none."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            break
    else:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    for registry, kind in ((module._state_dict_hooks, _Versions), (module._load_state_dict_pre_hooks, _OldState)):
        for key, found in list(registry.items()):
            inner = getattr(found, "hook", found)
            if isinstance(inner, kind) and inner.made.name == name:
                del registry[key]
    return module
