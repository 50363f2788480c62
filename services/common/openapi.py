"""Request bodies on the OpenAPI page, where routes read them without FastAPI's own parsing."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_BYTES = {"type": "string", "format": "binary"}


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """Describe a JSON body.

    Parameters
    ----------
    model : type of BaseModel
        What the route parses it with.

    Returns
    -------
    dict
        For a route's `openapi_extra`.
    """
    schema = model.model_json_schema()
    return _body({"application/json": {"schema": _inline(schema, schema.pop("$defs", {}))}})


def file_body() -> dict[str, Any]:
    """Describe one sound, as the form field `file` or as the bare body."""
    return _body({**_form("file", _BYTES), "application/octet-stream": {"schema": _BYTES}})


def files_body() -> dict[str, Any]:
    """Describe many sounds, as form fields `files`."""
    return _body(_form("files", {"type": "array", "items": _BYTES}))


def _form(field: str, schema: dict[str, Any]) -> dict[str, Any]:
    form = {"type": "object", "properties": {field: schema}, "required": [field]}
    return {"multipart/form-data": {"schema": form}}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    """Replace references by what they refer to: OpenAPI would look for them elsewhere."""
    if isinstance(schema, list):
        return [_inline(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: _inline(part, definitions) for key, part in schema.items()}
