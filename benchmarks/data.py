"""Passes over data, and distributions: what is written in Python on both sides."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from benchmarks.cases import Case, normal


def _loader(kind: str, workers: int) -> Any:
    """One pass over 6,400 pictures of 28 x 28 in batches of 64."""

    def setup(t: Any) -> dict[str, Any]:
        data = importlib.import_module(f"{t.__name__}.utils.data")
        pixels = np.zeros((6400, 28, 28), np.uint8)
        if kind == "tensors":
            dataset = data.TensorDataset(t.zeros(6400, 1, 28, 28), t.zeros(6400, dtype=t.int64))
        else:

            class Pictures(data.Dataset):  # type: ignore[misc, name-defined]
                def __len__(self) -> int:
                    return len(pixels)

                def __getitem__(self, index: int) -> Any:
                    return t.from_numpy(pixels[index]).float().div(255), index % 10

            dataset = Pictures()
        options = {"num_workers": workers, "multiprocessing_context": "fork", "persistent_workers": True}
        loader = data.DataLoader(dataset, 64, shuffle=True, **(options if workers else {}))
        next(iter(loader))  # starts the workers

        def run() -> None:
            for _ in loader:
                pass

        return {"run": run}

    return setup


def _policy(t: Any) -> dict[str, Any]:
    """One decision of a policy: a distribution, a sample, its log probability with gradient."""
    distributions = importlib.import_module(f"{t.__name__}.distributions")
    return {"D": distributions, "logits": normal(t, 32, 4, grad=True), "mean": normal(t, 32, 6, grad=True)}


def cases() -> list[Case]:
    """The rows of this family."""
    rows = [
        Case(f"DataLoader over {what}, {workers} workers, a batch", "run()", _loader(kind, workers), 1.0, inner=100)
        for kind, what in (("tensors", "a TensorDataset"), ("samples", "samples one by one"))
        for workers in (0, 2)
    ]
    rows += [
        Case("Categorical: sample, log_prob, 32", "d = D.Categorical(logits=logits); d.log_prob(d.sample())", _policy),
        Case("Normal: rsample and log_prob of 32 x 6", "d = D.Normal(mean, 1.0); d.log_prob(d.rsample())", _policy),
        Case("KL of two normals, 32 x 6", "D.kl_divergence(D.Normal(mean, 1.0), D.Normal(0.0, 2.0))", _policy),
    ]  # fmt: skip
    return rows
