"""Files of tensors: ``save`` and ``load`` of ``.pt`` files, safetensors and NumPy archives.

Loading does not run code that a file brings along, unless ``weights_only=False`` asks for it.
Reference: ``torch.serialization``.
"""

from dumbtorch.serialization._globals import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals
from dumbtorch.serialization._inspect import get_unsafe_globals_in_checkpoint
from dumbtorch.serialization._npz import load_npz, save_npz
from dumbtorch.serialization._options import (
    get_crc32_options,
    get_default_mmap_options,
    set_crc32_options,
    set_default_mmap_options,
)
from dumbtorch.serialization._pickler import _get_layout
from dumbtorch.serialization._reading import load
from dumbtorch.serialization._restore import (
    LoadEndianness,
    default_restore_location,
    get_default_load_endianness,
    location_tag,
    register_package,
    set_default_load_endianness,
)
from dumbtorch.serialization._safetensors import load_safetensors, save_safetensors
from dumbtorch.serialization._writing import DEFAULT_PROTOCOL, save

__all__ = [
    "DEFAULT_PROTOCOL",
    "LoadEndianness",
    "_get_layout",
    "add_safe_globals",
    "clear_safe_globals",
    "default_restore_location",
    "get_crc32_options",
    "get_default_load_endianness",
    "get_default_mmap_options",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "load_npz",
    "load_safetensors",
    "location_tag",
    "register_package",
    "safe_globals",
    "save",
    "save_npz",
    "save_safetensors",
    "set_crc32_options",
    "set_default_load_endianness",
    "set_default_mmap_options",
]
