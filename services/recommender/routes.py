"""The routes that recommend."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from services.common.bodies import read_upload
from services.common.direct import DirectRoute
from services.common.openapi import file_body, json_body, or_array
from services.common.wire import Json, parse, parse_parameters
from services.recommender import queries, schemas
from services.recommender.arrays import NPY, read_array
from services.recommender.collections import Kept, the_catalogue
from services.recommender.hearing import TextEmbedding, hear, read_words
from services.recommender.pace import Pace
from soundalike.catalogue import Catalogue, CollectionInfo
from soundalike.catalogue.asks import Ask
from soundalike.catalogue.asks import Query as Asked
from soundalike.catalogue.told import Answer
from soundalike.client import Embedding
from soundalike.errors import SpaceMismatch

LARGE_BYTES = 1_000_000  # a body that is read in a thread, so that it holds up no other request

Understood = TypeVar("Understood", Embedding, TextEmbedding)

router = APIRouter(tags=["recommend"])


def recommend_route(max_queries: int) -> DirectRoute:
    """Make the route that is asked most.

    Parameters
    ----------
    max_queries : int
        The most queries in one request.

    Returns
    -------
    DirectRoute
    """
    pace = Pace()

    async def recommend(request: Request) -> Json:
        """Answer `results`; with `queries` or a matrix a list of `answers`, each with results."""
        catalogue = await the_catalogue(request)
        body = await request.body()
        if len(body) > LARGE_BYTES:
            asked = await run_in_threadpool(_asked, request, body, max_queries)
        else:
            asked = _asked(request, body, max_queries)
        alone = not (asked.many or asked.exact or isinstance(asked.queries[0], Ask))

        def search() -> dict[str, Any]:
            return _recommend(catalogue, asked)

        return Json(await pace.search(asked.collection, search, alone=alone))

    return DirectRoute(
        "/recommend",
        recommend,
        methods=["POST"],
        tags=["recommend"],
        summary="The nearest items of a vector, of an item, or of many at once",
        responses={200: {"model": schemas.Recommendation}},
        openapi_extra=or_array(json_body(queries.RecommendIn), queries.ArrayParameters),
    )


@router.post(
    "/recommend/audio",
    summary="The nearest items of a sound, heard by the collection's own embedder",
    responses={200: {"model": schemas.Recommendation}},
    openapi_extra=file_body(),
)
async def recommend_audio(
    request: Request,
    catalogue: Kept,
    *,
    collection: Annotated[str, Query()] = queries.DEFAULT_COLLECTION,
    k: Annotated[int, Query(description="how many neighbours")] = queries.DEFAULT_K,
    exact: Annotated[bool, Query(description="compare with every item")] = False,
    demands: Annotated[
        str | None, Query(description="as JSON, what else POST /recommend takes: a filter, caps")
    ] = None,
) -> Json:
    """Take a multipart field `file`, or the bytes as the body."""
    wanted = None if demands is None else parse(queries.Demands, demands.encode())
    async with read_upload(request) as upload:

        def listen(info: CollectionInfo) -> Embedding:
            upload.file.seek(0)
            return hear(request.app.state.embedder, upload.file, info)

        told, heard = await run_in_threadpool(
            _ask_through, catalogue, collection, listen, k, exact=exact, demands=wanted
        )
    return Json(told | {"model": heard.model, "audio": heard.audio})


@router.post(
    "/recommend/text",
    summary="The nearest items of words, where the collection's embedder reads them",
    responses={200: {"model": schemas.Recommendation}},
    openapi_extra=json_body(queries.WordsIn),
)
async def recommend_text(request: Request, catalogue: Kept) -> Json:
    """Answer as for a vector of the words."""
    wanted = await run_in_threadpool(parse, queries.WordsIn, await request.body())

    def read(info: CollectionInfo) -> TextEmbedding:
        embedder = request.app.state.embedder
        return read_words(embedder, wanted.text, info, phrasings=wanted.phrasings)

    told, understood = await run_in_threadpool(
        _ask_through,
        catalogue,
        wanted.collection,
        read,
        wanted.k,
        exact=wanted.exact,
        demands=wanted,
    )
    return Json(told | {"model": understood.model})


def _asked(request: Request, body: bytes, max_queries: int) -> queries.Asked:
    if request.headers.get("content-type", "").startswith(NPY):
        parameters = parse_parameters(queries.ArrayParameters, request.query_params)
        return parameters.asked(read_array(body), max_queries)
    return parse(queries.RecommendIn, body).asked(max_queries)


def _recommend(catalogue: Catalogue, asked: queries.Asked) -> dict[str, Any]:
    told, answers = _ask(
        catalogue, asked.collection, asked.queries, asked.k, space=asked.space, exact=asked.exact
    )
    if asked.many:
        return told | {"answers": [schemas.answered(answer) for answer in answers]}
    return told | schemas.answered(answers[0])


def _ask_through(
    catalogue: Catalogue,
    collection: str,
    understand: Callable[[CollectionInfo], Understood],
    k: int,
    *,
    exact: bool,
    demands: queries.Demands | None = None,
) -> tuple[dict[str, Any], Understood]:
    """Ask for the neighbours of what a collection's own embedder makes of a sound or of words."""
    info = catalogue.describe(collection)
    started = time.perf_counter()
    understood = understand(info)
    embed_ms = _ms_since(started)
    asked = understood.vector if demands is None else demands.ask(understood.vector)
    try:
        told, (answer,) = _ask(
            catalogue, collection, [asked], k, space=understood.space, exact=exact
        )
    except SpaceMismatch:
        if catalogue.describe(collection).space == info.space:
            raise
        # the name has come to point at another collection meanwhile
        return _ask_through(catalogue, collection, understand, k, exact=exact, demands=demands)
    told["ms"]["embed"] = embed_ms
    return told | schemas.answered(answer), understood


def _ask(
    catalogue: Catalogue,
    collection: str,
    asked: Sequence[Asked | Ask],
    k: int,
    *,
    space: str | None,
    exact: bool,
) -> tuple[dict[str, Any], list[Answer]]:
    """Ask the catalogue; gives what every answer says beside the neighbours, and those."""
    started = time.perf_counter()
    answers = catalogue.recommend(collection, asked, k, space=space, exact=exact)
    told = {
        "collection": collection,
        "space": answers[0].space,
        "ms": {"search": _ms_since(started)},
    }
    return told, answers


def _ms_since(started: float) -> float:
    return round(1000 * (time.perf_counter() - started), 3)
