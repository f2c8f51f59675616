"""Runs the public test suite of the Python array API standard against `dumbtorch.array_api`.

    git clone --recurse-submodules https://github.com/data-apis/array-api-tests SUITE
    pip install -r SUITE/requirements.txt
    python -m tests.conformance.array_api SUITE [--max-examples N] [-k EXPRESSION]

The run passes when every test passes but those that array_api.txt declares, each of which has to fail.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

DECLARED = Path(__file__).with_suffix(".txt")
LIMIT = 15


def declared() -> dict[str, str]:
    """The tests that are expected to fail, each with its reason: the comment lines above it."""
    found: dict[str, str] = {}
    reason: list[str] = []
    for line in DECLARED.read_text().splitlines():
        if line.startswith("#"):
            reason.append(line[1:].strip())
        elif line.strip():
            if not reason:
                raise SystemExit(f"{DECLARED.name}: no reason stands above {line}")
            found[line.strip()] = " ".join(reason)
        else:
            reason = []
    if len(found) > LIMIT:
        raise SystemExit(f"{DECLARED.name}: {len(found)} tests are declared, at most {LIMIT} may be")
    return found


def run(suite: Path, max_examples: int, expression: str | None) -> int:
    """Runs the suite; 0 when all but the declared tests pass and those fail."""
    if not (suite / "array_api_tests").is_dir() or not (suite / "array-api" / "spec").is_dir():
        raise SystemExit(f"{suite} holds no array-api-tests suite with its submodule array-api: see --help")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as expected:
        expected.write("".join(f"{test}\n" for test in declared()))
        expected.flush()
        command = [
            sys.executable, "-m", "pytest", "array_api_tests", "-q", "-p", "no:cacheprovider", "--tb=short",
            "--xfails-file", expected.name, "-o", "xfail_strict=True", "--max-examples", str(max_examples),
            "--derandomize", "--disable-deadline",
        ]  # fmt: skip
        if expression is not None:
            command += ["-k", expression]
        environment = {**os.environ, "ARRAY_API_TESTS_MODULE": "dumbtorch.array_api", "DUMBTORCH_NO_REBUILD": "1"}
        return subprocess.run(command, cwd=suite, env=environment).returncode


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", type=Path, help="a checkout of data-apis/array-api-tests with its submodule")
    parser.add_argument("--max-examples", type=int, default=100, help="examples that Hypothesis tries in each test")
    parser.add_argument("-k", dest="expression", help="only the tests that match, as pytest's -k")
    options = parser.parse_args()
    return run(options.suite.resolve(), options.max_examples, options.expression)


if __name__ == "__main__":
    sys.exit(main())
