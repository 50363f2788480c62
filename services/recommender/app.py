"""The recommender service, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from typing import Any

from fastapi import FastAPI

from services.common.metrics import Reading
from services.common.service import make_service
from services.common.settings import load
from services.common.workers import leave_with_supervisor
from services.recommender import auditing, backups, collections, front, routes, schemas
from services.recommender.gauges import readings
from services.recommender.settings import RecommenderSettings
from soundalike.catalogue import LocalCatalogue
from soundalike.catalogue.checks import MAX_COMPARED, MAX_DIM, MAX_ID_LENGTH, MAX_K, MAX_PAGE
from soundalike.client import IMPATIENT, EmbedderClient

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
        leave_with_supervisor()
        # whoever asked is told at once to come back, and holds up no thread
        embedder = EmbedderClient(
            settings.embedder_url, api_key=settings.embedder_key, patience=IMPATIENT
        )
        with (
            closing(embedder),
            LocalCatalogue(
                settings.data_dir, engine=settings.engine, recall_target=settings.recall_target
            ) as catalogue,
        ):
            app.state.embedder, app.state.catalogue = embedder, catalogue
            yield

    def ready() -> tuple[bool, Mapping[str, Any]]:
        held = app.state.catalogue.collections()
        return True, {"collections": len(held), "items": sum(one.count for one in held)}

    def gauges() -> Iterator[Reading]:
        return readings(app.state.catalogue.collections())

    app = make_service(
        "soundalike recommender",
        DESCRIPTION,
        settings,
        [
            routes.router,
            front.router,
            backups.make_router(settings),
            auditing.router,
            collections.router,
        ],
        ready=ready,
        limits={
            "max_k": MAX_K,
            "max_queries": settings.max_queries,
            "max_items": schemas.MAX_ITEMS,
            "max_restore_bytes": settings.max_restore_bytes,
            "max_dim": MAX_DIM,
            "max_id_length": MAX_ID_LENGTH,
            "max_page": MAX_PAGE,
            "max_compared": MAX_COMPARED,
        },
        lifespan=lifespan,
        gauges=gauges,
        direct=[routes.recommend_route(settings.max_queries)],
    )
    return app
