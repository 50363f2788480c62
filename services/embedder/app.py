"""The embedder service, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.common.service import make_service
from services.common.settings import load
from services.embedder.batching import Batching
from services.embedder.routes import make_router
from services.embedder.settings import EmbedderSettings
from soundalike.extract.extractor import Extractors

DESCRIPTION = "A sound in, its vector out. See `/models` for the embedders."


def create_app(settings: EmbedderSettings | None = None) -> FastAPI:
    """Make the service.

    Parameters
    ----------
    settings : EmbedderSettings, optional
        Read from the environment by default.

    Returns
    -------
    FastAPI

    Raises
    ------
    SystemExit
        Where a setting makes no sense.
    UnknownModel
        Where the default embedder does not exist.
    """
    settings = settings or load(EmbedderSettings)
    extractors = Extractors(max_seconds=settings.max_seconds)
    extractors.get(settings.model)
    batching = Batching(settings.threads)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        batching.close()

    return make_service(
        "soundalike embedder",
        DESCRIPTION,
        settings,
        [make_router(settings, extractors, batching)],
        ready=lambda: (True, {"model": settings.model}),
        limits={"max_seconds": settings.max_seconds, "max_batch": settings.max_batch},
        lifespan=lifespan,
    )
