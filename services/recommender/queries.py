"""What may be asked for neighbours, as the OpenAPI page shows it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from services.common.wire import Body
from soundalike.catalogue import filters
from soundalike.catalogue.asks import Ask, Example, Query
from soundalike.catalogue.choosing import Choice
from soundalike.errors import BadRequest

DEFAULT_COLLECTION = "default"
DEFAULT_K = 10
MAX_EXAMPLES = 100
MAX_EXCLUDED = 10_000
MAX_CAPS = 16
MAX_QUERIES = 1000
MAX_CHOSEN = 10_000  # results of queries that demand something, of which each is a search alone

Cosine = Annotated[float, Field(ge=-1, le=1)]


class ExampleIn(Body):
    """Something liked or disliked, and how much."""

    vector: list[float] | None = None
    id: str | None = None
    weight: float = Field(1.0, ge=0.001, le=1000)

    def example(self) -> Example:
        """Give the one of both that is there; `BadRequest` where there are both, or none."""
        return Example(_one_of(self.vector, self.id), self.weight)


Examples = Annotated[list[str | list[float] | ExampleIn], Field(max_length=MAX_EXAMPLES)]


class Demands(Body):
    """What else an answer is to be like."""

    # these defaults are made for every request, since pydantic takes longer to copy them
    positive: Examples = Field(
        default_factory=list, description="what is liked: ids, vectors, or with a weight"
    )
    negative: Examples = Field(default_factory=list, description="what is disliked; it pushes away")
    filter: dict[str, Any] | None = Field(None, description="what metadata must be like")
    exclude: list[str] = Field(
        default_factory=list, max_length=MAX_EXCLUDED, description="ids to leave out"
    )
    min_score: Cosine | None = Field(None, description="the least cosine")
    diversity: float = Field(0.0, ge=0, le=1, description="from 0, the nearest, to 1, variety")
    caps: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict,
        max_length=MAX_CAPS,
        description="the most results with one value of a field",
    )
    collapse: Cosine | None = Field(None, description="the cosine from which two count as one")

    def ask(self, liked: Query | None) -> Query | Ask:
        """Put together what is asked.

        Parameters
        ----------
        liked : str or ndarray, optional
            What is liked beside `positive`.

        Raises
        ------
        BadRequest
            Nothing is liked or disliked, or the filter is none.
        """
        if liked is not None and self.model_fields_set.isdisjoint(DEMANDS):
            return liked  # most often; it is found without looking at each demand
        likes = [] if liked is None else [Example(liked)]
        likes += [_example(one) for one in self.positive]
        dislikes = [_example(one) for one in self.negative]
        if not likes and not dislikes:
            raise BadRequest('Send a "vector", an "id", or something "positive" or "negative".')
        return Ask(
            likes=likes,
            dislikes=dislikes,
            filter=None if self.filter is None else filters.parse(self.filter),
            exclude=frozenset(self.exclude),
            min_score=self.min_score,
            choice=Choice(self.diversity, self.caps, self.collapse),
        )


DEMANDS = frozenset(Demands.model_fields)


class QueryIn(Demands):
    """One of many queries: a vector, or the id of an item, and what is demanded."""

    vector: list[float] | None = None
    id: str | None = None

    def query(self) -> Query | Ask:
        """Give what is asked; `BadRequest` where that is unclear."""
        examples = self.positive or self.negative
        nothing = self.vector is None and self.id is None
        return self.ask(None if nothing and examples else _one_of(self.vector, self.id))

    def within(self, common: Demands) -> QueryIn:
        """Take over what is demanded of every query and not said otherwise of this one."""
        said = (common.model_fields_set & DEMANDS) - self.model_fields_set
        if not said:
            return self
        return self.model_copy(update={name: getattr(common, name) for name in said})


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

    queries: list[QueryIn] | None = Field(
        None, max_length=MAX_QUERIES, description="in place of vector or id"
    )
    k: int = Field(DEFAULT_K, description="how many neighbours of each")
    collection: str = DEFAULT_COLLECTION
    space: str | None = Field(None, description="refused where it is not the collection's")
    exact: bool = Field(False, description="compare with every item")

    def asked(self, most: int) -> Asked:
        """Give the queries, of which there is one where `queries` is not used.

        Raises
        ------
        BadRequest
            There are none or too many, or it is not clear which.
        """
        if self.queries is None:
            return self._of([self.query()], many=False)
        if self.vector is not None or self.id is not None:
            raise BadRequest('Send either "queries", or one "vector" or "id".')
        check_number(len(self.queries), most)
        return self._of([one.within(self).query() for one in self.queries], many=True)

    def _of(self, queries: Sequence[Query | Ask], *, many: bool) -> Asked:
        chosen = self.k * sum(isinstance(one, Ask) for one in queries)
        if many and chosen > MAX_CHOSEN:
            raise BadRequest(
                f"Queries that demand something may ask for {MAX_CHOSEN} results together, not "
                f"{chosen}; send fewer of them at once, or ask for a smaller k.",
                limit=MAX_CHOSEN,
                got=chosen,
            )
        return Asked(queries, many, self.k, self.collection, self.space, self.exact)


class ArrayParameters(BaseModel):
    """What else is asked where the queries are an array, in the query of the URL."""

    model_config = ConfigDict(extra="forbid")

    k: int = DEFAULT_K
    collection: str = DEFAULT_COLLECTION
    space: str | None = None
    exact: bool = False

    def asked(self, array: npt.NDArray[np.floating], most: int) -> Asked:
        """Give the rows of an array as queries; one query where it has one dimension.

        Raises
        ------
        BadRequest
            There are too many.
        """
        many = array.ndim == 2
        queries = list(array) if many else [array]
        check_number(len(queries), most)
        return Asked(queries, many, self.k, self.collection, self.space, self.exact)


@dataclass(frozen=True, slots=True)
class Asked:
    """What neighbours are wanted of, however it was sent.

    Attributes
    ----------
    queries : sequence of Query or Ask
    many : bool
        Whether a list of answers is expected, even for one query.
    k, collection, space, exact
        As of `RecommendIn`.
    """

    queries: Sequence[Query | Ask]
    many: bool
    k: int
    collection: str
    space: str | None
    exact: bool


def check_number(queries: int, most: int) -> None:
    """Refuse no queries, or too many, with `BadRequest`."""
    if not 1 <= queries <= most:
        raise BadRequest(f"Send 1 to {most} queries, not {queries}.", limit=most, got=queries)


class WordsIn(Demands):
    """What neighbours are wanted of, in words, and what is demanded of them."""

    text: str = Field(min_length=1)
    phrasings: bool = Field(False, description="average several phrasings of the text")
    k: int = Field(DEFAULT_K, description="how many neighbours")
    collection: str = DEFAULT_COLLECTION
    exact: bool = Field(False, description="compare with every item")


def _one_of(vector: list[float] | None, item: str | None) -> Query:
    if vector is not None and item is None:
        return _array(vector)
    if item is not None and vector is None:
        return item
    raise BadRequest('A query has either a "vector" or an "id".')


def _example(one: str | list[float] | ExampleIn) -> Example:
    if isinstance(one, ExampleIn):
        return one.example()
    return Example(one if isinstance(one, str) else _array(one))


def _array(numbers: list[float]) -> npt.NDArray[Any]:
    """Do as `np.array` does, in a third of the time, and in single precision where that will do."""
    try:
        return np.frombuffer(struct.pack(f"{len(numbers)}f", *numbers), np.float32)
    except OverflowError:
        return np.array(numbers)  # whoever checks it will say so
