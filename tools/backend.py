"""The build backend of pyproject.toml: meson-python, with another way to install for development.

meson-python's own editable install serves every Python file through an import hook, which costs 25 ms at the start of
every interpreter and keeps no bytecode. This one puts the source folder on the path, as any Python package does, and
hooks only the extension: tools/editable_loader.py compiles what has changed when `dumbtorch` is imported.
"""

import base64
import hashlib
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import mesonpy
from mesonpy import (
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "dev"
LOADER = "_dumbtorch_editable_loader"


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build in build/dev and return the name of a wheel that points there and at python/."""
    settings = {"build-dir": str(BUILD)} | (config_settings or {})
    name: str = mesonpy.build_editable(wheel_directory, settings, metadata_directory)
    ninja = shutil.which("ninja")
    if ninja is None:
        sys.exit("dumbtorch: ninja is not on PATH")
    loader = (ROOT / "tools" / "editable_loader.py").read_text(encoding="utf-8")
    for mark, value in {
        "@BUILD@": str(BUILD),
        "@NINJA@": ninja,
        "@PACKAGE@": str(ROOT / "python" / "dumbtorch"),
    }.items():
        loader = loader.replace(mark, value)
    paths = f"{ROOT / 'python'}\nimport {LOADER}; {LOADER}.install()\n"
    replace_in_wheel(Path(wheel_directory, name), {f"{LOADER}.py": loader, "dumbtorch-editable.pth": paths})
    return name


def replace_in_wheel(wheel: Path, texts: dict[str, str]) -> None:
    """Give files of a wheel another content, and its RECORD their sums."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    missing = texts.keys() - files.keys()
    if missing:
        raise RuntimeError(f"{wheel.name} holds no {', '.join(missing)}: meson-python has changed its editable wheels")
    files |= {name: text.encode() for name, text in texts.items()}
    record = next(name for name in files if name.endswith(".dist-info/RECORD"))
    lines = [f"{record},,"]
    for name, content in files.items():
        if name != record:
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(content)}")
    files[record] = "\n".join([*lines, ""]).encode()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
