"""BERT over the items a user played, in their order: the next item is a word left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
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
from soundalike.evaluation.recommenders.training import (
    INITIAL,
    NEVER,
    ON_MONTH,
    ON_TRAIN,
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

LEAST_POSITIONS = 200
DEVIATION = 0.02
EPSILON = 1e-12
LEFT_OUT = 2
"""Rows of the vocabulary that are no items: the mask, and what fills short sequences up."""
USERS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Bert4RecOptions(TrainedOptions):
    """How the network is built and taught."""

    items: str = choice("trained", "frozen", help="the vectors of items; trained where made up")
    scale: str = choice("unit", "raw", help="item vectors of length 0.02 sqrt(d), or as they are")
    projection: int = number(0, 0, "numbers that vectors are made into by a layer; 0 for none")
    max_len: int = number(100, 2, "how many items of a user it learns from, the last first")
    infer_len: int = number(100, 2, "how many places it looks at to foretell, the mask with them")
    mask_prob: float = number(0.2, 0.0, "how likely each item is left out", most=1.0)
    last_mask_prob: float = number(0.15, 0.0, "how likely the last one is, and no other", most=1.0)
    layers: int = number(2, 1, "of the encoder")
    heads: int = number(2, 1, "of each layer")
    feedforward: int = number(256, 1, "numbers between a layer's two halves")
    dropout: float = number(0.1, 0.0, "share of numbers left out while learning", most=0.99)
    stop_pairs: int = number(10, 1, "with stop_on=month: items a user must have to be looked at")
    batch: int = number(128, 1, "users")


class Bert4Rec(Recommender):
    """Scores are what the network makes of a mask behind a user's last items."""

    key = "bert4rec"
    options_type = Bert4RecOptions
    uses_vectors = True
    paper = {  # noqa: RUF012  (a mapping that nobody changes)
        "scale": "raw", "max_len": 300, "infer_len": 50, "last_mask_prob": 0.0,
        "stop_on": ON_MONTH,
    }  # fmt: skip

    def fit(self, task: Task) -> dict[str, Any]:
        """Train the network."""
        refuse_unknown_items(task.split, self.key, "it was never taught what stands for them")
        options = cast(Bert4RecOptions, self.options)
        self._network = _Network(task, options)
        train = task.split.train
        self._histories = _sequences(train, len(task.split.user_ids), options.infer_len - 1)
        return Training(self._network, task, options, self.key).run()

    def scores(self, users: Numbers) -> FloatArray:
        """Ask what comes next."""
        import torch

        parts = []
        with torch.no_grad():
            for block in np.array_split(users, -(-len(users) // USERS_AT_ONCE)):
                logits = self._network.next_logits([self._histories[user] for user in block])
                parts.append(logits[:, :-LEFT_OUT].cpu().numpy())
        return np.concatenate(parts)


class _Network:
    """The encoder, the table of items below and above it, and the sequences it learns."""

    def __init__(self, task: Task, options: Bert4RecOptions) -> None:
        import torch

        self.task, self.options = task, options
        self.device = torch.device(task.device)
        split = task.split
        self.count = len(split.item_ids)
        self.mask, self.filler = self.count, self.count + 1
        self.places = max(LEAST_POSITIONS, options.max_len, options.infer_len)
        kept = split.train
        if options.stop_on == ON_TRAIN:
            kept, self._held = hold_out(split.train, task.seed)
        users = len(split.user_ids)
        self._histories = _sequences(kept, users, max(options.max_len, options.infer_len - 1))
        self._learned = [one[-options.max_len :] for one in self._histories if len(one)]
        self._watched = self._month() if options.stop_on == ON_MONTH else []
        with seeded(task.seed, INITIAL, task.device):
            self.net = self._made().to(self.device)

    def _month(self) -> list[Numbers]:
        """Choose what the validation users played in the test period."""
        split, options = self.task.split, self.options
        chosen = split.held.of(np.isin(split.held.users, split.validation))
        found = _sequences(chosen, len(split.user_ids), options.max_len)
        enough = [one for one in found if len(one) >= options.stop_pairs]
        if not enough:
            raise BadRequest(
                f"No validation user has {options.stop_pairs} items in the test period for early "
                "stopping to look at; choose stop_on=train or a lower stop_pairs."
            )
        return enough

    def _made(self) -> torch.nn.ModuleDict:
        from torch import nn

        options = self.options
        vectors = _scaled(self.task.vectors, options.scale)
        table = nn.Embedding(
            self.count + LEFT_OUT, RANDOM_WIDTH if vectors is None else vectors.shape[1]
        )
        _fill(table, vectors)
        table.weight.requires_grad = options.items == "trained" or vectors is None
        width = options.projection or table.embedding_dim
        if width % options.heads:
            raise BadRequest(
                f"{options.heads} heads cannot share {width} numbers; choose projection=128."
            )
        layer = nn.TransformerEncoderLayer(
            width, options.heads, options.feedforward, options.dropout,
            activation="gelu", layer_norm_eps=EPSILON, batch_first=True,
        )  # fmt: skip
        net = nn.ModuleDict({
            "table": table,
            "places": nn.Embedding(self.places, width),
            "norm": nn.LayerNorm(width, EPSILON),
            "dropout": nn.Dropout(options.dropout),
            "encoder": nn.TransformerEncoder(layer, options.layers, enable_nested_tensor=False),
        })  # fmt: skip
        if options.projection:
            net["projection"] = nn.Linear(table.embedding_dim, width, bias=False)
        _start(net)
        return net

    def _words(self) -> torch.Tensor:
        """Give what stands for each item, the mask and the filler, shape (N + 2, width)."""
        words: torch.Tensor = self.net.get_parameter("table.weight")
        if self.options.projection:
            words = self.net["projection"](words)
        return words

    def _encoded(self, sequences: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Encode sequences that end where the batch does, shape (B, L), into (B, L, width)."""
        import torch

        length = sequences.shape[1]
        # a place is told by how far it is from the end
        places = torch.arange(self.places - length, self.places, device=self.device)
        raw = torch.nn.functional.embedding(sequences, words) + self.net["places"](places)
        given = self.net["dropout"](self.net["norm"](raw))
        encoded: torch.Tensor = self.net["encoder"](
            given, src_key_padding_mask=sequences == self.filler
        )
        return encoded

    def _padded(self, sequences: Sequence[Numbers]) -> torch.Tensor:
        import torch

        length = max(map(len, sequences))
        rows = np.full((len(sequences), length), self.filler, dtype=np.int64)
        for row, one in zip(rows, sequences, strict=True):
            row[length - len(one) :] = one
        return torch.from_numpy(rows).to(self.device)

    def losses(self) -> Iterator[torch.Tensor]:
        """Go through all users in an order by lot, and leave items out."""
        import torch

        order = torch.randperm(len(self._learned)).tolist()
        for begin in range(0, len(order), self.options.batch):
            chosen = order[begin : begin + self.options.batch]
            sequences = self._padded([self._learned[place] for place in chosen])
            out = self._left_out(sequences, self.options.last_mask_prob)
            if out.any():
                yield self._masked_loss(sequences, out)

    def _left_out(self, sequences: torch.Tensor, last_mask_prob: float) -> torch.Tensor:
        """Choose which items are to be foretold."""
        import torch

        drawn = torch.rand(sequences.shape).to(self.device) < self.options.mask_prob
        last_alone = torch.rand(len(sequences), 1).to(self.device) < last_mask_prob
        last = torch.zeros_like(drawn)
        last[:, -1] = True
        return torch.where(last_alone, last, drawn) & (sequences != self.filler)

    def _masked_loss(self, sequences: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        import torch

        words = self._words()
        encoded = self._encoded(torch.where(out, self.mask, sequences), words)
        logits = encoded[out] @ words.T
        return torch.nn.functional.cross_entropy(logits, sequences[out])

    def next_logits(self, histories: Sequence[Numbers]) -> torch.Tensor:
        """Score what comes behind sequences, shape (B, N + 2)."""
        room = self.options.infer_len - 1
        sequences = self._padded([np.append(one[-room:], self.mask) for one in histories])
        words = self._words()
        return self._encoded(sequences, words)[:, -1] @ words.T

    def validation_loss(self) -> float:
        """Give the loss that early stopping looks at."""
        import torch

        if self.options.stop_on == NEVER:
            return float("nan")
        with torch.no_grad(), seeded(self.task.seed, VALIDATION, self.task.device):
            if self.options.stop_on == ON_MONTH:
                return self._month_loss()
            return self._last_loss()

    def _month_loss(self) -> float:
        losses = []
        for begin in range(0, len(self._watched), self.options.batch):
            sequences = self._padded(self._watched[begin : begin + self.options.batch])
            out = self._left_out(sequences, 0.0)
            if out.any():
                losses.append((float(self._masked_loss(sequences, out)), int(out.sum())))
        return sum(loss * count for loss, count in losses) / sum(count for _, count in losses)

    def _last_loss(self) -> float:
        import torch

        total = 0.0
        for begin in range(0, len(self._held.users), USERS_AT_ONCE):
            users = self._held.users[begin : begin + USERS_AT_ONCE]
            logits = self.next_logits([self._histories[user] for user in users])
            truth = torch.from_numpy(self._held.items[begin : begin + USERS_AT_ONCE])
            total += float(
                torch.nn.functional.cross_entropy(logits, truth.to(self.device), reduction="sum")
            )
        return total / len(self._held.users)


def _sequences(pairs: Pairs, users: int, length: int) -> list[Numbers]:
    """Lay out the last items of each user, in the order of their first plays."""
    starts = pairs.starts(users)
    return [pairs.items[max(begin, end - length) : end] for begin, end in pairwise(starts)]


def _scaled(vectors: FloatArray | None, scale: str) -> FloatArray | None:
    if vectors is None or scale == "raw":
        return vectors
    return unit(vectors) * np.float32(DEVIATION * np.sqrt(vectors.shape[1]))


def _fill(table: torch.nn.Embedding, vectors: FloatArray | None) -> None:
    """Begin with the vectors; the mask, and items without any, by lot; the filler with zeros."""
    import torch

    torch.nn.init.normal_(table.weight, std=DEVIATION)
    with torch.no_grad():
        if vectors is not None:
            table.weight[: len(vectors)] = torch.from_numpy(vectors)
        table.weight[-1] = 0


def _start(net: torch.nn.ModuleDict) -> None:
    """Begin with small weights and no biases, as BERT does."""
    from torch import nn

    nn.init.normal_(net.get_parameter("places.weight"), std=DEVIATION)
    for name, parameter in net["encoder"].named_parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=DEVIATION)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


RECOMMENDER = Bert4Rec
