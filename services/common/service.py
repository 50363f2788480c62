"""The frame of a service: the same faults, keys, limits, metrics and probes for both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from prometheus_client.registry import Collector
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Lifespan

from services.common import problems
from services.common.auth import require_key
from services.common.bodies import BodyLimit
from services.common.direct import DirectRoute, Shortcut
from services.common.logs import join_server
from services.common.metrics import Metrics, Observe, ReadGauges, no_gauges
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
    gauges: ReadGauges = no_gauges,
    counters: Iterable[Collector] = (),
    direct: Sequence[DirectRoute] = (),
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
    gauges : callable
        What `/metrics` tells beside the counters; see `Metrics`.
    counters : iterable of Collector
        Counters of the service's own, which `/metrics` tells too.
    direct : sequence of DirectRoute
        Routes that are asked most: they are looked at first, and by no router.

    Returns
    -------
    FastAPI
    """
    join_server()
    check_key = require_key(settings.keys)
    app = FastAPI(
        title=title,
        description=description,
        lifespan=lifespan,
        dependencies=[Depends(check_key)] if settings.keys else [],
        redoc_url=None,
    )
    app.state.check_key = check_key
    metrics = Metrics(gauges)
    for counter in counters:
        metrics.registry.register(counter)
    app.add_middleware(Shortcut, routes=direct)
    app.add_middleware(BodyLimit, limit_bytes=settings.max_upload_bytes)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["*"],
        )
    app.add_middleware(Observe, metrics=metrics)
    problems.install(app)
    app.router.routes.extend(direct)
    all_limits = {"max_upload_bytes": settings.max_upload_bytes, **limits}
    for router in [*routers, metrics.router(), probe_router(ready, all_limits)]:
        app.include_router(router)
    return app
