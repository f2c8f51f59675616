"""Grad modes as context managers and decorators."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import dumbtorch as torch


def recorded() -> bool:
    return bool((torch.ones(1, requires_grad=True) * 2).requires_grad)


def test_no_grad_and_enable_grad_nest() -> None:
    assert recorded()
    with torch.no_grad():
        assert not recorded()
        with torch.enable_grad():
            assert recorded()
        assert not recorded()
    assert recorded()


def test_decorators() -> None:
    @torch.no_grad()
    def one() -> bool:
        return recorded()

    @torch.no_grad
    def two() -> bool:
        """Two."""
        return recorded()

    @torch.enable_grad()
    def three() -> bool:
        return recorded()

    assert not one()
    assert not two()
    assert two.__doc__ == "Two."
    with torch.no_grad():
        assert three()
    assert recorded()


def test_decorated_recursion() -> None:
    @torch.no_grad()
    def down(n: int) -> bool:
        return recorded() if n == 0 else down(n - 1) or recorded()

    assert not down(5)
    assert recorded()


def test_decorated_generators() -> None:
    @torch.no_grad()
    def numbers() -> Any:
        got = yield recorded()
        try:
            yield got, recorded()
        except ValueError:
            yield recorded()
        return "done"

    generator = numbers()
    assert next(generator) is False
    assert recorded()
    assert generator.send(5) == (5, False)
    assert generator.throw(ValueError("x")) is False
    assert recorded()
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "done"


def test_set_grad_enabled() -> None:
    with torch.set_grad_enabled(False):
        assert not recorded()
    assert recorded()
    torch.set_grad_enabled(False)
    try:
        assert not torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)
    decorate = torch.set_grad_enabled(False)
    wrapped = decorate(recorded)
    assert recorded()
    assert not wrapped()
    assert recorded()


def test_an_error_restores_the_mode() -> None:
    with pytest.raises(KeyError), torch.no_grad():
        raise KeyError
    assert torch.is_grad_enabled()


def test_modes_are_per_thread() -> None:
    seen = []
    with torch.no_grad():
        thread = threading.Thread(target=lambda: seen.append(torch.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_inference_mode() -> None:
    with torch.inference_mode():
        assert torch.is_inference_mode_enabled()
        assert not recorded()
        with torch.inference_mode(False):
            assert recorded()
    assert not torch.is_inference_mode_enabled()

    @torch.inference_mode
    def inside() -> bool:
        return torch.is_inference_mode_enabled()

    @torch.inference_mode()
    def also() -> bool:
        return torch.is_inference_mode_enabled()

    assert inside()
    assert also()


def test_decorating_classes_is_deprecated() -> None:
    class Some:
        def __init__(self) -> None:
            self.recorded = torch.is_grad_enabled()

    with pytest.warns(FutureWarning, match="Decorating classes is deprecated"):
        made = torch.no_grad()(Some)
    assert not made().recorded
    assert isinstance(torch.no_grad().clone(), torch.no_grad)


def test_detach_and_requires_grad() -> None:
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    d = y.detach()
    assert not d.requires_grad and d.is_leaf and d.grad_fn is None
    d.add_(1)
    assert y.tolist() == [3, 3]
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
        y.requires_grad = False
    with pytest.raises(RuntimeError, match="floating point"):
        torch.ones(2, dtype=torch.int64).requires_grad_()
    y.detach_()
    assert y.is_leaf and not y.requires_grad


def test_inference_tensors_stay_out_of_graphs() -> None:
    normal = torch.ones(3, requires_grad=True)
    with torch.inference_mode():
        made = torch.ones(3) * 2
        view = normal[:2]
        made.add_(1)
    assert made.is_inference() and made[:1].is_inference()
    assert not view.is_inference() and not normal.is_inference()
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        normal * made
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode"):
        made.add_(1)
    with pytest.raises(RuntimeError, match="inference tensor"):
        made.requires_grad_()
    (normal * made.clone()).sum().backward()
    assert normal.grad.tolist() == [3, 3, 3]
