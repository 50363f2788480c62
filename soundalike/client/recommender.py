"""What can be asked of the recommender service."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from soundalike.client.answers import Recommendation
from soundalike.client.batches import bodies, matrices
from soundalike.client.demands import Demands, plain, query
from soundalike.client.keeping import KeepingCalls
from soundalike.client.requests import JSON, Request, Sound, given, place
from soundalike.client.services import AsyncService, Steps, SyncService, call
from soundalike.types import FloatArray

RECOMMENDER_URL = "http://localhost:8002"
PAGE = 1000
NPY = {"content-type": "application/x-npy"}


class RecommenderCalls(KeepingCalls):
    """What can be asked, whichever way."""

    @call
    def similarity(self, name: str, ids: Sequence[str]) -> Steps[FloatArray]:
        """Compare items with one another.

        Parameters
        ----------
        name : str
            The collection.
        ids : sequence of str
            Of its items, 1 to 500.

        Returns
        -------
        ndarray of float32, shape (len(ids), len(ids))
            Cosines.
        """
        path = place("collections", name, "similarity")
        told = yield Request("GET", path, params={"ids": [*ids]})
        return np.asarray(told["similarity"], np.float32)

    @call
    def recommend(
        self,
        *,
        vector: npt.ArrayLike | None = None,
        id: str | None = None,
        k: int = 10,
        collection: str = "default",
        space: str | None = None,
        **demands: Unpack[Demands],
    ) -> Steps[Recommendation]:
        """Find the neighbours of a vector or of an item.

        Parameters
        ----------
        vector : array_like of float, shape (D,), optional
        id : str, optional
            An item of the collection, in place of the vector.
        k : int
            How many neighbours.
        collection : str
            Where to look.
        space : str, optional
            The vector's space: the service refuses it where it is not the collection's.
        **demands
            See `Demands`.

        Returns
        -------
        Recommendation
        """
        body = {} if vector is None else query(vector)
        body |= given(id=id, k=k, collection=collection, space=space) | plain(demands)
        return Recommendation.of((yield Request("POST", "/recommend", json=body)))

    @call
    def recommend_many(
        self,
        queries: npt.ArrayLike | Sequence[str],
        *,
        k: int = 10,
        collection: str = "default",
        space: str | None = None,
        **demands: Unpack[Demands],
    ) -> Steps[list[Recommendation]]:
        """Find the neighbours of many vectors or items.

        Parameters
        ----------
        queries : array_like of float, shape (Q, D), or sequence of str
            Sent in as many requests as the service's limits make of them; vectors of which
            nothing is demanded as the bytes of an array, which is quicker than as text.
        k, collection, space, **demands
            As of `recommend`, of every query.

        Returns
        -------
        list of Recommendation
            One a query.
        """
        limits = yield from self.read_limits()
        common = {"k": k, "collection": collection, **given(space=space)}
        found: list[Recommendation] = []
        for request in _requests(queries, common, demands, limits):
            told = yield request
            found += [Recommendation.of(told | answer) for answer in told["answers"]]
        return found

    @call
    def recommend_audio(
        self,
        sound: Sound,
        *,
        k: int = 10,
        collection: str = "default",
        **demands: Unpack[Demands],
    ) -> Steps[Recommendation]:
        """Find the neighbours of a sound, which the collection's own embedder hears."""
        beside = plain(demands)
        parameters = {"k": k, "collection": collection, "exact": beside.pop("exact", None)}
        parameters["demands"] = json.dumps(beside) if beside else None
        told = yield Request("POST", "/recommend/audio", params=parameters, sounds=(sound,))
        return Recommendation.of(told)

    @call
    def recommend_text(
        self,
        text: str,
        *,
        k: int = 10,
        collection: str = "default",
        phrasings: bool = False,
        **demands: Unpack[Demands],
    ) -> Steps[Recommendation]:
        """Find what sounds like words say, where the collection's space has a text side."""
        body = {"text": text, "k": k, "collection": collection, "phrasings": phrasings}
        body |= plain(demands)
        return Recommendation.of((yield Request("POST", "/recommend/text", json=body)))

    @call
    def path(
        self,
        name: str,
        start: str,
        end: str,
        *,
        k: int = 10,
        caps: Mapping[str, int] | None = None,
    ) -> Steps[list[dict[str, Any]]]:
        """Walk from one item to another by items that lie between them.

        Parameters
        ----------
        name : str
            The collection.
        start, end : str
            Its items.
        k : int
            How many items at most, both ends counted.
        caps : mapping of str to int, optional
            The most items with one value of a field of the metadata.

        Returns
        -------
        list of dict
            As `GET /collections/{name}/path` answers them.
        """
        cap = [f"{of}:{most}" for of, most in (caps or {}).items()] or None
        parameters = {"from": start, "to": end, "k": k, "cap": cap}
        told = yield Request("GET", place("collections", name, "path"), params=parameters)
        steps: list[dict[str, Any]] = told["path"]
        return steps

    @call
    def limits(self) -> Steps[dict[str, Any]]:
        """Tell the limits in force."""
        return (yield from self.read_limits())


def _requests(
    queries: npt.ArrayLike | Sequence[str],
    common: Mapping[str, Any],
    demands: Demands,
    limits: Mapping[str, Any],
) -> Iterator[Request]:
    """Ask for the neighbours of many within the service's limits."""
    most, most_bytes = limits["max_queries"], limits["max_upload_bytes"]
    asked = np.asarray(queries)
    named = asked.dtype.kind == "U"
    if not named and not demands:
        for part in matrices(asked, most, most_bytes):
            yield Request("POST", "/recommend", params=common, content=part, headers=NPY)
        return
    every = map(query, asked.tolist() if named else np.atleast_2d(asked))
    beside = {**common, **plain(demands)}
    for body in bodies("queries", every, beside, most=most, most_bytes=most_bytes):
        yield Request("POST", "/recommend", content=body, headers=JSON)


def _page(name: str, after: str | None, vectors: bool) -> Request:
    parameters = {"after": after, "limit": PAGE, "vectors": vectors or None}
    return Request("GET", place("collections", name, "items"), params=parameters)


class RecommenderClient(SyncService, RecommenderCalls):
    """Speaks to the recommender service; parameters as of `SyncService`."""

    def __init__(self, url: str = RECOMMENDER_URL, **how: Any) -> None:
        super().__init__(url, **how)

    def items(self, name: str, *, vectors: bool = False) -> Iterator[dict[str, Any]]:
        """Go through the ids and metadata of a collection, and its vectors, page by page."""
        after: str | None = None
        while True:
            page = self.send(_page(name, after, vectors))
            yield from page["items"]
            after = page["next"]
            if after is None:
                return


class AsyncRecommenderClient(AsyncService, RecommenderCalls):
    """Speaks to the recommender, its calls being awaited; parameters as of `AsyncService`."""

    def __init__(self, url: str = RECOMMENDER_URL, **how: Any) -> None:
        super().__init__(url, **how)

    async def items(self, name: str, *, vectors: bool = False) -> AsyncIterator[dict[str, Any]]:
        """Go through the ids and metadata of a collection, and its vectors, page by page."""
        after: str | None = None
        while True:
            page = await self.send(_page(name, after, vectors))
            for item in page["items"]:
                yield item
            after = page["next"]
            if after is None:
                return
