"""Embeddings in the shape of OpenAI's API, with sounds as Infinity takes them: as data URIs."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.common.openapi import json_body
from services.common.problems import problem
from services.common.wire import Body, Json, parse
from services.embedder.batching import Batching, Wish
from services.embedder.presence import unless_gone
from services.embedder.settings import MOST_CHARACTERS, MOST_TEXTS, EmbedderSettings
from services.embedder.text import read
from soundalike.errors import BadRequest, SoundalikeError
from soundalike.extract.extractor import Extractor
from soundalike.extract.loading import Extractors
from soundalike.types import FloatArray

DATA_URI = "data:"
BASE64 = ";base64"
ADDRESSES = ("http://", "https://", "file://")
KINDS = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}

Input = Annotated[str, Field(min_length=1)]


class EmbeddingsIn(Body):
    """Sounds as data URIs, and texts."""

    input: Input | list[Input] = Field(
        description="data:audio/wav;base64,... for a sound; anything else is text"
    )
    model: str | None = Field(None, description="embedder; see /models")
    modality: Literal["audio", "text"] | None = Field(
        None, description="what every input must be; each by its own look where it is not said"
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, description="refused where it is not the embedder's own")
    user: str | None = Field(None, description="taken and not used")


class _Route(APIRoute):
    """A route that tells faults in OpenAI's shape."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Any]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def handle_or_tell(request: Request) -> Response:
            try:
                return await handle(request)
            except SoundalikeError as fault:
                return _told(fault)

        return handle_or_tell


def _told(fault: SoundalikeError) -> Json:
    described = problem(fault)
    status = described["status"]
    usual = "server_error" if status >= 500 else "invalid_request_error"
    error = {
        "message": fault.detail,
        "type": KINDS.get(status, usual),
        "param": fault.facts.get("at"),
        "code": fault.code,
    }
    retry = described.get("retry_after")
    headers = {"Retry-After": str(retry)} if retry is not None else None
    return Json({"error": error}, status_code=status, headers=headers)


def make_router(
    settings: EmbedderSettings, extractors: Extractors, batching: Batching
) -> APIRouter:
    """Make the routes.

    Parameters
    ----------
    settings : EmbedderSettings
        The default embedder, and how many inputs are taken at once.
    extractors : Extractors
        What makes vectors.
    batching : Batching
        Where sounds are heard.

    Returns
    -------
    APIRouter
    """
    router = APIRouter(route_class=_Route, tags=["openai"])

    async def embed(wanted: EmbeddingsIn) -> Json:
        inputs = _inputs(wanted, settings.max_batch)
        extractor = await asyncio.wrap_future(extractors.begin(wanted.model or settings.model))
        texts = [each for each in inputs if isinstance(each, str)]
        of_texts = iter(await read(batching, extractor, texts) if texts else ())
        sounds = [io.BytesIO(each) for each in inputs if isinstance(each, bytes)]
        of_sounds = iter(await _heard(batching, extractor, sounds, inputs))
        vectors = [next(of_texts if isinstance(each, str) else of_sounds) for each in inputs]
        if wanted.dimensions not in (None, len(vectors[0])):
            raise BadRequest(
                f"'{extractor.name}' has {len(vectors[0])} dimensions and no others.",
                at="dimensions",
            )
        return Json(_laid_out(extractor.name, vectors, wanted.encoding_format))

    @router.post(
        "/v1/embeddings",
        summary="Sounds and texts in, vectors out, in OpenAI's shape",
        openapi_extra=json_body(EmbeddingsIn),
    )
    @router.post(
        "/embeddings", summary="The same as /v1/embeddings", openapi_extra=json_body(EmbeddingsIn)
    )
    async def embeddings(request: Request) -> Json:
        wanted = await run_in_threadpool(parse, EmbeddingsIn, await request.body())
        return await unless_gone(request, embed(wanted))

    return router


def _inputs(wanted: EmbeddingsIn, most_sounds: int) -> list[bytes | str]:
    """Tell sounds, as bytes, from texts.

    Raises
    ------
    BadRequest
        There are too many, or one is not what it should be.
    """
    listed = [wanted.input] if isinstance(wanted.input, str) else wanted.input
    most = most_sounds if any(map(_is_sound, listed)) else MOST_TEXTS
    if not 1 <= len(listed) <= most:
        raise BadRequest(
            f"Send 1 to {most} inputs, not {len(listed)}.", at="input", limit=most, got=len(listed)
        )
    return [_input(each, wanted.modality, f"input[{place}]") for place, each in enumerate(listed)]


def _is_sound(given: str) -> bool:
    return given.startswith(DATA_URI)


def _input(given: str, modality: str | None, at: str) -> bytes | str:
    if _is_sound(given) and modality != "text":
        return _decoded(given, at)
    if modality == "audio":
        reason = "an address, and none is fetched here" if given.startswith(ADDRESSES) else "none"
        raise BadRequest(
            f"A sound is a data URI, data:audio/wav;base64,..., and {at} is {reason}.", at=at
        )
    if len(given) > MOST_CHARACTERS:
        raise BadRequest(f"A text has at most {MOST_CHARACTERS} characters.", at=at)
    return given


def _decoded(uri: str, at: str) -> bytes:
    head, comma, content = uri.partition(",")
    if not comma or not head.lower().endswith(BASE64):
        raise BadRequest(f"{at} is a data URI without ';base64,'.", at=at)
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:  # binascii.Error is one too; letters beyond ASCII are a plain one
        raise BadRequest(f"What follows ';base64,' in {at} is not base64.", at=at) from None


async def _heard(
    batching: Batching,
    extractor: Extractor,
    sounds: list[io.BytesIO],
    inputs: Sequence[bytes | str],
) -> list[FloatArray]:
    """Embed sounds; the first that cannot be used is the fault of the whole request."""
    places = [place for place, each in enumerate(inputs) if isinstance(each, bytes)]
    results = await batching.embed_all(extractor, list(sounds), Wish())
    vectors = []
    for place, result in zip(places, results, strict=True):
        if isinstance(result, SoundalikeError):
            result.facts["at"] = f"input[{place}]"
            raise result
        vectors.append(result.values)
    return vectors


def _laid_out(model: str, vectors: Sequence[FloatArray], encoding: str) -> dict[str, Any]:
    data = [
        {
            "object": "embedding",
            "index": place,
            "embedding": _encoded(vector) if encoding == "base64" else np.ascontiguousarray(vector),
        }
        for place, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": 0, "total_tokens": 0}  # no tokens are counted
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _encoded(vector: FloatArray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
