"""Faults over HTTP: which status a fault has, and how it is told (RFC 9457)."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from services.common.wire import encode
from soundalike.errors import SoundalikeError

log = logging.getLogger(__name__)

STATUS: dict[str, tuple[int, str]] = {
    "bad_request": (400, "The request makes no sense"),
    "unauthorized": (401, "A key is needed"),
    "licence_refused": (403, "The licence is refused here"),
    "not_found": (404, "There is nothing here"),
    "unknown_model": (404, "No such embedder"),
    "unknown_collection": (404, "No such collection"),
    "unknown_item": (404, "No such item"),
    "method_not_allowed": (405, "The method does not fit"),
    "not_acceptable": (406, "The answer is too large for JSON"),
    "collection_exists": (409, "The name is taken"),
    "space_mismatch": (409, "Another embedding space"),
    "too_large": (413, "Too many bytes"),
    "too_long": (413, "Too many seconds"),
    "undecodable_audio": (422, "Not audio"),
    "bad_samples": (422, "Samples that are not numbers"),
    "bad_rate": (422, "A sample rate out of range"),
    "too_short": (422, "Too short"),
    "silent": (422, "Silence"),
    "bad_record": (422, "A damaged record"),
    "bad_backup": (422, "A snapshot that cannot be used"),
    "bad_vector": (422, "A vector that cannot be used"),
    "overloaded": (429, "No room in the queue"),
    "internal": (500, "A fault of the service"),
    "damaged_index": (500, "An index is damaged"),
    "embedder_unavailable": (502, "The embedder does not answer"),
    "recommender_unavailable": (502, "The recommender does not answer"),
    "weights_missing": (503, "The weights are not here"),
    "quarantined": (503, "The weights cannot be used"),
    "device_missing": (503, "The device is not here"),
    "out_of_memory": (503, "The device is out of memory"),
    "storage_full": (507, "The disk is full"),
}
MOST_BITS = 63
CODE_OF_STATUS = {404: "not_found", 405: "method_not_allowed", 406: "not_acceptable"}


def problem(fault: SoundalikeError, request_id: str | None = None) -> dict[str, Any]:
    """Describe a fault as an RFC 9457 problem.

    Parameters
    ----------
    fault : SoundalikeError
        What went wrong.
    request_id : str, optional
        Which request it was.

    Returns
    -------
    dict
        `type`, `title`, `status`, `detail`, `code`, `request_id` and the fault's facts.
    """
    status, title = STATUS.get(fault.code, STATUS["internal"])
    described = {
        "type": f"urn:soundalike:problem:{fault.code}",
        "title": title,
        "status": status,
        "detail": fault.detail,
        "code": fault.code,
    }
    if request_id is not None:
        described["request_id"] = request_id
    return described | {name: _tellable(fact) for name, fact in fault.facts.items()}


def _tellable(fact: Any) -> Any:
    """Make text of an integer that JSON has no room for."""
    return str(fact) if isinstance(fact, int) and fact.bit_length() > MOST_BITS else fact


def problem_response(request: Request, described: dict[str, Any]) -> Response:
    """Answer with a problem, with Retry-After where it says when to come back."""
    headers = {}
    if "retry_after" in described:
        headers["Retry-After"] = str(described["retry_after"])
    if described["status"] == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    described.setdefault("request_id", getattr(request.state, "request_id", None))
    return Response(
        encode(described),
        status_code=described["status"],
        media_type="application/problem+json",
        headers=headers,
    )


def _generic(code: str, status: int, detail: str) -> dict[str, Any]:
    return {
        "type": f"urn:soundalike:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }


async def _on_fault(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, SoundalikeError)  # noqa: S101  (registered for this type alone)
    return problem_response(request, problem(fault))


async def _on_http_exception(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)  # noqa: S101
    code = CODE_OF_STATUS.get(fault.status_code, "bad_request")
    return problem_response(request, _generic(code, fault.status_code, str(fault.detail)))


async def _on_bad_parameter(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)  # noqa: S101
    first = fault.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return problem_response(request, _generic("bad_request", 400, f"{where}: {first['msg']}"))


async def _on_anything_else(request: Request, fault: Exception) -> Response:
    """Answer what nobody expected; the server logs the trace, this line the request it is of."""
    request_id = getattr(request.state, "request_id", "")
    log.error("request %s failed: %r", request_id, fault)
    detail = "Something unexpected went wrong; the service's log names it by this request_id."
    answer = problem_response(request, _generic("internal", 500, detail))
    # this answer is made outside of what marks the others
    answer.headers["X-Request-ID"] = request_id
    return answer


def install(app: FastAPI) -> None:
    """Make every fault of the app answer as a problem."""
    app.add_exception_handler(SoundalikeError, _on_fault)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_bad_parameter)
    app.add_exception_handler(Exception, _on_anything_else)
