"""The shape of what goes over the wire, as the OpenAPI page shows it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from services.common.problems import problem
from services.common.wire import Json
from services.embedder.settings import MOST_NUMBERS_IN_JSON
from soundalike import embedders
from soundalike.embedders import Card
from soundalike.errors import EmbedderError, SoundalikeError
from soundalike.extract.extraction import Extraction
from soundalike.extract.extractor import Extractor
from soundalike.extract.loading import READY, UNAVAILABLE, Extractors, Standing

NPY = "application/x-npy"


class Audio(BaseModel):
    """What the sound was like."""

    format: str
    sample_rate: int = Field(description="Hz, of the source")
    channels: int
    seconds: float
    seconds_used: float = Field(description="how much of it went into the vector")
    truncated: bool = Field(description="true where the file was cut off")
    clipped: float = Field(description="share of samples at full scale")
    silent: float = Field(description="share quieter than -60 dB of full scale")


class WindowVector(BaseModel):
    """The vector of one window, which starts and ends at these seconds."""

    start: float
    end: float
    vector: list[float]


class Embedding(BaseModel):
    """The answer to one sound."""

    model: str
    space: str = Field(description="vectors may be compared where this is equal")
    dim: int
    vector: list[float] | None = None
    frames: list[list[float]] | None = Field(None, description="with pooling=none")
    frame_rate: float | None = Field(None, description="Hz, with pooling=none")
    audio: Audio
    windows: int
    window_vectors: list[WindowVector] | None = None
    device: str
    runtime: str
    dtype: str
    ms: dict[str, float]
    note: str | None = Field(None, description="where a better embedder could answer: how")


def numbers_in(extraction: Extraction) -> int:
    """Count the numbers of an answer."""
    return extraction.values.size + sum(one.vector.size for one in extraction.window_vectors)


def answer(extraction: Extraction, accept: str, note: str | None) -> Response:
    """Answer with what came of a sound.

    Parameters
    ----------
    extraction : Extraction
        What came of it.
    accept : str
        The request's Accept header; ``application/x-npy`` gives the array alone.
    note : str or None
        What else the user should know.

    Raises
    ------
    HTTPException
        406 where there are too many numbers for JSON.
    """
    if NPY in accept:
        return _npy(extraction, note)
    check_numbers([extraction], f"ask with 'Accept: {NPY}'")
    return Json(noted(extraction.as_dict(), note))


def check_numbers(results: Sequence[Extraction | SoundalikeError], way_out: str) -> None:
    """Refuse an answer with more numbers than JSON is good for.

    Raises
    ------
    HTTPException
        406.
    """
    count = sum(numbers_in(one) for one in results if isinstance(one, Extraction))
    if count > MOST_NUMBERS_IN_JSON:
        raise HTTPException(
            406,
            f"The answer holds {count:,} numbers, and JSON takes up to "
            f"{MOST_NUMBERS_IN_JSON:,} here; {way_out}.",
        )


def noted(content: dict[str, Any], note: str | None) -> dict[str, Any]:
    """Add what else the user should know, where there is anything."""
    return content if note is None else {**content, "note": note}


def _npy(extraction: Extraction, note: str | None) -> Response:
    buffer = io.BytesIO()
    np.save(buffer, extraction.values, allow_pickle=False)
    headers = {"X-Soundalike-Model": extraction.model, "X-Soundalike-Space": str(extraction.space)}
    if extraction.frames is not None:
        headers["X-Soundalike-Frame-Rate"] = repr(extraction.frames.rate_hz)
    if note is not None:
        # headers are one line of plain letters, and a note may name somebody's folder
        headers["X-Soundalike-Note"] = " ".join(note.split()).encode("ascii", "replace").decode()
    return Response(buffer.getvalue(), media_type=NPY, headers=headers)


def batch_entry(name: str, result: Extraction | SoundalikeError) -> dict[str, Any]:
    """Lay out one file of a batch: its answer, or under `error` its problem."""
    if isinstance(result, SoundalikeError):
        return {"file": name, "error": problem(result)}
    return {"file": name, **result.as_dict()}


def describe_model(card: Card, extractors: Extractors, default: str) -> dict[str, Any]:
    """Lay out one line of `/models`."""
    standing = extractors.standing(card.key)
    ready = standing.state == READY
    extractor = extractors.get(card.key) if ready else Extractor(embedders.create(card.key))
    described = {"key": card.key, "summary": card.summary, "state": standing.state}
    if standing.fault is not None:
        described |= {"reason": standing.fault.detail, "code": standing.fault.code}
    return described | {
        "default": default.partition(":")[0] == card.key,
        "dim": card.dim,
        # what reads text alone has none of these
        "frame_dim": card.frame_dim or None,
        "frame_rate": card.frame_rate_hz or None,
        "sample_rate": card.sample_rate or None,
        "window_seconds": card.window_s,
        "min_seconds": card.min_seconds or None,
        "space": _space(extractor) if standing.state != UNAVAILABLE else None,
        "poolings": extractor.poolings,
        "options": {name: list(values) for name, values in card.options.items()},
        "takes": [what for what in card.takes if what not in extractor.embedder.quarantined],
        "quarantined": extractor.embedder.quarantined,
        "weights_licence": card.weights.licence if card.weights else None,
        "commercial_use": card.weights.commercial if card.weights else True,
        "proved_against": card.proof,
    }


def _space(extractor: Extractor) -> str | None:
    try:
        return str(extractor.space())
    except EmbedderError:  # it hangs on weights that turn out not to be readable
        return None


def state_in_words(standing: Standing) -> str:
    """Tell a state, and what is behind it, to a person."""
    return standing.fault.detail if standing.fault else standing.state
