"""L-BFGS: quasi-Newton steps from the last gradients, with a line search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from dumbtorch import ops
from dumbtorch._tensor import Tensor
from dumbtorch.autograd import enable_grad, set_grad_enabled
from dumbtorch.ops.steps import real
from dumbtorch.optim._rule import check_rate
from dumbtorch.optim.optimizer import Optimizer, Params, scalar

__all__ = ["LBFGS"]


class _Point(NamedTuple):
    """What is known at a distance along the line: the loss, the gradient, its component along the line."""

    t: float
    loss: float
    grad: Tensor
    slope: float


def _cubic_minimum(a: _Point, b: _Point, bounds: tuple[float, float] | None = None) -> float:
    """The minimum between two points of the cubic through their values and slopes (Nocedal and Wright, eq. 3.59)."""
    if a.t > b.t:
        a, b = b, a
    low, high = bounds or (a.t, b.t)
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2.0
    d2 = square**0.5
    below = b.slope - a.slope + 2 * d2
    lowest = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / below) if below else float("nan")
    return min(max(lowest, low), high)


def _strong_wolfe(
    evaluate: Callable[[float], _Point], start: _Point, t: float, length: float, tolerance: float, most: int
) -> tuple[_Point, int]:
    """A point that satisfies the strong Wolfe conditions (Nocedal and Wright, algorithms 3.5 and 3.6), and the cost.

    `length` is the largest element of the direction: the search ends when it would move nothing by `tolerance`.
    """
    c1, c2 = 1e-4, 0.9

    def too_high(point: _Point) -> bool:
        return point.loss > start.loss + c1 * point.t * start.slope

    def flat(point: _Point) -> bool:
        return abs(point.slope) <= -c2 * start.slope

    last, now = start, evaluate(t)
    evaluations, tries = 1, 0
    bracket: list[_Point] = []
    done = False
    while tries < most:
        if too_high(now) or (tries > 1 and now.loss >= last.loss):
            bracket = [last, now]
            break
        if flat(now):
            bracket, done = [now], True
            break
        if now.slope >= 0:
            bracket = [last, now]
            break
        t = _cubic_minimum(last, now, (now.t + 0.01 * (now.t - last.t), now.t * 10))
        last, now = now, evaluate(t)
        evaluations, tries = evaluations + 1, tries + 1
    if not bracket:
        bracket = [start, now]

    stuck = False
    low, high = (0, 1) if bracket[0].loss <= bracket[-1].loss else (1, 0)
    while not done and tries < most:
        left, right = sorted((bracket[0].t, bracket[1].t))
        if (right - left) * length < tolerance:
            break
        t = _cubic_minimum(bracket[0], bracket[1])
        # near an end of the bracket twice, or beyond it: a tenth of it away from there
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:
            if stuck or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        now = evaluate(t)
        evaluations, tries = evaluations + 1, tries + 1
        if too_high(now) or now.loss >= bracket[low].loss:
            bracket[high] = now
            low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
        else:
            if flat(now):
                done = True
            elif now.slope * (bracket[high].t - bracket[low].t) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = now
    return bracket[low if len(bracket) > 1 else 0], evaluations


class LBFGS(Optimizer):
    """Steps along an approximation of the inverse Hessian times the gradient, made of the last `history_size` steps.

    `step` needs a closure that computes the loss and its gradients anew: it is called up to `max_eval` times (default
    1.25 `max_iter`). It ends when the gradient is below `tolerance_grad` or a step or the loss changes by less than
    `tolerance_change`. `line_search_fn` is None (steps of `lr`) or "strong_wolfe". One group of parameters only:
    ValueError for more. Reference: `torch.optim.LBFGS` (Liu and Nocedal, 1989).

        >>> optimizer = optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")
        >>> optimizer.step(closure)
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_rate(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params: list[Tensor] = self.param_groups[0]["params"]

    def _flat_grad(self) -> Tensor:
        parts = [ops.zeros_like(real(p)) if p.grad is None else real(p.grad.to_dense()) for p in self._params]
        return ops.cat([part.reshape(-1) for part in parts])

    def _move(self, t: float, direction: Tensor) -> None:
        start = 0
        for param in map(real, self._params):
            end = start + param.numel()
            param.add_(direction[start:end].view_as(param), alpha=t)
            start = end

    def _direction(self, state: dict[str, Any], grad: Tensor, history: int) -> Tensor:
        """The new direction, by the two-loop recursion over the last steps."""
        if state["n_iter"] == 1:
            state["old_dirs"], state["old_stps"], state["ro"], state["H_diag"] = [], [], [], 1
            return grad.neg()
        changes, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        y = grad - state["prev_flat_grad"]
        s = state["d"] * state["t"]
        ys = y.dot(s)
        if ys.item() > 1e-10:
            if len(changes) == history:
                for memory in (changes, steps, ro):
                    memory.pop(0)
            changes.append(y)
            steps.append(s)
            ro.append(1.0 / ys)
            state["H_diag"] = ys / y.dot(y)
        weights = state.setdefault("al", [None] * history)
        q = grad.neg()
        for i in reversed(range(len(changes))):
            weights[i] = steps[i].dot(q) * ro[i]
            q.sub_(changes[i] * weights[i])
        r: Tensor = q * state["H_diag"]
        for i in range(len(changes)):
            r.add_(steps[i] * (weights[i] - changes[i].dot(r) * ro[i]))
        return r

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take up to `max_iter` steps; returns the first loss that the closure gave. TypeError without a closure."""
        if closure is None:
            raise TypeError("LBFGS.step() missing 1 required positional argument: 'closure'")
        with set_grad_enabled(False):
            return self._minimize(closure)

    def _minimize(self, closure: Callable[[], Any]) -> Any:

        def loss_here() -> Any:
            with enable_grad():
                return closure()

        group = self.param_groups[0]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first = loss_here()
        loss, evaluations = float(first), 1
        state["func_evals"] += 1
        grad = self._flat_grad()
        if grad.abs().max().item() <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = state["d"] = self._direction(state, grad, group["history_size"])
            state["prev_flat_grad"], state["prev_loss"], before = grad.clone(), loss, loss
            lr = scalar(group["lr"])
            t = min(1.0, 1.0 / grad.abs().sum().item()) * lr if state["n_iter"] == 1 else lr
            state["t"] = t
            slope = grad.dot(direction).item()
            if slope > -group["tolerance_change"]:
                break
            last = iteration == group["max_iter"]
            if group["line_search_fn"] is None:
                self._move(t, direction)
                spent = 0
                if not last:  # after the last step nobody asks
                    loss, spent = float(loss_here()), 1
                    grad = self._flat_grad()
            elif group["line_search_fn"] == "strong_wolfe":
                found, spent = self._search(
                    loss_here, _Point(0, loss, grad.clone(), slope), t, direction, group, evaluations
                )
                t, loss, grad = found.t, found.loss, found.grad
                self._move(t, direction)
                state["t"] = t
            else:
                raise RuntimeError("only 'strong_wolfe' is supported")
            evaluations += spent
            state["func_evals"] += spent
            if (
                last
                or evaluations >= group["max_eval"]
                or grad.abs().max().item() <= group["tolerance_grad"]
                or (direction * t).abs().max().item() <= group["tolerance_change"]
                or abs(loss - before) < group["tolerance_change"]
            ):
                break
        return first

    def _search(
        self,
        loss_here: Callable[[], Any],
        start: _Point,
        t: float,
        direction: Tensor,
        group: dict[str, Any],
        evaluations: int,
    ) -> tuple[_Point, int]:
        """The line search; the parameters stay where they are."""
        origin = [param.clone() for param in self._params]

        def evaluate(distance: float) -> _Point:
            self._move(distance, direction)
            loss = float(loss_here())
            grad = self._flat_grad()
            for param, kept in zip(self._params, origin, strict=True):
                param.copy_(kept)
            return _Point(distance, loss, grad, grad.dot(direction).item())

        length = direction.abs().max().item()
        return _strong_wolfe(evaluate, start, t, length, group["tolerance_change"], group["max_eval"] - evaluations)
