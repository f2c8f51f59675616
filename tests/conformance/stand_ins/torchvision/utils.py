"""Saving pictures: nothing is written."""

from typing import Any


def save_image(tensor: Any, fp: Any, **kwargs: Any) -> None:
    """Look at the numbers and forget them."""
    tensor.detach().cpu().numpy()
