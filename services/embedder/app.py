"""The embedder service, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.common.service import make_service
from services.common.settings import load
from services.embedder import pictures, routes, text
from services.embedder.batching import Batching
from services.embedder.default import DefaultEmbedder
from services.embedder.settings import EmbedderSettings
from soundalike.extract.loading import Extractors

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
    default = DefaultEmbedder(settings, extractors)
    batching = Batching(settings.threads)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        default.load()
        yield
        batching.close()

    return make_service(
        "soundalike embedder",
        DESCRIPTION,
        settings,
        [
            routes.make_router(settings, extractors, batching, default),
            text.make_router(settings, extractors),
            pictures.make_router(settings),
        ],
        ready=default.ready,
        limits={"max_seconds": settings.max_seconds, "max_batch": settings.max_batch},
        lifespan=lifespan,
    )
