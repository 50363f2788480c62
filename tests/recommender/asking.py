"""A service with four points of the compass, and what answers are looked at by."""

from fastapi.testclient import TestClient

from services.recommender.app import create_app
from services.recommender.settings import RecommenderSettings

SPACE = "fake/0123456789ab"
OTHER = "fake/ba9876543210"
POINTS = {"north": (0, 1), "east": (2, 0), "south": (0, -3), "north/east": (1, 1)}
ITEMS = [{"id": id, "vector": [*v], "metadata": {"name": id}} for id, v in POINTS.items()]
BAD = "bad_request"


def start(directory, **settings):
    return TestClient(
        create_app(RecommenderSettings(data_dir=directory, **settings)),
        base_url="http://recommender",
        raise_server_exceptions=False,
    )


def assert_problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert (told["status"], told["code"]) == (status, code)
    assert told["request_id"] == answer.headers["x-request-id"]
    return told


def result_ids(told):
    return [result["id"] for result in told["results"]]
