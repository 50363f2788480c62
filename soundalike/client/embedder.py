"""What can be asked of the embedder service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from soundalike.client.answers import Embedding, TextEmbeddings
from soundalike.client.batches import of_at_most
from soundalike.client.requests import Request, Sound, fault_told, given
from soundalike.client.services import AsyncService, Service, Steps, SyncService, call
from soundalike.errors import EmbedderUnavailable, SoundalikeError

EMBEDDER_URL = "http://localhost:8001"

Thing = TypeVar("Thing")


class EmbedderCalls(Service):
    """What can be asked, whichever way."""

    name = "embedder"
    unreachable = EmbedderUnavailable

    @call
    def embed(
        self, sound: Sound, *, model: str | None = None, pooling: str | None = None
    ) -> Steps[Embedding]:
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
        parameters = {"model": model, "pooling": pooling}
        told = yield Request("POST", "/embed", params=parameters, sounds=(sound,))
        return Embedding.of(told)

    @call
    def embed_many(
        self, sounds: Sequence[Sound], *, model: str | None = None, pooling: str | None = None
    ) -> Steps[list[Embedding | SoundalikeError]]:
        """Embed many sounds, in as many requests as the service's limit makes of them.

        Parameters
        ----------
        sounds : sequence of path, bytes or binary file
        model, pooling
            As of `embed`.

        Returns
        -------
        list of Embedding or SoundalikeError
            For each sound, in order, its vector or what is wrong with it.
        """
        results: list[Embedding | SoundalikeError] = []
        for some in (yield from self._parts("max_batch", sounds)):
            told = yield Request(
                "POST",
                "/embed/batch",
                params={"model": model, "pooling": pooling},
                sounds=tuple(some),
                form_field="files",
            )
            results += [self._result(one) for one in told["results"]]
        return results

    def _parts(self, limit: str, things: Sequence[Thing]) -> Steps[list[Sequence[Thing]]]:
        """Cut things into parts that the service takes; for one of them it need not be asked."""
        if len(things) <= 1:
            return [things]
        return of_at_most((yield from self.read_limits())[limit], things)

    def _result(self, told: dict[str, Any]) -> Embedding | SoundalikeError:
        if "error" not in told:
            return Embedding.of(told)
        fault = fault_told(told["error"])
        return fault or self.unreachable(f"The {self.name} told an error that is none of ours.")

    @call
    def embed_texts(
        self, texts: Sequence[str], *, model: str | None = None, phrasings: bool = False
    ) -> Steps[TextEmbeddings]:
        """Embed words into a space of sounds.

        Parameters
        ----------
        texts : sequence of str
            At least one; sent in as many requests as the service's limit makes of them.
        model : str, optional
            The embedder; the service's default otherwise.
        phrasings : bool
            Average several phrasings of each text.

        Returns
        -------
        TextEmbeddings
        """
        parts = []
        for some in (yield from self._parts("max_texts", texts)):
            body = {"texts": list(some), "phrasings": phrasings} | given(model=model)
            told = yield Request("POST", "/embed/text", json=body)
            parts.append(np.asarray(told["vectors"], np.float32))
        return TextEmbeddings(told["model"], told["space"], np.concatenate(parts))

    @call
    def models(self) -> Steps[list[dict[str, Any]]]:
        """List the embedders and what they can do."""
        told = yield Request("GET", "/models")
        listed: list[dict[str, Any]] = told["models"]
        return listed

    @call
    def limits(self) -> Steps[dict[str, Any]]:
        """Tell the limits in force."""
        return (yield from self.read_limits())


class EmbedderClient(SyncService, EmbedderCalls):
    """Speaks to the embedder service; parameters as of `SyncService`."""

    def __init__(self, url: str = EMBEDDER_URL, **how: Any) -> None:
        super().__init__(url, **how)


class AsyncEmbedderClient(AsyncService, EmbedderCalls):
    """Speaks to the embedder service, its calls being awaited; parameters as of `AsyncService`."""

    def __init__(self, url: str = EMBEDDER_URL, **how: Any) -> None:
        super().__init__(url, **how)
