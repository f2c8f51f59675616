"""Curves, histograms, pictures and texts for TensorBoard, where PyTorch has them: ``torch.utils.tensorboard``.

Files are written by the package tensorboardX, which is to be installed (``pip install 'dumbtorch[training]'``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from dumbtorch._tensor import Tensor

try:
    import tensorboardX
except ImportError as error:
    raise ImportError("dumbtorch.utils.tensorboard needs tensorboardX: pip install 'dumbtorch[training]'") from error

__all__ = ["SummaryWriter"]


class SummaryWriter(tensorboardX.SummaryWriter):  # type: ignore[misc]
    """Writes what ``tensorboard --logdir`` shows, into a new folder of ``runs`` unless ``log_dir`` says where.

    The methods are those of PyTorch, ``add_scalar``, ``add_histogram``, ``add_image``, ``add_text``, ``add_figure``,
    ``add_hparams`` and the others, and take tensors. Reference: ``torch.utils.tensorboard.SummaryWriter``.

    Example::

        with SummaryWriter("runs/first") as writer:
            writer.add_scalar("loss", loss, step)
    """

    def __init__(
        self,
        log_dir: Any = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
    ) -> None:
        super().__init__(
            logdir=None if log_dir is None else str(log_dir),
            comment=comment,
            purge_step=purge_step,
            max_queue=max_queue,
            flush_secs=flush_secs,
            filename_suffix=filename_suffix,
        )

    def get_logdir(self) -> str:
        """The folder of the files."""
        return str(self.logdir)

    def add_graph(self, *_: Any, **__: Any) -> None:
        """RuntimeError: PyTorch draws the graph that TorchScript makes, and there is none here."""
        raise RuntimeError("SummaryWriter.add_graph draws a graph of TorchScript, which dumbtorch has not")


def _plain(value: Any) -> Any:
    """Tensors as arrays, also in lists and dictionaries."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype.itemsize == 2 and value.dtype.is_floating_point else value).numpy()
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(one) for one in value) if type(value) in (list, tuple) else value
    return value


def _taking_tensors(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self, *map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()})

    return call


for _name in (
    "add_audio", "add_embedding", "add_histogram", "add_histogram_raw", "add_hparams", "add_image",
    "add_image_with_boxes", "add_images", "add_mesh", "add_pr_curve", "add_pr_curve_raw", "add_scalar", "add_scalars",
    "add_video",
):  # fmt: skip
    setattr(SummaryWriter, _name, _taking_tensors(getattr(tensorboardX.SummaryWriter, _name)))
