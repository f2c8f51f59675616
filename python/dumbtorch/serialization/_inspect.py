"""Looking at what a ``.pt`` file would make, without making it."""

from __future__ import annotations

import pickletools
from typing import Any

from dumbtorch.serialization._archive import Reader
from dumbtorch.serialization._globals import Allowed
from dumbtorch.serialization._machine import UnpicklingError
from dumbtorch.serialization._reading import opened

__all__ = ["get_unsafe_globals_in_checkpoint"]


def get_unsafe_globals_in_checkpoint(f: Any) -> list[str]:
    """The names in a file that ``load`` refuses unless ``add_safe_globals`` allows them.

    Raises ValueError for a file of the format before PyTorch 1.6. Reference:
    ``torch.serialization.get_unsafe_globals_in_checkpoint``.
    """
    allowed = Allowed()
    with opened(f) as file:
        start = file.tell()
        archive = file.read(4) == b"PK\x03\x04"
        file.seek(start)
        if not archive:
            raise ValueError("Expected input to be a checkpoint returned by torch.save")
        reader = Reader(file)
        if "constants.pkl" in reader:
            raise ValueError(
                "Expected input to be a checkpoint returned by torch.save but got a torchscript checkpoint"
            )
        data = reader.read("data.pkl")
    found = set()
    texts: list[str] = []
    try:
        for code, argument, _ in pickletools.genops(data):
            if code.name == "GLOBAL":
                found.add(tuple(str(argument).split(" ", 1)))
            elif code.name == "STACK_GLOBAL":
                found.add(tuple(texts[-2:]))
            elif isinstance(argument, str) and "UNICODE" in code.name:
                texts.append(argument)
    except ValueError as error:
        raise UnpicklingError(f"the pickle is damaged: {error}") from None
    return sorted(".".join(name) for name in found if not allowed.knows(".".join(name)))
