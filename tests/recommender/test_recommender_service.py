"""The recommender over HTTP: what it answers, and every fault with its status and code."""

import json
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from services.embedder.app import create_app as create_embedder
from services.embedder.settings import EmbedderSettings
from services.recommender import schemas
from services.recommender.app import create_app
from services.recommender.settings import RecommenderSettings
from soundalike.client import EmbedderClient
from soundalike.errors import StorageFull
from tests.sounds import encoded, tone

SPACE = "fake/0123456789ab"
OTHER = "fake/ba9876543210"
POINTS = {"north": (0, 1), "east": (2, 0), "south": (0, -3), "north/east": (1, 1)}
ITEMS = [{"id": id, "vector": [*v], "metadata": {"name": id}} for id, v in POINTS.items()]
BAD = "bad_request"
STARTS_BLOCKED = """
import pathlib, sys
for name in ("torch", "transformers", "librosa", "soundfile", "scipy", "matplotlib"):
    sys.modules[name] = None
from fastapi.testclient import TestClient
from services.recommender.app import create_app
from services.recommender.settings import RecommenderSettings
with TestClient(create_app(RecommenderSettings(data_dir=pathlib.Path(sys.argv[1])))) as client:
    print(client.put("/collections/c", json={"space": "s", "dim": 2}).status_code)
    print(client.get("/readyz").status_code)
"""


def start(directory, **settings):
    return TestClient(
        create_app(RecommenderSettings(data_dir=directory, **settings)),
        base_url="http://recommender",
        raise_server_exceptions=False,
    )


@pytest.fixture
def client(tmp_path):
    """A service with a collection of four points of the compass."""
    with start(tmp_path, max_upload_mb=0.1, max_queries=3) as client:
        client.put("/collections/default", json={"space": SPACE, "dim": 2, "engine": "exact"})
        client.put("/collections/default/items", json={"items": ITEMS})
        yield client


def assert_problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert (told["status"], told["code"]) == (status, code)
    assert told["request_id"] == answer.headers["x-request-id"]
    return told


def result_ids(told):
    return [result["id"] for result in told["results"]]


class TestCollections:
    def test_putting_one_makes_it_and_again_changes_nothing(self, client):
        facts = {"space": SPACE, "dim": 3, "model": "mfcc", "pooling": "meanstd"}
        first = client.put("/collections/new", json=facts)
        again = client.put("/collections/new", json=facts)
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()
        assert first.json().items() >= facts.items()
        assert schemas.Collection.model_validate(first.json()).engine == "annoy"

    def test_the_engine_of_those_that_name_none_is_a_setting(self, tmp_path):
        with start(tmp_path, engine="exact") as client:
            made = client.put("/collections/c", json={"space": SPACE, "dim": 3}).json()
        assert made["engine"] == "exact"

    def test_they_are_described_and_listed(self, client):
        told = client.get("/collections/default").json()
        assert (told["name"], told["items"], told["dim"]) == ("default", 4, 2)
        assert client.get("/collections").json() == {"collections": [told]}

    def test_dropping_one_leaves_none(self, client):
        assert client.delete("/collections/default").status_code == 204
        assert_problem(client.get("/collections/default"), 404, "unknown_collection")

    def test_another_space_under_the_name_is_a_conflict(self, client):
        answer = client.put("/collections/default", json={"space": OTHER, "dim": 2})
        told = assert_problem(answer, 409, "collection_exists")
        assert (told["expected"], told["got"]) == (SPACE, OTHER)

    def test_a_rebuild_answers_what_serves_then(self, client):
        assert client.post("/collections/default/rebuild").json()["items"] == 4

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b'{"space": "s"}',
            b'{"space": "s", "dim": "2"}',
            b'{"space": "s", "dim": 2.5}',
            b'{"space": "s", "dim": true}',
            b'{"space": "s", "dim": 0}',
            b'{"space": "s", "dim": 2, "engine": "hnsw"}',
            b'{"space": "s", "dim": 2, "colour": "red"}',
        ],
    )
    def test_facts_that_make_no_sense_are_refused(self, client, body):
        assert_problem(client.put("/collections/new", content=body), 400, BAD)

    def test_a_bad_name_is_refused(self, client):
        answer = client.put("/collections/.new", json={"space": SPACE, "dim": 2})
        assert_problem(answer, 400, BAD)


class TestItems:
    def test_are_written_and_read(self, client):
        new = {"id": "new", "vector": [0.1, -2], "metadata": {"year": 1990, "tags": ["a", None]}}
        answer = client.put("/collections/default/items", json={"items": [new], "space": SPACE})
        assert answer.json() == {"collection": "default", "upserted": 1}
        told = client.get("/collections/default/items/new").json()
        assert told.pop("vector") == pytest.approx(new.pop("vector"), abs=1e-7)
        assert told == new

    def test_are_written_line_by_line(self, client):
        lines = b'{"id": "a", "vector": [1, 2]}\n\n{"id": "b", "vector": [2, 1]}\r\n'
        headers = {"content-type": "application/x-ndjson; charset=utf-8"}
        path = f"/collections/default/items?space={quote(SPACE)}"
        assert client.put(path, content=lines, headers=headers).json()["upserted"] == 2
        assert client.get("/collections/default").json()["items"] == 6

    def test_a_bad_line_is_named_and_nothing_is_written(self, client):
        headers = {"content-type": "application/x-ndjson"}
        lines = b'{"id": "a", "vector": [1, 2]}\n{"id": "b", "vector": [2, NaN]}\n'
        answer = client.put("/collections/default/items", content=lines, headers=headers)
        assert assert_problem(answer, 422, "bad_vector")["line"] == 2
        assert client.get("/collections/default").json()["items"] == 4

    @pytest.mark.parametrize("id", ["north/east", "/slashes//", "ü ?#%&", "..", "a/delete"])
    def test_any_id_has_an_address(self, client, id):
        client.put("/collections/default/items", json={"items": [{"id": id, "vector": [1, 1]}]})
        path = f"/collections/default/items/{quote(id, safe='').replace('.', '%2E')}"
        assert client.get(path).json()["id"] == id
        assert client.delete(path).status_code == 204
        assert_problem(client.get(path), 404, "unknown_item")
        assert_problem(client.delete(path), 404, "unknown_item")

    def test_are_listed_by_page_without_their_vectors(self, client):
        path = "/collections/default/items?limit=3"
        first = client.get(path).json()
        last = client.get(f"{path}&after={quote(first['next'])}").json()
        assert first["items"] + last["items"] == [
            {"id": id, "metadata": {"name": id}} for id in ["east", "north", "north/east", "south"]
        ]
        assert last["next"] is None

    def test_are_listed_with_their_vectors_where_asked(self, client):
        page = client.get("/collections/default/items?vectors=true").json()
        assert {one["id"]: tuple(one["vector"]) for one in page["items"]} == POINTS

    def test_many_are_deleted_at_once(self, client):
        path = "/collections/default/items/delete"
        assert client.post(path, json={"ids": ["north", "west"]}).json() == {"deleted": 1}
        assert client.get("/collections/default").json()["items"] == 3

    def test_a_missing_collection_comes_with_the_line_that_makes_it(self, client):
        body = {"items": [{"id": "a", "vector": [1, 2, 3]}], "space": SPACE}
        answer = client.put("/collections/new/items", json=body)
        detail = assert_problem(answer, 404, "unknown_collection")["detail"]
        _, _, line = detail.partition("curl -X PUT http://recommender")
        path, _, facts = line.partition(" -d ")
        assert client.put(path, content=facts.strip("'")).status_code == 201
        assert client.put("/collections/new/items", json=body).status_code == 200

    @pytest.mark.parametrize(
        ("item", "status", "code"),
        [
            ('{"id": "a", "vector": [1, NaN]}', 422, "bad_vector"),
            ('{"id": "a", "vector": [1, Infinity]}', 422, "bad_vector"),
            ('{"id": "a", "vector": [1, 1e39]}', 422, "bad_vector"),
            ('{"id": "a", "vector": [1, true]}', 422, "bad_vector"),
            ('{"id": "a", "vector": [1, "2"]}', 422, "bad_vector"),
            ('{"id": "a", "vector": [0, 0]}', 422, "bad_vector"),
            ('{"id": "a", "vector": [1, 2, 3]}', 422, "bad_vector"),
            ('{"id": "a"}', 400, BAD),
            ('{"id": 7, "vector": [1, 2]}', 400, BAD),
            ('{"id": "", "vector": [1, 2]}', 400, BAD),
            ('{"id": "a\\u0000", "vector": [1, 2]}', 400, BAD),
            ('{"id": "a", "vector": [1, 2], "label": "x"}', 400, BAD),
            ('{"id": "a", "vector": [1, 2], "metadata": [1]}', 400, BAD),
            ('{"id": "a", "vector": [1, 2], "metadata": {"x": NaN}}', 400, BAD),
            ('{"id": "a", "vector": [1, 2], "metadata": {"x": 1' + "0" * 30 + "}}", 400, BAD),
            ('{"id": "a", "vector": [1, 2], "metadata": ' + '{"x":' * 300, 400, BAD),
        ],
    )  # fmt: skip
    def test_what_cannot_be_kept_is_refused_and_nothing_is_written(
        self, client, item, status, code
    ):
        body = '{"items": [{"id": "good", "vector": [1, 2]}, ' + item + "]}"
        answer = client.put("/collections/default/items", content=body.encode())
        assert_problem(answer, status, code)
        assert client.get("/collections/default").json()["items"] == 4

    def test_of_another_space_are_refused_naming_both(self, client):
        answer = client.put("/collections/default/items", json={"items": ITEMS, "space": OTHER})
        told = assert_problem(answer, 409, "space_mismatch")
        assert (told["expected"], told["got"]) == (SPACE, OTHER)

    def test_too_large_a_body_is_refused(self, client):
        answer = client.put("/collections/default/items", content=b" " * 200_000)
        assert assert_problem(answer, 413, "too_large")["limit"] == 100_000

    def test_a_full_disk_is_told(self, client, monkeypatch):
        def full(*_, **__):
            raise StorageFull("The disk is full.")

        monkeypatch.setattr(client.app.state.catalogue, "upsert", full)
        answer = client.put("/collections/default/items", json={"items": ITEMS})
        assert_problem(answer, 507, "storage_full")


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


@pytest.fixture(scope="module")
def embedder():
    settings = EmbedderSettings(model="fake", max_seconds=60, api_keys="secret")
    with TestClient(create_embedder(settings), headers={"x-api-key": "secret"}) as client:
        yield client


@contextmanager
def hearing_through(client, handler):
    """Let the service's embedder client speak to a function."""
    own = client.app.state.embedder
    client.app.state.embedder = EmbedderClient(
        "http://embedder", transport=httpx.MockTransport(handler)
    )
    yield
    client.app.state.embedder = own


class TestRecommendAudio:
    SOUNDS = {hz: encoded(tone(2, hz, 8000), 8000) for hz in (220, 880)}

    @pytest.fixture
    def heard(self, client, embedder):
        """The service in front of a real embedder service, with two sounds in its collection."""
        asked = []

        def forward(request):
            asked.append(request)
            answer = embedder.post(
                request.url.raw_path.decode(),
                content=request.read(),
                headers={"content-type": request.headers["content-type"]},
            )
            return httpx.Response(answer.status_code, content=answer.content)

        vectors = {
            hz: embedder.post("/embed?pooling=max", files={"file": ("a.wav", sound)}).json()
            for hz, sound in self.SOUNDS.items()
        }
        facts = {name: vectors[220][name] for name in ("space", "dim", "model")}
        client.put("/collections/tones", json=facts | {"pooling": "max"})
        items = [{"id": f"{hz} Hz", "vector": told["vector"]} for hz, told in vectors.items()]
        client.put("/collections/tones/items", json={"items": items, "space": facts["space"]})
        client.asked = asked
        with hearing_through(client, forward):
            yield client

    def ask(self, client, content=None, **params):
        files = {"file": ("some.wav", content or self.SOUNDS[880])}
        return client.post("/recommend/audio", params={"collection": "tones"} | params, files=files)

    def test_a_sound_finds_itself_through_the_collections_own_embedder(self, heard):
        told = self.ask(heard, k=1).json()
        assert result_ids(told) == ["880 Hz"]
        assert told["results"][0]["score"] == pytest.approx(1, abs=1e-6)
        assert told["audio"]["sample_rate"] == 8000
        assert told["ms"].keys() == {"embed", "search"}
        assert dict(heard.asked[-1].url.params) == {"model": "fake", "pooling": "max"}

    def test_bare_bytes_will_do(self, heard):
        path = "/recommend/audio?collection=tones"
        assert result_ids(heard.post(path, content=self.SOUNDS[220]).json())[0] == "220 Hz"

    def test_the_embedder_is_named_by_the_space_where_no_model_is(self, heard):
        heard.put("/collections/plain", json={"space": SPACE, "dim": 2})
        self.ask(heard, collection="plain")
        assert dict(heard.asked[-1].url.params) == {"model": "fake"}

    @pytest.mark.parametrize(
        ("content", "status", "code"),
        [
            (b"this is no sound, only text", 422, "undecodable_audio"),
            (encoded(np.zeros((0, 1), np.float32), 8000), 422, "undecodable_audio"),
            (
                encoded(np.full((9000, 1), np.nan, np.float32), 8000, subtype="FLOAT"),
                422,
                "bad_samples",
            ),
        ],
    )
    def test_what_the_embedder_says_of_the_sound_is_passed_on(self, heard, content, status, code):
        told = assert_problem(self.ask(heard, content), status, code)
        assert told["detail"]

    def test_a_collection_of_another_space_of_the_same_embedder_is_a_conflict(self, heard):
        heard.put("/collections/old", json={"space": SPACE, "dim": 8, "model": "fake"})
        told = assert_problem(self.ask(heard, collection="old"), 409, "space_mismatch")
        assert told["expected"] == SPACE

    def test_an_unknown_collection_is_told_before_anything_is_embedded(self, heard):
        assert_problem(self.ask(heard, collection="none"), 404, "unknown_collection")
        assert heard.asked == []

    @pytest.mark.parametrize(("k", "status"), [("0", 400), ("many", 400), ("1001", 400)])
    def test_an_impossible_k_is_refused(self, heard, k, status):
        assert_problem(self.ask(heard, k=k), status, "bad_request")

    def test_an_empty_body_is_no_audio(self, heard):
        answer = heard.post("/recommend/audio?collection=tones", content=b"")
        assert_problem(answer, 422, "undecodable_audio")

    def test_an_unreachable_embedder_is_a_bad_gateway(self, client):
        def refuse(_):
            raise httpx.ConnectError("refused")

        with hearing_through(client, refuse):
            answer = self.ask(client, collection="default")
        told = assert_problem(answer, 502, "embedder_unavailable")
        assert "http://embedder" in told["detail"]

    @pytest.mark.parametrize(
        "answer",
        [
            httpx.Response(500, json={"code": "internal", "detail": "x", "status": 500}),
            httpx.Response(503, text="<html>proxy</html>"),
        ],
    )
    def test_an_embedder_that_fails_is_a_bad_gateway(self, client, answer):
        with hearing_through(client, lambda _: answer):
            told = self.ask(client, collection="default")
        assert_problem(told, 502, "embedder_unavailable")

    def test_a_key_that_the_embedder_refuses_is_not_the_users_fault(self, client, embedder):
        def unauthorized(_):
            answer = embedder.get("/models", headers={"x-api-key": "wrong"})
            return httpx.Response(answer.status_code, content=answer.content)

        with hearing_through(client, unauthorized):
            told = self.ask(client, collection="default")
        assert "KEY" in assert_problem(told, 502, "embedder_unavailable")["detail"]


class TestService:
    def test_the_key_sent_to_the_embedder_is_our_own_where_none_is_set(self):
        assert RecommenderSettings().embedder_key is None
        assert RecommenderSettings(api_keys="a,b").embedder_key == "a"
        assert RecommenderSettings(api_keys="a,b", embedder_api_key="c").embedder_key == "c"

    def test_the_embedder_is_asked_where_and_with_the_key_that_is_set(self, tmp_path, monkeypatch):
        made = []

        class Recorded(EmbedderClient):
            def __init__(self, url, api_key):
                made.append((url, api_key))
                super().__init__(url, api_key=api_key)

        monkeypatch.setattr("services.recommender.app.EmbedderClient", Recorded)
        with start(tmp_path, embedder_url="http://ears", api_keys="secret"):
            assert made == [("http://ears", "secret")]

    def test_an_unknown_engine_stops_the_start(self):
        with pytest.raises(ValueError, match="exact, annoy"):
            RecommenderSettings(engine="hnsw")

    def test_what_was_acknowledged_is_there_after_a_restart(self, tmp_path):
        with start(tmp_path) as first:
            first.put("/collections/c", json={"space": SPACE, "dim": 2})
            first.put("/collections/c/items", json={"items": ITEMS})
        with start(tmp_path) as second:
            told = second.post("/recommend", json={"id": "north", "collection": "c"}).json()
        assert result_ids(told) == ["north/east", "east", "south"]

    def test_the_page_shows_what_is_held_and_lines_to_try(self, client):
        client.put("/collections/b", json={"space": "<script>", "dim": 2})
        page = client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        for shown in ("default", SPACE, "<td>4</td>", "&lt;script&gt;"):
            assert shown in page.text
        assert "http://recommender/recommend/audio" in page.text
        assert "<script>" not in page.text

    def test_the_page_of_an_empty_catalogue_says_how_to_fill_it(self, tmp_path):
        with start(tmp_path) as client:
            assert "soundalike index" in client.get("/").text

    def test_probes_and_limits(self, client):
        assert client.get("/livez").json() == {"status": "ok"}
        assert client.get("/readyz").json() == {"status": "ok", "collections": 1, "items": 4}
        limits = client.get("/limits").json()
        assert (limits["max_k"], limits["max_queries"]) == (1000, 3)
        assert 'route="/collections/{name}/items"' in client.get("/metrics").text

    def test_the_openapi_page_shows_every_body(self, client):
        paths = client.get("/openapi.json").json()["paths"]
        for path, method in [
            ("/recommend", "post"),
            ("/collections/{name}", "put"),
            ("/collections/{name}/items", "put"),
            ("/collections/{name}/items/delete", "post"),
        ]:
            content = paths[path][method]["requestBody"]["content"]
            properties = content["application/json"]["schema"]["properties"]
            assert properties
            assert "$ref" not in json.dumps(properties)

    def test_starts_without_what_the_embedder_needs(self, tmp_path):
        out = subprocess.check_output(
            [sys.executable, "-c", STARTS_BLOCKED, str(tmp_path)], text=True
        )
        assert out.split() == ["201", "200"]
