"""Compile one Mojo file into an object and write down, for ninja, the Mojo files it was made from.

    mojo_object.py MOJO SOURCE INCLUDE OBJECT DEPFILE [flags for `mojo build` ...]

The Mojo compiler writes no dependency file. This script follows the imports itself, so that meson.build need not repeat
them: a file is rebuilt when a file it imports, directly or not, has changed.
"""

import re
import subprocess
import sys
from pathlib import Path

IMPORT = re.compile(
    r"^[ \t]*(?:"
    r"from[ \t]+(?P<origin>[.\w]+)[ \t]+import[ \t]*(?P<names>\([^)]*\)|[^\n#]*)"
    r"|import[ \t]+(?P<modules>[^\n#]*)"
    r")",
    re.MULTILINE,
)


def imported(source: Path, include: Path) -> list[Path]:
    """Files that may be meant by the imports of `source`. Those of the standard library are not among them."""
    files: list[Path] = []
    for match in IMPORT.finditer(source.read_text(encoding="utf-8")):
        if match["origin"]:
            dots = len(match["origin"]) - len(match["origin"].lstrip("."))
            root = source.parents[dots - 1] if dots else include
            module = match["origin"].lstrip(".").split(".") if match["origin"].strip(".") else []
            names = re.findall(r"(\w+)(?:\s+as\s+\w+)?", match["names"])
            modules = [module] + [[*module, name] for name in names]
        else:
            root = include
            modules = [part.split()[0].split(".") for part in match["modules"].split(",") if part.strip()]
        for module in modules:
            for depth in range(1, len(module) + 1):
                path = root.joinpath(*module[:depth])
                files += [path.with_suffix(".mojo"), path / "__init__.mojo"]
    return [file for file in dict.fromkeys(files) if file.is_file()]


def closure(source: Path, include: Path) -> list[Path]:
    """`source` and every file that it imports, directly or not."""
    found = [source]
    for file in found:
        found += [other for other in imported(file, include) if other not in found]
    return found


def main() -> int:
    """Compile, then write the depfile. Returns the compiler's exit status."""
    mojo, source, include, target, depfile, *flags = sys.argv[1:]
    command = [mojo, "build", source, "--emit", "object", "-I", include, "-o", target, *flags]
    status = subprocess.run(command, check=False).returncode
    if status == 0:
        files = closure(Path(source).resolve(), Path(include).resolve())
        names = " ".join(str(file).replace(" ", "\\ ") for file in files)
        Path(depfile).write_text(f"{target}: {names}\n", encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
