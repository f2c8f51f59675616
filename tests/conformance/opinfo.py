"""PyTorch's own op database (OpInfo) against dumbtorch: its samples, its gradients, its error inputs.

    python -m tests.conformance.opinfo [--ops sort,linalg.svd] [--dtypes float32,int64] [--limit N] [--errors] [-v]
    python -m tests.conformance.opinfo --forward [...]    # tangents in forward mode: opinfo_forward.py

Every sample of every op is computed by both frameworks from the same bits and compared: values, shapes and dtypes, and
for float32 and complex64 the gradients of all inputs. Each op runs in a forked process, so that a crash costs one op.
What may fail is listed, with the reason, in opinfo_expected.toml; an op that fails and is not listed, or that is listed
(and not as flaky) and does not fail, ends the run with status 1.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import importlib
import multiprocessing
import os
import sys
import time
import tomllib
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.testing._internal.common_methods_invocations import op_db

import dumbtorch


def words(text: str) -> frozenset[str]:
    """A set of names."""
    return frozenset(text.split())


EXPECTED = Path(__file__).with_name("opinfo_expected.toml")
DTYPES = ("float32", "float64", "int64", "bool", "complex64")
GRADIENTS = ("float32", "complex64")
#: Gradients below this size are compared absolutely: those that are zero but for rounding differ by all of it.
SMALL_GRADIENT = 0.05
TOLERANCE = {"float32": 1e-4, "complex64": 2e-4, "float64": 1e-7, "complex128": 1e-7, "float16": 1e-2, "bfloat16": 5e-2}
#: Packages of their own, internals of PyTorch and what it compiles for CUDA only.
LATER = ("masked.", "sparse.", "torch.", "jiterator_", "_refs.")
LATER_NAMES = words(
    "to_sparse native_group_norm native_layer_norm native_batch_norm _native_batch_norm_legit _batch_norm_with_update "
    "_upsample_bilinear2d_aa max_pool2d_with_indices_backward native_dropout_backward grid_sampler_2d grid_sampler_3d "
    "_softmax_backward_data _chunk_cat _unsafe_masked_index "
    "_unsafe_masked_index_put_accumulate"
)
#: What these return depends on chance or on what lay in memory: shape and dtype are compared.
UNDEFINED = words(
    "cauchy exponential geometric log_normal normal uniform randn randn_like rand_like randint randint_like "
    "multinomial bernoulli empty empty_like empty_strided empty_permuted new_empty new_empty_strided "
    "nn.functional.dropout nn.functional.dropout2d nn.functional.dropout3d "
    "nn.functional.alpha_dropout nn.functional.feature_alpha_dropout nn.functional.rrelu "
    "nn.functional.fractional_max_pool2d nn.functional.fractional_max_pool3d svd_lowrank "
    "pca_lowrank resize_ resize_as_ nn.functional.multi_head_attention_forward"
)
#: Of equal elements PyTorch may return the place of any: the values are compared.
TIES = words("sort topk mode kthvalue median nanmedian msort")
#: Places in the order of an input, of which equal elements have any: what lies there is compared.
PLACES = words("argsort")
#: Their results are unique only up to signs or phases: absolute values are compared.
#: Of these also the bases of null spaces are free.
BASES = words("svd linalg.svd")
SIGNS = words("svd linalg.svd linalg.eigh linalg.eig qr linalg.qr geqrf")


class Result(NamedTuple):
    """What became of one op in one dtype."""

    passed: int
    failed: int
    first: str


# ---------------------------------------------------------------- between the frameworks


def _dtype(name: Any) -> Any:
    return getattr(dumbtorch, str(name).removeprefix("torch."))


# the memory of the arguments at hand: those that share some do so in both frameworks
_rooms: dict[int, Any] = {}
_made: dict[int, tuple[Any, Any]] = {}


def forget() -> None:
    """Before the arguments of another call are converted."""
    _rooms.clear()
    _made.clear()


def to_ours(x: Any) -> Any:
    """The same argument for dumbtorch: tensors bit for bit, with their strides."""
    if isinstance(x, torch.Tensor):
        if id(x) in _made:
            return _made[id(x)][1]
        if x.is_sparse:
            parts = to_ours(x._indices()), to_ours(x._values())
            return dumbtorch.sparse_coo_tensor(*parts, tuple(x.shape), is_coalesced=x.is_coalesced())
        bits = x.detach().resolve_conj().resolve_neg()
        memory = bits.untyped_storage()
        room = _rooms.get(memory.data_ptr()) if memory.nbytes() else None
        if room is None:
            copy = torch.empty(0, dtype=torch.uint8).set_(memory).clone()  # also what the tensor does not show
            room = _rooms[memory.data_ptr()] = dumbtorch.from_numpy(copy.numpy())
        ours = room.view(_dtype(bits.dtype)).as_strided(tuple(bits.shape), bits.stride(), bits.storage_offset())
        ours = ours.conj_physical().conj() if x.is_conj() else ours
        ours = ours.requires_grad_() if x.requires_grad else ours
        _made[id(x)] = x, ours
        return ours
    if isinstance(x, torch.dtype):
        return _dtype(x)
    if isinstance(x, torch.device):
        return dumbtorch.device(str(x))
    if isinstance(x, torch.memory_format | torch.layout):
        return getattr(dumbtorch, str(x).removeprefix("torch."))
    if isinstance(x, torch.Size):
        return dumbtorch.Size(x)
    if isinstance(x, slice):
        return slice(to_ours(x.start), to_ours(x.stop), to_ours(x.step))
    if isinstance(x, dict):
        return {key: to_ours(value) for key, value in x.items()}
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*map(to_ours, x))
    if isinstance(x, list | tuple):
        return type(x)(map(to_ours, x))
    if isinstance(x, types.FunctionType):
        named = getattr(dumbtorch.nn.functional, x.__name__, None) if x.__module__ == "torch.nn.functional" else None
        return named or rebound(x)
    if isinstance(x, types.BuiltinFunctionType):
        return _builtin(x)
    if isinstance(x, torch.nn.LinearCrossEntropyOptions):
        return dumbtorch.nn.LinearCrossEntropyOptions(**to_ours(dataclasses.asdict(x)))
    if isinstance(x, torch.nn.Module):  # a distance of a loss
        return getattr(dumbtorch.nn, type(x).__name__)()
    return x


def to_theirs(x: Any) -> Any:
    """A result of dumbtorch as PyTorch's."""
    x = x.detach()
    x = (x.resolve_conj() if x.is_complex() else x).clone(memory_format=dumbtorch.contiguous_format)
    dtype = getattr(torch, str(x.dtype).removeprefix("torch."))
    if x.numel() == 0:
        return torch.empty(tuple(x.shape), dtype=dtype)
    array = x.as_strided((x.numel(),), (1,)).view(dumbtorch.uint8).numpy().copy()
    return torch.from_numpy(array).view(dtype).reshape(tuple(x.shape))


def rebound(function: Any) -> Any:
    """A Python function of the database that calls `torch`, calling dumbtorch instead."""
    scope = {
        name: dumbtorch if value is torch else dumbtorch.nn.functional if value is torch.nn.functional else value
        for name, value in function.__globals__.items()
    }
    closure = function.__closure__ and tuple(types.CellType(_cell(cell.cell_contents)) for cell in function.__closure__)
    made = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__, closure)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def _cell(value: Any) -> Any:
    if isinstance(value, types.FunctionType):
        return rebound(value)
    return _builtin(value) if callable(value) and not isinstance(value, type) else value


def _builtin(function: Any) -> Any:
    """dumbtorch's function of the same name as PyTorch's builtin."""
    name = getattr(function, "__name__", "")
    for theirs, ours in (
        (torch, dumbtorch),
        (torch.nn.functional, getattr(dumbtorch.nn, "functional", None)),
        (torch.linalg, getattr(dumbtorch, "linalg", None)),
        (torch.special, getattr(dumbtorch, "special", None)),
        (torch.fft, getattr(dumbtorch, "fft", None)),
        (torch.Tensor, dumbtorch.Tensor),
    ):
        if getattr(theirs, name, None) is function or (theirs is torch.Tensor and hasattr(theirs, name)):
            return getattr(ours, name)
    return function


def ours_of(info: Any) -> Callable[..., Any]:
    """The op of dumbtorch that an entry of the database means. Raises AttributeError if there is none."""
    function = info.op
    if isinstance(function, types.FunctionType) and function.__module__.startswith("torch.testing"):
        return rebound(function)
    place: Any = dumbtorch
    if info.name == "slice":  # an operator of ATen, not a function of torch
        return dumbtorch.ops.shape.SLICE
    if not (function.__class__.__name__ == "method_descriptor" or getattr(torch.Tensor, info.name, None) is function):
        for part in info.name.split("."):
            place = getattr(place, part)
        return place
    return getattr(dumbtorch.Tensor, info.name)


# ---------------------------------------------------------------- comparing


def flat(x: Any) -> list[Any]:
    """The leaves of a result."""
    if isinstance(x, list | tuple):
        return [leaf for item in x for leaf in flat(item)]
    return [x]


def same(
    mine: Any, its: Any, name: str, factor: float = 1.0, shape_only: bool = False, small: float = 1e-3
) -> str:  # fmt: skip
    """Why two results differ; empty if they do not. Sizes below ``small`` are compared absolutely."""
    ours, theirs = flat(mine), flat(its)
    if len(ours) != len(theirs):
        return f"{len(ours)} results instead of {len(theirs)}"
    for a, b in zip(ours, theirs, strict=True):
        if not isinstance(b, torch.Tensor):
            if isinstance(b, torch.dtype | torch.device):
                a, b = str(a), str(b)
            if not (a == b or (isinstance(b, float) and abs(a - b) <= 1e-4 * max(1, abs(b))) or a != a and b != b):
                return f"{a!r} instead of {b!r}"
            continue
        if not isinstance(a, dumbtorch.Tensor):
            return f"{type(a).__name__} instead of a tensor"
        if str(a.dtype) != str(b.dtype):
            return f"dtype {a.dtype} instead of {b.dtype}"
        if tuple(a.shape) != tuple(b.shape):
            return f"shape {tuple(a.shape)} instead of {tuple(b.shape)}"
        if shape_only:
            continue
        a, b = to_theirs(a), b.detach().resolve_conj().resolve_neg()
        if name in SIGNS and (b.is_floating_point() or b.is_complex()):
            a, b = a.abs(), b.abs()
        tolerance = factor * TOLERANCE.get(str(b.dtype).removeprefix("torch."), 0)
        if tolerance and b.numel():
            size = torch.nan_to_num(b.abs().to(torch.float64), 0.0, 0.0, 0.0).max().item()
            wide = torch.complex128 if b.is_complex() else torch.float64
            a, b = a.to(wide), b.to(wide)
            close = torch.isclose(a, b, rtol=tolerance, atol=tolerance * max(size, small), equal_nan=True)
            if not bool(close.all()):
                return f"{int((~close).sum())} of {b.numel()} values differ: {a[~close][0]} instead of {b[~close][0]}"
        elif not torch.equal(comparable(a), comparable(b)):
            return f"values {a.flatten()[:8].tolist()} instead of {b.flatten()[:8].tolist()}"
    return ""


def comparable(x: torch.Tensor) -> torch.Tensor:
    """A tensor of a type that torch.equal knows."""
    return torch.view_as_real(x) if x.dtype == torch.complex32 else x


def leaves(x: Any, kind: type) -> list[Any]:
    """The tensors of arguments that ask for a gradient, in order."""
    if isinstance(x, kind):
        return [x] if x.requires_grad else []
    if isinstance(x, dict):
        x = list(x.values())
    return [leaf for item in x for leaf in leaves(item, kind)] if isinstance(x, list | tuple) else []


def gradients(framework: Any, out: Any, inputs: list[Any], seeds: list[Any]) -> list[Any]:
    """The gradients of the differentiable results."""
    return list(framework.autograd.grad(out, inputs, seeds, allow_unused=True))


def _drops(name: str, sample: Any) -> bool:
    """Whether dropout takes part in a sample: what comes out depends on chance."""
    if name == "nn.functional.multi_head_attention_forward":
        return bool(sample.args[9]) and bool(sample.kwargs.get("training", True))
    return bool(sample.kwargs.get("dropout_p", 0.0))


def _bases(mine: Any, its: Any, name: str) -> str:
    """Why two singular value decompositions differ: of bases of a null space only that they are orthonormal counts."""
    for place, (a, b) in enumerate(zip(mine, its, strict=True)):
        if problem := same(a, b, name, shape_only=True):
            return problem
        if place == 1:
            if problem := same(a, b, name):
                return problem
            continue
        rows = place == 2 and name == "linalg.svd"
        full = to_theirs(a).mH if rows else to_theirs(a)
        unit = torch.eye(full.shape[-1], dtype=full.dtype).expand(*full.shape[:-2], -1, -1)
        if full.numel() and not torch.allclose(full.mH @ full, unit, rtol=0, atol=1e-4):
            return f"result {place} is not orthonormal"
        count = its[1].shape[-1]
        cut = (..., slice(None, count), slice(None)) if rows else (..., slice(None), slice(None, count))
        if problem := same(a[cut], b[cut], name):
            return problem
    return ""


def run_sample(info: Any, ours: Callable[..., Any], sample: Any, dtype: str) -> str:
    """Why the sample fails; empty if it does not."""
    arguments = (sample.input, *sample.args)
    forget()
    my_args, my_kwargs = to_ours(arguments), to_ours(sample.kwargs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        its = info.op(*arguments, **sample.kwargs)
        mine = ours(*my_args, **my_kwargs)
        if info.name in TIES and isinstance(its, tuple):
            problem = same(mine[1], its[1], info.name, shape_only=True)
            if problem:
                return problem
            mine, its = mine[0], its[0]
        if info.name in PLACES and my_args[0].ndim:
            dim = sample.kwargs.get("dim", sample.args[0] if sample.args else -1)
            if problem := same(mine, its, info.name, shape_only=True):
                return problem
            mine, its = my_args[0].take_along_dim(mine, dim), arguments[0].take_along_dim(its, dim)
        if info.name in BASES and (problem := _bases(mine, its, info.name)):
            return problem
        undefined = info.name in UNDEFINED or _drops(info.name, sample)
        if info.name not in BASES:
            problem = same(mine, its, info.name, shape_only=undefined)
            if problem:
                return problem
        if dtype not in GRADIENTS or undefined:
            return ""
        their_leaves = leaves([arguments, sample.kwargs], torch.Tensor)
        my_leaves = leaves([my_args, my_kwargs], dumbtorch.Tensor)
        process = sample.output_process_fn_grad
        its = process(its) if process else its
        mine = (rebound(process) if isinstance(process, types.FunctionType) else process)(mine) if process else mine
        pairs = [
            (a, b)
            for a, b in zip(flat(mine), flat(its), strict=True)
            if isinstance(b, torch.Tensor) and b.requires_grad
        ]
        if not their_leaves or not pairs:
            return ""
        if not all(a.requires_grad for a, _ in pairs):
            return "gradient: a result does not require grad"
        seeds = [torch.randn_like(b) for _, b in pairs]
        theirs = gradients(torch, [b for _, b in pairs], their_leaves, seeds)
        forget()
        ours_ = gradients(dumbtorch, [a for a, _ in pairs], my_leaves, to_ours(seeds))
    for place, (a, b) in enumerate(zip(ours_, theirs, strict=True)):
        if (a is None) != (b is None):
            if a is None and not bool(b.any()) or b is None and not bool(a.any()):
                continue
            return f"gradient {place}: {'None' if a is None else 'a tensor'} instead of {'None' if b is None else b}"
        if a is not None and (problem := same(a, b, "", 10.0, small=SMALL_GRADIENT)):
            return f"gradient {place}: {problem}"
    return ""


def describe(problem: BaseException) -> str:
    """An exception in one line, with the place in dumbtorch that it came from."""
    frames = [f for f in traceback.extract_tb(problem.__traceback__) if "/dumbtorch/" in f.filename]
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(problem).__name__}: {str(problem)[:300]}{place}"


def run_op(info: Any, dtype: str, limit: int = 0, verbose: bool = False) -> Result:
    """All samples of an op in a dtype."""
    passed, failed, first = 0, 0, ""
    wanted = getattr(torch, dtype)
    grad = dtype in GRADIENTS and info.supports_autograd and wanted in info.supported_backward_dtypes("cpu")
    try:
        ours = ours_of(info)
    except AttributeError as problem:
        ours, first = None, f"absent: {problem}"
    torch.manual_seed(7)
    for number, sample in enumerate(info.sample_inputs("cpu", wanted, requires_grad=grad)):
        if limit and number >= limit:
            break
        if ours is None:
            failed += 1
            continue
        try:
            problem = run_sample(info, ours, sample, dtype)
        except BaseException as raised:  # a failure of whatever kind is this op's
            problem = describe(raised)
        if problem:
            failed += 1
            first = first or f"#{number} {problem}"
            if verbose:
                arguments = f"{brief(sample.input)} {brief(sample.args)} {brief(sample.kwargs)}"
                print(f"    {info.formatted_name} {dtype} #{number} {arguments}: {problem}", flush=True)
        else:
            passed += 1
    return Result(passed, failed, first)


def brief(x: Any) -> str:
    """Arguments in a line: tensors by dtype, shape and strides."""
    if isinstance(x, torch.Tensor):
        return f"{str(x.dtype).removeprefix('torch.')}{list(x.shape)}"
    if isinstance(x, dict):
        return "{" + ", ".join(f"{key}={brief(value)}" for key, value in x.items()) + "}"
    if isinstance(x, list | tuple):
        return "(" + ", ".join(map(brief, x)) + ")"
    return repr(x)


def run_errors(info: Any, verbose: bool = False) -> Result:
    """The error inputs of an op: the same exception type."""
    passed, failed, first = 0, 0, ""
    try:
        ours = ours_of(info)
    except AttributeError:
        ours = None
    for number, case in enumerate(info.error_inputs("cpu")):
        sample, problem = case.sample_input, ""
        if ours is None:
            problem = "absent"
        else:
            forget()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    ours(*to_ours((sample.input, *sample.args)), **to_ours(sample.kwargs))
                if _raises(info, sample):  # some of the database's cases are errors of its references alone
                    problem = f"no error instead of {case.error_type.__name__} ({case.error_regex[:100]})"
            except BaseException as raised:  # the type is what is looked at
                if not isinstance(raised, _error(case.error_type)):
                    problem = f"{describe(raised)} instead of {case.error_type.__name__} ({case.error_regex[:100]})"
        passed, failed = passed + (not problem), failed + bool(problem)
        if problem:
            first = first or f"#{number} {problem}"
            if verbose:
                print(f"    {info.formatted_name} error #{number} {brief((sample.input, *sample.args))} "
                      f"{brief(sample.kwargs)}: {problem}", flush=True)  # fmt: skip
    return Result(passed, failed, first)


def _raises(info: Any, sample: Any) -> bool:
    """Whether PyTorch itself raises an error for a sample."""
    try:
        info.op(sample.input, *sample.args, **sample.kwargs)
    except Exception:
        return True
    return False


def _error(kind: Any) -> Any:
    if kind is torch.linalg.LinAlgError:
        return getattr(getattr(dumbtorch, "linalg", None), "LinAlgError", RuntimeError)
    return kind


# ---------------------------------------------------------------- running


def tensor_library(info: Any) -> bool:
    """Whether an op belongs to the tensor library, and not to the layers, sparse tensors, ... of later work."""
    return not info.name.startswith(LATER) and info.name not in LATER_NAMES


def entries(names: list[str] | None = None, everything: bool = False) -> Iterator[Any]:
    """The entries of the database to run."""
    for info in op_db:
        if names and info.name not in names and info.formatted_name not in names:
            continue
        if names or everything or tensor_library(info):
            yield info


def forked(work: Callable[[], Any], seconds: float = 240.0) -> Any:
    """What `work` returns, computed in a forked process; a string if that one died or took too long."""
    here, there = multiprocessing.Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            there.send(work())
        os._exit(0)
    there.close()
    try:
        if not here.poll(seconds):
            os.kill(child, 9)
            return "took too long"
        return here.recv()
    except EOFError:
        return "the process died"
    finally:
        os.waitpid(child, 0)


def expected(path: Path = EXPECTED) -> dict[str, str]:
    """What may fail: name of the op (or op.dtype) and why."""
    listed = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: why if isinstance(why, str) else why["why"] for name, why in listed.items()}


def may_pass(path: Path = EXPECTED) -> set[str]:
    """The entries that fail on some machines only: ``NAME = { why = "...", flaky = true }``."""
    listed = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name for name, why in listed.items() if not isinstance(why, str) and why.get("flaky")}


def main() -> int:
    """Run what the command line asks for, print a line for each op that fails, and a summary."""
    parser = argparse.ArgumentParser(description="PyTorch's op database against dumbtorch.")
    parser.add_argument("--ops", default="", help="names, separated by commas")
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--limit", type=int, default=0, help="samples of each op and dtype")
    parser.add_argument("--errors", action="store_true", help="run the error inputs instead")
    parser.add_argument("--forward", action="store_true", help="compare forward mode instead, in float64")
    parser.add_argument("--all", action="store_true", help="layers and the rest too")
    parser.add_argument("-v", "--verbose", action="store_true", help="every failing sample")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = options.ops.split(",") if options.ops else None
    totals: collections.Counter[str] = collections.Counter()
    failing: dict[str, str] = {}
    start = time.perf_counter()
    ran: set[str] = set()
    forward = importlib.import_module("tests.conformance.opinfo_forward") if options.forward else None
    for info in entries(names, options.all):
        if forward and not forward.wanted(info):
            continue
        ran.add(info.formatted_name)
        kinds = ["error"] if options.errors else options.dtypes.split(",")
        if options.errors:
            kinds = kinds if info.error_inputs_func is not None else []
        else:
            kinds = [d for d in kinds if info.supports_dtype(getattr(torch, d), "cpu")]

        def work(info: Any = info, kinds: list[str] = kinds) -> dict[str, Result]:
            if forward:
                return {"forward": forward.run_op(info, options.limit, options.verbose)}
            if options.errors:
                return {"error": run_errors(info, options.verbose)} if kinds else {}
            return {d: run_op(info, d, options.limit, options.verbose) for d in kinds}

        results = forked(work)
        if isinstance(results, str):
            results = {kinds[0] if kinds else "-": Result(0, 1, results)}
        for kind, result in results.items():
            totals["passed"] += result.passed
            totals["failed"] += result.failed
            if result.failed:
                failing[f"{info.formatted_name}.{kind}"] = result.first
                print(f"FAIL {info.formatted_name:<32} {kind:<10} {result.failed:4d} of "
                      f"{result.passed + result.failed:4d}  {result.first}", flush=True)  # fmt: skip
    count = totals["passed"] + totals["failed"]
    share = 100 * totals["passed"] / max(1, count)
    print(f"{totals['passed']} of {count} samples pass ({share:.2f} %), {len(failing)} entries fail; "
          f"{time.perf_counter() - start:.0f} s")  # fmt: skip
    listed = expected(forward.EXPECTED) if forward else expected()
    listed = {name: why for name, why in listed.items() if name.endswith(".error") == options.errors}
    known = {name for name in failing if name in listed or name.rsplit(".", 1)[0] in listed}
    unknown = sorted(set(failing) - known)
    there = {n for n in listed if n in ran or n.rsplit(".", 1)[0] in ran}
    sure = [] if names else sorted(there - may_pass(forward.EXPECTED if forward else EXPECTED))
    fixed = [n for n in sure if not any(f == n or f.rsplit(".", 1)[0] == n for f in failing)]
    if unknown:
        print(f"not listed: {len(unknown)}")
    if fixed and not options.limit:
        print(f"listed, but nothing of it fails: {', '.join(fixed)}")
    return 1 if unknown or (fixed and not options.limit) else 0


if __name__ == "__main__":
    sys.exit(main())
