import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from services.embedder.app import create_app
from services.embedder.settings import EmbedderSettings
from soundalike import pictures
from soundalike.pictures import drawing
from soundalike.pictures.settings import KINDS
from tests.pictures.sounds import chirp, wav


@pytest.fixture(scope="module")
def client():
    with TestClient(create_app(EmbedderSettings(model="fake", max_seconds=5))) as client:
        yield client


@pytest.fixture(scope="module")
def sound():
    return wav(chirp(1.0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_comes_back_as_a_picture(client, sound, kind):
    answer = client.post(f"/pictures/{kind}", files={"file": sound})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == pictures.png(pictures.compute(sound, [kind])[kind])
    assert Image.open(io.BytesIO(answer.content)).size == (488, 244)


def test_settings_are_taken_from_the_query_and_sounds_from_the_bare_body(client, sound):
    query = {"bare": "true", "width": 60, "height": 50, "range_db": "inf", "mel_bands": 40}
    answer = client.post("/pictures/mel", params=query, content=sound)
    settings = pictures.Settings(width=60, height=50, range_db=np.inf, mel_bands=40)
    expected = pictures.png(pictures.compute(sound, ["mel"], settings)["mel"], bare=True)
    assert answer.content == expected


@pytest.mark.parametrize(
    ("kind", "query", "content", "status", "code"),
    [
        ("cepstrum", {}, wav(chirp(0.5)), 400, "bad_request"),
        ("mel", {"width": 5}, wav(chirp(0.5)), 400, "bad_request"),
        ("mel", {"width": "wide"}, wav(chirp(0.5)), 400, "bad_request"),
        ("mel", {"width": 50}, wav(chirp(0.5)), 400, "bad_request"),
        ("mel", {"range_db": "nan"}, wav(chirp(0.5)), 400, "bad_request"),
        ("mel", {}, b"not a sound", 422, "undecodable_audio"),
        ("mel", {}, wav(np.zeros(5000)), 422, "silent"),
        ("mel", {}, wav(chirp(6.0)), 413, "too_long"),
    ],
)
def test_faults_are_problems(client, kind, query, content, status, code):
    answer = client.post(f"/pictures/{kind}", params=query, content=content)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code


def test_more_sound_than_may_wait_is_sent_away(sound, monkeypatch):
    begun, free = threading.Event(), threading.Event()
    draw = drawing.png

    def slowly(*args, **how):
        begun.set()
        assert free.wait(60)
        return draw(*args, **how)

    monkeypatch.setattr(drawing, "png", slowly)
    app = create_app(EmbedderSettings(model="fake", queue_seconds=1.5, threads=1))
    with TestClient(app) as client, ThreadPoolExecutor() as others:
        first = others.submit(client.post, "/pictures/mel", content=sound)
        assert begun.wait(60)
        refused = client.post("/pictures/mel", content=sound)
        free.set()
        assert first.result().status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")


def test_settings_stand_on_the_openapi_page(client):
    told = client.get("/openapi.json").json()["paths"]["/pictures/{kind}"]["post"]
    assert {one["name"] for one in told["parameters"]} >= {"kind", "bare", "width", "range_db"}
    assert "image/png" in told["responses"]["200"]["content"]
