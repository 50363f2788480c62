"""What is counted, and by which id a request is told apart.

Where several processes serve, each counts in files of a folder that they share,
named by an environment variable before they start, and any of them tells the
sum. What a process that died had counted stays in it.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import getrandbits

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the library's own name for it
REQUEST_ID_HEADER = b"x-request-id"
ACCEPTABLE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, slots=True)
class Reading:
    """A gauge at this moment: its name, a line of help, its labels, and its value."""

    name: str
    told: str
    labels: Mapping[str, str]
    value: float


ReadGauges = Callable[[], Iterable[Reading]]


def no_gauges() -> list[Reading]:
    """Read nothing."""
    return []


class Metrics:
    """The counters of one service, in a registry of its own.

    Parameters
    ----------
    gauges : callable
        Read whenever metrics are asked for; the same in every process.
    """

    def __init__(self, gauges: ReadGauges = no_gauges) -> None:
        self.gauges = CollectorRegistry()
        self.gauges.register(_Gauges(gauges))
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
        # to find a counter by its labels takes the library longer than to count
        self._counter = lru_cache(self.requests.labels)
        self._timer = lru_cache(self.seconds.labels)

    def count(self, route: str, method: str, status: int, spent_s: float) -> None:
        """Count a request that was answered."""
        self._counter(route, method, status).inc()
        self._timer(route).observe(spent_s)

    def router(self) -> APIRouter:
        """Make the route that Prometheus reads."""
        router = APIRouter(tags=["probes"])

        @router.get("/metrics", summary="Counters in Prometheus' text format")
        def metrics() -> Response:
            told = generate_latest(self._counters()) + generate_latest(self.gauges)
            return Response(told, media_type=CONTENT_TYPE_LATEST)

        return router

    def _counters(self) -> CollectorRegistry:
        if SHARED_FOLDER not in os.environ:
            return self.registry
        of_all = CollectorRegistry()
        MultiProcessCollector(of_all)  # type: ignore[no-untyped-call]
        return of_all


class _Gauges(Collector):
    def __init__(self, read: ReadGauges) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return []  # otherwise they would be read on registering, when nothing is open yet

    def collect(self) -> Iterable[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for one in self._read():
            family = families.setdefault(
                one.name, GaugeMetricFamily(one.name, one.told, labels=list(one.labels))
            )
            family.add_metric(list(one.labels.values()), one.value)
        return families.values()


def _request_id(scope: Scope) -> str:
    offered: bytes = dict(scope["headers"]).get(REQUEST_ID_HEADER, b"")
    # an id is no secret, and to ask the system for chance would take longer than all else here
    return offered.decode() if ACCEPTABLE_ID.fullmatch(offered) else f"{getrandbits(64):016x}"


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
            route, spent_s = _route(scope), time.perf_counter() - started
            self.metrics.count(route, scope["method"], status, spent_s)
            told = (request_id, scope["method"], scope["path"], status, spent_s * 1000)
            log.info("%s %s %r %d %.1f ms", *told)
