"""Accelerators on a machine that has none, and the search for them, whatever the machine has."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dumbtorch
from dumbtorch import cuda

ROOT = Path(__file__).resolve().parent.parent.parent
without_gpu = pytest.mark.skipif(cuda.is_available(), reason="shows what happens without a GPU")


def run(code: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "python"), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@without_gpu
def test_nothing_is_available() -> None:
    assert cuda.is_available() is False
    assert cuda.device_count() == 0
    assert not cuda.is_initialized()


@without_gpu
@pytest.mark.parametrize(
    "use",
    [
        lambda: dumbtorch.ones(3).to("cuda"),
        lambda: dumbtorch.ones(3).to(dumbtorch.device("cuda", 1)),
        lambda: dumbtorch.ones(3).cuda(),
        lambda: dumbtorch.ones(3, device="cuda"),
        lambda: dumbtorch.empty((2,), device="cuda:0"),
        lambda: dumbtorch.tensor([1.0], device="cuda"),
        lambda: dumbtorch.nn.Embedding(2, 2, _weight=dumbtorch.ones(2, 2)).to("cuda"),
        cuda.init,
        cuda.current_device,
        cuda.synchronize,
        cuda.Stream,
        cuda.current_stream,
        cuda.get_device_name,
        cuda.get_device_properties,
        cuda.mem_get_info,
        lambda: cuda.set_device(0),
        lambda: cuda.device(0),
    ],
)
def test_use_says_what_was_looked_for(use: object) -> None:
    with pytest.raises(RuntimeError, match=r"no cuda device is available: .*(driver|device).*device='cpu'"):
        use()  # type: ignore[operator]


@without_gpu
def test_a_failed_move_leaves_the_tensor_and_the_process_as_they_were() -> None:
    x = dumbtorch.arange(4.0)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            x.to("cuda")
    assert x.tolist() == [0, 1, 2, 3]
    assert x.device == dumbtorch.device("cpu")


def test_device_objects_need_no_device() -> None:
    assert str(dumbtorch.device("cuda")) == "cuda"
    assert dumbtorch.device("cuda", 3).index == 3
    assert dumbtorch.device("cuda:0") != dumbtorch.device("cuda")


def test_another_accelerator_says_that_it_is_not_offered() -> None:
    with pytest.raises(RuntimeError, match="no mps device is available"):
        dumbtorch.ones(2).to("mps")


@without_gpu
def test_memory_is_nothing() -> None:
    assert cuda.memory_stats() == {}
    assert cuda.memory_allocated() == cuda.max_memory_allocated() == 0
    assert cuda.memory_reserved() == cuda.max_memory_reserved() == 0
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    cuda.manual_seed_all(1)


@without_gpu
def test_passive_contexts() -> None:
    with cuda.device(None), cuda.device(-1), cuda.stream(None):
        assert dumbtorch.ones(2).sum().item() == 2
    cuda.set_device(-1)


def test_events_that_measure_are_refused() -> None:
    with pytest.raises(ValueError, match="timing"):
        cuda.Event(enable_timing=True)
    cuda.Event().synchronize()  # never recorded: nothing to wait for


def test_asking_loads_no_run_time_library() -> None:
    loaded = run(
        "import dumbtorch; dumbtorch.cuda.is_available(); dumbtorch.cuda.device_count();"
        "print(any('AsyncRTMojoBindings' in line or '/_G_' in line for line in open('/proc/self/maps')))"
    )
    assert loaded.strip() == "False"


# ---------------------------------------------------------------- the search, on made-up machines


def found(vendor: str, *architectures: str, reason: str = "") -> cuda._Found:
    return cuda._Found(vendor, architectures, reason)


NONE = (found("NVIDIA", reason="no driver A"), found("AMD", reason="no device B"))


def test_no_devices_name_both_reasons() -> None:
    search = cuda._search(NONE, {"_G_sm_80": Path("x")})
    assert search.architectures == () and search.extension is None
    assert search.reason == "no driver A; no device B"


@pytest.mark.parametrize(
    ("architectures", "built", "chosen", "count"),
    [
        (("sm_90",), ("_G_sm_80", "_G_sm_90a"), "_G_sm_90a", 1),
        (("sm_90",), ("_G_sm_80",), "_G_sm_80", 1),
        (("sm_86", "sm_86"), ("_G_sm_80", "_G_sm_90a"), "_G_sm_80", 2),
        (("sm_120",), ("_G_sm_80", "_G_sm_90a"), "_G_sm_80", 1),
        (("sm_90", "sm_80"), ("_G_sm_90a", "_G_sm_80"), "_G_sm_90a", 1),
        (("gfx942", "gfx942"), ("_G_gfx942",), "_G_gfx942", 2),
    ],
)
def test_the_extension_fits_the_device(
    architectures: tuple[str, ...], built: tuple[str, ...], chosen: str, count: int
) -> None:
    search = cuda._search((found("any", *architectures),), {name: Path(name) for name in built})
    assert search.extension == Path(chosen)
    assert len(search.architectures) == count


def test_a_device_without_an_extension_says_how_to_build_it() -> None:
    search = cuda._search((found("NVIDIA", "sm_90"), NONE[1]), {})
    assert "sm_90 was found" in search.reason
    assert "_G_sm_90a and _G_sm_80" in search.reason and "-Daccelerators=sm_90a" in search.reason
    assert "older" in cuda._search((found("NVIDIA", "sm_75"),), {"_G_sm_80": Path("x")}).reason


def test_a_missing_driver_is_named() -> None:
    assert "libnothing.so.1 was not found" in cuda._nvidia("libnothing.so.1").reason
    assert "/nowhere/kfd" in cuda._amd("/nowhere/kfd/topology/nodes").reason


def test_amd_devices_are_read_from_the_kernel(tmp_path: Path) -> None:
    for node, version in enumerate([0, 90402, 90402, 110000]):
        folder = tmp_path / str(node)
        folder.mkdir()
        (folder / "properties").write_text(f"cpu_cores_count 4\ngfx_target_version {version}\n", encoding="ascii")
    assert cuda._amd(str(tmp_path)).architectures == ("gfx942", "gfx942", "gfx1100")


def test_a_table_of_another_build_is_refused() -> None:
    table = (ctypes.c_int64 * 16)(-1)
    with pytest.raises(RuntimeError, match="built from other sources"):
        dumbtorch._C.set_device_table(3, ctypes.addressof(table))
    with pytest.raises(ValueError, match="no device type 9"):
        dumbtorch._C.set_device_table(9, ctypes.addressof(table))


@without_gpu
@pytest.mark.skipif(not cuda.get_arch_list(), reason="no extension for an accelerator is built")
def test_a_built_extension_loads_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its table is complete, it knows the functors by the names that `_C` asks for, and it finds no device."""
    file = next(iter(cuda._built().values()))
    monkeypatch.setattr(cuda, "_devices", lambda: cuda._Search(("sm_90",), file, ""))
    with pytest.raises(RuntimeError, match="Mojo's run time opens none"):
        cuda._library.__wrapped__()
    library = ctypes.PyDLL(str(file))
    library.dumbtorch_accelerator_table.restype = ctypes.c_void_p
    table = (ctypes.c_int64 * 17).from_address(library.dumbtorch_accelerator_table())
    assert table[1] == 0 and all(table[3:])
    find = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_char_p)(table[8])
    for name in ("binary.Add", "unary.Relu", "unary_exp.Exp", "activation_backward.Gelu", "ternary.Clamp"):
        assert find(f"kernels.{name}".encode()) != 0
    assert find(b"select1") != 0 and find(b"select2") != 0 and find(b"kernels.binary.Nothing") == 0


BUILT = sorted((ROOT / "python" / "dumbtorch").glob("_G_*.so"))


@pytest.mark.skipif(not BUILT, reason="no extension for an accelerator is built")
def test_kernels_are_found_by_name() -> None:
    """Without a device too: the names as `_C` asks for them, of whichever file a functor was compiled from."""
    code = f"""
import ctypes, importlib.util
from dumbtorch import cuda
modular = importlib.util.find_spec("modular").submodule_search_locations
folders = [cuda._FOLDER, *(cuda.Path(folder) / "lib" for folder in modular)]
for name in cuda._LIBRARIES:
    file = next((f for folder in folders if (f := folder / f"lib{{name}}.so").exists()))
    ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
library = ctypes.PyDLL({str(BUILT[0])!r})
library.dumbtorch_accelerator_table.restype = ctypes.c_int64
find = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_char_p)(
    ctypes.c_int64.from_address(library.dumbtorch_accelerator_table() + 8 * 8).value
)
names = "binary.Add kernels.binary.Add unary_exp.Exp comparison.Lt select1 convolve pool scan random dropout"
print([name for name in names.split() if find(name.encode()) == 0], find(b"nothing"))
"""
    assert run(code) == "[] 0\n"
