"""The frame of a service: the same faults, keys, limits, metrics and probes for both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from starlette.types import Lifespan

from services.common import problems
from services.common.auth import require_key
from services.common.bodies import BodyLimit
from services.common.metrics import Metrics, Observe
from services.common.probes import Ready, probe_router
from services.common.settings import CommonSettings


def make_service(
    title: str,
    description: str,
    settings: CommonSettings,
    routers: list[APIRouter],
    *,
    ready: Ready,
    limits: Mapping[str, Any],
    lifespan: Lifespan[FastAPI],
) -> FastAPI:
    """Put a service together.

    Parameters
    ----------
    title, description : str
        For the OpenAPI page.
    settings : CommonSettings
        Keys and the body limit are taken from here.
    routers : list of APIRouter
        The service's own routes.
    ready : callable
        See `probe_router`.
    limits : mapping
        Limits beside the one on bytes, by name.
    lifespan : callable
        What is opened before the first request and closed after the last.

    Returns
    -------
    FastAPI
    """
    app = FastAPI(
        title=title,
        description=description,
        lifespan=lifespan,
        dependencies=[Depends(require_key(settings.keys))],
        redoc_url=None,
    )
    metrics = Metrics()
    app.add_middleware(BodyLimit, limit_bytes=settings.max_upload_bytes)
    app.add_middleware(Observe, metrics=metrics)
    problems.install(app)
    all_limits = {"max_upload_bytes": settings.max_upload_bytes, **limits}
    for router in [*routers, metrics.router(), probe_router(ready, all_limits)]:
        app.include_router(router)
    return app
