"""The pictures of the embedder service: a sound in, a PNG out."""

from __future__ import annotations

from functools import partial
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.common.bodies import read_upload
from services.common.openapi import file_body
from services.embedder.batching import Batching
from services.embedder.presence import unless_gone
from services.embedder.settings import EmbedderSettings
from soundalike.audio.decode import expected_seconds
from soundalike.pictures import drawing, spectrograms
from soundalike.pictures.settings import Kind, Settings

PNG = "image/png"


def make_router(settings: EmbedderSettings, batching: Batching) -> APIRouter:
    """Make the routes of the pictures.

    Parameters
    ----------
    settings : EmbedderSettings
        How long a sound may be.
    batching : Batching
        Where sounds wait their turn.

    Returns
    -------
    APIRouter
    """
    router = APIRouter()

    def draw(file: BinaryIO, kind: Kind, wished: Settings, *, bare: bool) -> bytes:
        computed = spectrograms.compute(file, [kind], wished, max_seconds=settings.max_seconds)
        return drawing.png(computed[kind], bare=bare)

    @router.post(
        "/pictures/{kind}",
        summary="A sound in, a picture of it out",
        response_class=Response,
        responses={200: {"content": {PNG: {"schema": {"type": "string", "format": "binary"}}}}},
        openapi_extra=file_body(),
    )
    async def picture(
        request: Request,
        kind: Kind,
        wished: Annotated[Settings, Depends()],
        bare: Annotated[bool, Query(description="the colours alone, without axes")] = False,
    ) -> Response:
        async with read_upload(request) as upload:
            seconds = await run_in_threadpool(expected_seconds, upload.file, settings.max_seconds)
            work = partial(draw, upload.file, kind, wished, bare=bare)
            drawn = await unless_gone(request, batching.do(seconds, work))
        return Response(drawn, media_type=PNG)

    return router
