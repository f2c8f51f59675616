"""Gradients, step by step, each checked against the one worked out by hand.

python examples/basic_autograd.py
"""

from __future__ import annotations

from typing import Any

import dumbtorch as torch


def check(what: str, found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Print both and stop the program if they differ by more than the tolerance."""
    difference = (found - expected).abs().max().item()
    print(f"  {what}: {found.tolist()}, by hand {expected.tolist()}")
    if not difference <= tolerance:  # also true for nan
        raise SystemExit(f"{what}: autograd and the formula differ by {difference}")


def a_gradient_by_hand() -> None:
    """The gradient of sum(sin(x) * x^2) is cos(x) * x^2 + 2 x sin(x)."""
    print("y = sum(sin(x) * x^2)")
    x = torch.tensor([0.5, 1.0, 2.0], requires_grad=True)
    (x.sin() * x**2).sum().backward()
    point = x.detach()
    check("dy/dx", x.grad, point.cos() * point**2 + 2 * point * point.sin())


def a_product_of_matrices() -> None:
    """For y = sum((A B)^2), dy/dA = 2 (A B) B^T and dy/dB = 2 A^T (A B)."""
    print("y = sum((A B)^2)")
    torch.manual_seed(0)
    a = torch.randn(2, 3, requires_grad=True)
    b = torch.randn(3, 2, requires_grad=True)
    ((a @ b) ** 2).sum().backward()
    with torch.no_grad():
        product = a @ b
        check("dy/dA", a.grad, 2 * product @ b.t())
        check("dy/dB", b.grad, 2 * a.t() @ product)


def a_second_derivative() -> None:
    """A gradient that was itself recorded can be differentiated again: (x^4)'' = 12 x^2."""
    print("y = sum(x^4)")
    x = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    (first,) = torch.autograd.grad((x**4).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    check("first derivative", first.detach(), 4 * x.detach() ** 3)
    check("second derivative", second, 12 * x.detach() ** 2)


class Cube(torch.autograd.Function):
    """x^3 with a derivative of our own."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        """Keep what the backward pass will need."""
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient of the output times 3 x^2."""
        (x,) = ctx.saved_tensors
        return gradient * 3 * x * x


def a_function_of_our_own() -> None:
    """Cube in a longer computation, and against finite differences."""
    print("y = sum(2 * Cube(x))")
    x = torch.tensor([1.0, 2.0, -3.0], dtype=torch.float64, requires_grad=True)
    (2 * Cube.apply(x)).sum().backward()
    check("dy/dx", x.grad, 6 * x.detach() ** 2)
    agrees = torch.autograd.gradcheck(Cube.apply, (x,))
    print(f"  agrees with finite differences: {agrees}")


def a_linear_regression() -> None:
    """Gradient descent on a noisy line comes to where the normal equations do."""
    print("fit y = w x + b to a noisy line")
    torch.manual_seed(0)
    x = torch.rand(200) * 4 - 2
    y = 3 * x - 1 + 0.1 * torch.randn(200)
    w = torch.zeros(1, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    for step in range(200):
        loss = ((w * x + b - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            for parameter in (w, b):
                parameter -= 0.1 * parameter.grad
                parameter.grad = None
        if step % 50 == 0:
            print(f"  step {step:3}: loss {loss.item():.5f}")
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    check("w", w.detach(), slope.reshape(1), tolerance=1e-3)
    check("b", b.detach(), (y.mean() - slope * x.mean()).reshape(1), tolerance=1e-3)


def main() -> None:
    """All of them."""
    a_gradient_by_hand()
    a_product_of_matrices()
    a_second_derivative()
    a_function_of_our_own()
    a_linear_regression()
    print("all gradients agree")


if __name__ == "__main__":
    main()
