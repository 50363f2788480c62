"""The routes that recommend, and the page at the root."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse

from services.common import page
from services.common.bodies import read_upload
from services.common.wire import Json, parse
from services.recommender import schemas
from services.recommender.collections import Kept
from services.recommender.hearing import hear
from soundalike.catalogue import Catalogue
from soundalike.catalogue.base import Answer
from soundalike.catalogue.base import Query as Asked

CURL_LINES = """
curl -F file=@some.wav {base}recommend/audio
curl -F file=@some.wav '{base}recommend/audio?collection=default&k=5'
curl -d '{{"id": "ID OF AN ITEM", "k": 5}}' {base}recommend
curl -d '{{"vector": [0.1, 0.2, 0.3], "k": 5}}' {base}recommend
curl {base}collections
curl {base}collections/default/items
"""
EMPTY = "<p>Nothing yet: fill it with <code>soundalike index FOLDER</code>.</p>"


def make_router(max_queries: int) -> APIRouter:
    """Make the routes.

    Parameters
    ----------
    max_queries : int
        The most queries in one request.

    Returns
    -------
    APIRouter
    """
    router = APIRouter(tags=["recommend"])

    @router.post(
        "/recommend",
        summary="The nearest items of a vector, of an item, or of many at once",
        responses={200: {"model": schemas.Recommendation}},
        openapi_extra=schemas.body(schemas.RecommendIn),
    )
    async def recommend(request: Request, catalogue: Kept) -> Json:
        """Answer `results`; with `queries` a list of `answers`, each with its results."""
        wanted = parse(schemas.RecommendIn, await request.body())
        return Json(await run_in_threadpool(_recommend, catalogue, wanted, max_queries))

    @router.post(
        "/recommend/audio",
        summary="The nearest items of a sound, heard by the collection's own embedder",
        responses={200: {"model": schemas.Recommendation}},
        openapi_extra=schemas.FILE_BODY,
    )
    async def recommend_audio(
        request: Request,
        catalogue: Kept,
        collection: Annotated[str, Query()] = schemas.DEFAULT_COLLECTION,
        k: Annotated[int, Query(description="how many neighbours")] = schemas.DEFAULT_K,
        exact: Annotated[bool, Query(description="compare with every item")] = False,
    ) -> Json:
        """Take a multipart field `file`, or the bytes as the body."""
        info = catalogue.describe(collection)
        started = time.perf_counter()
        async with read_upload(request) as upload:
            heard = await run_in_threadpool(hear, request.app.state.embedder, upload.file, info)
        embed_ms = _ms_since(started)
        told, (answer,) = await run_in_threadpool(
            _ask, catalogue, collection, [heard.vector], k, space=heard.space, exact=exact
        )
        told["ms"]["embed"] = embed_ms
        return Json(told | schemas.answered(answer) | {"model": heard.model, "audio": heard.audio})

    @router.get("/", include_in_schema=False)
    def root(request: Request, catalogue: Kept) -> HTMLResponse:
        rows = [
            (info.name, info.count, info.dim, info.engine, info.space)
            for info in catalogue.collections()
        ]
        held = page.table(("collection", "items", "numbers", "engine", "space"), rows)
        return page.render(
            "soundalike recommender",
            "Hand it a sound, get back what sounds like it.",
            [
                ("Collections", held if rows else EMPTY),
                ("Try", page.commands(CURL_LINES.format(base=request.base_url))),
            ],
        )

    return router


def _recommend(
    catalogue: Catalogue, wanted: schemas.RecommendIn, max_queries: int
) -> dict[str, Any]:
    queries = wanted.all_queries(max_queries)
    told, answers = _ask(
        catalogue, wanted.collection, queries, wanted.k, space=wanted.space, exact=wanted.exact
    )
    if wanted.queries is None:
        return told | schemas.answered(answers[0])
    return told | {"answers": [schemas.answered(answer) for answer in answers]}


def _ask(
    catalogue: Catalogue,
    collection: str,
    queries: Sequence[Asked],
    k: int,
    *,
    space: str | None,
    exact: bool,
) -> tuple[dict[str, Any], list[Answer]]:
    """Ask the catalogue; gives what every answer says beside the neighbours, and those."""
    started = time.perf_counter()
    answers = catalogue.recommend(collection, queries, k, space=space, exact=exact)
    told = {
        "collection": collection,
        "space": catalogue.describe(collection).space,
        "ms": {"search": _ms_since(started)},
    }
    return told, answers


def _ms_since(started: float) -> float:
    return round(1000 * (time.perf_counter() - started), 3)
