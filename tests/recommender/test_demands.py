"""What a query may demand, over HTTP."""

import numpy as np
import pytest

from services.recommender import schemas
from tests.recommender.asking import BAD, SPACE, assert_problem, result_ids, start

KINDS = {"north": "cold", "north/east": "cold", "east": "warm", "south": "warm"}


@pytest.fixture
def compass(client):
    """The points of the compass, each with its kind."""
    page = client.get("/collections/default/items", params={"vectors": True}).json()["items"]
    items = [one | {"metadata": {"kind": KINDS[one["id"]]}} for one in page]
    client.put("/collections/default/items", json={"items": items})
    return client


def ask(client, **body):
    return client.post("/recommend", json=body).json()


def test_a_filter_chooses_before_ranking(compass):
    assert result_ids(ask(compass, id="north", filter={"kind": "warm"})) == ["east", "south"]


def test_what_is_excluded_is_left_out(compass):
    assert result_ids(ask(compass, id="north", exclude=["north/east"], k=1)) == ["east"]


def test_scores_below_the_least_are_left_out(compass):
    assert result_ids(ask(compass, vector=[0, 1], min_score=0.5)) == ["north", "north/east"]


def test_a_dislike_pushes_away_and_what_results_fall_by_is_told(compass):
    told = ask(compass, positive=["north/east"], negative=[{"id": "east", "weight": 1.5}])
    assert result_ids(told)[0] == "north"
    ranks = [one["rank_score"] for one in told["results"]]
    assert ranks == sorted(ranks, reverse=True)
    assert told["results"][0]["score"] == pytest.approx(np.sqrt(0.5), abs=1e-6)


def test_vectors_and_ids_may_be_liked_together(compass):
    told = ask(compass, vector=[0, 1], positive=["east", [0.0, 1.0]], k=1)
    assert result_ids(told) == ["north/east"]


def test_a_cap_leaves_room_for_others(compass):
    assert result_ids(ask(compass, vector=[0, 1], caps={"kind": 1})) == ["north", "east"]


def test_near_duplicates_are_listed_under_the_one_that_stands_for_them(compass):
    told = ask(compass, vector=[0, 1], collapse=0.7)
    assert result_ids(told) == ["north", "east", "south"]
    assert [one["id"] for one in told["results"][0]["same"]] == ["north/east"]
    assert schemas.Recommendation.model_validate(told)


def test_variety_goes_farther_apart(compass):
    assert result_ids(ask(compass, vector=[0.1, 1], k=2)) == ["north", "north/east"]
    told = ask(compass, vector=[0.1, 1], k=2, diversity=0.6)
    assert result_ids(told) == ["north", "east"]


def test_what_is_demanded_of_all_queries_may_be_said_otherwise_of_one(compass):
    queries = [{"id": "north"}, {"id": "north", "filter": {"kind": "cold"}}]
    told = ask(compass, queries=queries, filter={"kind": "warm"}, k=1)
    assert [result_ids(one) for one in told["answers"]] == [["east"], ["north/east"]]


@pytest.mark.parametrize(
    "demand",
    [
        {"filter": {"kind": {"like": "c"}}},
        {"diversity": 1.5},
        {"caps": {"kind": 0}},
        {"collapse": 2},
        {"min_score": "0.5"},
        {"positive": [{"weight": 2}]},
        {"negative": [{"id": "north", "weight": 0}]},
        {"exclude": "north"},
    ],
)
def test_a_demand_that_makes_no_sense_is_refused(compass, demand):
    assert_problem(compass.post("/recommend", json={"id": "east"} | demand), 400, BAD)


def test_what_cancels_out_and_what_is_unknown_is_refused(compass):
    body = {"positive": ["north", "south"]}
    assert_problem(compass.post("/recommend", json=body), 422, "bad_vector")
    body = {"positive": ["nowhere"]}
    assert_problem(compass.post("/recommend", json=body), 404, "unknown_item")
    assert_problem(compass.post("/recommend", json={"filter": {}}), 400, BAD)


class TestPath:
    def walk(self, client, **parameters):
        return client.get("/collections/default/path", params=parameters)

    def test_it_leads_by_what_lies_between(self, compass):
        told = self.walk(compass, **{"from": "north", "to": "east", "k": 3}).json()
        assert schemas.Walk.model_validate(told)
        assert told["space"] == SPACE
        assert [one["id"] for one in told["path"]] == ["north", "north/east", "east"]
        cosines = [one["cosine"] for one in told["path"]]
        assert cosines == pytest.approx([1, np.sqrt(0.5), np.sqrt(0.5)], abs=1e-6)

    def test_it_keeps_caps_and_always_arrives(self, compass):
        parameters = {"from": "north", "to": "east", "k": 9, "cap": "kind:1"}
        told = self.walk(compass, **parameters).json()
        assert [one["id"] for one in told["path"]] == ["north", "east"]

    @pytest.mark.parametrize("wrong", [{"k": 1}, {"k": 101}, {"to": "north"}, {"cap": "kind"}])
    def test_what_is_no_path_is_refused(self, compass, wrong):
        answer = self.walk(compass, **{"from": "north", "to": "east"} | wrong)
        assert_problem(answer, 400, BAD)

    def test_an_end_that_is_not_there_is_told(self, compass):
        answer = self.walk(compass, **{"from": "north", "to": "nowhere"})
        assert_problem(answer, 404, "unknown_item")


@pytest.mark.parametrize("weight", [1e200, 1e-7, 0.0009, 1001])
def test_a_weight_beyond_reason_is_refused(compass, weight):
    body = {"positive": [{"id": "north", "weight": weight}]}
    assert_problem(compass.post("/recommend", json=body), 400, BAD)


def test_what_is_demanded_of_many_has_a_budget(tmp_path):
    with start(tmp_path) as client:
        body = {"queries": [{"vector": [1], "min_score": 0}] * 101, "k": 100}
        told = assert_problem(client.post("/recommend", json=body), 400, BAD)
        assert (told["limit"], told["got"]) == (10_000, 10_100)
        body["queries"] = [{"vector": [1]}] * 101  # nothing demanded: as far as the collection
        assert_problem(client.post("/recommend", json=body), 404, "unknown_collection")


def test_more_queries_than_any_setting_allows_are_refused(client):
    told = assert_problem(client.post("/recommend", json={"queries": [{}] * 1001}), 400, BAD)
    assert told["at"] == "queries"


@pytest.mark.parametrize(
    "caps", [["kind:" + "9" * 5000], ["kind:1000000"], [f"x{n}:1" for n in range(17)]]
)
def test_caps_of_a_path_are_few_and_small(compass, caps):
    parameters = {"from": "north", "to": "east", "cap": caps}
    assert_problem(compass.get("/collections/default/path", params=parameters), 400, BAD)
