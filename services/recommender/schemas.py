"""The shape of what goes over the wire, as the OpenAPI page shows it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from services.common.wire import Body
from soundalike import engines
from soundalike.catalogue.told import Answer, CollectionInfo
from soundalike.types import Item, Neighbour

NDJSON = "application/x-ndjson"
MAX_ITEMS = 10_000  # in one request


class CollectionFacts(Body):
    """What a new collection is to be."""

    space: str = Field(description="embedding space of all its vectors, as /embed names it")
    dim: int = Field(description="length of each vector")
    engine: str | None = Field(None, description=" or ".join(engines.NAMES))
    model: str | None = Field(None, description="embedder to ask for vectors of sounds")
    pooling: str | None = Field(None, description="pooling to ask that embedder for")
    transform: str | None = Field(None, description="what is done to vectors, such as centre")


class TransformIn(Body):
    """What is to be done to vectors before they are compared; nothing where null."""

    transform: str | None


class AliasIn(Body):
    """Where an alias is to point."""

    collection: str


class ItemIn(Body):
    """An item to keep."""

    id: str
    vector: list[float]
    metadata: dict[str, Any] = Field(default_factory=dict)

    def item(self) -> Item:
        """Give the item, its vector in double precision until it is checked."""
        return Item(self.id, np.array(self.vector), self.metadata)


class ItemsIn(Body):
    """Items to keep."""

    items: list[ItemIn] = Field(max_length=MAX_ITEMS)
    space: str | None = Field(None, description="refused where it is not the collection's")


class Ids(Body):
    """Items to delete."""

    ids: list[str] = Field(max_length=MAX_ITEMS)


class FittedOn(BaseModel):
    """What a transform was fitted on."""

    items: int
    sequence: int = Field(description="the last write before it was fitted")


class Collection(BaseModel):
    """What a collection is and holds."""

    name: str
    space: str
    dim: int
    engine: str
    model: str | None
    pooling: str | None
    created: str = Field(description="RFC 3339, in UTC")
    sequence: int = Field(description="rises with every write")
    items: int
    indexed: int = Field(description="items in the engine's index; the others are scanned")
    exact: bool = Field(description="true while every item is compared")
    recall: float = Field(description="share of the true neighbours found, as measured")
    aliases: list[str] = Field(description="other names that point at it")
    transform: str | None = Field(description="what is done to vectors before they are compared")
    fitted: FittedOn | None = Field(description="null while there are too few items to fit it on")
    index: str = Field(description="ready, none where none is needed, missing while it is made")
    note: str | None = Field(description="what is wrong with the index, and what is done about it")


class Same(BaseModel):
    """A near duplicate that another item stands for."""

    id: str
    score: float


class Result(BaseModel):
    """One neighbour."""

    id: str
    score: float = Field(description="cosine")
    metadata: dict[str, Any]
    rank_score: float | None = Field(None, description="there where results fall by it")
    same: list[Same] | None = Field(None, description="near duplicates, where they count as one")


class Recommendation(BaseModel):
    """The neighbours of one query; `answers` in place of `results` where many were asked."""

    collection: str
    space: str
    results: list[Result] = Field(description="by falling rank_score, or score; ties by id")
    exact: bool = Field(description="true where every item was compared")
    recall: float = Field(description="share of the true neighbours found, as measured")
    ms: dict[str, float]


class WalkStep(BaseModel):
    """One item of a walk."""

    id: str
    cosine: float = Field(description="with the item before; 1 for the first")
    metadata: dict[str, Any]


class Walk(BaseModel):
    """A walk between two items."""

    collection: str
    space: str
    path: list[WalkStep]


def described(info: CollectionInfo) -> dict[str, Any]:
    """Lay out a collection."""
    facts = asdict(info)
    return {"items" if name == "count" else name: fact for name, fact in facts.items()}


def answered(answer: Answer) -> dict[str, Any]:
    """Lay out the neighbours of one query."""
    results = [_result(one) for one in answer.neighbours]
    return {"results": results, "exact": answer.exact, "recall": answer.recall}


def _result(one: Neighbour) -> dict[str, Any]:
    laid_out: dict[str, Any] = {"id": one.id, "score": one.score, "metadata": one.metadata}
    if one.rank_score is not None:
        laid_out["rank_score"] = one.rank_score
    if one.same is not None:
        laid_out["same"] = [{"id": other, "score": score} for other, score in one.same]
    return laid_out


def listed(item: Item, *, vector: bool) -> dict[str, Any]:
    """Lay out an item, with its vector or without."""
    laid_out = {"id": item.id, "metadata": item.metadata}
    return laid_out | {"vector": item.vector} if vector else laid_out
