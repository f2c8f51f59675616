"""Which public names of PyTorch dumbtorch has, and which it has not, with the reason.

    python -m tests.conformance.coverage [-v]

Every public name of the namespaces below is there, or declared absent in coverage.toml: groups of names (or patterns),
each with its reason. An absent name that is not declared, and a declared one that is there, end the run with status 1.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import torch

import dumbtorch

DECLARED = Path(__file__).with_suffix(".toml")
NAMESPACES = (
    "",
    "Tensor",
    "special",
    "linalg",
    "fft",
    "autograd",
    "autograd.forward_ad",
    "autograd.function",
    "autograd.graph",
    "func",
    "utils.checkpoint",
    "distributions",
    "testing",
    "utils.data",
    "utils.dlpack",
    "return_types",
    "version",
    "nn",
    "nn.Module",
    "nn.functional",
    "nn.init",
    "nn.parameter",
    "nn.utils",
    "nn.utils.parametrize",
    "nn.utils.prune",
    "nn.utils.rnn",
    "optim",
    "optim.lr_scheduler",
    "optim.swa_utils",
)


def public(namespace: Any) -> set[str]:
    """The names of a namespace that are its own: no underscore, no foreign module, no variable of a type checker."""
    return {
        name
        for name in dir(namespace)
        if not name.startswith("_") and not _foreign(name, getattr(namespace, name, None))
    }


def _foreign(name: str, value: Any) -> bool:
    if isinstance(value, types.ModuleType):
        return not value.__name__.startswith("torch.") or name == "torch"
    return getattr(value, "__module__", None) in ("typing", "collections.abc", "contextlib", "functools", "enum")


def found(root: Any, path: str) -> Any:
    """The namespace of this path, imported where it is a module; None if there is none."""
    value = root
    for part in filter(None, path.split(".")):
        value = getattr(value, part, None)
    if value is None:
        try:
            value = importlib.import_module(f"{root.__name__}.{path}")
        except ImportError:
            return None
    return value


def absent() -> dict[str, set[str]]:
    """For each namespace the names that PyTorch has and dumbtorch lacks."""
    missing = {}
    for path in NAMESPACES:
        theirs, ours = found(torch, path), found(dumbtorch, path)
        missing[path] = {name for name in public(theirs) if not hasattr(ours, name)}
    return missing


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-v", "--verbose", action="store_true", help="list the absent names by reason")
    verbose = parser.parse_args().verbose
    missing = absent()
    total = {path: len(public(found(torch, path))) for path in NAMESPACES}
    undeclared = {path: set(names) for path, names in missing.items()}
    stale = []
    for group in tomllib.loads(DECLARED.read_text())["absent"]:
        path = group.get("namespace", "")
        matched = set()
        for pattern in group["names"].split():
            hits = {name for name in missing[path] if fnmatch.fnmatchcase(name, pattern)}
            if not hits:
                stale.append(f"{path or 'torch'}: {pattern}")
            matched |= hits
        undeclared[path] -= matched
        if verbose:
            print(f"{path or 'torch'}, {len(matched)}: {group['reason']}\n    {' '.join(sorted(matched))}")
    for path in NAMESPACES:
        here, gone = total[path] - len(missing[path]), len(missing[path])
        label = f"torch.{path}".rstrip(".")
        print(f"{label:20} {here:5} of {total[path]:5} names, {gone - len(undeclared[path])} declared absent")
        for name in sorted(undeclared[path]):
            print(f"    absent and not declared: {name}")
    for text in stale:
        print(f"declared absent, but there (or no name of PyTorch's): {text}")
    return 1 if stale or any(undeclared.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
