"""The routes that write a collection into one file, and take such a file in."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from services.common.bodies import Limit
from services.common.openapi import bytes_body
from services.common.wire import Json
from services.recommender import schemas
from services.recommender.collections import CREATED, Kept
from services.recommender.settings import RecommenderSettings
from soundalike.errors import StorageFull

ZIP = "application/zip"
CHUNK_BYTES = 1 << 20


def make_router(settings: RecommenderSettings) -> APIRouter:
    """Make the routes.

    Parameters
    ----------
    settings : RecommenderSettings
        Where there is room for files on their way, and how large they may be.

    Returns
    -------
    APIRouter
    """
    router = APIRouter(tags=["collections"])
    limit = Limit(settings.max_restore_bytes, "SOUNDALIKE_MAX_RESTORE_MB")

    @router.post(
        "/collections/{name}/snapshot",
        summary="A collection as one file, as it is at this moment",
        response_class=StreamingResponse,
        responses={200: {"content": {ZIP: {}}}},
    )
    def take_snapshot(name: str, catalogue: Kept) -> StreamingResponse:
        """Write it beside the catalogue first, so that all of it is of one moment."""
        file = _file_without_name(settings.data_dir)
        try:
            catalogue.snapshot(name, file)
        except BaseException:
            file.close()
            raise
        headers = {
            "content-length": str(file.seek(0, os.SEEK_END)),
            "content-disposition": f'attachment; filename="{name}.soundalike.zip"',
        }
        return StreamingResponse(_chunks(file), media_type=ZIP, headers=headers)

    @router.post(
        "/collections/{name}/restore",
        summary="Make a collection of a snapshot, in one step",
        status_code=CREATED,
        responses={CREATED: {"model": schemas.Collection}},
        openapi_extra=bytes_body(ZIP),
    )
    async def restore(request: Request, name: str, catalogue: Kept) -> Json:
        """Nothing of the file is visible before all of it was found right and is on disk."""
        request.state.body_limit = limit
        with _file_without_name(settings.data_dir) as file:
            with _room_left():
                async for chunk in request.stream():
                    file.write(chunk)
                file.flush()
            made = await run_in_threadpool(catalogue.restore, name, file)
        return Json(schemas.described(made), status_code=CREATED)

    return router


def _file_without_name(folder: Path) -> IO[bytes]:
    """Open a file that is gone when it is closed, by whatever end."""
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


@contextmanager
def _room_left() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise StorageFull(
            "The disk has no room for the file; make room and send it again."
        ) from error
