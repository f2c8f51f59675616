"""Random malformed calls of the public functions, in a process of their own.

    python tests/core/malformed.py COUNT SEED LOG

Each call is written to LOG before it is made, so that after a crash its last line is the offending call. A call may
return or raise; what it may not do is end the process, or raise one of the errors that mean a mistake inside.
"""

from __future__ import annotations

import inspect
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import dumbtorch
from dumbtorch import ops
from dumbtorch.ops.samples import T

MEMORY = 64 << 20
ADDRESSES = 8 << 30
SECONDS = 20  # a call that takes longer ends the process by SIGALRM
INTERNAL = (SystemError, NameError)

DTYPES = (
    "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "complex32", "complex64", "complex128", "bcomplex32", "float8_e4m3fn", "float8_e5m2",
)  # fmt: skip
INTS = (-1, 0, 1, 2, 3, 7, 63, -64, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30)
OTHERS = (
    "0.0", "-0.0", "0.5", "-1.5", "1e308", "1e-320", "float('nan')", "float('inf')", "-float('inf')", "1j",
    "complex('nan')", "True", "False", "None", "None", "'mean'", "'no such word'", "''", "b'x'", "object()", "{}",
    "{'dim': 0}", "...", "slice(None)", "slice(3, None, -1)", "slice(2**70)", "slice('a', None)", "[]", "()", "[[]]",
    "[None]", "[1, [2, 3]]", "range(3)", "d.float32", "d.int64", "d.bool", "d.complex64", "d.float8_e5m2", "float",
    "int", "'cpu'", "d.device('cpu')", "'cuda'", "'meta:-1'", "d", "len", "(0, 0)", "(0, 1)", "(-1,)", "[1, 2, 3]",
    "(2**40, 2**40)", "(-3, 4)", "(1,) * 17", "[float('nan')]", "['a']", "d.Tensor", "set()", "iter([1])",
    "memoryview(b'abcd')", "np.ones(3)", "np.float32(2)", "np.array('x')", "lambda *a: 1",
)  # fmt: skip
LAYOUTS = (
    "[::2]",
    "[..., 1:]",
    ".unsqueeze(0)",
    ".transpose(0, -1)",
    "[0]",
    ".flatten()",
    "[..., :0]",
    ".flip(0)",
    ".t()",
)
FLOATING = ("float16", "bfloat16", "float32", "float64")


def tensor(rng: Random) -> str:
    """The text of a tensor of some shape, dtype, layout and gradient flag."""
    if rng.random() < 0.1:
        shape: tuple[int, ...] = (1,) * rng.choice((5, 8, 16))
    else:
        shape = tuple(
            rng.choice((0, 1, 1, 2, 3, 3, 4, 5, 17)) for _ in range(rng.choice((0, 1, 1, 2, 2, 2, 3, 3, 4, 5)))
        )
    dtype = rng.choice((*DTYPES, *["float32"] * 8, *["int64"] * 4))
    text = f"d.{rng.choice(('ones', 'zeros', 'empty'))}({shape}, dtype=d.{dtype})"
    if shape and rng.random() < 0.3:
        layout = rng.choice(LAYOUTS)
        if not (layout == "[0]" and shape[0] == 0) and not (layout == ".t()" and len(shape) > 2):
            text += layout
    elif rng.random() < 0.1:
        text += f".expand({', '.join(map(str, (3, *shape)))})"
    if dtype in FLOATING and rng.random() < 0.3:
        text += rng.choice((".requires_grad_()", ".requires_grad_() * 1"))
    return text


def argument(rng: Random) -> str:
    """The text of any argument."""
    kind = rng.random()
    if kind < 0.3:
        return tensor(rng)
    if kind < 0.5:
        return str(rng.choice(INTS))
    if kind < 0.6:
        return str(rng.randint(-5, 5))
    if kind < 0.92:
        return rng.choice(OTHERS)
    parts = [argument(rng) for _ in range(rng.randint(0, 3))]
    return f"[{', '.join(parts)}]" if rng.random() < 0.7 else f"({''.join(part + ', ' for part in parts)})"


def parameters_of(name: str, function: Any) -> tuple[int, list[str]]:
    """How many parameters a function has, and their names."""
    if name.split(".")[-1].rstrip("_") in ops.TABLE:
        known = ops.TABLE[name.split(".")[-1].rstrip("_")].params
        return len(known), [*known, "out"]
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return 2, ["dim", "out"]
    return len(names), [*names, "out"]


def callables() -> dict[str, Callable[..., Any]]:
    """Every public function by the text that names it."""
    found: dict[str, Any] = {f"d.{name}": function for name, function in ops.FUNCTIONS.items()}
    for name in dir(dumbtorch.Tensor):
        value = getattr(dumbtorch.Tensor, name)
        if callable(value) and (not name.startswith("_") or name in DUNDERS):
            found[f"d.Tensor.{name}"] = value
    for name in dir(dumbtorch.nn.functional):
        value = getattr(dumbtorch.nn.functional, name)
        if inspect.isfunction(value) and not name.startswith("_"):
            found[f"d.nn.functional.{name}"] = value
    for name in ("grad", "backward"):
        found[f"d.autograd.{name}"] = getattr(dumbtorch.autograd, name)
    for name in ("empty_cache", "set_num_threads", "memory_stats", "is_grad_enabled", "finfo", "iinfo", "promote_types",
                 "can_cast", "result_type", "device", "from_numpy", "as_tensor", "asarray", "from_dlpack", "Tensor",
                 "Size", "manual_seed", "Generator", "frombuffer"):  # fmt: skip
        if hasattr(dumbtorch, name):
            found[f"d.{name}"] = getattr(dumbtorch, name)
    return found


_SPECIAL = (
    "abs add and array bool complex contains copy deepcopy delitem dlpack eq float floordiv format ge getattribute "
    "getitem gt hash iadd imul index int invert ipow iter le len lshift lt matmul mod mul ne neg or pow radd reduce_ex "
    "repr reversed rmatmul rpow rshift rsub rtruediv setattr setitem sub truediv xor"
)
DUNDERS = {f"__{name}__" for name in _SPECIAL.split()}


def sample_text(value: Any, dtype: str) -> str:
    """The text of one argument of a row's sample."""
    if isinstance(value, T):
        if value.values is not None:
            return f"d.tensor({value.values!r}, dtype=d.{value.dtype or 'int64'})"
        return f"d.ones({value.shape}, dtype=d.{value.dtype or dtype})"
    if isinstance(value, (list, tuple)):
        inside = ", ".join(sample_text(v, dtype) for v in value)
        return f"[{inside}]"
    return repr(value).replace("torch.", "d.") if not isinstance(value, float) else f"float('{value}')"


def samples_of(name: str) -> list[Any]:
    """The samples of the row that a function comes from."""
    found = ops.TABLE.get(name.split(".")[-1].rstrip("_"))
    return list(found.samples()) if found is not None and found.samples is not None else []


def call(rng: Random) -> str:
    """The text of one call: right in all but one or two arguments where there are samples, else of anything."""
    name = rng.choice(NAMES)
    samples = SAMPLES[name]
    if samples and rng.random() < 0.75:
        sample = rng.choice(samples)
        dtype = rng.choice(("float32", "float32", "int64", "float64", "bfloat16", "complex64", "bool", "uint16"))
        parts = [sample_text(value, dtype) for value in sample.args]
        named = {key: sample_text(value, dtype) for key, value in sample.kwargs.items()}
        for _ in range(rng.randint(1, 2)):
            place = rng.randint(0, len(parts) + len(named))
            new = argument(rng)
            if place < len(parts):
                parts[place] = new
            elif place < len(parts) + len(named):
                named[list(named)[place - len(parts)]] = new
            else:
                named[rng.choice(SIGNATURES[name][1])] = new
    else:
        count, keywords = SIGNATURES[name]
        # mostly about the right number of arguments, so that the call gets further than the parser
        parts = [argument(rng) for _ in range(min(7, max(0, count - rng.choice((0, 0, 0, 1, 1, 2, -1)))))]
        if parts and rng.random() < 0.75:
            parts[0] = tensor(rng)
        named = {}
        if rng.random() < 0.25:
            named[rng.choice([*keywords, "dtype", "no_such_parameter"])] = argument(rng)
    return f"{name}({', '.join([*parts, *(f'{key}={value}' for key, value in named.items())])})"


FUNCTIONS = callables()
NAMES = sorted(FUNCTIONS)
SAMPLES = {name: samples_of(name) for name in NAMES}
SIGNATURES = {name: parameters_of(name, function) for name, function in FUNCTIONS.items()}


def exercise(text: str, scope: dict[str, Any]) -> bool:
    """Makes the call, looks at what it returns and goes back through it; whether the call succeeded."""
    try:
        result = eval(text, scope)
    except INTERNAL as error:
        raise RuntimeError(f"{text}: {type(error).__name__}: {error}") from error
    except Exception:
        return False
    try:
        if isinstance(result, dumbtorch.Tensor):
            repr(result)
            if result.requires_grad and result.grad_fn is not None:
                result.sum().backward()
    except INTERNAL as error:
        raise RuntimeError(f"{text}, afterwards: {type(error).__name__}: {error}") from error
    except Exception:
        pass
    return True


def main() -> None:
    count, number, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    import numpy as np

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    dumbtorch.set_memory_limit(MEMORY)
    scope = {"d": dumbtorch, "np": np, "nan": float("nan"), "inf": float("inf")}
    made = succeeded = 0
    with open(path, "w", buffering=1) as log:

        @seed(number)
        @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(st.randoms(use_true_random=True))
        def run(rng: Random) -> None:
            nonlocal made, succeeded
            text = call(rng)
            log.write(text + "\n")
            signal.alarm(SECONDS)
            made += 1
            succeeded += exercise(text, scope)

        run()
    print(made, succeeded)


if __name__ == "__main__":
    main()
