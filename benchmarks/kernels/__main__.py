"""Run the kernel benchmarks: `python -m benchmarks.kernels [NAME ...]`, all of them if none is named.

Each benchmarks/kernels/bench_NAME.mojo is a program of its own, compiled for this machine's processor.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def main() -> int:
    """Compile and run one program after another. Returns the first exit status that is not 0."""
    files = {file.stem.removeprefix("bench_"): file for file in sorted(HERE.glob("bench_*.mojo"))}
    parser = argparse.ArgumentParser(prog="bench-kernels", description=f"Benchmarks: {', '.join(files)}")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones to run (default: all)")
    names = parser.parse_args().names or list(files)
    unknown = [name for name in names if name not in files]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are: {', '.join(files)}")
    for name in names:
        print(f"== {name}", flush=True)
        status = subprocess.run(["mojo", "run", "-I", ROOT / "mojo", files[name]], cwd=ROOT, check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
