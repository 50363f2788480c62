"""The recommender service, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from typing import Any

from fastapi import FastAPI

from services.common.service import make_service
from services.common.settings import load
from services.recommender import collections, front, routes
from services.recommender.settings import RecommenderSettings
from soundalike.catalogue import LocalCatalogue
from soundalike.catalogue.checks import MAX_COMPARED, MAX_DIM, MAX_ID_LENGTH, MAX_K, MAX_PAGE
from soundalike.client import EmbedderClient

DESCRIPTION = (
    "A vector, an item or a sound in, its neighbours out. "
    "A write that is acknowledged is on disk, and the next query sees it."
)


def create_app(settings: RecommenderSettings | None = None) -> FastAPI:
    """Make the service.

    Parameters
    ----------
    settings : RecommenderSettings, optional
        Read from the environment by default.

    Returns
    -------
    FastAPI
        The catalogue is opened when it starts, not before.

    Raises
    ------
    SystemExit
        Where a setting makes no sense.
    """
    settings = settings or load(RecommenderSettings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        embedder = EmbedderClient(settings.embedder_url, api_key=settings.embedder_key)
        with (
            closing(embedder),
            LocalCatalogue(settings.data_dir, engine=settings.engine) as catalogue,
        ):
            app.state.embedder, app.state.catalogue = embedder, catalogue
            yield

    def ready() -> tuple[bool, Mapping[str, Any]]:
        held = app.state.catalogue.collections()
        return True, {"collections": len(held), "items": sum(one.count for one in held)}

    app = make_service(
        "soundalike recommender",
        DESCRIPTION,
        settings,
        [front.router, routes.make_router(settings.max_queries), collections.router],
        ready=ready,
        limits={
            "max_k": MAX_K,
            "max_queries": settings.max_queries,
            "max_dim": MAX_DIM,
            "max_id_length": MAX_ID_LENGTH,
            "max_page": MAX_PAGE,
            "max_compared": MAX_COMPARED,
        },
        lifespan=lifespan,
    )
    return app
