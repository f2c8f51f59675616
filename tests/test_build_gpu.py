"""Kernels for accelerators compile on a machine without one: a family for an NVIDIA, an AMD and an Apple device."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

MOJO = Path(__file__).resolve().parent.parent / "mojo"


@pytest.mark.parametrize(
    ("family", "accelerator", "kind", "mark"),
    [
        # the device's code lies inside: PTX as text, AMD's as an ELF file with its target's name
        ("scan", "sm_90a", "object", b".target sm_90a"),
        ("scan", "mi300x", "object", b"gfx942"),
        # an object for Apple's devices takes Apple's tools: the kernels alone, as text
        ("copy", "apple-m1", "asm", b"air64"),
    ],
)
def test_a_family_compiles(family: str, accelerator: str, kind: str, mark: bytes, tmp_path: Path) -> None:
    target = tmp_path / f"{family}.{kind}"
    command = ["mojo", "build", MOJO / "kernels" / "gpu" / f"{family}.mojo", "--emit", kind, "-I", MOJO, "-o", target]
    command += ["--target-accelerator", accelerator]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert mark in target.read_bytes()
