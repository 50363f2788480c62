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


def or_array(body: dict[str, Any], parameters: type[BaseModel]) -> dict[str, Any]:
    """Describe an array of .npy bytes beside another body.

    Parameters
    ----------
    body : dict
        As `json_body` describes it.
    parameters : type of BaseModel
        What the route parses the URL's query with, where the body is an array.

    Returns
    -------
    dict
        For a route's `openapi_extra`.
    """
    content = {**body["requestBody"]["content"], "application/x-npy": {"schema": _BYTES}}
    fields = parameters.model_json_schema()["properties"]
    listed = [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in fields.items()
    ]
    return {**_body(content), "parameters": listed}


def file_body() -> dict[str, Any]:
    """Describe one sound, as the form field `file` or as the bare body."""
    return _body({**_form("file", _BYTES), "application/octet-stream": {"schema": _BYTES}})


def form_body(field: str) -> dict[str, Any]:
    """Describe one sound that comes in a form field and in no other way."""
    return _body(_form(field, _BYTES))


def bytes_body(media_type: str) -> dict[str, Any]:
    """Describe a body of bytes."""
    return _body({media_type: {"schema": _BYTES}})


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
