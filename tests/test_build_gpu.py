"""Kernels for accelerators compile on a machine without one: the reductions, for an NVIDIA and an AMD device."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

MOJO = Path(__file__).resolve().parent.parent / "mojo"


@pytest.mark.parametrize("accelerator", ["sm_90a", "mi300x"])
def test_reductions_compile(accelerator: str, tmp_path: Path) -> None:
    target = tmp_path / "reduce.o"
    command = ["mojo", "build", MOJO / "kernels" / "gpu" / "reduce.mojo", "--emit", "object", "-I", MOJO, "-o", target]
    command += ["--target-accelerator", accelerator]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    code = target.read_bytes()
    # the device's code lies inside: PTX as text, AMD's as an ELF file with its target's name
    assert (b".target sm_90a" if accelerator == "sm_90a" else b"gfx942") in code
