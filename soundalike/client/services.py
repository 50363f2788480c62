"""The two ways to speak to a service: waiting for each answer, or awaiting it.

What is asked is described once, as steps: a generator that gives requests, gets
the JSON that they were answered with, and returns what the caller wants to
know. Either way runs the same steps.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

import httpx

from soundalike.client.requests import (
    CHUNK_BYTES,
    Attempts,
    Patience,
    Request,
    arguments,
    fault_of,
)
from soundalike.errors import SoundalikeError

TIMEOUT = httpx.Timeout(300.0, connect=5.0)
READY_TIMEOUT_S = 2.0

Told = TypeVar("Told")
Taken = ParamSpec("Taken")
Steps = Generator[Request, Any, Told]


class Service:
    """One service: its address, and how its faults are told."""

    name = "service"
    unreachable: type[SoundalikeError] = SoundalikeError

    def __init__(self, url: str, patience: Patience) -> None:
        self.url = url.rstrip("/")
        self._patience = patience
        self._limits: dict[str, Any] | None = None

    def read_limits(self) -> Steps[dict[str, Any]]:
        """Ask for the limits in force, once."""
        if self._limits is None:
            self._limits = yield Request("GET", "/limits")
        return self._limits

    def _json(self, answer: httpx.Response) -> Any:
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise self.unreachable(
                f"What answers at {answer.request.url} is not the {self.name}.", url=self.url
            ) from None

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise self.unreachable(
                f"The {self.name} at {self.url} does not answer ({error}); is it running?",
                url=self.url,
            ) from error


class SyncService(Service):
    """A service whose every answer is waited for; threads may share it.

    Parameters
    ----------
    url : str
        Where it is.
    api_key : str, optional
        Sent with every request.
    transport : httpx.BaseTransport, optional
        What to send through, in place of the network.
    patience : Patience
        How long to wait where it has no time.
    sleep : callable
        Lets so many seconds pass.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        transport: httpx.BaseTransport | None = None,
        patience: Patience = Patience(),  # noqa: B008  (it cannot be changed)
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(url, patience)
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=self.url, timeout=TIMEOUT, headers=_key(api_key), transport=transport
        )

    def request(self, method: str, path: str, **how: Any) -> Any:
        """Send a request and give the answer's JSON; `how` as of `Request`.

        Raises
        ------
        SoundalikeError
            The fault that the service answered, or that it cannot be reached.
        """
        return self.send(Request(method, path, **how))

    def run(self, steps: Steps[Told]) -> Told:
        """Send what steps ask for, and give what they return."""
        answer = None
        while True:
            try:
                request = steps.send(answer)
            except StopIteration as done:
                told: Told = done.value
                return told
            answer = self.send(request)

    def send(self, request: Request) -> Any:
        """Send one request, again where that may help; gives the answer's JSON."""
        attempts = Attempts(request, self._patience)
        while True:
            with self._reached(), self._answer(request) as answer:
                if answer.is_success and request.into is not None:
                    return _save(answer.iter_bytes(CHUNK_BYTES), request.into)
                answer.read()
            if answer.is_success:
                return self._json(answer)
            if (pause := attempts.pause(answer)) is None:
                raise fault_of(answer, self.unreachable)
            self._sleep(pause)

    @contextmanager
    def _answer(self, request: Request) -> Iterator[httpx.Response]:
        with arguments(request) as how:
            if request.file is not None:
                how["content"] = _chunks(request.file)
            with self._http.stream(request.method, request.path, **how) as answer:
                yield answer

    def ready(self) -> bool:
        """Tell whether the service can do its work now."""
        try:
            self.send(_ready())
        except SoundalikeError:
            return False
        return True

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class AsyncService(Service):
    """A service whose every answer is awaited.

    Parameters
    ----------
    url, api_key, patience
        As of `SyncService`.
    transport : httpx.AsyncBaseTransport, optional
        What to send through, in place of the network.
    sleep : coroutine function
        Lets so many seconds pass.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        patience: Patience = Patience(),  # noqa: B008  (it cannot be changed)
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        super().__init__(url, patience)
        self._sleep = sleep
        self._http = httpx.AsyncClient(
            base_url=self.url, timeout=TIMEOUT, headers=_key(api_key), transport=transport
        )

    async def request(self, method: str, path: str, **how: Any) -> Any:
        """Send a request and give the answer's JSON; see `SyncService.request`."""
        return await self.send(Request(method, path, **how))

    async def run(self, steps: Steps[Told]) -> Told:
        """Send what steps ask for, and give what they return."""
        answer = None
        while True:
            try:
                request = steps.send(answer)
            except StopIteration as done:
                told: Told = done.value
                return told
            answer = await self.send(request)

    async def send(self, request: Request) -> Any:
        """Send one request, again where that may help; gives the answer's JSON."""
        attempts = Attempts(request, self._patience)
        while True:
            with self._reached(), arguments(request) as how:
                if request.file is not None:
                    how["content"] = _async_chunks(request.file)
                async with self._http.stream(request.method, request.path, **how) as answer:
                    if answer.is_success and request.into is not None:
                        return await _async_save(answer.aiter_bytes(CHUNK_BYTES), request.into)
                    await answer.aread()
            if answer.is_success:
                return self._json(answer)
            if (pause := attempts.pause(answer)) is None:
                raise fault_of(answer, self.unreachable)
            await self._sleep(pause)

    async def ready(self) -> bool:
        """Tell whether the service can do its work now."""
        try:
            await self.send(_ready())
        except SoundalikeError:
            return False
        return True

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


class call(Generic[Taken, Told]):  # noqa: N801  (a decorator)
    """A method that is described as steps: plain of a `SyncService`, a coroutine of an async one.

    Parameters
    ----------
    describe : callable
        Gives the steps.
    """

    def __init__(self, describe: Callable[Concatenate[Any, Taken], Steps[Told]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, service: None, kind: type[Any]) -> Self: ...
    @overload
    def __get__(self, service: SyncService, kind: type[Any]) -> Callable[Taken, Told]: ...
    @overload
    def __get__(
        self, service: AsyncService, kind: type[Any]
    ) -> Callable[Taken, Coroutine[Any, Any, Told]]: ...
    def __get__(self, service: SyncService | AsyncService | None, kind: type[Any]) -> Any:
        """Bind it to a service."""
        if service is None:
            return self
        run: Callable[[Steps[Told]], Any] = service.run

        @functools.wraps(self._describe)
        def asked(*args: Taken.args, **how: Taken.kwargs) -> Any:
            return run(self._describe(service, *args, **how))

        return asked


def _key(api_key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _ready() -> Request:
    return Request("GET", "/readyz", again=False, timeout_s=READY_TIMEOUT_S)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


async def _async_chunks(path: Path) -> AsyncIterator[bytes]:
    for chunk in _chunks(path):
        yield chunk


class _Partial:
    """A file that appears under its name when all of it has come."""

    def __init__(self, path: Path) -> None:
        self._path, self._partial = path, path.with_name(f"{path.name}.part")

    def __enter__(self) -> Self:
        self._file = self._partial.open("wb")
        self.write = self._file.write
        return self

    def __exit__(self, kind: object, *fault: object) -> None:
        self._file.close()
        if kind is None:
            self._partial.replace(self._path)
        self._partial.unlink(missing_ok=True)


def _save(chunks: Iterator[bytes], path: Path) -> None:
    with _Partial(path) as file:
        for chunk in chunks:
            file.write(chunk)


async def _async_save(chunks: AsyncIterator[bytes], path: Path) -> None:
    with _Partial(path) as file:
        async for chunk in chunks:
            file.write(chunk)
