import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi.testclient import TestClient

from services.embedder.app import create_app
from services.embedder.settings import EmbedderSettings
from soundalike.embedders.fake import Fake
from soundalike.extract.extractor import PHRASINGS
from soundalike.extract.loading import Extractors
from tests.sounds import encoded, noise


@pytest.fixture(scope="module")
def client():
    with TestClient(create_app(EmbedderSettings(model="fake"))) as client:
        yield client


def counted(text):
    """What the fake is defined to answer for a text, worked out apart from it."""
    vector = np.zeros(8)
    for character in text:
        vector[ord(character) % 8] += 1
    return vector / np.linalg.norm(vector)


def test_texts_are_answered_in_order_in_the_space_of_the_sounds(client):
    texts = ["a dog barks", "rain", "été — 雨"]
    told = client.post("/embed/text", json={"texts": texts}).json()
    assert (told["model"], told["dim"]) == ("fake", 8)
    np.testing.assert_allclose(told["vectors"], [counted(text) for text in texts], atol=1e-6)
    sound = client.post("/embed", content=encoded(noise(1.0))).json()
    assert told["space"] == sound["space"]


def test_phrasings_are_averaged(client):
    told = client.post("/embed/text", json={"texts": ["rain {0}"], "phrasings": True}).json()
    raw = (
        Extractors()
        .get("fake")
        .embedder.embed_texts([template.replace("{}", "rain {0}") for template in PHRASINGS])
    )
    mean = raw.mean(axis=0)
    np.testing.assert_allclose(told["vectors"], [mean / np.linalg.norm(mean)], atol=1e-6)


def test_more_texts_than_may_wait_are_sent_away(monkeypatch):
    begun, free = threading.Event(), threading.Event()
    read = Fake.embed_texts

    def slowly(self, texts):
        begun.set()
        assert free.wait(60)
        return read(self, texts)

    monkeypatch.setattr(Fake, "embed_texts", slowly)
    app = create_app(EmbedderSettings(model="fake", queue_seconds=3, threads=1))
    with TestClient(app) as client, ThreadPoolExecutor() as others:
        first = others.submit(client.post, "/embed/text", json={"texts": ["rain", "snow"]})
        assert begun.wait(60)
        refused = client.post("/embed/text", json={"texts": ["wind", "hail"]})
        spoken = client.post("/v1/embeddings", json={"input": ["wind", "hail"], "model": "fake"})
        free.set()
        assert first.result().status_code == 200
    assert refused.status_code == spoken.status_code == 429
    assert refused.json()["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"texts": []}, 400, "bad_request"),
        ({"texts": [""]}, 400, "bad_request"),
        ({"texts": "rain"}, 400, "bad_request"),
        ({"texts": [1]}, 400, "bad_request"),
        ({"texts": ["rain"] * 257}, 400, "bad_request"),
        ({"texts": ["x" * 10_001]}, 400, "bad_request"),
        ({"texts": ["rain"], "model": "nothing"}, 404, "unknown_model"),
        ({"texts": ["rain"], "model": "mfcc"}, 400, "bad_request"),
        ({"texts": ["rain"], "colour": "red"}, 400, "bad_request"),
    ],
)
def test_what_cannot_be_embedded_is_refused(client, body, status, code):
    answer = client.post("/embed/text", json=body)
    assert answer.status_code == status
    assert answer.json()["code"] == code


def test_an_embedder_without_a_text_side_says_so(client):
    answer = client.post("/embed/text", json={"texts": ["rain"], "model": "mfcc"})
    assert "does not read text" in answer.json()["detail"]
