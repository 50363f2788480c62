"""Routes that are answered without what FastAPI does around others."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.common.problems import problem, problem_response
from soundalike.errors import SoundalikeError


class DirectRoute(APIRoute):
    """A route whose function takes the request alone and gives the answer itself.

    Here only the key is checked, by what `make_service` keeps in the app's state.
    """

    async def answer(self, request: Request) -> Response:
        """Answer a request; faults are left to the caller."""
        await request.app.state.check_key(request)
        answer: Response = await self.endpoint(request)
        return answer

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give what answers a request that came by the router, as below a prefix."""
        return self.answer


class Shortcut:
    """ASGI middleware that answers direct routes before anybody looks for others.

    To find a route and to resolve what it asks for takes FastAPI longer than a
    quick search, which has emptied the processor's caches of all that code.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[DirectRoute]) -> None:
        self.app = app
        self._routes = {(method, one.path): one for one in routes for method in one.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        route = self._routes.get((scope.get("method", ""), scope.get("path", "")))
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive, send)
        try:
            answer = await route.answer(request)
        except SoundalikeError as fault:
            answer = problem_response(request, problem(fault))
        await answer(scope, receive, send)
