"""Requests, and what becomes of a refusal: what the two ways of sending have in common."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx

from soundalike.errors import SoundalikeError

Sound = Path | bytes | BinaryIO

CHUNK_BYTES = 1 << 20
JSON = {"content-type": "application/json"}
REFUSED_UNSEEN = 429  # nothing was done, so that anything may be sent again
PASSING = (502, 503)
NO_FACTS = ("type", "title", "status", "request_id", "code", "detail")
LASTING = ("weights_missing", "quarantined", "device_missing")  # no waiting mends these


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes
    ----------
    method, path : str
    params : dict
        What stands in the URL; None where there is nothing to say.
    json : object
        The body, where it is JSON.
    content : bytes, optional
        The body, where it is not.
    headers : dict
    sounds : tuple of path, bytes or binary file
        Sent as the fields of a form.
    form_field : str
        What those fields are called.
    file : Path, optional
        A file that is the body.
    into : Path, optional
        Where the body of the answer goes.
    again : bool
        Whether it may be sent a second time though the first may have been seen to.
    timeout_s : float, optional
        How long to wait; the client's own time otherwise.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    sounds: tuple[Sound, ...] = ()
    form_field: str = "file"
    file: Path | None = None
    into: Path | None = None
    again: bool = True
    timeout_s: float | None = None


def place(kind: str, name: str, *rest: str) -> str:
    """Make the path of something that has a name."""
    return "/".join(["", kind, quote(name, safe=""), *rest])


def given(**parameters: Any) -> dict[str, Any]:
    """Keep the parameters that are given."""
    return {name: value for name, value in parameters.items() if value is not None}


@contextmanager
def arguments(request: Request) -> Iterator[dict[str, Any]]:
    """Give what httpx is told of a request, its files open; a file that is the body is not told."""
    how: dict[str, Any] = given(json=request.json, content=request.content)
    how |= {"params": given(**request.params), "headers": dict(request.headers)}
    if request.timeout_s is not None:
        how["timeout"] = request.timeout_s
    opened = [(_open(sound), isinstance(sound, Path)) for sound in request.sounds]
    try:
        if opened:
            how["files"] = [(request.form_field, ("sound", file)) for file, _ in opened]
        yield how
    finally:
        for file, ours in opened:
            if ours:
                file.close()


def _open(sound: Sound) -> BinaryIO:
    if isinstance(sound, Path):
        return sound.open("rb")
    return io.BytesIO(sound) if isinstance(sound, bytes) else sound


@dataclass(frozen=True, slots=True)
class Patience:
    """How often, and how long, a client waits for a service that has no time for it.

    Attributes
    ----------
    attempts : int
        How often a request is sent at most; 1 never waits.
    seconds : float
        How long all of its pauses last at most.
    first_pause_s : float
        The first pause where the service does not tell one; each further one is twice as long.
    """

    attempts: int = 4
    seconds: float = 60.0
    first_pause_s: float = 0.25


IMPATIENT = Patience(attempts=1)


class Attempts:
    """The attempts at one request.

    Parameters
    ----------
    request : Request
    patience : Patience
    """

    def __init__(self, request: Request, patience: Patience) -> None:
        self._again = request.again and all(
            isinstance(sound, Path | bytes) or sound.seekable() for sound in request.sounds
        )
        self._patience = patience
        self._left = patience.seconds
        self._made = 0

    def pause(self, answer: httpx.Response) -> float | None:
        """Say how long to wait before the request is sent again.

        Parameters
        ----------
        answer : httpx.Response
            A refusal, its body read.

        Returns
        -------
        float or None
            In seconds, as the answer tells them; None where it is not to be sent again.
        """
        self._made += 1
        if self._made >= self._patience.attempts or not self._may_pass(answer):
            return None
        pause = _retry_after(answer)
        if pause is None:
            pause = self._patience.first_pause_s * 2 ** (self._made - 1)
        self._left -= pause
        return pause if self._left >= 0 else None

    def _may_pass(self, answer: httpx.Response) -> bool:
        if answer.status_code == REFUSED_UNSEEN:
            return True
        return self._again and answer.status_code in PASSING and _code(answer) not in LASTING


def _retry_after(answer: httpx.Response) -> float | None:
    """Read the seconds that are told; dates, which none of our services tells, are passed over."""
    told = answer.headers.get("Retry-After", "")
    return float(told) if told.isdecimal() else None


def _code(answer: httpx.Response) -> Any:
    return _problem(answer).get("code")


def _problem(answer: httpx.Response) -> dict[str, Any]:
    """Read a problem; empty where the answer is none."""
    try:
        told = answer.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def fault_of(answer: httpx.Response, unreachable: type[SoundalikeError]) -> SoundalikeError:
    """Turn a problem that a service answered back into the fault it was.

    Parameters
    ----------
    answer : httpx.Response
        With a status of 400 or above, its body read.
    unreachable : type
        The fault where it was not one of our services that answered.
    """
    return fault_told(_problem(answer)) or unreachable(
        f"{answer.request.url} answered {answer.status_code}, not a problem."
    )


def fault_told(problem: Mapping[str, Any]) -> SoundalikeError | None:
    """Turn a problem back into the fault it was; None where it is no problem of ours."""
    code, detail = problem.get("code"), problem.get("detail")
    if not isinstance(code, str) or not isinstance(detail, str):
        return None
    facts = {name: fact for name, fact in problem.items() if name not in NO_FACTS}
    return _faults().get(code, SoundalikeError)(detail, **facts)


def _faults(base: type[SoundalikeError] = SoundalikeError) -> dict[str, type[SoundalikeError]]:
    found = {base.code: base}
    for child in base.__subclasses__():
        found |= _faults(child)
    return found
