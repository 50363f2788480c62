"""The routes that recommend."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from services.common.bodies import read_upload
from services.common.openapi import file_body, json_body
from services.common.wire import Json, parse
from services.recommender import schemas
from services.recommender.collections import Kept
from services.recommender.hearing import TextEmbedding, hear, read_words
from soundalike.catalogue import Catalogue, CollectionInfo
from soundalike.catalogue.base import Answer
from soundalike.catalogue.base import Query as Asked
from soundalike.client import Embedding
from soundalike.errors import SpaceMismatch

Understood = TypeVar("Understood", Embedding, TextEmbedding)


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
        openapi_extra=json_body(schemas.RecommendIn),
    )
    async def recommend(request: Request, catalogue: Kept) -> Json:
        """Answer `results`; with `queries` a list of `answers`, each with its results."""
        wanted = parse(schemas.RecommendIn, await request.body())
        return Json(await run_in_threadpool(_recommend, catalogue, wanted, max_queries))

    @router.post(
        "/recommend/audio",
        summary="The nearest items of a sound, heard by the collection's own embedder",
        responses={200: {"model": schemas.Recommendation}},
        openapi_extra=file_body(),
    )
    async def recommend_audio(
        request: Request,
        catalogue: Kept,
        collection: Annotated[str, Query()] = schemas.DEFAULT_COLLECTION,
        k: Annotated[int, Query(description="how many neighbours")] = schemas.DEFAULT_K,
        exact: Annotated[bool, Query(description="compare with every item")] = False,
    ) -> Json:
        """Take a multipart field `file`, or the bytes as the body."""
        async with read_upload(request) as upload:

            def listen(info: CollectionInfo) -> Embedding:
                upload.file.seek(0)
                return hear(request.app.state.embedder, upload.file, info)

            told, heard = await run_in_threadpool(
                _ask_through, catalogue, collection, listen, k, exact=exact
            )
        return Json(told | {"model": heard.model, "audio": heard.audio})

    @router.post(
        "/recommend/text",
        summary="The nearest items of words, where the collection's embedder reads them",
        responses={200: {"model": schemas.Recommendation}},
        openapi_extra=json_body(schemas.WordsIn),
    )
    async def recommend_text(request: Request, catalogue: Kept) -> Json:
        wanted = parse(schemas.WordsIn, await request.body())

        def read(info: CollectionInfo) -> TextEmbedding:
            embedder = request.app.state.embedder
            return read_words(embedder, wanted.text, info, phrasings=wanted.phrasings)

        told, understood = await run_in_threadpool(
            _ask_through, catalogue, wanted.collection, read, wanted.k, exact=wanted.exact
        )
        return Json(told | {"model": understood.model})

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


def _ask_through(
    catalogue: Catalogue,
    collection: str,
    understand: Callable[[CollectionInfo], Understood],
    k: int,
    *,
    exact: bool,
) -> tuple[dict[str, Any], Understood]:
    """Ask for the neighbours of what a collection's own embedder makes of a sound or of words."""
    info = catalogue.describe(collection)
    started = time.perf_counter()
    understood = understand(info)
    embed_ms = _ms_since(started)
    try:
        told, (answer,) = _ask(
            catalogue, collection, [understood.vector], k, space=understood.space, exact=exact
        )
    except SpaceMismatch:
        if catalogue.describe(collection).space == info.space:
            raise
        # the name has come to point at another collection meanwhile
        return _ask_through(catalogue, collection, understand, k, exact=exact)
    told["ms"]["embed"] = embed_ms
    return told | schemas.answered(answer), understood


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
        "space": answers[0].space,
        "ms": {"search": _ms_since(started)},
    }
    return told, answers


def _ms_since(started: float) -> float:
    return round(1000 * (time.perf_counter() - started), 3)
