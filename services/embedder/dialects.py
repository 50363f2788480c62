"""The routes of IBM's MAX Audio Embedding Generator, byte for byte as its clients know them.

Its faults have a shape of their own, and its JSON a space after each comma
and colon and a line's end.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, BinaryIO

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from services.common.openapi import form_body
from services.common.problems import problem
from services.embedder.batching import Batching, Wish
from services.embedder.presence import unless_gone
from soundalike.errors import AudioError, SoundalikeError, TooLarge, TooLong, TooShort
from soundalike.extract.loading import Extractors

MODEL, FRAMES = "vggish", "none"  # which embedder, and that its rows are not to be pooled
FIELD = "audio"
FIELD_MEANS = "signed 16-bit PCM WAV audio file"
WAV_TYPE = re.compile(r"audio/.*wav")
UNTYPED = "application/octet-stream"
RIFF_HEADER_BYTES = 12
RIFF_HEADER = re.compile(rb"RIFF.{4}WAVE", re.DOTALL)

METADATA = {
    "id": "audio_embeddings-tf",
    "name": "audio_embeddings TensorFlow Model",
    "description": "audio_embeddings TensorFlow model trained on Audio Set",
    "type": "audio_embeddings",
    "source": "https://developer.ibm.com/exchanges/models/all/max-audio-embedding-generator/",
    "license": "Apache 2.0",
}


def _text(description: str) -> dict[str, str]:
    return {"type": "string", "description": description}


def _success(definition: str) -> dict[str, Any]:
    schema = {"$ref": f"#/definitions/{definition}"}
    return {"200": {"description": "Success", "schema": schema}}


# what GET /model/metadata and POST /model/predict are, and what they answer, in their own words
_GET_METADATA = {
    "responses": _success("ModelMetadata"),
    "summary": "Return the metadata associated with the model",
    "operationId": "get_model_metadata_api",
    "tags": ["model"],
}
_POST_PREDICT = {
    "responses": _success("ModelPredictResponse"),
    "summary": "Generate audio embedding from input data",
    "operationId": "predict",
    "parameters": [
        {
            "name": FIELD,
            "in": "formData",
            "type": "file",
            "required": True,
            "description": FIELD_MEANS,
        }
    ],
    "consumes": ["multipart/form-data"],
    "tags": ["model"],
}
_MODEL_METADATA = {
    "required": ["description", "id", "name", "source", "type"],
    "properties": {
        "id": _text("Model identifier"),
        "name": _text("Model name"),
        "description": _text("Model description"),
        "type": _text("Model type"),
        "source": _text("Model source"),
        "license": _text("Model license"),
    },
    "type": "object",
}
_MODEL_PREDICT_RESPONSE = {
    "required": ["status"],
    "properties": {
        "status": _text("Response status message"),
        "embedding": {
            "type": "array",
            "items": {
                "type": "array",
                "description": "Generated embedding",
                "items": {"type": "number"},
            },
        },
    },
    "type": "object",
}
SWAGGER = {
    "swagger": "2.0",
    "basePath": "/",
    "paths": {
        "/model/metadata": {"get": _GET_METADATA},
        "/model/predict": {"post": _POST_PREDICT},
    },
    "info": {
        "title": "MAX Audio Embedding Generator",
        "version": "1.2.0",
        "description": "Generate embedding vectors from audio files.",
    },
    "produces": ["application/json"],
    "consumes": ["application/json"],
    "tags": [{"name": "model", "description": "Model information and inference operations"}],
    "definitions": {
        "ModelMetadata": _MODEL_METADATA,
        "ModelPredictResponse": _MODEL_PREDICT_RESPONSE,
    },
    "responses": {
        "ParseError": {"description": "When a mask can't be parsed"},
        "MaskError": {"description": "When any error occurs on mask"},
    },
}


class _Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode() + b"\n"


def _error(message: str, status: int = HTTPStatus.BAD_REQUEST) -> _Json:
    return _Json({"status": "error", "message": message}, status)


def _no_file() -> _Json:
    missing = f"{FIELD_MEANS} Missing required parameter in an uploaded file"
    told = {"errors": {FIELD: missing}, "message": "Input payload validation failed"}
    return _Json(told, HTTPStatus.BAD_REQUEST)


class _Route(APIRoute):
    """A route that tells faults in MAX's shape."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Any]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def handle_or_tell(request: Request) -> Response:
            try:
                return await handle(request)
            except SoundalikeError as fault:
                return _told(fault)

        return handle_or_tell


def _told(fault: SoundalikeError) -> _Json:
    described = problem(fault)
    too_much = isinstance(fault, TooLarge | TooLong)
    bad_sound = isinstance(fault, AudioError) and not too_much
    answer = _error(fault.detail, HTTPStatus.BAD_REQUEST if bad_sound else described["status"])
    if "retry_after" in described:
        answer.headers["Retry-After"] = str(described["retry_after"])
    return answer


def make_router(extractors: Extractors, batching: Batching) -> APIRouter:
    """Make the routes.

    Parameters
    ----------
    extractors : Extractors
        What makes vectors.
    batching : Batching
        Where that work is done.

    Returns
    -------
    APIRouter
    """
    router = APIRouter(route_class=_Route, tags=["model"])

    async def embed(file: BinaryIO) -> list[list[float]]:
        extractor = await asyncio.wrap_future(extractors.begin(MODEL))
        try:
            extraction = await batching.embed(extractor, file, Wish(pooling=FRAMES))
        except TooShort:  # for one row; the sound has none, which is no fault there
            return []
        rows: list[list[float]] = extraction.values.tolist()
        return rows

    @router.post(
        "/model/predict",
        summary="A WAV in, a row of bytes for each 0.96 s out, as MAX gives them",
        openapi_extra=form_body(FIELD),
    )
    async def predict(request: Request) -> Response:
        async with _form(request) as form:
            part = form.get(FIELD)
            if not isinstance(part, UploadFile):
                return _no_file()
            if not _is_wav(part):
                return _error("Invalid file type/extension")
            rows = await unless_gone(request, embed(part.file))
        return await run_in_threadpool(_Json, {"status": "ok", "embedding": rows})

    @router.options("/model/predict", include_in_schema=False)
    def options() -> Response:
        return Response(media_type="text/html", headers={"Allow": "OPTIONS, POST"})

    @router.head("/model/metadata", include_in_schema=False)
    @router.get("/model/metadata", summary="What MAX says of its model")
    def metadata() -> Response:
        return _Json(METADATA)

    @router.head("/swagger.json", include_in_schema=False)
    @router.get("/swagger.json", summary="MAX's own description of its routes")
    def swagger() -> Response:
        return _Json(SWAGGER)

    return router


@asynccontextmanager
async def _form(request: Request) -> AsyncIterator[FormData]:
    """Give the fields of a request; none where its body is no form that can be read."""
    try:
        form = await request.form()
    except HTTPException:
        form = FormData()
    try:
        yield form
    finally:
        await form.close()


def _is_wav(part: UploadFile) -> bool:
    """Tell whether a part is typed as a WAV, or is one where it is not typed at all."""
    typed = (part.content_type or UNTYPED).lower()
    if typed != UNTYPED:
        return WAV_TYPE.match(typed) is not None
    header = part.file.read(RIFF_HEADER_BYTES)
    part.file.seek(0)
    return RIFF_HEADER.match(header) is not None
