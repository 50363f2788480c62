import asyncio

import pytest
from starlette.datastructures import URL
from starlette.requests import Request

from services.common import problems
from services.common.auth import OPEN_PATHS, require_key
from services.common.settings import CommonSettings, load
from services.embedder.settings import EmbedderSettings
from soundalike import errors


def all_faults(base=errors.SoundalikeError):
    yield base
    for child in base.__subclasses__():
        yield from all_faults(child)


def test_every_fault_has_a_status_and_stands_in_the_tree():
    groups = {errors.SoundalikeError, *errors.SoundalikeError.__subclasses__()}
    for fault in all_faults():
        assert fault.__name__ in errors.__doc__
        if "code" in vars(fault) and fault is not errors.SoundalikeError:
            assert fault.code in problems.STATUS, fault
            assert fault.code in errors.__doc__
        else:
            assert fault in groups, f"{fault} needs a code of its own"


def test_a_problem_has_the_numbers_that_matter():
    told = problems.problem(errors.TooLong("Too long.", limit=10, got=12), "r1")
    assert told == {
        "type": "urn:soundalike:problem:too_long",
        "title": "Too many seconds",
        "status": 413,
        "detail": "Too long.",
        "code": "too_long",
        "request_id": "r1",
        "limit": 10,
        "got": 12,
    }


def test_numbers_that_json_has_no_room_for_are_told_as_text():
    told = problems.problem(errors.BadRequest("Too many.", limit=10, got=10**30))
    assert (told["limit"], told["got"]) == (10, str(10**30))


def test_settings_come_from_the_environment_when_they_are_loaded(monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODEL", "fake")
    monkeypatch.setenv("SOUNDALIKE_MAX_UPLOAD_MB", "1.5")
    monkeypatch.setenv("SOUNDALIKE_API_KEYS", " a , b,")
    settings = load(EmbedderSettings)
    assert settings.model == "fake"
    assert settings.max_upload_bytes == 1_500_000
    assert settings.keys == ("a", "b")
    assert "a , b" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"), [("MAX_UPLOAD_MB", "0"), ("MAX_UPLOAD_MB", "many"), ("MAX_BATCH", "0")]
)
def test_a_setting_that_makes_no_sense_stops_the_start_and_is_named(monkeypatch, name, value):
    monkeypatch.setenv(f"SOUNDALIKE_{name}", value)
    with pytest.raises(SystemExit, match=f"SOUNDALIKE_{name}: "):
        load(EmbedderSettings)


def test_without_keys_the_service_is_open():
    assert CommonSettings().keys == ()


@pytest.mark.parametrize("host", ["x/livez?", "x/livez#", "x/health?a="])
def test_no_host_opens_a_path_that_needs_a_key(host):
    heard = {
        "type": "http", "method": "GET", "scheme": "http", "path": "/collections",
        "query_string": b"", "headers": [(b"host", host.encode())], "server": ("x", 80),
    }  # fmt: skip
    request = Request(heard)
    request._url = URL(f"http://{host}/collections")  # as it is put together of the header
    assert request.url.path in OPEN_PATHS
    with pytest.raises(errors.Unauthorized):
        asyncio.run(require_key(("secret",))(request))
    asyncio.run(require_key(("secret",))(Request(heard | {"path": "/livez"})))
