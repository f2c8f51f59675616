"""Runs a program that imports ``torch`` on dumbtorch.

python -m dumbtorch program.py ARGUMENTS...
python -m dumbtorch -m package.module ARGUMENTS...
python -m dumbtorch -c CODE ARGUMENTS...
"""

from __future__ import annotations

import os
import runpy
import sys

from dumbtorch._alias import install_as_torch


def main(arguments: list[str]) -> int:
    """Run the program as ``python`` would; 2 if none is named."""
    if not arguments or arguments[0] in ("-h", "--help") or arguments == ["-m"] or arguments == ["-c"]:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    install_as_torch()
    first, *rest = arguments
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        # what `python program.py` puts there, in the place of what `python -m` has put
        sys.path[0] = os.path.dirname(os.path.abspath(first))
        runpy.run_path(first, run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
