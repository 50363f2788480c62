"""The matrix of similarities over HTTP, as numbers and as a picture."""

import xml.etree.ElementTree as ET

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from services.recommender.app import create_app
from services.recommender.settings import RecommenderSettings
from soundalike.client import RecommenderClient
from soundalike.errors import BadRequest, UnknownCollection, UnknownItem

VECTORS = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32) * [
    [1],
    [1e-20],
    [1e18],
    [5],
]
IDS = ["a", "folder/b c", "comma,comma", "d&e"]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    settings = RecommenderSettings(data_dir=tmp_path_factory.mktemp("data"))
    with TestClient(create_app(settings)) as service:
        service.put("/collections/some", json={"space": "fake/1", "dim": 64})
        items = [{"id": id, "vector": [*v]} for id, v in zip(IDS, VECTORS.tolist(), strict=True)]
        service.put("/collections/some/items", json={"items": items})
        yield service


@pytest.fixture
def client(service):
    def forward(request):
        answer = service.request(request.method, str(request.url), content=request.content)
        return httpx.Response(answer.status_code, content=answer.content)

    return RecommenderClient("http://testserver", transport=httpx.MockTransport(forward))


def expected(vectors):
    wide = vectors.astype(np.float32).astype(np.float64)
    units = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return units @ units.T


def test_it_is_the_cosine_of_the_stored_vectors(client):
    assert np.abs(client.similarity("some", IDS) - expected(VECTORS)).max() < 1e-6


def test_it_agrees_with_the_scores_of_neighbours(client):
    scores = {one.id: one.score for one in client.recommend(id="a", collection="some").results}
    row = client.similarity("some", ["a", *scores])[0, 1:]
    assert row == pytest.approx(list(scores.values()), abs=1e-6)


def test_ids_are_joined_by_commas_or_a_parameter_each(service):
    path = "/collections/some/similarity"
    joined = service.get(path, params={"ids": "a,d&e"}).json()
    each = service.get(path, params={"ids": ["comma,comma", "a", "a"]}).json()
    assert (joined["collection"], joined["ids"]) == ("some", ["a", "d&e"])
    assert each["ids"] == ["comma,comma", "a", "a"]
    assert each["similarity"][1] == each["similarity"][2]


def test_what_cannot_be_compared_is_refused(client):
    with pytest.raises(UnknownItem, match="'none'"):
        client.similarity("some", ["a", "none"])
    with pytest.raises(UnknownCollection):
        client.similarity("none", ["a"])
    with pytest.raises(BadRequest, match="500"):
        client.similarity("some", ["a"] * 501)
    with pytest.raises(BadRequest):
        client.similarity("some", [])
    with pytest.raises(BadRequest):
        client.similarity("some", [""])


def test_it_comes_as_a_picture_where_that_is_accepted(service):
    answer = service.get(
        "/collections/some/similarity",
        params={"ids": IDS},
        headers={"accept": "image/svg+xml,*/*"},
    )
    assert answer.headers["content-type"].startswith("image/svg+xml")
    texts = [one.text for one in ET.fromstring(answer.content).iter() if one.tag.endswith("text")]
    assert set(IDS) <= set(texts)
