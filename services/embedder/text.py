"""The route that embeds words into a space of sounds."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from services.common.openapi import json_body
from services.common.wire import Body, Json, parse
from services.embedder.settings import MOST_CHARACTERS, MOST_TEXTS, EmbedderSettings
from soundalike.extract.loading import Extractors

Text = Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]


class TextsIn(Body):
    """Texts to embed."""

    texts: list[Text] = Field(min_length=1, max_length=MOST_TEXTS)
    model: str | None = Field(None, description="embedder that reads text; see /models")
    phrasings: bool = Field(False, description="average several phrasings of each text")


def make_router(settings: EmbedderSettings, extractors: Extractors) -> APIRouter:
    """Make the route.

    Parameters
    ----------
    settings : EmbedderSettings
        The default embedder.
    extractors : Extractors
        What makes vectors.

    Returns
    -------
    APIRouter
    """
    router = APIRouter()

    def embed(wanted: TextsIn) -> Json:
        extractor = extractors.get(wanted.model or settings.model)
        vectors = extractor.embed_texts(wanted.texts, phrasings=wanted.phrasings)
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
        return await run_in_threadpool(embed, parse(TextsIn, await request.body()))

    return router
