"""The choice of the extension for a processor."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dumbtorch import _cpu

V3 = frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"})
V4 = V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}

# What this processor can run, of what is built: a developer may have left a level out.
BUILT = [
    level
    for level in _cpu.candidates(os.uname().machine, _cpu.cpu_flags())
    if importlib.util.find_spec(f"dumbtorch.{level.module}")
]


def names(levels: list[_cpu.Level]) -> list[str]:
    return [level.name for level in levels]


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DUMBTORCH_NO_REBUILD": "1"} | variables
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_the_best_level_comes_first() -> None:
    assert names(_cpu.candidates("x86_64", V4 | {"sse2"})) == ["x86-64-v4", "x86-64-v3"]


@pytest.mark.parametrize("missing", sorted(V4 - V3))
def test_without_one_flag_of_avx512_it_is_v3(missing: str) -> None:
    assert names(_cpu.candidates("x86_64", V4 - {missing})) == ["x86-64-v3"]


@pytest.mark.parametrize("missing", sorted(V3))
def test_below_v3_the_missing_flag_is_named(missing: str) -> None:
    with pytest.raises(ImportError, match=rf"needs a processor of the level x86-64-v3; this one lacks: {missing}$"):
        _cpu.candidates("x86_64", V4 - {missing})


def test_arm64_needs_no_flag() -> None:
    assert names(_cpu.candidates("aarch64", [])) == ["neon"]


def test_another_processor_is_named() -> None:
    with pytest.raises(ImportError, match="no build for the processor 'riscv64'"):
        _cpu.candidates("riscv64", [])


def test_a_wanted_level_is_the_only_one() -> None:
    assert names(_cpu.candidates("x86_64", V4, "x86-64-v3")) == ["x86-64-v3"]


def test_a_wanted_level_must_run() -> None:
    with pytest.raises(ImportError, match="needs a processor of the level x86-64-v4; this one lacks: avx512bw"):
        _cpu.candidates("x86_64", V3, "x86-64-v4")


def test_an_unknown_level_lists_the_known_ones() -> None:
    with pytest.raises(
        ImportError, match=r"DUMBTORCH_CPU='avx2' is unknown on x86_64; use one of: x86-64-v4, x86-64-v3"
    ):
        _cpu.candidates("x86_64", V4, "avx2")


def test_flags_are_read_from_the_first_processor(tmp_path: Path) -> None:
    listing = tmp_path / "cpuinfo"
    listing.write_text("processor\t: 0\nflags\t\t: fpu avx2 fma\n\nprocessor\t: 1\nflags\t\t: fpu\n", encoding="ascii")
    assert _cpu.cpu_flags(str(listing)) == {"fpu", "avx2", "fma"}
    assert _cpu.cpu_flags(str(tmp_path / "none")) == frozenset()


@pytest.mark.parametrize("level", BUILT, ids=[level.name for level in BUILT])
def test_each_level_computes(level: _cpu.Level) -> None:
    """The v3 path runs on a v4 machine as it does on a machine without AVX-512."""
    code = """
import dumbtorch
a = dumbtorch.arange(100, dtype=dumbtorch.float32)
print(dumbtorch._C.__spec__.name, (a * 2 + 1).sum().item())
"""
    done = python(code, DUMBTORCH_CPU=level.name)
    assert done.stdout == f"dumbtorch.{level.module} 10000.0\n", done.stderr


def test_the_variable_for_the_mojo_run_time_is_put_back() -> None:
    show = "import os, dumbtorch; print(os.environ.get('MOJO_PYTHON_LIBRARY'))"
    assert python(show, MOJO_PYTHON_LIBRARY="/x").stdout == "/x\n"
    code = f"import os; os.environ.pop('MOJO_PYTHON_LIBRARY', None); {show}"
    assert python(code).stdout == "None\n"


def test_import_brings_no_numpy() -> None:
    assert python("import sys, dumbtorch; print('numpy' in sys.modules)").stdout == "False\n"


def test_both_ways_to_import_the_extension() -> None:
    assert python("import dumbtorch._C as a; from dumbtorch import _C as b; print(a is b)").stdout == "True\n"
