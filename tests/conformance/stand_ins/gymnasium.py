"""A stand-in for gymnasium: a pole on a cart, by the equations of Barto, Sutton and Anderson (1983)."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np


class CartPole:
    """The state is the cart's place and speed, the pole's angle and its speed; an action pushes left or right."""

    spec = SimpleNamespace(reward_threshold=475.0)

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.state = np.zeros(4)
        self.steps = 0

    def reset(self, seed: int | None = None) -> Any:
        """A new start near the middle."""
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.state = self.rng.uniform(-0.05, 0.05, 4)
        self.steps = 0
        return self.state.astype(np.float32), {}

    def step(self, action: int) -> Any:
        """A fiftieth of a second."""
        x, v, angle, turn = self.state
        force = 10.0 if action == 1 else -10.0
        sine, cosine = math.sin(angle), math.cos(angle)
        push = (force + 0.05 * turn**2 * sine) / 1.1
        bend = (9.8 * sine - cosine * push) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
        speed = push - 0.05 * bend * cosine / 1.1
        self.state = np.array([x + 0.02 * v, v + 0.02 * speed, angle + 0.02 * turn, turn + 0.02 * bend])
        self.steps += 1
        fallen = bool(abs(self.state[0]) > 2.4 or abs(self.state[2]) > 12 * math.pi / 180)
        return self.state.astype(np.float32), 1.0, fallen, self.steps >= 500, {}


def make(name: str, **options: Any) -> CartPole:
    """The one environment."""
    if name != "CartPole-v1":
        raise ValueError(f"the stand-in has no {name}")
    return CartPole()
