"""Keys: where any is set, every request but the probes must carry one."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from fastapi import Request

from soundalike.errors import Unauthorized

OPEN_PATHS = frozenset({"/livez", "/readyz", "/health"})


def _offered(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("x-api-key", "")


def require_key(keys: tuple[str, ...]) -> Callable[[Request], Awaitable[None]]:
    """Make the check that a request carries one of the keys.

    Parameters
    ----------
    keys : tuple of str
        Empty where the service is open to all.

    Returns
    -------
    callable
        A FastAPI dependency that raises `Unauthorized`.
    """
    expected = [key.encode() for key in keys]

    # a function that is no coroutine would be called in a thread, which costs more than it does
    async def check(request: Request) -> None:
        # the path that is routed by; in a URL it would stand beside what the Host header says
        if not expected or request.scope["path"] in OPEN_PATHS:
            return
        offered = _offered(request).encode()
        # every key is compared, so that the time taken tells nothing about which came close
        matches = [hmac.compare_digest(offered, key) for key in expected]
        if not any(matches):
            raise Unauthorized(
                "Send one of the service's keys as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
            )

    return check
