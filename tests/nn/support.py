"""Running the same program on dumbtorch and on PyTorch and comparing what comes out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import dumbtorch

# Rounding of a few operations in each type; kernels may sum in another order, and some of PyTorch's float64 kernels
# hold constants (1/6, CELU's 1/alpha) in float32.
TOLERANCE = {"float64": (1e-7, 1e-9), "float32": (2e-4, 2e-5)}


def random(shape: Sequence[int], seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(tuple(shape)).astype(dtype)


def as_numpy(tensor: Any) -> np.ndarray:
    return np.array(tensor.detach().numpy())


def tensor_of(T: Any, array: np.ndarray, grad: bool = False) -> Any:
    made = T.from_numpy(np.array(array))
    return made.requires_grad_() if grad else made


def assert_close(mine: Any, reference: Any, dtype: str = "float64", what: str = "") -> None:
    if isinstance(reference, tuple | list):
        assert len(mine) == len(reference)
        for one, other in zip(mine, reference, strict=True):
            assert_close(one, other, dtype, what)
        return
    if reference is None:
        assert mine is None, what
        return
    a, b = as_numpy(mine), as_numpy(reference)
    assert a.dtype == b.dtype, (what, a.dtype, b.dtype)
    assert a.shape == b.shape, (what, a.shape, b.shape)
    rtol, atol = TOLERANCE[dtype]
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=what)


def copy_state(mine: Any, reference: Any) -> None:
    """Load the reference's weights, through arrays, into the module under test."""
    mine.load_state_dict({k: tensor_of(dumbtorch, as_numpy(v)) for k, v in reference.state_dict().items()})


def run(T: Any, function: Callable[..., Any], arrays: Sequence[np.ndarray], grad: bool, seed: int = 7) -> tuple:
    """The result, and the gradients of floating inputs from a random gradient of the result."""
    inputs = [tensor_of(T, a, grad and a.dtype.kind == "f") for a in arrays]
    with warnings.catch_warnings():
        # PyTorch says that it copies the input of some convolutions.
        warnings.filterwarnings("ignore", "Using padding='same'")
        result = function(*inputs)
    if not grad:
        return result, []
    outputs = [r for r in (result if isinstance(result, tuple) else (result,)) if r.requires_grad]
    for i, output in enumerate(outputs):
        upstream = tensor_of(T, random(tuple(output.shape), seed + i, as_numpy(output).dtype.name))
        output.backward(upstream, retain_graph=True)
    return result, [x.grad for x in inputs]


def compare_function(
    function: Callable[[Any], Callable[..., Any]], arrays: Sequence[np.ndarray], grad: bool = True
) -> None:
    """`function(T)` gives the function of that library; compare values and input gradients."""
    dtype = next((a.dtype.name for a in arrays if a.dtype.kind == "f"), "float64")
    mine, mine_grads = run(dumbtorch, function(dumbtorch), arrays, grad)
    reference, reference_grads = run(torch, function(torch), arrays, grad)
    assert_close(mine, reference, dtype, "result")
    for i, (a, b) in enumerate(zip(mine_grads, reference_grads, strict=True)):
        assert_close(a, b, dtype, f"gradient of input {i}")


def compare_module(
    make: Callable[[Any], Any], arrays: Sequence[np.ndarray], grad: bool = True, training: bool = True
) -> None:
    """`make(T)` gives the module; compare repr, state dict, values, and the gradients of inputs and parameters."""
    dtype = next((a.dtype.name for a in arrays if a.dtype.kind == "f"), "float64")
    mine, reference = make(dumbtorch), make(torch)
    assert repr(mine) == repr(reference)
    if dtype == "float64":
        mine, reference = mine.double(), reference.double()
    assert [(k, tuple(v.shape)) for k, v in mine.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in reference.state_dict().items()
    ]
    copy_state(mine, reference)
    mine.train(training)
    reference.train(training)
    results = run(dumbtorch, mine, arrays, grad), run(torch, reference, arrays, grad)
    assert_close(results[0][0], results[1][0], dtype, "result")
    for i, (a, b) in enumerate(zip(results[0][1], results[1][1], strict=True)):
        assert_close(a, b, dtype, f"gradient of input {i}")
    for (name, a), (_, b) in zip(mine.named_parameters(), reference.named_parameters(), strict=True):
        assert_close(a.grad, b.grad, dtype, f"gradient of {name}")


def outcome(T: Any, scenario: Callable[[Any], Any]) -> Any:
    """What a scenario returns or raises, and the warnings, in words that do not name the library."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = ("returned", scenario(T))
        except Exception as error:
            value = ("raised", type(error).__name__, neutral(str(error)))
    return value, [(w.category.__name__) for w in caught]


def neutral(text: str) -> str:
    return text.replace("dumbtorch", "torch")


def same_outcome(scenario: Callable[[Any], Any], message: bool = True) -> None:
    """A scenario of plain results (numbers, names, texts) that must end the same way with both libraries."""
    mine, reference = outcome(dumbtorch, scenario), outcome(torch, scenario)
    if not message and reference[0][0] == "raised":
        mine, reference = (mine[0][:2], mine[1]), (reference[0][:2], reference[1])
    assert mine == reference, f"\ndumbtorch: {mine}\nPyTorch:   {reference}"
