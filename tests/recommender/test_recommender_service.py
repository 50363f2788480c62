"""The recommender over HTTP: what it answers, and every fault with its status and code."""

import json
import subprocess
import sys
from urllib.parse import quote

import pytest

from services.recommender import schemas
from services.recommender.settings import RecommenderSettings
from soundalike.client import EmbedderClient
from soundalike.errors import StorageFull
from tests.recommender.asking import (
    BAD,
    ITEMS,
    OTHER,
    POINTS,
    SPACE,
    assert_problem,
    result_ids,
    start,
)

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


class TestService:
    def test_the_key_sent_to_the_embedder_is_our_own_where_none_is_set(self):
        assert RecommenderSettings().embedder_key is None
        assert RecommenderSettings(api_keys="a,b").embedder_key == "a"
        assert RecommenderSettings(api_keys="a,b", embedder_api_key="c").embedder_key == "c"

    def test_the_embedder_is_asked_where_and_with_the_key_that_is_set(self, tmp_path, monkeypatch):
        made = []

        class Recorded(EmbedderClient):
            def __init__(self, url, api_key, **how):
                made.append((url, api_key))
                super().__init__(url, api_key=api_key, **how)

        monkeypatch.setattr("services.recommender.app.EmbedderClient", Recorded)
        with start(tmp_path, embedder_url="http://ears", api_keys="secret"):
            assert made == [("http://ears", "secret")]

    @pytest.mark.parametrize("path", ["/recommend", "/collections/default/snapshot"])
    def test_where_keys_are_set_one_is_needed(self, tmp_path, path):
        with start(tmp_path, api_keys="secret,other") as client:
            assert_problem(client.post(path, content=b"{}"), 401, "unauthorized")
            wrong = client.post(path, content=b"{}", headers={"x-api-key": "secre"})
            assert_problem(wrong, 401, "unauthorized")
            for headers in ({"x-api-key": "other"}, {"authorization": "Bearer secret"}):
                answer = client.post(path, content=b"{}", headers=headers)
                assert answer.status_code in (400, 404)

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

    @pytest.mark.parametrize("by_line", [False, True])
    def test_a_request_holds_so_many_items_at_most(self, tmp_path, by_line):
        item = {"id": "a", "vector": [1.0, 0.0]}
        with start(tmp_path) as client:
            client.put("/collections/c", json={"space": SPACE, "dim": 2})
            most = client.get("/limits").json()["max_items"]
            items = [item] * (most + 1)
            body = "\n".join(map(json.dumps, items)) if by_line else json.dumps({"items": items})
            kind = "application/x-ndjson" if by_line else "application/json"
            headers = {"content-type": kind}
            answer = client.put("/collections/c/items", content=body, headers=headers)
            assert_problem(answer, 400, BAD)
            ids = {"ids": ["a"] * (most + 1)}
            assert_problem(client.post("/collections/c/items/delete", json=ids), 400, BAD)
