"""The pictures of the embedder service: a sound in, a PNG out."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.common.bodies import read_upload
from services.common.openapi import file_body
from services.embedder.settings import EmbedderSettings
from soundalike.pictures import drawing, spectrograms
from soundalike.pictures.settings import Kind, Settings

PNG = "image/png"


def make_router(settings: EmbedderSettings) -> APIRouter:
    """Make the routes of the pictures.

    Parameters
    ----------
    settings : EmbedderSettings
        How many sounds are worked on at the same time, and how long one may be.

    Returns
    -------
    APIRouter
    """
    router = APIRouter()
    room = asyncio.Semaphore(settings.threads)

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
        async with read_upload(request) as upload, room:
            computed = await run_in_threadpool(
                spectrograms.compute,
                upload.file,
                [kind],
                wished,
                max_seconds=settings.max_seconds,
            )
            drawn = await run_in_threadpool(drawing.png, computed[kind], bare=bare)
        return Response(drawn, media_type=PNG)

    return router
