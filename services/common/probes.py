"""Probes: is it alive, can it work, what are its limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter

from services.common.wire import Json

Ready = Callable[[], tuple[bool, Mapping[str, Any]]]


def probe_router(ready: Ready, limits: Mapping[str, Any]) -> APIRouter:
    """Make the routes that orchestrators and people ask.

    Parameters
    ----------
    ready : callable
        Whether the service can do its work now, and what there is to say about it.
    limits : mapping
        The limits in force, by name.

    Returns
    -------
    APIRouter
    """
    router = APIRouter(tags=["probes"])

    @router.get("/livez", summary="Is the process alive?")
    async def livez() -> Json:
        return Json({"status": "ok"})

    @router.get("/readyz", summary="Can it do its work now?")
    @router.get("/health", summary="The same as /readyz")
    def readyz() -> Json:
        ok, facts = ready()
        return Json({"status": "ok" if ok else "unready", **facts}, status_code=200 if ok else 503)

    @router.get("/limits", summary="The limits in force")
    async def show_limits() -> Json:
        return Json(dict(limits))

    return router
