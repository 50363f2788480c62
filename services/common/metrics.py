"""What is counted, and by which id a request is told apart."""

from __future__ import annotations

import re
import secrets
import time

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID_HEADER = b"x-request-id"
ACCEPTABLE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class Metrics:
    """The counters of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "soundalike_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "soundalike_request_seconds",
            "Seconds from a request's first byte to its answer's last.",
            ("route",),
            registry=self.registry,
        )

    def router(self) -> APIRouter:
        """Make the route that Prometheus reads."""
        router = APIRouter(tags=["probes"])

        @router.get("/metrics", summary="Counters in Prometheus' text format")
        def metrics() -> Response:
            return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

        return router


def _request_id(scope: Scope) -> str:
    offered: bytes = dict(scope["headers"]).get(REQUEST_ID_HEADER, b"")
    return offered.decode() if ACCEPTABLE_ID.fullmatch(offered) else secrets.token_hex(8)


def _route(scope: Scope) -> str:
    """Name the route by its pattern: a path with ids in it would make a counter for each."""
    return getattr(scope.get("route"), "path", "(none)")


class Observe:
    """ASGI middleware that gives each request an id, counts it and times it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note how it went."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 500

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (REQUEST_ID_HEADER, request_id.encode()),
                ]
            await send(message)

        try:
            await self.app(scope, receive, marked)
        finally:
            route = _route(scope)
            self.metrics.requests.labels(route, scope["method"], status).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - started)
