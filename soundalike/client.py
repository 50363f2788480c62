"""A typed client for both services."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx
import numpy as np
import numpy.typing as npt

from soundalike.errors import (
    EmbedderUnavailable,
    RecommenderUnavailable,
    SoundalikeError,
)
from soundalike.types import FloatArray, Item, Neighbour

EMBEDDER_URL = "http://localhost:8001"
RECOMMENDER_URL = "http://localhost:8002"
TIMEOUT = httpx.Timeout(300.0, connect=5.0)
READY_TIMEOUT_S = 2.0
PAGE = 1000

Sound = Path | bytes | BinaryIO


@dataclass(frozen=True, slots=True)
class Embedding:
    """A vector and what it may be compared with.

    Attributes
    ----------
    model : str
        The embedder, with options that differ from its defaults.
    space : str
        Vectors may be compared where this is equal.
    vector : ndarray of float32, shape (D,)
    audio : dict
        What the sound was like: format, sample_rate, channels, seconds, and so on.
    """

    model: str
    space: str
    vector: FloatArray
    audio: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TextEmbeddings:
    """The vectors of texts, one a row, and what they may be compared with."""

    model: str
    space: str
    vectors: FloatArray


@dataclass(frozen=True, slots=True)
class Recommendation:
    """An answer of the recommender.

    Attributes
    ----------
    collection, space : str
        Where the neighbours were found.
    results : list of Neighbour
        Best first.
    exact : bool
        True where every vector was compared.
    recall : float or None
        The share of true neighbours that such answers hold, as last measured.
    """

    collection: str
    space: str
    results: list[Neighbour]
    exact: bool
    recall: float | None


def _faults(base: type[SoundalikeError] = SoundalikeError) -> dict[str, type[SoundalikeError]]:
    found = {base.code: base}
    for child in base.__subclasses__():
        found |= _faults(child)
    return found


def fault_of(answer: httpx.Response, unreachable: type[SoundalikeError]) -> SoundalikeError:
    """Turn a problem that a service answered back into the fault it was.

    Parameters
    ----------
    answer : httpx.Response
        With a status of 400 or above.
    unreachable : type
        The fault where it was not one of our services that answered.
    """
    try:
        told = answer.json()
        code, detail = told.pop("code"), told.pop("detail")
    except (ValueError, KeyError, AttributeError, TypeError):
        return unreachable(f"{answer.request.url} answered {answer.status_code}, not a problem.")
    facts = {k: v for k, v in told.items() if k not in ("type", "title", "status", "request_id")}
    return _faults().get(code, SoundalikeError)(detail, **facts)


class _Service:
    """One service, its address, and how its faults are told."""

    name = "service"
    unreachable: type[SoundalikeError] = SoundalikeError

    def __init__(
        self, url: str, api_key: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url, timeout=TIMEOUT, headers=headers, transport=transport
        )

    def request(self, method: str, path: str, **how: Any) -> Any:
        """Send a request and give the answer's JSON.

        Raises
        ------
        SoundalikeError
            The fault that the service answered, or that it cannot be reached.
        """
        try:
            answer = self._http.request(method, path, **how)
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise self.unreachable(
                f"The {self.name} at {self.url} does not answer ({error}); is it running?",
                url=self.url,
            ) from error
        if not answer.is_success:
            raise fault_of(answer, self.unreachable)
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise self.unreachable(
                f"What answers at {answer.request.url} is not the {self.name}.", url=self.url
            ) from None

    def ready(self) -> bool:
        """Tell whether the service can do its work now."""
        try:
            self.request("GET", "/readyz", timeout=READY_TIMEOUT_S)
        except SoundalikeError:
            return False
        return True

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


@contextmanager
def _open(sound: Sound) -> Iterator[BinaryIO]:
    if isinstance(sound, Path):
        with sound.open("rb") as file:
            yield file
    else:
        yield io.BytesIO(sound) if isinstance(sound, bytes) else sound


def _given(**parameters: Any) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


class EmbedderClient(_Service):
    """Speaks to the embedder service."""

    name = "embedder"
    unreachable = EmbedderUnavailable

    def __init__(self, url: str = EMBEDDER_URL, **how: Any) -> None:
        super().__init__(url, **how)

    def embed(
        self, sound: Sound, *, model: str | None = None, pooling: str | None = None
    ) -> Embedding:
        """Embed one sound.

        Parameters
        ----------
        sound : path, bytes or binary file
            The encoded sound.
        model : str, optional
            The embedder; the service's default otherwise.
        pooling : str, optional
            How frames become one vector; the embedder's own way otherwise.

        Returns
        -------
        Embedding

        Raises
        ------
        SoundalikeError
            Whatever the service says of the sound; EmbedderUnavailable where it says nothing.
        """
        with _open(sound) as file:
            told = self.request(
                "POST",
                "/embed",
                params=_given(model=model, pooling=pooling),
                files={"file": ("sound", file)},
            )
        vector = np.asarray(told["vector"], np.float32)
        return Embedding(told["model"], told["space"], vector, told["audio"])

    def embed_texts(
        self, texts: Sequence[str], *, model: str | None = None, phrasings: bool = False
    ) -> TextEmbeddings:
        """Embed words into a space of sounds.

        Parameters
        ----------
        texts : sequence of str
        model : str, optional
            The embedder; the service's default otherwise.
        phrasings : bool
            Average several phrasings of each text.

        Returns
        -------
        TextEmbeddings
        """
        body = {"texts": list(texts), "phrasings": phrasings} | _given(model=model)
        told = self.request("POST", "/embed/text", json=body)
        return TextEmbeddings(told["model"], told["space"], np.asarray(told["vectors"], np.float32))

    def models(self) -> list[dict[str, Any]]:
        """List the embedders and what they can do."""
        listed: list[dict[str, Any]] = self.request("GET", "/models")["models"]
        return listed


class RecommenderClient(_Service):
    """Speaks to the recommender service."""

    name = "recommender"
    unreachable = RecommenderUnavailable

    def __init__(self, url: str = RECOMMENDER_URL, **how: Any) -> None:
        super().__init__(url, **how)

    def collections(self) -> list[dict[str, Any]]:
        """List the collections."""
        listed: list[dict[str, Any]] = self.request("GET", "/collections")["collections"]
        return listed

    def collection(self, name: str) -> dict[str, Any]:
        """Describe a collection.

        Raises
        ------
        UnknownCollection
        """
        described: dict[str, Any] = self.request("GET", f"/collections/{quote(name, safe='')}")
        return described

    def create(
        self,
        name: str,
        *,
        space: str,
        dim: int,
        engine: str | None = None,
        model: str | None = None,
        pooling: str | None = None,
        transform: str | None = None,
    ) -> dict[str, Any]:
        """Create a collection; creating it again with the same facts changes nothing.

        Raises
        ------
        CollectionExists
            The name belongs to a collection of other facts.
        """
        body = _given(space=space, dim=dim, engine=engine, model=model, pooling=pooling)
        body |= _given(transform=transform)
        path = f"/collections/{quote(name, safe='')}"
        described: dict[str, Any] = self.request("PUT", path, json=body)
        return described

    def point(self, alias: str, collection: str) -> dict[str, Any]:
        """Make a name point at a collection; `set_aside` names one that bore it before."""
        path = f"/aliases/{quote(alias, safe='')}"
        told: dict[str, Any] = self.request("PUT", path, json={"collection": collection})
        return told

    def upsert(self, name: str, items: Iterable[Item], *, space: str | None = None) -> int:
        """Add items or replace those of the same id; give how many were written."""
        listed = [
            {"id": item.id, "vector": item.vector.tolist(), "metadata": item.metadata}
            for item in items
        ]
        body = {"items": listed} | _given(space=space)
        told = self.request("PUT", f"/collections/{quote(name, safe='')}/items", json=body)
        return int(told["upserted"])

    def delete(self, name: str, ids: Iterable[str]) -> int:
        """Delete items; give how many of them were there."""
        path = f"/collections/{quote(name, safe='')}/items/delete"
        return int(self.request("POST", path, json={"ids": list(ids)})["deleted"])

    def items(self, name: str, *, vectors: bool = False) -> Iterator[dict[str, Any]]:
        """Go through the ids and metadata of a collection, and its vectors, page by page."""
        after: str | None = None
        while True:
            page = self.request(
                "GET",
                f"/collections/{quote(name, safe='')}/items",
                params=_given(after=after, limit=PAGE, vectors=vectors or None),
            )
            yield from page["items"]
            after = page["next"]
            if after is None:
                return

    def similarity(self, name: str, ids: Sequence[str]) -> FloatArray:
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
        path = f"/collections/{quote(name, safe='')}/similarity"
        told = self.request("GET", path, params={"ids": list(ids)})
        return np.asarray(told["similarity"], np.float32)

    def recommend(
        self,
        *,
        vector: npt.ArrayLike | None = None,
        id: str | None = None,
        k: int = 10,
        collection: str = "default",
        space: str | None = None,
    ) -> Recommendation:
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

        Returns
        -------
        Recommendation
        """
        listed = None if vector is None else np.asarray(vector, np.float32).tolist()
        body = _given(vector=listed, id=id, k=k, collection=collection, space=space)
        return _recommendation(self.request("POST", "/recommend", json=body))

    def recommend_audio(
        self, sound: Sound, *, k: int = 10, collection: str = "default"
    ) -> Recommendation:
        """Find the neighbours of a sound, which the collection's own embedder hears."""
        with _open(sound) as file:
            told = self.request(
                "POST",
                "/recommend/audio",
                params={"k": k, "collection": collection},
                files={"file": ("sound", file)},
            )
        return _recommendation(told)

    def recommend_text(
        self, text: str, *, k: int = 10, collection: str = "default", phrasings: bool = False
    ) -> Recommendation:
        """Find what sounds like words say, where the collection's space has a text side."""
        body = {"text": text, "k": k, "collection": collection, "phrasings": phrasings}
        return _recommendation(self.request("POST", "/recommend/text", json=body))


def _recommendation(told: Mapping[str, Any]) -> Recommendation:
    results = [
        Neighbour(one["id"], one["score"], one["metadata"], one.get("rank_score"))
        for one in told["results"]
    ]
    return Recommendation(
        told["collection"], told["space"], results, told["exact"], told.get("recall")
    )


class Client:
    """Speaks to both services.

    Parameters
    ----------
    embedder_url, recommender_url : str
        Where they are.
    api_key : str, optional
        Sent to both.

    Examples
    --------
    >>> client = Client()                                              # doctest: +SKIP
    >>> found = client.embedder.embed(Path("some.wav"))                # doctest: +SKIP
    >>> client.recommender.recommend(vector=found.vector).results      # doctest: +SKIP
    """

    def __init__(
        self,
        embedder_url: str = EMBEDDER_URL,
        recommender_url: str = RECOMMENDER_URL,
        api_key: str | None = None,
    ) -> None:
        self.embedder = EmbedderClient(embedder_url, api_key=api_key)
        self.recommender = RecommenderClient(recommender_url, api_key=api_key)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *fault: object) -> None:
        self.embedder.close()
        self.recommender.close()
