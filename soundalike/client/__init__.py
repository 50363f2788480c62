"""A typed client for both services, plain or asynchronous."""

from __future__ import annotations

from typing import Self

from soundalike.client.answers import Embedding, Recommendation, TextEmbeddings
from soundalike.client.demands import Demands
from soundalike.client.embedder import EMBEDDER_URL, AsyncEmbedderClient, EmbedderClient
from soundalike.client.recommender import (
    RECOMMENDER_URL,
    AsyncRecommenderClient,
    RecommenderClient,
)
from soundalike.client.requests import IMPATIENT, Patience

__all__ = [
    "EMBEDDER_URL",
    "IMPATIENT",
    "RECOMMENDER_URL",
    "AsyncClient",
    "AsyncEmbedderClient",
    "AsyncRecommenderClient",
    "Client",
    "Demands",
    "EmbedderClient",
    "Embedding",
    "Patience",
    "Recommendation",
    "RecommenderClient",
    "TextEmbeddings",
]


class Client:
    """Speaks to both services.

    Parameters
    ----------
    embedder_url, recommender_url : str
        Where they are.
    api_key : str, optional
        Sent to both.
    patience : Patience
        How long to wait where they have no time.

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
        patience: Patience = Patience(),  # noqa: B008  (it cannot be changed)
    ) -> None:
        self.embedder = EmbedderClient(embedder_url, api_key=api_key, patience=patience)
        self.recommender = RecommenderClient(recommender_url, api_key=api_key, patience=patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        self.embedder.close()
        self.recommender.close()


class AsyncClient:
    """Speaks to both services, its calls being awaited; parameters as of `Client`.

    Examples
    --------
    >>> async with AsyncClient() as client:                            # doctest: +SKIP
    ...     found = await client.embedder.embed(Path("some.wav"))
    ...     answer = await client.recommender.recommend(vector=found.vector)
    """

    def __init__(
        self,
        embedder_url: str = EMBEDDER_URL,
        recommender_url: str = RECOMMENDER_URL,
        api_key: str | None = None,
        patience: Patience = Patience(),  # noqa: B008  (it cannot be changed)
    ) -> None:
        self.embedder = AsyncEmbedderClient(embedder_url, api_key=api_key, patience=patience)
        self.recommender = AsyncRecommenderClient(
            recommender_url, api_key=api_key, patience=patience
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *fault: object) -> None:
        await self.embedder.close()
        await self.recommender.close()
