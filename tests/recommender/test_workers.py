"""Several processes serve one folder: none is stale, each is replaced, all stop together."""

import os
import re
import signal
from pathlib import Path

import httpx
import numpy as np
import pytest

from soundalike.cli import main
from tests.recommender.processes import running, wait_until

SPACE = "fake/0123456789ab"
ROUNDS = 100


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(tmp_path_factory.mktemp("data"), "--workers", "2") as service:
        yield service


@pytest.fixture
def two(service):
    """A client of each of two workers, and an empty collection."""
    wait_until(lambda: len(service.workers()) == 2)
    with service.a_client_each() as clients:
        clients[0].delete("/collections/c")
        clients[0].put("/collections/c", json={"space": SPACE, "dim": 3})
        yield clients


def unit(number):
    """Points along a spiral, no two of which lie in one direction."""
    return [float(np.cos(number)), float(np.sin(number)), 0.01 * number]


def nearest(client, vector):
    answer = client.post("/recommend", json={"vector": vector, "k": 1, "collection": "c"})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def test_what_one_has_acknowledged_the_other_answers_at_once(two):
    for number in range(ROUNDS):
        writer, other = two if number % 2 else reversed(two)
        item = {"id": "moving", "vector": unit(number), "metadata": {"number": number}}
        writer.put("/collections/c/items", json={"items": [item]})
        (found,) = nearest(other, unit(number))
        assert found["metadata"] == {"number": number}
        assert found["score"] == pytest.approx(1, abs=1e-6)


def test_what_one_has_deleted_the_other_does_not_find(two):
    writer, other = two
    for number in range(ROUNDS // 2):
        item = {"id": str(number), "vector": unit(number)}
        writer.put("/collections/c/items", json={"items": [item]})
        assert nearest(other, unit(number))[0]["id"] == str(number)
        writer.delete(f"/collections/c/items/{number}")
        assert nearest(other, unit(number)) == []


def test_collections_and_aliases_of_one_are_those_of_the_other(two):
    one, other = two
    for _ in range(10):
        one.put("/collections/new", json={"space": SPACE, "dim": 2})
        one.put("/aliases/name", json={"collection": "new"})
        assert other.get("/collections/name").json()["name"] == "new"
        other.delete("/collections/new")
        assert one.get("/collections/name").status_code == 404


def count(client):
    told = client.get("/metrics").text
    labels = 'method="GET",route="/collections/{name}",status="200"'
    found = re.search(rf"^soundalike_requests_total{{{re.escape(labels)}}} (\S+)$", told, re.M)
    return float(found[1]) if found else 0.0


def test_either_counts_what_both_have_answered(two):
    before = count(two[0])
    for client, requests in zip(two, (3, 4), strict=True):
        for _ in range(requests):
            client.get("/collections/c")
    assert [count(client) for client in two] == [before + 7, before + 7]


def test_gauges_tell_what_is_held_whoever_wrote_it(two):
    two[0].put("/collections/c/items", json={"items": [{"id": "a", "vector": [1, 2, 3]}]})
    line = 'soundalike_collection_items{collection="c",engine="annoy"} 1.0'
    assert all(line in client.get("/metrics").text for client in two)


def test_a_worker_that_dies_is_replaced_and_its_counts_remain(service, two):
    two[1].get("/collections/c")
    before, old = count(two[0]), service.workers()
    os.kill(service.answering(two[1]), signal.SIGKILL)
    wait_until(lambda: len(set(service.workers()) - set(old)) == 1)
    service.wait_until_ready()
    with service.a_client_each() as clients:
        assert [count(client) for client in clients] == [before, before]
        item = {"id": "after", "vector": [1, 2, 3]}
        clients[0].put("/collections/c/items", json={"items": [item]})
        assert all(nearest(client, [1, 2, 3])[0]["id"] == "after" for client in clients)


def gone(pids):
    return not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_all_stop_together(tmp_path, how):
    with running(tmp_path, "--workers", "2") as service:
        workers = wait_until(lambda: (found := service.workers())[1:] and found)
        assert service.stop(how) == 0
        assert gone(workers)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{service.url}/livez")


def test_workers_leave_when_who_started_them_has_died(tmp_path):
    with running(tmp_path, "--workers", "2") as service:
        workers = wait_until(lambda: (found := service.workers())[1:] and found)
        service.stop(signal.SIGKILL)
        wait_until(lambda: gone(workers), within_s=20)


@pytest.mark.parametrize("arguments", [("embedder", "2"), ("recommender", "0")])
def test_workers_are_for_the_recommender_and_at_least_one(arguments, capsys):
    service, workers = arguments
    assert main(["serve", service, "--workers", workers]) == 2
    assert "--workers" in capsys.readouterr().err
