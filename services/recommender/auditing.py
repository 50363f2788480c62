"""The route that looks for what is wrong in a collection."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from services.common.wire import Json
from services.recommender.collections import Kept
from soundalike.catalogue.audit import DEFAULT_K, DEFAULT_LIMIT, audit

router = APIRouter(tags=["collections"])


@router.get(
    "/collections/{name}/audit",
    summary="What is double, silent, without a source or too near to everything",
)
def audit_collection(
    name: str,
    catalogue: Kept,
    k: Annotated[int, Query(description="how many neighbours of each item count")] = DEFAULT_K,
    limit: Annotated[int, Query(description="how many of each kind to list")] = DEFAULT_LIMIT,
) -> Json:
    """Look at every item; nothing is changed."""
    return Json(asdict(audit(catalogue, name, k=k, limit=limit)))
