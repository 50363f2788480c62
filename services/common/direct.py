"""A route without what FastAPI does around others."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class DirectRoute(APIRoute):
    """A route whose function takes the request alone and gives the answer itself.

    Resolving parameters and dependencies takes FastAPI about as long as reading
    a request takes the server. Here only the key is checked, by what
    `make_service` keeps in the app's state.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give what answers a request."""

        async def handle(request: Request) -> Response:
            await request.app.state.check_key(request)
            answer: Response = await self.endpoint(request)
            return answer

        return handle
