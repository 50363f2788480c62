"""A route that goes around FastAPI answers as one that does not."""

from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from fastapi import APIRouter, Request
from starlette.testclient import TestClient

from services.common.direct import DirectRoute, Shortcut
from services.common.service import make_service
from services.common.settings import CommonSettings
from services.common.wire import Json
from soundalike.errors import BadRequest


async def answer(request: Request) -> Json:
    body = await request.body()
    if body == b"fault":
        raise BadRequest("That makes no sense.", limit=3)
    if body == b"surprise":
        raise RuntimeError("nobody expected this")
    return Json({"bytes": len(body)})


@asynccontextmanager
async def lifespan(app):
    yield


def service(**settings):
    router = APIRouter()
    router.add_api_route("/usual", answer, methods=["POST"])
    return make_service(
        "test",
        "",
        CommonSettings(**settings),
        [router],
        ready=lambda: (True, {}),
        limits={},
        lifespan=lifespan,
        direct=[DirectRoute("/direct", answer, methods=["POST"])],
    )


def post(app, path, body=b"", **more):
    with TestClient(app, raise_server_exceptions=False) as client:
        return client.post(path, content=body, **more)


def told(response):
    """Everything of an answer but what differs from request to request."""
    body = {name: value for name, value in response.json().items() if name != "request_id"}
    return response.status_code, response.headers["content-type"], body


@pytest.mark.parametrize(
    ("body", "status"), [(b"abc", 200), (b"fault", 400), (b"surprise", 500), (b"x" * 2000, 413)]
)
def test_it_answers_as_any_route(body, status):
    app = service(max_upload_mb=0.001)
    direct, usual = post(app, "/direct", body), post(app, "/usual", body)
    assert told(direct) == told(usual)
    assert direct.status_code == status
    assert direct.headers["x-request-id"]


def test_it_asks_for_a_key():
    app = service(api_keys="secret")
    assert told(post(app, "/direct")) == told(post(app, "/usual"))
    assert post(app, "/direct").status_code == 401
    assert post(app, "/direct", headers={"X-API-Key": "secret"}).status_code == 200


def test_it_is_counted_by_its_own_name():
    with TestClient(service()) as client:
        client.post("/direct")
        counted = client.get("/metrics").text
    assert 'soundalike_requests_total{method="POST",route="/direct",status="200"} 1.0' in counted


def test_another_method_is_refused_and_it_stands_on_the_page():
    with TestClient(service()) as client:
        assert client.get("/direct").json()["code"] == "method_not_allowed"
        assert "post" in client.get("/openapi.json").json()["paths"]["/direct"]


def test_nobody_else_is_asked_for_a_direct_route():
    async def usual(scope, receive, send):
        await Json({"by": "the router"})(scope, receive, send)

    async def open_to_all(request):
        return None

    async def with_state(scope, receive, send):
        scope["app"] = SimpleNamespace(state=SimpleNamespace(check_key=open_to_all))
        await shortcut(scope, receive, send)

    shortcut = Shortcut(usual, [DirectRoute("/direct", answer, methods=["POST"])])
    client = TestClient(with_state)
    assert client.post("/direct", content=b"abc").json() == {"bytes": 3}
    assert client.get("/direct").json() == client.post("/other").json() == {"by": "the router"}


def test_below_a_prefix_it_is_found_by_the_router():
    with TestClient(service(), root_path="/prefix") as client:
        assert client.post("/prefix/direct", content=b"abc").json() == {"bytes": 3}
