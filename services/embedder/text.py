"""The route that embeds words into a space of sounds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from services.common.openapi import json_body
from services.common.wire import Body, Json, parse
from services.embedder.batching import Batching
from services.embedder.presence import unless_gone
from services.embedder.settings import MOST_CHARACTERS, MOST_TEXTS, EmbedderSettings
from soundalike.extract.extractor import Extractor
from soundalike.extract.loading import Extractors
from soundalike.types import FloatArray

Text = Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]


class TextsIn(Body):
    """Texts to embed."""

    texts: list[Text] = Field(min_length=1, max_length=MOST_TEXTS)
    model: str | None = Field(None, description="embedder that reads text; see /models")
    phrasings: bool = Field(False, description="average several phrasings of each text")


async def read(
    batching: Batching, extractor: Extractor, texts: Sequence[str], *, phrasings: bool = False
) -> FloatArray:
    """Embed texts in turn with the sounds; each counts as a second of sound.

    Raises
    ------
    Overloaded
        Too much waits already.
    SoundalikeError
        As `Extractor.embed_texts` does.
    """
    work = partial(extractor.embed_texts, texts, phrasings=phrasings)
    return await batching.do(len(texts), work)


def make_router(
    settings: EmbedderSettings, extractors: Extractors, batching: Batching
) -> APIRouter:
    """Make the route.

    Parameters
    ----------
    settings : EmbedderSettings
        The default embedder.
    extractors : Extractors
        What makes vectors.
    batching : Batching
        Where texts wait their turn.

    Returns
    -------
    APIRouter
    """
    router = APIRouter()

    async def embed(wanted: TextsIn) -> Json:
        extractor = await asyncio.wrap_future(extractors.begin(wanted.model or settings.model))
        vectors = await read(batching, extractor, wanted.texts, phrasings=wanted.phrasings)
        return Json(
            {
                "model": extractor.name,
                "space": str(extractor.space()),
                "dim": vectors.shape[1],
                "vectors": vectors,
            }
        )

    @router.post(
        "/embed/text",
        summary="Words in, vectors in the space of sounds out",
        openapi_extra=json_body(TextsIn),
    )
    async def embed_text(request: Request) -> Json:
        wanted = await run_in_threadpool(parse, TextsIn, await request.body())
        return await unless_gone(request, embed(wanted))

    return router
