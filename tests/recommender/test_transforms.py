"""Transforms over HTTP: put, described, changed, and told in answers."""

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from services.recommender import schemas
from services.recommender.app import create_app
from services.recommender.settings import RecommenderSettings
from soundalike.client import RecommenderClient

SPACE = "fake/0123456789ab"
VECTORS = 3 + np.random.default_rng(1).normal(size=(60, 4)) * [1, 2, 3, 4]
ITEMS = [{"id": f"{n:02}", "vector": vector.tolist()} for n, vector in enumerate(VECTORS)]
QUERY = [1.0, -1.0, 2.0, 0.5]


@pytest.fixture
def service(tmp_path):
    settings = RecommenderSettings(data_dir=tmp_path)
    with TestClient(create_app(settings), base_url="http://recommender") as client:
        yield client


def make(service, transform, items=ITEMS):
    facts = {"space": SPACE, "dim": 4, "engine": "exact", "transform": transform}
    made = service.put("/collections/default", json=facts)
    assert (made.status_code, made.json()["transform"]) == (201, transform)
    service.put("/collections/default/items", json={"items": items})
    told = service.post("/collections/default/rebuild").json()
    assert schemas.Collection.model_validate(told).transform == transform
    return told


def recommend(service, **body):
    answer = service.post("/recommend", json={"vector": QUERY, "k": 60} | body).json()
    schemas.Recommendation.model_validate(answer)
    return answer["results"]


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_results_fall_by_rank_score_beside_the_cosine(service):
    assert make(service, "centre")["fitted"] == {"items": 60, "sequence": 1}
    results = recommend(service)
    rows = [int(one["id"]) for one in results]
    units, query = unit(VECTORS), unit(np.array(QUERY))
    mean = units.mean(axis=0)
    ranks = unit(units - mean) @ unit(query - mean)
    np.testing.assert_allclose([one["rank_score"] for one in results], ranks[rows], atol=1e-6)
    np.testing.assert_allclose([one["score"] for one in results], units[rows] @ query, atol=1e-6)
    assert rows == np.argsort(-ranks).tolist()


def test_few_items_are_ranked_by_score_and_described_so(service):
    assert make(service, "centre", ITEMS[:49])["fitted"] is None
    assert all("rank_score" not in one for one in recommend(service))


def test_the_transform_is_changed_in_one_step_and_taken_away(service):
    make(service, None)
    before = recommend(service)
    told = service.put("/collections/default/transform", json={"transform": "csls:5"}).json()
    assert (told["transform"], told["fitted"]) == ("csls:5", {"items": 60, "sequence": 1})
    assert recommend(service) != before
    told = service.put("/collections/default/transform", json={"transform": None}).json()
    assert (told["transform"], told["fitted"]) == (None, None)
    assert recommend(service) == before


def test_the_client_tells_the_rank_score(service):
    make(service, "whiten")

    def serve(request):
        answer = service.request(
            request.method, request.url.path, content=request.content, headers=request.headers
        )
        return httpx.Response(answer.status_code, content=answer.content)

    client = RecommenderClient("http://recommender", transport=httpx.MockTransport(serve))
    expected = [one["rank_score"] for one in recommend(service, k=5)]
    assert [one.rank_score for one in client.recommend(vector=QUERY, k=5).results] == expected


@pytest.mark.parametrize("body", [{"transform": "sharpen"}, {}, {"transform": 1}, {"to": "centre"}])
def test_what_is_no_transform_is_refused(service, body):
    make(service, "centre")
    answer = service.put("/collections/default/transform", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    facts = {"space": SPACE, "dim": 4, "transform": "pca"}
    assert service.put("/collections/new", json=facts).json()["code"] == "bad_request"
    assert service.get("/collections/default").json()["transform"] == "centre"


def test_an_unknown_collection_has_none(service):
    answer = service.put("/collections/none/transform", json={"transform": "centre"})
    assert answer.json()["code"] == "unknown_collection"
