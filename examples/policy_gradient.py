"""Learn to balance a pole on a cart, by REINFORCE or by an actor with a critic.

    python examples/policy_gradient.py                    # actor and critic; solved within seconds
    python examples/policy_gradient.py --method reinforce

The cart-pole of Barto, Sutton and Anderson (1983) stands below in a few lines of tensors: as many carts as one likes
take a step at once. Every episode earns a point a step and ends when the pole has fallen, the cart has left the track
or after 500 steps. REINFORCE (Williams, 1992) waits for the ends of episodes and weighs each action by what came after
it; the critic learns to foretell that, and what remains is the advantage of the action.
"""

from __future__ import annotations

import argparse
import math
import sys

import dumbtorch as torch
from dumbtorch import nn, optim
from dumbtorch.distributions import Categorical

LIMIT = 500  # steps of an episode


class CartPoles:
    """Carts on a track, each with a pole to balance. A state is position, velocity, angle, velocity of the angle."""

    gravity, cart, pole, half_length, force, interval = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02

    def __init__(self, count: int) -> None:
        self.state = self._start(count)
        self.steps = torch.zeros(count, dtype=torch.int64)

    @staticmethod
    def _start(count: int) -> torch.Tensor:
        return torch.rand(count, 4) * 0.1 - 0.05

    def step(self, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Push each cart left (0) or right (1): the new states, which episodes failed and which ended by the limit.

        Carts whose episode is over have a new start in their state.
        """
        x, speed, angle, turning = self.state.unbind(1)
        push = (action * 2 - 1) * self.force
        sine, cosine = angle.sin(), angle.cos()
        total = self.cart + self.pole
        common = (push + self.pole * self.half_length * turning**2 * sine) / total
        bend = (self.gravity * sine - cosine * common) / (self.half_length * (4 / 3 - self.pole * cosine**2 / total))
        accelerated = common - self.pole * self.half_length * bend * cosine / total
        h = self.interval
        self.state = torch.stack(
            [x + h * speed, speed + h * accelerated, angle + h * turning, turning + h * bend], dim=1
        )
        self.steps += 1
        failed = (self.state[:, 0].abs() > 2.4) | (self.state[:, 2].abs() > 12 * math.pi / 180)
        ended = ~failed & (self.steps >= LIMIT)
        over = failed | ended
        after = self.state
        self.state = torch.where(over.unsqueeze(1), self._start(len(over)), self.state)
        self.steps = torch.where(over, 0, self.steps)
        return after, failed, ended


class Agent(nn.Module):
    """A policy (the logits of both actions) and a value (what is still to be earned), each with a hidden layer."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.policy = nn.Sequential(nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 2))
        self.value = nn.Sequential(nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def act(self, state: torch.Tensor) -> Categorical:
        """The distribution of the actions."""
        return Categorical(logits=self.policy(state))


def rollout(agent: Agent, carts: CartPoles, length: int) -> tuple[torch.Tensor, ...]:
    """Let all carts run: states, actions, states after, failures, ends, each of shape (length, carts)."""
    rows = []
    with torch.no_grad():
        for _ in range(length):
            state = carts.state
            action = agent.act(state).sample()
            after, failed, ended = carts.step(action)
            rows.append((state, action, after, failed, ended))
    return tuple(torch.stack(column) for column in zip(*rows, strict=True))


def earned(failed: torch.Tensor, ended: torch.Tensor, later: torch.Tensor, discount: float) -> torch.Tensor:
    """What is earned from each step on; ``later``, foretold of the states after, counts where a run is cut off."""
    total = later[-1]
    result = []
    for i in reversed(range(len(failed))):
        total = torch.where(ended[i], later[i], total)
        total = 1 + discount * torch.where(failed[i], 0.0, total)
        result.append(total)
    return torch.stack(result[::-1])


def train(options: argparse.Namespace) -> float:
    """Train, and print the mean length of the episodes that end; returns the last one."""
    torch.manual_seed(options.seed)
    agent = Agent(options.hidden)
    optimizer = optim.Adam(agent.parameters(), lr=options.lr)
    carts = CartPoles(options.carts)
    length = options.length or (64 if options.method == "actor-critic" else LIMIT)
    mean = 0.0
    for update in range(1, options.updates + 1):
        if options.method == "reinforce":
            carts = CartPoles(options.carts)  # whole episodes, from their starts
        states, actions, after, failed, ended = rollout(agent, carts, length)
        if options.method == "reinforce":
            # The first episode of each cart; later ones are not over when the steps are.
            first = (failed | ended).cumsum(0) - (failed | ended).long() == 0
            returns = earned(failed, ended, torch.zeros(failed.shape), options.discount)
            advantage = returns - returns[first].mean()
        else:
            first = torch.ones_like(failed)
            with torch.no_grad():
                later = agent.value(after).squeeze(-1)
            returns = earned(failed, ended, later, options.discount)
            advantage = returns - agent.value(states).squeeze(-1).detach()
        weight = (advantage / (advantage[first].std() + 1e-6))[first]
        policy = agent.act(states[first])
        loss = -(policy.log_prob(actions[first]) * weight).mean() - options.entropy * policy.entropy().mean()
        if options.method == "actor-critic":
            loss = loss + 0.5 * nn.functional.smooth_l1_loss(agent.value(states).squeeze(-1), returns)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(agent.parameters(), 1.0)
        optimizer.step()
        if update % options.report == 0 or update == options.updates:
            mean = evaluate(agent)
            print(f"update {update}: {mean:.0f} steps an episode", flush=True)
            if mean >= options.target:
                break
    return mean


def evaluate(agent: Agent, count: int = 32) -> float:
    """How many steps an episode lasts, on average, if the better action is always taken."""
    carts = CartPoles(count)
    alive = torch.ones(count, dtype=torch.bool)
    steps = 0
    with torch.no_grad():
        for _ in range(LIMIT):
            _, failed, _ = carts.step(agent.policy(carts.state).argmax(1))
            steps += int(alive.sum())
            alive &= ~failed
    return steps / count


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options, from the command line unless given."""
    parser = argparse.ArgumentParser(description="Learn to balance a pole on a cart.")
    parser.add_argument("--method", choices=["actor-critic", "reinforce"], default="actor-critic")
    parser.add_argument("--updates", type=int, default=400, metavar="N", help="default: 400")
    parser.add_argument("--carts", type=int, default=32, metavar="N", help="episodes at once; default: 32")
    parser.add_argument("--length", type=int, metavar="N", help="steps an update; default: by method")
    parser.add_argument("--hidden", type=int, default=64, metavar="N", help="units of a layer; default: 64")
    parser.add_argument("--lr", type=float, default=1e-2, metavar="X", help="learning rate; default: 0.01")
    parser.add_argument("--discount", type=float, default=0.99, metavar="X", help="default: 0.99")
    parser.add_argument("--entropy", type=float, default=0.01, metavar="X", help="weight of the entropy; default: 0.01")
    parser.add_argument("--target", type=float, default=475, metavar="N", help="steps at which it is solved; 475")
    parser.add_argument("--report", type=int, default=10, metavar="N", help="updates between reports; default: 10")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Train and say how it went."""
    options = parse_arguments(arguments)
    mean = train(options)
    print("solved" if mean >= options.target else "not solved")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
