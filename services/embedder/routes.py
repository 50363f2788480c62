"""The routes of the embedder service."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import HTMLResponse, Response

from services.common import page
from services.common.bodies import read_upload, read_uploads
from services.common.openapi import file_body, files_body
from services.common.wire import Json
from services.embedder import schemas
from services.embedder.batching import Batching, Wish
from services.embedder.default import DefaultEmbedder
from services.embedder.presence import unless_gone
from services.embedder.settings import EmbedderSettings
from soundalike import embedders
from soundalike.extract.loading import Extractors

CURL_LINES = """
curl -F file=@some.wav {base}embed
curl -F file=@some.wav '{base}embed?pooling=none'
curl -F files=@one.wav -F files=@two.wav {base}embed/batch
curl {base}models
"""


def _wish(
    pooling: Annotated[
        str | None,
        Query(description="such as mean, or none for frames; the embedder's own by default"),
    ] = None,
    normalize: Annotated[bool, Query(description="scale the vector to unit length")] = True,
    window_vectors: Annotated[bool, Query(description="give each window's vector too")] = False,
) -> Wish:
    return Wish(pooling, normalize, window_vectors)


ModelName = Annotated[
    str | None, Query(description="embedder, with options after a colon; see /models")
]
Wished = Annotated[Wish, Depends(_wish)]


def make_router(
    settings: EmbedderSettings,
    extractors: Extractors,
    batching: Batching,
    default: DefaultEmbedder,
) -> APIRouter:
    """Make the service's routes.

    Parameters
    ----------
    settings : EmbedderSettings
        The limits, and the default embedder by the name that was set.
    extractors : Extractors
        What makes vectors.
    batching : Batching
        Where that work is done.
    default : DefaultEmbedder
        The default embedder as it turned out.

    Returns
    -------
    APIRouter
    """
    router = APIRouter()

    @router.post(
        "/embed",
        summary="One sound in, one vector out",
        responses={200: {"model": schemas.Embedding}},
        openapi_extra=file_body(),
    )
    async def embed(request: Request, wish: Wished, model: ModelName = None) -> Response:
        name = model or settings.model
        extractor = await asyncio.wrap_future(extractors.begin(name))
        async with read_upload(request) as upload:
            extraction = await unless_gone(request, batching.embed(extractor, upload.file, wish))
        return schemas.answer(extraction, request.headers.get("accept", ""), extractors.note(name))

    @router.post(
        "/embed/batch",
        summary="Many sounds in, a result or an error for each, in order",
        openapi_extra=files_body(),
    )
    async def embed_batch(request: Request, wish: Wished, model: ModelName = None) -> Json:
        name = model or settings.model
        extractor = await asyncio.wrap_future(extractors.begin(name))
        async with read_uploads(request, "files", settings.max_batch) as uploads:
            files = [one.file for one in uploads]
            results = await unless_gone(request, batching.embed_all(extractor, files, wish))
        schemas.check_numbers(results, "send fewer files at once")
        entries = zip(uploads, results, strict=True)
        answer = {"results": [schemas.batch_entry(up.name, done) for up, done in entries]}
        return Json(schemas.noted(answer, extractors.note(name)))

    @router.get("/models", summary="The embedders and what they can do")
    def models() -> Json:
        chosen = default.name
        described = [
            schemas.describe_model(card, extractors, chosen) for card in embedders.cards().values()
        ]
        answer = {"default": chosen, "models": described}
        return Json(schemas.noted(answer, extractors.note(settings.model)))

    @router.get("/", include_in_schema=False)
    def root(request: Request) -> HTMLResponse:
        rows = [
            (
                card.key,
                card.summary,
                card.dim,
                f"{card.sample_rate} Hz" if card.hears else "text",
                schemas.state_in_words(extractors.standing(card.key)),
            )
            for card in embedders.cards().values()
        ]
        head = ("embedder", "what it hears", "numbers", "rate", "state")
        return page.render(
            "soundalike embedder",
            extractors.note(settings.model) or "Hand it a sound, get back its vector.",
            [
                ("Embedders", page.table(head, rows)),
                ("Try", page.commands(CURL_LINES.format(base=request.base_url))),
            ],
        )

    return router
