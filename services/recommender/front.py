"""The page at the root: what is held, and what to try."""

from __future__ import annotations

import json
import shlex

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from services.common import page
from services.recommender.collections import Kept
from soundalike.catalogue import Catalogue

HEAD = ("collection", "items", "numbers", "engine", "space")
EMPTY = "<p>Nothing yet: fill it with <code>soundalike index FOLDER</code>.</p>"
CURL_LINES = """
curl -F file=@some.wav {base}recommend/audio?collection={collection}
curl -d {by_id} {base}recommend
curl {base}collections/{collection}/items
curl {base}collections
"""

router = APIRouter()


@router.get("/", include_in_schema=False)
def front(request: Request, catalogue: Kept) -> HTMLResponse:
    """Show the page."""
    rows = [
        (info.name, info.count, info.dim, info.engine, info.space)
        for info in catalogue.collections()
    ]
    collection, item = _example(catalogue)
    by_id = shlex.quote(json.dumps({"id": item, "collection": collection, "k": 5}))
    lines = CURL_LINES.format(base=request.base_url, collection=collection, by_id=by_id)
    return page.render(
        "soundalike recommender",
        "Hand it a sound, get back what sounds like it.",
        [
            ("Collections", page.table(HEAD, rows) if rows else EMPTY),
            ("Try", page.commands(lines)),
        ],
    )


def _example(catalogue: Catalogue) -> tuple[str, str]:
    """Name an item that is there, so that the lines work as they stand."""
    for info in catalogue.collections():
        if first := catalogue.page(info.name, limit=1):
            return info.name, first[0].id
    return "default", "ID OF AN ITEM"
