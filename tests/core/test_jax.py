"""DLPack with JAX, both ways: in a process of its own, since JAX's threads do not bear the forks of other tests."""

import importlib.util
import subprocess
import sys

import pytest

SCRIPT = """
import os; os.environ["JAX_PLATFORMS"] = "cpu"
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
import dumbtorch as torch

KINDS = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "bfloat16",
         "float32", "float64", "complex64", "complex128", "float8_e5m2", "float8_e4m3fn")
for kind in KINDS:
    ours = torch.arange(6, dtype=torch.float32).to(getattr(torch, kind)).reshape(2, 3)
    theirs = jax.dlpack.from_dlpack(ours)
    assert theirs.dtype.name == kind, (theirs.dtype, kind)
    assert np.asarray(theirs).astype("complex128").tolist() == ours.to(torch.complex128).tolist(), kind
    again = torch.from_dlpack(theirs)
    assert again.dtype is ours.dtype and again.data_ptr() == ours.data_ptr() and again.tolist() == ours.tolist(), kind

ours = torch.zeros(2, 3)
theirs = jnp.from_dlpack(ours)
ours[0, 0] = 5
assert theirs[0, 0] == 5
assert jnp.from_dlpack(ours.T).shape == (3, 2)
copied = torch.from_dlpack(theirs, copy=True)
copied[0, 0] = 7
assert theirs[0, 0] == 5
made = jnp.arange(3.0)
for convert in (torch.from_dlpack, torch.asarray, torch.as_tensor, torch.tensor):
    assert convert(made).tolist() == [0, 1, 2] and convert(made).dtype is torch.float64
assert jnp.add(jnp.asarray(ours.numpy()), 1).sum() == 11
del ours, theirs, again, copied
print("passed")
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_exchange() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True)
    assert done.stdout.strip() == "passed", done.stderr[-2000:]
