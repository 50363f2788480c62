"""Snapshot and restore over HTTP, and through the client."""

import httpx
import pytest

from services.recommender import backups, schemas
from soundalike.client import RecommenderClient
from soundalike.errors import BadBackup, CollectionExists, RecommenderUnavailable, UnknownCollection
from tests.recommender.asking import ITEMS, SPACE, assert_problem, start


@pytest.fixture
def snapshot(client):
    answer = client.post("/collections/default/snapshot")
    assert answer.headers["content-type"] == "application/zip"
    assert 'filename="default.soundalike.zip"' in answer.headers["content-disposition"]
    assert int(answer.headers["content-length"]) == len(answer.content)
    return answer.content


def recommender(client):
    """A client that speaks to the service of a test."""

    def serve(request):
        headers = {"content-type": request.headers.get("content-type", "")}
        answer = client.request(
            request.method, request.url.path, content=request.read(), headers=headers
        )
        return httpx.Response(answer.status_code, content=answer.content, request=request)

    return RecommenderClient("http://recommender", transport=httpx.MockTransport(serve))


def listed(client, name):
    return client.get(f"/collections/{name}/items?vectors=true").json()["items"]


def test_a_collection_moves_to_another_service(client, snapshot, tmp_path):
    with start(tmp_path / "other") as other:
        answer = other.post("/collections/mine/restore", content=snapshot)
        assert answer.status_code == 201
        told = schemas.Collection.model_validate(answer.json())
        assert (told.name, told.items, told.space, told.engine) == ("mine", 4, SPACE, "exact")
        assert listed(other, "mine") == listed(client, "default")
        body = {"id": "north", "collection": "mine"}
        assert len(other.post("/recommend", json=body).json()["results"]) == len(ITEMS) - 1


def test_faults_have_their_status(client, snapshot):
    path = "/collections/new/restore"
    assert_problem(client.post("/collections/none/snapshot"), 404, "unknown_collection")
    assert_problem(client.post(path, content=b"no zip"), 422, "bad_backup")
    assert_problem(client.post(path, content=snapshot[:-1]), 422, "bad_backup")
    answer = client.post("/collections/default/restore", content=snapshot)
    assert_problem(answer, 409, "collection_exists")
    assert_problem(client.post("/collections/.x/restore", content=snapshot), 400, "bad_request")
    assert [one["name"] for one in client.get("/collections").json()["collections"]] == ["default"]


def test_a_snapshot_may_be_larger_than_other_bodies_up_to_a_limit_of_its_own(tmp_path):
    with start(tmp_path, max_upload_mb=0.001, max_restore_mb=0.002) as client:
        answer = client.post("/collections/new/restore", content=bytes(2001))
        told = assert_problem(answer, 413, "too_large")
        assert told["limit"] == client.get("/limits").json()["max_restore_bytes"] == 2000
        assert "SOUNDALIKE_MAX_RESTORE_MB" in told["detail"]
        answer = client.post("/collections/new/restore", content=bytes(2000))
        assert_problem(answer, 422, "bad_backup")


class Full:
    """A file on a full disk."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def write(self, some):
        raise OSError(28, "No space left on device")

    def __getattr__(self, name):
        return lambda *_: 0


def test_no_room_is_told(client, snapshot, monkeypatch):
    monkeypatch.setattr(backups, "_file_without_name", lambda folder: Full())
    answer = client.post("/collections/new/restore", content=snapshot)
    assert_problem(answer, 507, "storage_full")
    assert_problem(client.post("/collections/default/snapshot"), 507, "storage_full")


def test_nothing_is_left_in_the_folder(client, snapshot, tmp_path):
    client.post("/collections/new/restore", content=snapshot)
    client.post("/collections/other/restore", content=snapshot[:-1])
    assert not [one for one in tmp_path.iterdir() if one.name.startswith("tmp")]


def test_the_client_writes_a_file_and_takes_it_in(client, tmp_path):
    service, file = recommender(client), tmp_path / "kept.zip"
    service.snapshot("default", file)
    assert service.restore("copy", file)["items"] == 4
    assert listed(client, "copy") == listed(client, "default")
    with pytest.raises(CollectionExists):
        service.restore("copy", file)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BadBackup):
        service.restore("another", file)


def test_the_client_leaves_no_part_of_a_file(client, tmp_path):
    def break_off(request):
        raise httpx.ReadError("reset")

    file = tmp_path / "kept.zip"
    with pytest.raises(UnknownCollection):
        recommender(client).snapshot("none", file)
    with pytest.raises(RecommenderUnavailable):
        RecommenderClient(transport=httpx.MockTransport(break_off)).snapshot("default", file)
    assert not list(tmp_path.glob("kept*"))


def test_the_client_asks_for_many_at_once(client):
    def serve(request):
        path, headers = request.url.raw_path.decode(), request.headers
        answer = client.request(request.method, path, content=request.read(), headers=headers)
        return httpx.Response(answer.status_code, content=answer.content, request=request)

    service = RecommenderClient("http://recommender", transport=httpx.MockTransport(serve))
    answers = service.recommend_many([[0, 1], [1, 0]], k=1, space=SPACE)
    assert [one.results for one in answers] == [
        service.recommend(vector=vector, k=1).results for vector in ([0, 1], [1, 0])
    ]
