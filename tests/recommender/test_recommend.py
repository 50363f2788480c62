"""Neighbours over HTTP: of vectors, of items, of many at once, and of arrays."""

import asyncio
import io
import threading
import time

import numpy as np
import pytest

from services.recommender import routes, schemas
from services.recommender.pace import QUICK_S
from tests.recommender.asking import BAD, OTHER, SPACE, assert_problem, result_ids
from tests.sounds import encoded, tone


class TestRecommend:
    def test_a_vector_is_enough(self, client):
        told = client.post("/recommend", json={"vector": [0.5, 5]}).json()
        assert schemas.Recommendation.model_validate(told)
        assert (told["collection"], told["space"]) == ("default", SPACE)
        assert (told["exact"], told["recall"]) == (True, 1.0)
        assert result_ids(told) == ["north", "north/east", "east", "south"]
        expected = np.array([5, 5.5 / np.sqrt(2), 0.5, -5]) / np.sqrt(25.25)
        assert [one["score"] for one in told["results"]] == pytest.approx(expected, abs=1e-6)
        assert told["results"][0]["metadata"] == {"name": "north"}

    def test_an_item_finds_others(self, client):
        body = {"id": "north", "k": 2, "collection": "default", "space": SPACE, "exact": True}
        told = client.post("/recommend", json=body).json()
        assert result_ids(told) == ["north/east", "east"]

    def test_many_queries_have_answers_in_their_order(self, client):
        queries = [{"id": "north"}, {"vector": [0, -1]}]
        told = client.post("/recommend", json={"queries": queries, "k": 1}).json()
        assert [result_ids(answer) for answer in told["answers"]] == [["north/east"], ["south"]]
        assert all(answer["exact"] for answer in told["answers"])
        assert "results" not in told

    def test_an_answer_of_the_embedder_can_be_sent_on_as_it_is(self, client, embedder):
        files = {"file": ("some.wav", encoded(tone(2, rate=8000), 8000))}
        answer = embedder.post("/embed?window_vectors=true", files=files)
        facts = {name: answer.json()[name] for name in ("space", "dim")}
        client.put("/collections/default", json=facts)
        assert_problem(client.post("/recommend", content=answer.content), 409, "space_mismatch")
        client.delete("/collections/default")
        client.put("/collections/default", json=facts)
        told = client.post("/recommend", content=answer.content).json()
        assert (told["space"], told["results"]) == (facts["space"], [])

    def test_the_very_next_query_sees_a_write(self, client):
        for turn in range(20):
            vector = [float(np.cos(turn)), float(np.sin(turn))]
            items = [{"id": "new", "vector": vector, "metadata": {"turn": turn}}]
            client.put("/collections/default/items", json={"items": items})
            told = client.post("/recommend", json={"vector": vector, "k": 4}).json()
            assert {"turn": turn} in [one["metadata"] for one in told["results"]]

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ('{"vector": [1, NaN]}', 422, "bad_vector"),
            ('{"vector": [1, -Infinity]}', 422, "bad_vector"),
            ('{"vector": [1, true]}', 422, "bad_vector"),
            ('{"vector": [1, "2"]}', 422, "bad_vector"),
            ('{"vector": [1, null]}', 422, "bad_vector"),
            ('{"vector": [0, 0]}', 422, "bad_vector"),
            ('{"vector": [1, 2, 3]}', 422, "bad_vector"),
            ('{"vector": []}', 422, "bad_vector"),
            ('{"queries": [{"vector": [1, 2, 3]}]}', 422, "bad_vector"),
            ('{"vector": [1, 2], "space": "fake/ba9876543210"}', 409, "space_mismatch"),
            ('{"vector": [1, 2], "collection": "none"}', 404, "unknown_collection"),
            ('{"id": "west"}', 404, "unknown_item"),
            ('{"queries": [{"id": "west"}]}', 404, "unknown_item"),
            ("", 400, BAD),
            ("{}", 400, BAD),
            ("[1, 2]", 400, BAD),
            ('{"vector": [1, 2]', 400, BAD),
            ('{"vector": "1 2"}', 400, BAD),
            ('{"vector": [1, 2], "id": "north"}', 400, BAD),
            ('{"vector": [1, 2], "queries": [{"id": "north"}]}', 400, BAD),
            ('{"queries": [{}]}', 400, BAD),
            ('{"queries": []}', 400, BAD),
            ('{"queries": [{"id": "north"}' + ', {"id": "north"}' * 3 + "]}", 400, BAD),
            ('{"vector": [1, 2], "k": 0}', 400, BAD),
            ('{"vector": [1, 2], "k": 1001}', 400, BAD),
            ('{"vector": [1, 2], "k": 2.5}', 400, BAD),
            ('{"vector": [1, 2], "k": "10"}', 400, BAD),
            ('{"vector": [1, 2], "k": true}', 400, BAD),
            ('{"vector": [1, 2], "exact": 1}', 400, BAD),
            ('{"vector": [1, 2], "top": 5}', 400, BAD),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, client, body, status, code):
        assert_problem(client.post("/recommend", content=body.encode()), status, code)

    def test_a_wrong_length_names_both(self, client):
        told = assert_problem(client.post("/recommend", json={"vector": [1]}), 422, "bad_vector")
        assert (told["expected"], told["got"]) == (2, 1)


def npy(array, **how):
    file = io.BytesIO()
    np.save(file, array, **how)
    return file.getvalue()


def ask(client, content, **parameters):
    headers = {"content-type": "application/x-npy"}
    return client.post("/recommend", params=parameters, content=content, headers=headers)


POINT = np.array([0.5, 5.0])
THREE = np.array([[0, 1], [1, 0.1], [-1, -9]])


class TestRecommendArrays:
    def test_a_matrix_is_answered_as_many_queries(self, client):
        queries = [{"vector": row} for row in THREE.tolist()]
        expected = client.post("/recommend", json={"queries": queries, "k": 2}).json()
        told = ask(client, npy(THREE), k=2).json()
        assert told["answers"] == expected["answers"]
        assert told.keys() == expected.keys()

    def test_one_row_is_many_queries_and_one_dimension_is_one(self, client):
        assert len(ask(client, npy(THREE[:1])).json()["answers"]) == 1
        told = ask(client, npy(POINT)).json()
        assert schemas.Recommendation.model_validate(told)
        assert result_ids(told) == ["north", "north/east", "east", "south"]

    @pytest.mark.parametrize(
        "array",
        [
            THREE.astype(np.float32),
            THREE.astype(">f8"),
            np.asfortranarray(THREE),
            np.repeat(THREE, 2, axis=1)[:, ::2],
        ],
    )
    def test_any_layout_of_floats_says_the_same(self, client, array):
        assert (
            ask(client, npy(array)).json()["answers"] == ask(client, npy(THREE)).json()["answers"]
        )

    def test_the_parameters_stand_in_the_url(self, client):
        told = ask(client, npy(POINT), k=1, collection="default", space=SPACE, exact=True).json()
        assert result_ids(told) == ["north"]

    @pytest.mark.parametrize(
        ("parameters", "status", "code"),
        [
            ({"k": 0}, 400, BAD),
            ({"k": "many"}, 400, BAD),
            ({"exact": "perhaps"}, 400, BAD),
            ({"top": 3}, 400, BAD),
            ({"space": OTHER}, 409, "space_mismatch"),
            ({"collection": "none"}, 404, "unknown_collection"),
        ],
    )
    def test_parameters_that_make_no_sense_are_refused(self, client, parameters, status, code):
        assert_problem(ask(client, npy(POINT), **parameters), status, code)

    @pytest.mark.parametrize(
        ("content", "status", "code"),
        [
            (b"", 400, BAD),
            (b"[1, 2]", 400, BAD),
            (npy(POINT)[:-1], 400, BAD),
            (npy(POINT) + b"x", 400, BAD),
            (npy(POINT)[:20], 400, BAD),
            (npy(POINT).replace(b"(2,)", b"(9,)"), 400, BAD),
            (npy(POINT).replace(b"(2,), ", b"(-2,),"), 400, BAD),
            (npy(POINT).replace(b"(2,)", b"None"), 400, BAD),
            (npy(THREE[None]), 400, BAD),
            (npy(np.float64(1)), 400, BAD),
            (npy(np.empty((0, 2))), 400, BAD),
            (npy(np.ones(2, int)), 400, BAD),
            (npy(np.ones(2, np.float16)), 400, BAD),
            (npy(np.ones(2, complex)), 400, BAD),
            (npy(np.ones(2, bool)), 400, BAD),
            (npy(np.array(["a", "b"])), 400, BAD),
            (npy(np.array([{}, {}]), allow_pickle=True), 400, BAD),
            (npy(np.ones((4, 2))), 400, BAD),
            (npy(np.ones(3)), 422, "bad_vector"),
            (npy(np.array([1, np.nan])), 422, "bad_vector"),
            (npy(np.array([[1, 1], [1, np.inf]])), 422, "bad_vector"),
            (npy(np.array([1, 1e39])), 422, "bad_vector"),
            (npy(np.zeros(2)), 422, "bad_vector"),
        ],
    )
    def test_what_is_no_array_of_usable_vectors_is_refused(self, client, content, status, code):
        assert_problem(ask(client, content), status, code)

    def test_a_header_that_promises_much_is_refused_before_room_is_made(self, client):
        file = io.BytesIO()
        promise = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9)}
        np.lib.format.write_array_header_1_0(file, promise)
        told = assert_problem(ask(client, file.getvalue()), 400, BAD)
        assert told["expected"] == len(file.getvalue()) + 8 * 10**18


def test_a_slow_search_is_not_run_on_the_event_loop(client, monkeypatch):
    """Where the last one of its collection was slow, or none is known yet."""
    catalogue, ran_in, takes_s = client.app.state.catalogue, [], [2 * QUICK_S, 2 * QUICK_S, 0, 0, 0]
    own = catalogue.recommend

    def recommend(*asked, **how):
        ran_in.append(threading.current_thread().name)
        until_s = time.thread_time() + takes_s[len(ran_in) - 1]
        while time.thread_time() < until_s:
            pass
        return own(*asked, **how)

    monkeypatch.setattr(catalogue, "recommend", recommend)
    for more in ({}, {}, {}, {}, {"exact": True}):
        client.post("/recommend", json={"vector": [1, 2]} | more)
    in_thread = [name.startswith("AnyIO") for name in ran_in]
    assert in_thread == [True, True, True, False, True]

    @pytest.mark.parametrize(
        "header",
        [
            "{'descr': (", "'''", "1L" + "+1L" * 3000, "(" * 3000, "-" * 9000 + "1", "{[]:1}",
            "{'descr': ('<f4',), 'fortran_order': False, 'shape': (2,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 1:2}",
        ],
    )  # fmt: skip
    def test_a_header_that_is_no_header_is_refused(self, client, header):
        text = header.encode()
        body = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(8)
        assert_problem(ask(client, body), 400, BAD)


def test_a_large_body_is_read_in_a_thread(client, monkeypatch):
    loops, read = [], routes.read_array

    def recorded(body):
        try:
            loops.append(asyncio.get_running_loop())
        except RuntimeError:
            loops.append(None)
        return read(body)

    monkeypatch.setattr(routes, "read_array", recorded)
    monkeypatch.setattr(routes, "LARGE_BYTES", 200)
    ask(client, npy(POINT))
    ask(client, npy(np.ones(1000)))
    assert loops[0] is not None
    assert loops[1] is None
