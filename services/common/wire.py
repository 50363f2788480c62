"""JSON in and out: strict on the way in, numpy without detours on the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.responses import Response

from soundalike.errors import BadRequest, BadVector

OPTIONS = orjson.OPT_SERIALIZE_NUMPY


class Body(BaseModel):
    """A request body: no unknown fields, no text or truth values for numbers, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


Parsed = TypeVar("Parsed", bound=BaseModel)


def encode(content: Any) -> bytes:
    """JSON bytes of anything made of plain types and contiguous numpy arrays."""
    return orjson.dumps(content, option=OPTIONS)


class Json(Response):
    """A JSON answer."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Turn the content into bytes."""
        return encode(content)


def parse(model: type[Parsed], body: bytes) -> Parsed:
    """Check a JSON body against its model.

    Raises
    ------
    BadVector
        Where it is a number of a vector that cannot be used.
    BadRequest
        Where anything else is wrong.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from None


def parse_parameters(model: type[Parsed], parameters: Mapping[str, str]) -> Parsed:
    """Check the parameters in a URL's query against their model; faults as of `parse`."""
    try:
        return model.model_validate(dict(parameters))
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> BadVector | BadRequest:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    detail = f"{where or 'body'}: {first['msg']}."
    fault = BadVector if "vector" in first["loc"][:-1] else BadRequest
    return fault(detail, at=where)
