"""Request bodies under a limit, and the audio file in one."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from soundalike.errors import BadRequest, TooLarge, UndecodableAudio

UPLOAD_FIELDS = ("file", "audio")
IN_MEMORY_BYTES = 1 << 20
USUAL_SETTING = "SOUNDALIKE_MAX_UPLOAD_MB"


@dataclass(frozen=True, slots=True)
class Limit:
    """How large a body may be, and the setting that says so."""

    most_bytes: int
    setting: str

    def check(self, got: int) -> None:
        """Refuse more bytes with `TooLarge`."""
        if got > self.most_bytes:
            raise TooLarge(
                f"The body is larger than {self.most_bytes:,} bytes; "
                f"send less, or raise {self.setting}.",
                limit=self.most_bytes,
                got=got,
            )


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came in.

    Attributes
    ----------
    file : binary file
        At its beginning; kept in memory while small, on disk when large.
    name : str
        What the sender calls it; empty where the body was the bare bytes.
    """

    file: BinaryIO
    name: str


class BodyLimit:
    """ASGI middleware that refuses a body over a limit before it is all read.

    A declared length is believed when it is over the limit; the bytes are
    counted in any case. A route that takes larger bodies puts another `Limit`
    into `request.state.body_limit` before it reads.
    """

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self.app = app
        self.usual = Limit(limit_bytes, USUAL_SETTING)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body counted."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        state = scope.setdefault("state", {})
        received = 0

        async def counted() -> Message:
            nonlocal received
            limit: Limit = state.get("body_limit", self.usual)
            if declared.isdigit():
                limit.check(int(declared))
            message = await receive()
            received += len(message.get("body", b""))
            limit.check(received)
            return message

        await self.app(scope, counted, send)


@asynccontextmanager
async def read_upload(request: Request) -> AsyncIterator[Upload]:
    """Receive the one audio file of a request: a multipart field or the bare body.

    Yields
    ------
    Upload
        Closed when the context ends.

    Raises
    ------
    BadRequest
        A multipart body without the field.
    UndecodableAudio
        An empty body.
    """
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        async with request.form() as form:
            found = next((form[field] for field in UPLOAD_FIELDS if field in form), None)
            if not isinstance(found, UploadFile):
                raise BadRequest(
                    "The form has no file in a field named 'file'; try curl -F file=@some.wav",
                    fields=sorted(form),
                )
            yield Upload(found.file, found.filename or "")
        return
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as spooled:
        async for chunk in request.stream():
            spooled.write(chunk)
        if not spooled.tell():
            raise UndecodableAudio("The body is empty; try curl -F file=@some.wav")
        spooled.seek(0)
        yield Upload(spooled, "")  # type: ignore[arg-type]  # a file in all but its base class


@asynccontextmanager
async def read_uploads(request: Request, field: str, limit: int) -> AsyncIterator[list[Upload]]:
    """Receive the many audio files of a multipart request.

    Parameters
    ----------
    request : Request
        What came in.
    field : str
        Name of the form field that repeats.
    limit : int
        The most files taken at once.

    Yields
    ------
    list of Upload
        In the order they were sent; closed when the context ends.

    Raises
    ------
    BadRequest
        No file under the field, or more than the limit.
    """
    async with request.form(max_files=limit + 1) as form:
        found = [part for part in form.getlist(field) if isinstance(part, UploadFile)]
        if not 1 <= len(found) <= limit:
            raise BadRequest(
                f"Send 1 to {limit} files in a field named '{field}', not {len(found)}.",
                limit=limit,
                got=len(found),
            )
        yield [Upload(part.file, part.filename or "") for part in found]
