"""A shallow network over the vectors of users and items, the "Shallow Net" of the paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from soundalike.errors import BadRequest
from soundalike.evaluation.blocks import unit
from soundalike.evaluation.recommenders.base import (
    Numbers,
    Recommender,
    Task,
    choice,
    number,
    refuse_unknown_items,
)
from soundalike.evaluation.recommenders.knn import means
from soundalike.evaluation.recommenders.training import (
    INITIAL,
    NEVER,
    ON_MONTH,
    RANDOM_WIDTH,
    VALIDATION,
    TrainedOptions,
    Training,
    hold_out,
    seeded,
)
from soundalike.evaluation.splits import Pairs
from soundalike.types import FloatArray

if TYPE_CHECKING:
    import torch

USER, ITEM = "user", "item"


@dataclass(frozen=True, slots=True)
class SnnOptions(TrainedOptions):
    """How the network is built and taught."""

    items: str = choice("frozen", "trained", help="the vectors of items; trained where made up")
    users: str = choice("trained", "fixed", help="the vectors of users")
    user_start: str = choice("mean", "random", help="what users begin as: the mean of their items")
    scale: str = choice("unit", "raw", help="item vectors of length sqrt(d), or as they are")
    hidden: int = number(0, 0, "numbers in the layer; 0 for as many as in a vector")
    negatives: str = choice(
        "users", "items", help="what a pair is set against: its item with other users, or reverse"
    )
    pool: str = choice("all", "published", help="who they are drawn from: all, or all but the last")
    count: int = number(20, 1, "how many of them for a pair")
    margin: float = number(0.2, 0.0, "how much nearer the pair is to be")
    confidence: str = choice("none", "log-count", help="what a pair counts: 1 + 2 ln(1 + plays)")
    l2: float = number(0.0, 0.0, "Adam's penalty on large weights")
    batch: int = number(10_000, 1, "pairs")


class Snn(Recommender):
    """One layer that users and items go through; a score is the cosine of what comes out."""

    key = "snn"
    options_type = SnnOptions
    uses_vectors = True
    paper = {  # noqa: RUF012  (a mapping that nobody changes)
        "items": "trained", "users": "fixed", "scale": "raw", "pool": "published",
        "stop_on": ON_MONTH,
    }  # fmt: skip

    def fit(self, task: Task) -> dict[str, Any]:
        """Train the network, and put all users and items through it."""
        import torch

        options = cast(SnnOptions, self.options)
        if task.vectors is None or options.items == "trained":
            refuse_unknown_items(task.split, self.key, "it learns a vector for each item it knows")
        towers = _Towers(task, options)
        notes = Training(towers, task, options, self.key, options.l2).run()
        with torch.no_grad():
            self._users, self._items = (towers.all_outputs(side) for side in (USER, ITEM))
        return notes

    def scores(self, users: Numbers) -> FloatArray:
        """Give the cosines."""
        return self._users[users] @ self._items.T


class _Towers:
    """The tables of users and items and the layer above both, and the pairs they learn."""

    def __init__(self, task: Task, options: SnnOptions) -> None:
        import torch

        self.task, self.options = task, options
        self.device = torch.device(task.device)
        split = task.split
        self._kept, self._held = split.train, split.train
        if options.stop_on == ON_MONTH:
            self._held = split.held.of(np.isin(split.held.users, split.validation))
        elif options.stop_on != NEVER:
            self._kept, self._held = hold_out(split.train, task.seed)
        if not len(self._held.users):
            raise BadRequest("Nothing is left for early stopping; choose stop_on=train or never.")
        with seeded(task.seed, INITIAL, task.device):
            self.net = self._made(_scaled(task.vectors, options.scale)).to(self.device)

    def _made(self, vectors: FloatArray | None) -> torch.nn.ModuleDict:
        from torch import nn

        split, options = self.task.split, self.options
        width = RANDOM_WIDTH if vectors is None else vectors.shape[1]
        items = nn.Embedding(len(split.item_ids), width)
        users = nn.Embedding(len(split.user_ids), width)
        _fill(items, vectors)
        if options.user_start == "mean":
            train = split.train
            ones = np.ones(len(train.users), dtype=np.float32)
            _fill(users, means(train, ones, items.weight.detach().numpy()))
        items.weight.requires_grad = options.items == "trained" or vectors is None
        users.weight.requires_grad = options.users == "trained"
        layer = nn.Linear(width, options.hidden or width)
        return nn.ModuleDict({USER: users, ITEM: items, "layer": layer})

    def outputs(self, side: str, places: torch.Tensor) -> torch.Tensor:
        """Put users or items through the layer; the length of what comes out is one."""
        from torch.nn import functional

        raw = self.net["layer"](self.net[side](places)).relu()
        return functional.normalize(raw, dim=-1)

    def all_outputs(self, side: str) -> FloatArray:
        """Put all users or items through it."""
        import torch

        places = torch.arange(len(self.net.get_parameter(f"{side}.weight")), device=self.device)
        found: FloatArray = self.outputs(side, places).detach().cpu().numpy()
        return found

    def losses(self) -> Iterator[torch.Tensor]:
        """Go through all pairs in an order by lot."""
        import torch

        order = torch.randperm(len(self._kept.users)).numpy()
        for begin in range(0, len(order), self.options.batch):
            yield self._loss(self._kept, order[begin : begin + self.options.batch])

    def validation_loss(self) -> float:
        """Give the loss of the pairs held back, against the same others each time."""
        import torch

        if self.options.stop_on == NEVER:
            return float("nan")
        places = np.arange(len(self._held.users))
        with torch.no_grad(), seeded(self.task.seed, VALIDATION, self.task.device):
            parts = [
                (float(self._loss(self._held, part)), len(part))
                for part in np.array_split(places, -(-len(places) // self.options.batch))
            ]
        return sum(loss * size for loss, size in parts) / len(places)

    def _loss(self, pairs: Pairs, chosen: Numbers) -> torch.Tensor:
        """Ask that each pair be nearer than the same item and others, by the margin."""
        import torch

        options = self.options
        users, items = (
            torch.from_numpy(column[chosen]).to(self.device)
            for column in (pairs.users, pairs.items)
        )
        one, other = (users, items) if options.negatives == "users" else (items, users)
        sides = (USER, ITEM) if options.negatives == "users" else (ITEM, USER)
        drawn = torch.randint(self._pool(), (len(chosen), options.count)).to(self.device)
        # all cosines of those that occur cost less than those of each pair one by one
        rows, row = torch.unique(torch.cat([one[:, None], drawn], dim=1), return_inverse=True)
        columns, column = torch.unique(other, return_inverse=True)
        cosines = self.outputs(sides[0], rows) @ self.outputs(sides[1], columns).T
        places = row * len(columns) + column[:, None]
        compared = cosines.flatten().index_select(0, places.flatten()).view(places.shape)
        positive, negative = compared[:, :1], compared[:, 1:]
        hinge = (options.margin - positive + negative).clamp(min=0).mean(dim=1)
        return (hinge * self._confidence(pairs.plays[chosen])).mean()

    def _pool(self) -> int:
        split = self.task.split
        size = len(split.user_ids) if self.options.negatives == "users" else split.warm
        return max(1, size - (self.options.pool == "published"))

    def _confidence(self, plays: Numbers) -> torch.Tensor:
        import torch

        counted = self.options.confidence == "log-count"
        values = 1 + 2 * np.log1p(plays) if counted else np.ones(len(plays))
        return torch.from_numpy(values.astype(np.float32)).to(self.device)


def _scaled(vectors: FloatArray | None, scale: str) -> FloatArray | None:
    if vectors is None or scale == "raw":
        return vectors
    return unit(vectors) * np.float32(np.sqrt(vectors.shape[1]))


def _fill(table: torch.nn.Embedding, values: FloatArray | None) -> None:
    import torch

    if values is not None:
        with torch.no_grad():
            table.weight.copy_(torch.from_numpy(np.array(values, dtype=np.float32)))


RECOMMENDER = Snn
