"""The embedder service, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.common.metrics import Reading
from services.common.service import make_service
from services.common.settings import load
from services.embedder import dialects, openai, pictures, routes, text
from services.embedder.batching import Batching
from services.embedder.counters import Counters
from services.embedder.default import DefaultEmbedder
from services.embedder.settings import EmbedderSettings
from soundalike.embedders import runtime, weights
from soundalike.errors import BadRequest, DeviceMissing
from soundalike.extract.cache import VectorCache
from soundalike.extract.loading import Extractors

DESCRIPTION = "A sound in, its vector out. See `/models` for the embedders."
CACHE = "cache"
BROKEN = False, {"reason": "Passes through the network fail one after the other; see the log."}


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
    try:
        runtime.check()
        weights.commercial_only()
    except (BadRequest, DeviceMissing) as fault:
        raise SystemExit(fault.detail) from None
    extractors = Extractors(max_seconds=settings.max_seconds, workers=settings.threads)
    default = DefaultEmbedder(settings, extractors)
    counters = Counters()
    batching = Batching(settings.threads, settings.queue_seconds, counters, _cache(settings))

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
            text.make_router(settings, extractors, batching),
            pictures.make_router(settings, batching),
            dialects.make_router(extractors, batching),
            openai.make_router(settings, extractors, batching),
        ],
        ready=lambda: default.ready() if batching.health.is_good else BROKEN,
        limits=settings.limits,
        lifespan=lifespan,
        gauges=lambda: _gauges(batching, extractors),
        counters=counters,
    )


def _cache(settings: EmbedderSettings) -> VectorCache | None:
    if not settings.cache_bytes:
        return None
    return VectorCache(settings.data_dir / CACHE, settings.cache_bytes)


def _gauges(batching: Batching, extractors: Extractors) -> Iterator[Reading]:
    backlog = batching.backlog
    told = "Seconds of sound that wait or are worked on."
    yield Reading("soundalike_queue_seconds", told, {}, backlog.seconds)
    yield Reading(
        "soundalike_queue_sounds", "Sounds that wait or are worked on.", {}, backlog.sounds
    )
    for device in extractors.devices():
        taken = runtime.memory_bytes(device)
        if taken is not None:
            told = "Bytes of a device's memory that the service has taken."
            yield Reading("soundalike_device_memory_bytes", told, {"device": device}, taken)
