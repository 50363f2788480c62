"""Words in, neighbours out: the recommender in front of a real embedder service."""

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from services.embedder.app import create_app as create_embedder
from services.embedder.settings import EmbedderSettings
from services.recommender.app import create_app
from services.recommender.settings import RecommenderSettings
from soundalike.client import EmbedderClient

WORDS = ["dog", "rain on a roof", "a bell"]


@pytest.fixture
def client(tmp_path):
    """A service whose collection holds one item for each text, at that text's own vector."""
    with (
        TestClient(create_embedder(EmbedderSettings(model="fake"))) as embedder,
        TestClient(create_app(RecommenderSettings(data_dir=tmp_path))) as client,
    ):

        def forward(request):
            path = request.url.raw_path.decode()
            answer = embedder.post(path, content=request.read())
            return httpx.Response(answer.status_code, content=answer.content)

        client.app.state.embedder = EmbedderClient(transport=httpx.MockTransport(forward))
        told = embedder.post("/embed/text", json={"texts": WORDS}).json()
        facts = {name: told[name] for name in ("space", "dim", "model")}
        client.put("/collections/default", json=facts)
        pairs = zip(WORDS, told["vectors"], strict=True)
        items = [{"id": text, "vector": vector} for text, vector in pairs]
        client.put("/collections/default/items", json={"items": items})
        client.vectors = np.array(told["vectors"])
        yield client


def test_words_find_what_lies_nearest_to_them(client):
    told = client.post("/recommend/text", json={"text": "rain on a roof", "k": 2}).json()
    first, second = told["results"]
    assert first["id"] == "rain on a roof"
    assert first["score"] == pytest.approx(1, abs=1e-6)
    others = client.vectors[[0, 2]] @ client.vectors[1]
    assert second["score"] == pytest.approx(others.max(), abs=1e-6)
    assert told["model"] == "fake"
    assert told["ms"].keys() == {"embed", "search"}


def test_phrasings_are_passed_on(client):
    plain = client.post("/recommend/text", json={"text": "dog", "k": 1}).json()
    averaged = client.post(
        "/recommend/text", json={"text": "dog", "k": 1, "phrasings": True}
    ).json()
    assert plain["results"][0]["score"] > averaged["results"][0]["score"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "bad_request"),
        ({"text": ""}, 400, "bad_request"),
        ({"text": 1}, 400, "bad_request"),
        ({"text": "dog", "k": 0}, 400, "bad_request"),
        ({"text": "dog", "collection": "none"}, 404, "unknown_collection"),
    ],
)
def test_what_cannot_be_asked_is_refused(client, body, status, code):
    answer = client.post("/recommend/text", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_collection_whose_embedder_does_not_read_says_so(client):
    client.put("/collections/mfcc", json={"space": "mfcc/0", "dim": 206})
    answer = client.post("/recommend/text", json={"text": "dog", "collection": "mfcc"})
    assert answer.status_code == 400
    assert "does not read text" in answer.json()["detail"]
