"""The shape of what goes over the wire, as the OpenAPI page shows it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, Field

from services.common.wire import Body, encode
from soundalike.catalogue.base import Answer, CollectionInfo, Query
from soundalike.errors import BadRequest
from soundalike.types import Item, Neighbour

NDJSON = "application/x-ndjson"
DEFAULT_COLLECTION = "default"
DEFAULT_K = 10


def _can_be_answered(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        encode(metadata)
    except TypeError as error:  # a number beyond 64 bits, or nesting without end
        raise ValueError(str(error)) from error
    return metadata


Metadata = Annotated[dict[str, Any], AfterValidator(_can_be_answered)]


class CollectionFacts(Body):
    """What a new collection is to be."""

    space: str = Field(description="embedding space of all its vectors, as /embed names it")
    dim: int = Field(description="length of each vector")
    engine: str | None = Field(None, description="exact or annoy")
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
    metadata: Metadata = Field(default_factory=dict)

    def item(self) -> Item:
        """Give the item, its vector in double precision until it is checked."""
        return Item(self.id, np.array(self.vector), self.metadata)


class ItemsIn(Body):
    """Items to keep."""

    items: list[ItemIn]
    space: str | None = Field(None, description="refused where it is not the collection's")


class Ids(Body):
    """Items to delete."""

    ids: list[str]


class QueryIn(Body):
    """One of many queries: a vector, or the id of an item."""

    vector: list[float] | None = None
    id: str | None = None

    def query(self) -> Query:
        """Give the one of both that is there.

        Raises
        ------
        BadRequest
            There are both, or none.
        """
        if (self.vector is None) == (self.id is None):
            raise BadRequest('A query has either a "vector" or an "id".')
        return self.id if self.id is not None else np.array(self.vector)


class _Embedded(Body):
    """What else an answer of /embed holds, so that it may be sent on as it is."""

    model: Any = None
    dim: Any = None
    audio: Any = None
    windows: Any = None
    window_vectors: Any = None
    device: Any = None
    runtime: Any = None
    dtype: Any = None
    ms: Any = None
    note: Any = None


class RecommendIn(QueryIn, _Embedded):
    """What neighbours are wanted of: a vector, the id of an item, or many queries."""

    queries: list[QueryIn] | None = Field(None, description="in place of vector or id")
    k: int = Field(DEFAULT_K, description="how many neighbours of each")
    collection: str = DEFAULT_COLLECTION
    space: str | None = Field(None, description="refused where it is not the collection's")
    exact: bool = Field(False, description="compare with every item")

    def all_queries(self, most: int) -> list[Query]:
        """Give the queries, of which there is one where `queries` is not used.

        Raises
        ------
        BadRequest
            There are none or too many, or it is not clear which.
        """
        if self.queries is None:
            return [self.query()]
        if self.vector is not None or self.id is not None:
            raise BadRequest('Send either "queries", or one "vector" or "id".')
        if not 1 <= len(self.queries) <= most:
            raise BadRequest(
                f"Send 1 to {most} queries, not {len(self.queries)}.",
                limit=most,
                got=len(self.queries),
            )
        return [one.query() for one in self.queries]


class WordsIn(Body):
    """What neighbours are wanted of, in words."""

    text: str = Field(min_length=1)
    phrasings: bool = Field(False, description="average several phrasings of the text")
    k: int = Field(DEFAULT_K, description="how many neighbours")
    collection: str = DEFAULT_COLLECTION
    exact: bool = Field(False, description="compare with every item")


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


class Result(BaseModel):
    """One neighbour."""

    id: str
    score: float = Field(description="cosine")
    metadata: dict[str, Any]
    rank_score: float | None = Field(None, description="there where results fall by it")


class Recommendation(BaseModel):
    """The neighbours of one query; `answers` in place of `results` where many were asked."""

    collection: str
    space: str
    results: list[Result] = Field(description="by falling rank_score, or score; ties by id")
    exact: bool = Field(description="true where every item was compared")
    recall: float = Field(description="share of the true neighbours found, as measured")
    ms: dict[str, float]


def described(info: CollectionInfo) -> dict[str, Any]:
    """Lay out a collection."""
    facts = asdict(info)
    return {"items" if name == "count" else name: fact for name, fact in facts.items()}


def answered(answer: Answer) -> dict[str, Any]:
    """Lay out the neighbours of one query."""
    results = [_result(one) for one in answer.neighbours]
    return {"results": results, "exact": answer.exact, "recall": answer.recall}


def _result(one: Neighbour) -> dict[str, Any]:
    laid_out = {"id": one.id, "score": one.score, "metadata": one.metadata}
    return laid_out if one.rank_score is None else laid_out | {"rank_score": one.rank_score}


def listed(item: Item, *, vector: bool) -> dict[str, Any]:
    """Lay out an item, with its vector or without."""
    laid_out = {"id": item.id, "metadata": item.metadata}
    return laid_out | {"vector": item.vector} if vector else laid_out
