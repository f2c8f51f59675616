"""Check all sources, or format them with --fix. Runs every check, then fails if one failed.

./pixiw run lint
./pixiw run format
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What `mojo format` runs; that command itself has no --check.
MOJO_FORMAT = "mblack --fast --preview --quiet --line-length 120 -t mojo --include '\\.mojo$'"
SOURCES = [name for name in ("mojo", "tests", "benchmarks", "examples") if (ROOT / name).is_dir()]

CHECKS = [
    "ruff check .",
    "ruff format --check .",
    f"{MOJO_FORMAT} --check {shlex.join(SOURCES)}",
    "mypy",
    "lint-imports --no-cache",
    "python tools/docs.py --check",
]
FIXES = ["ruff check --fix .", "ruff format .", f"{MOJO_FORMAT} {shlex.join(SOURCES)}"]


def main() -> int:
    """Run the commands and return 1 if one of them failed."""
    failed = []
    for line in FIXES if sys.argv[1:] == ["--fix"] else CHECKS:
        print(f"$ {line}", flush=True)
        # import-linter looks the package up; let it find this tree, installed or not.
        environment = os.environ | {"PYTHONPATH": str(ROOT / "python")}
        if subprocess.run(shlex.split(line), cwd=ROOT, env=environment, check=False).returncode:
            failed.append(line)
    for line in failed:
        print(f"lint: failed: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
