"""Which field a paper belongs to, from its words and from what it cites: a graph network on a generated citation graph.

python examples/gcn.py                    # graph convolutions
python examples/gcn.py --layer gat        # graph attention
python examples/gcn.py --layer none       # the words alone, for comparison

Papers of a field share some words and mostly cite each other. A few papers of each field are labelled; the network
learns the others' fields from them. The graph is made here, so nothing is downloaded.
"""

from __future__ import annotations

import argparse
import time

import dumbtorch as torch
from dumbtorch import nn
from dumbtorch.nn import functional as F


def citation_graph(
    papers: int, fields: int, words: int, citations: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Words (papers, words) of zeros and ones, citations (2, E) in both directions, and the field of each paper."""
    random = torch.Generator().manual_seed(seed)
    field = torch.randint(0, fields, (papers,), generator=random)
    # each field prefers a twentieth of the words, which are otherwise rare
    liked = torch.rand(fields, words, generator=random) < 0.05
    chance = torch.where(liked[field], 0.08, 0.02)
    x = (torch.rand(papers, words, generator=random) < chance).float()
    source = torch.randint(0, papers, (papers * citations * 8,), generator=random)
    target = torch.randint(0, papers, (papers * citations * 8,), generator=random)
    same = field[source] == field[target]
    kept = torch.rand(len(source), generator=random) < torch.where(same, 0.6, 0.03)
    kept &= source != target
    source, target = source[kept][: papers * citations], target[kept][: papers * citations]
    return x, torch.cat([torch.stack([source, target]), torch.stack([target, source])], 1), field


class Network(nn.Module):
    """Two layers of a kind, with dropout before each."""

    def __init__(self, layer: str, words: int, hidden: int, fields: int) -> None:
        super().__init__()
        if layer == "gcn":
            self.first: nn.Module = nn.GCNConv(words, hidden)
            self.second: nn.Module = nn.GCNConv(hidden, fields)
        elif layer == "gat":
            self.first = nn.GATConv(words, hidden // 8, heads=8, dropout=0.4)
            self.second = nn.GATConv(hidden, fields, concat=False, dropout=0.4)
        else:
            self.first, self.second = nn.Linear(words, hidden), nn.Linear(hidden, fields)
        self.graph = layer != "none"

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        """The scores of the fields, one row a paper."""
        more = (edges,) if self.graph else ()
        x = F.dropout(x, 0.5, self.training)
        x = F.elu(self.first(x, *more))
        x = F.dropout(x, 0.5, self.training)
        scores: torch.Tensor = self.second(x, *more)
        return scores


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", choices=["gcn", "gat", "none"], default="gcn")
    parser.add_argument("--papers", type=int, default=2700)
    parser.add_argument("--fields", type=int, default=7)
    parser.add_argument("--words", type=int, default=1400)
    parser.add_argument("--citations", type=int, default=2, help="of each paper")
    parser.add_argument("--labelled", type=int, default=20, help="papers of each field whose field is known")
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    x, edges, field = citation_graph(options.papers, options.fields, options.words, options.citations, options.seed)
    known = torch.cat([(field == f).nonzero().squeeze(1)[: options.labelled] for f in range(options.fields)])
    others = torch.ones(options.papers, dtype=torch.bool)
    others[known] = False
    agree = (field[edges[0]] == field[edges[1]]).float().mean().item()
    print(f"{options.papers} papers, {edges.shape[1] // 2} citations, {100 * agree:.0f} % of them within a field")
    model = Network(options.layer, options.words, options.hidden, options.fields)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    start = time.perf_counter()
    for epoch in range(1, options.epochs + 1):
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x, edges)[known], field[known])
        loss.backward()
        optimizer.step()
        if epoch % 20 == 0 or epoch == options.epochs:
            model.eval()
            with torch.no_grad():
                right = (model(x, edges).argmax(1) == field)[others].float().mean().item()
            print(f"epoch {epoch:3}: loss {loss.item():.3f}, accuracy on the others {100 * right:.1f} %")
    print(f"{1e3 * (time.perf_counter() - start) / options.epochs:.1f} ms an epoch")
    print(f"test accuracy: {100 * right:.2f} %")


if __name__ == "__main__":
    main()
