"""The routes that keep collections and their items."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.common.openapi import json_body
from services.common.wire import Json, encode, parse
from services.recommender import schemas
from services.recommender.queries import MAX_CAPS
from soundalike.catalogue import Catalogue
from soundalike.errors import BadRequest, BadVector, SoundalikeError, UnknownCollection, UnknownItem
from soundalike.pictures import heatmap
from soundalike.types import Item

CREATED, NO_CONTENT = 201, 204
SVG = "image/svg+xml"
CAP = re.compile(r"[1-9][0-9]{0,5}")

router = APIRouter(tags=["collections"])


async def the_catalogue(request: Request) -> Catalogue:
    """Give a route the catalogue that the service opened."""
    catalogue: Catalogue = request.app.state.catalogue
    return catalogue


Kept = Annotated[Catalogue, Depends(the_catalogue)]


@router.get("/collections", summary="Every collection")
def list_collections(catalogue: Kept) -> Json:
    """Describe all collections, by name."""
    return Json({"collections": [schemas.described(info) for info in catalogue.collections()]})


@router.put(
    "/collections/{name}",
    summary="Create a collection, or make sure that it is there",
    responses={201: {"model": schemas.Collection}, 200: {"model": schemas.Collection}},
    openapi_extra=json_body(schemas.CollectionFacts),
)
async def create_collection(request: Request, name: str, catalogue: Kept) -> Json:
    """Facts that are left out are not compared with a collection that is there."""
    body = await request.body()

    def create() -> Json:
        facts = parse(schemas.CollectionFacts, body)
        status = CREATED if catalogue.create(name, **facts.model_dump()) else 200
        return Json(schemas.described(catalogue.describe(name)), status_code=status)

    return await run_in_threadpool(create)


@router.get(
    "/collections/{name}",
    summary="What a collection is and holds",
    responses={200: {"model": schemas.Collection}},
)
def describe_collection(name: str, catalogue: Kept) -> Json:
    """Describe one collection."""
    return Json(schemas.described(catalogue.describe(name)))


@router.delete(
    "/collections/{name}", summary="Drop a collection and its items", status_code=NO_CONTENT
)
def drop_collection(name: str, catalogue: Kept) -> Response:
    """Drop one collection."""
    catalogue.drop(name)
    return Response(status_code=NO_CONTENT)


@router.post(
    "/collections/{name}/rebuild",
    summary="Build the index anew; answers when it serves",
    responses={200: {"model": schemas.Collection}},
)
def rebuild_collection(name: str, catalogue: Kept) -> Json:
    """Rebuild; the index there is serves meanwhile."""
    return Json(schemas.described(catalogue.rebuild(name)))


@router.put(
    "/collections/{name}/transform",
    summary="Rank by another transform from now on; answers when it serves",
    responses={200: {"model": schemas.Collection}},
    openapi_extra=json_body(schemas.TransformIn),
)
async def set_transform(request: Request, name: str, catalogue: Kept) -> Json:
    """Fit it on all items; the old order serves meanwhile."""
    body = await request.body()

    def fit() -> Json:
        wanted = parse(schemas.TransformIn, body)
        return Json(schemas.described(catalogue.set_transform(name, wanted.transform)))

    return await run_in_threadpool(fit)


@router.get(
    "/collections/{name}/similarity",
    summary="The cosine of every two of some items, as a matrix or as a picture",
    responses={200: {"content": {SVG: {}}}},
)
def compare_items(
    request: Request,
    name: str,
    catalogue: Kept,
    ids: Annotated[
        list[str], Query(description="joined by commas; or a parameter each, which may hold commas")
    ],
) -> Response:
    """Answer `ids` and `similarity`; with `Accept: image/svg+xml` a heatmap."""
    wanted = ids[0].split(",") if len(ids) == 1 else ids
    matrix = catalogue.similarity(name, wanted)
    if SVG in request.headers.get("accept", ""):
        return Response(heatmap.svg(matrix, wanted), media_type=SVG)
    return Json({"collection": name, "ids": wanted, "similarity": matrix})


@router.get(
    "/collections/{name}/path",
    summary="A walk from one item to another, by items that lie between them",
    responses={200: {"model": schemas.Walk}},
)
def walk(
    name: str,
    catalogue: Kept,
    *,
    start: Annotated[str, Query(alias="from", description="where it begins")],
    end: Annotated[str, Query(alias="to", description="where it ends")],
    k: Annotated[int, Query(description="how many items, both ends counted")] = 10,
    cap: Annotated[
        list[str] | None, Query(description="field:most, such as artist:2; may be repeated")
    ] = None,
) -> Json:
    """No item comes twice; there are fewer where no more lie between."""
    caps = dict(map(_cap, cap or []))
    if len(caps) > MAX_CAPS:
        raise BadRequest(f"A path may have {MAX_CAPS} caps.", limit=MAX_CAPS, got=len(caps))
    steps = catalogue.path(name, start, end, k, caps=caps)
    info = catalogue.describe(name)
    return Json({"collection": info.name, "space": info.space, "path": [asdict(s) for s in steps]})


@router.get("/aliases", summary="Every alias, with the collection it points at")
def list_aliases(catalogue: Kept) -> Json:
    """List all aliases."""
    return Json({"aliases": catalogue.aliases()})


@router.put(
    "/aliases/{name}",
    summary="Make a name point at a collection from now on, in one step",
    openapi_extra=json_body(schemas.AliasIn),
)
async def point_alias(request: Request, name: str, catalogue: Kept) -> Json:
    """Where a collection bears the name, it is set aside under another, which is told."""
    body = await request.body()

    def point() -> Json:
        aside = catalogue.point(name, parse(schemas.AliasIn, body).collection)
        found = catalogue.describe(name).name
        return Json({"alias": name, "collection": found, "set_aside": aside})

    return await run_in_threadpool(point)


@router.delete("/aliases/{name}", summary="Delete an alias", status_code=NO_CONTENT)
def delete_alias(name: str, catalogue: Kept) -> Response:
    """Delete one alias; its collection stays."""
    catalogue.unpoint(name)
    return Response(status_code=NO_CONTENT)


@router.put(
    "/collections/{name}/items",
    summary="Insert or replace many items: all of them or none",
    openapi_extra=json_body(schemas.ItemsIn),
)
async def upsert_items(
    request: Request,
    name: str,
    catalogue: Kept,
    space: Annotated[str | None, Query(description="the items' space, with NDJSON")] = None,
) -> Json:
    """Take `{"items": [...]}`, or with Content-Type application/x-ndjson one item a line."""
    body = await request.body()
    by_line = request.headers.get("content-type", "").startswith(schemas.NDJSON)
    base = str(request.base_url)

    def write() -> int:
        items, said = (_lines(body), space) if by_line else _items(body)
        try:
            return catalogue.upsert(name, items, space=said)
        except UnknownCollection as fault:
            raise _with_a_way_out(fault, base, name, items, said) from fault

    return Json({"collection": name, "upserted": await run_in_threadpool(write)})


@router.get("/collections/{name}/items", summary="Items by rising id, page by page")
def list_items(
    name: str,
    catalogue: Kept,
    after: Annotated[str, Query(description="`next` of the page before")] = "",
    limit: Annotated[int, Query(description="the most items to list")] = 100,
    vectors: Annotated[bool, Query(description="list their vectors too")] = False,
) -> Json:
    """List a page; its `next` is null on the last one."""
    page = catalogue.page(name, after=after, limit=limit)
    following = page[-1].id if len(page) == limit else None
    return Json(
        {"items": [schemas.listed(item, vector=vectors) for item in page], "next": following}
    )


@router.post(
    "/collections/{name}/items/delete",
    summary="Delete many items",
    openapi_extra=json_body(schemas.Ids),
)
async def delete_items(request: Request, name: str, catalogue: Kept) -> Json:
    """Delete those that are there, and say how many they were."""
    body = await request.body()

    def delete() -> Json:
        return Json({"deleted": catalogue.delete(name, parse(schemas.Ids, body).ids)})

    return await run_in_threadpool(delete)


@router.get("/collections/{name}/items/{item_id:path}", summary="One item, with its vector")
def get_item(name: str, item_id: str, catalogue: Kept) -> Json:
    """Fetch one item; its id may hold slashes."""
    return Json(schemas.listed(catalogue.get(name, item_id), vector=True))


@router.delete(
    "/collections/{name}/items/{item_id:path}",
    summary="Delete one item",
    status_code=NO_CONTENT,
)
def delete_item(name: str, item_id: str, catalogue: Kept) -> Response:
    """Delete one item, which must be there."""
    if not catalogue.delete(name, [item_id]):
        raise UnknownItem(
            f"The collection {name!r} has no item {item_id!r}.", collection=name, item=item_id
        )
    return Response(status_code=NO_CONTENT)


def _cap(text: str) -> tuple[str, int]:
    field, _, most = text.rpartition(":")
    if not field or not CAP.fullmatch(most):
        raise BadRequest(f"A cap is a field and a number, such as artist:2; {text[:80]!r} is not.")
    return field, int(most)


def _items(body: bytes) -> tuple[list[Item], str | None]:
    parsed = parse(schemas.ItemsIn, body)
    return [one.item() for one in parsed.items], parsed.space


def _lines(body: bytes) -> list[Item]:
    items: list[Item] = []
    for number, line in enumerate(body.splitlines(), start=1):
        if not line.strip():
            continue
        if len(items) == schemas.MAX_ITEMS:
            raise BadRequest(f"Send {schemas.MAX_ITEMS} items at most.", limit=schemas.MAX_ITEMS)
        try:
            items.append(parse(schemas.ItemIn, line).item())
        except (BadRequest, BadVector) as fault:
            raise type(fault)(f"Line {number}: {fault.detail}", line=number) from fault
    return items


def _with_a_way_out(
    fault: UnknownCollection, base: str, name: str, items: list[Item], space: str | None
) -> SoundalikeError:
    facts = encode({"space": space or "...", "dim": items[0].vector.size if items else 0}).decode()
    return UnknownCollection(
        f"{fault.detail} Create it first: curl -X PUT {base}collections/{quote(name)} -d '{facts}'",
        **fault.facts,
    )
