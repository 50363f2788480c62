"""`soundalike index FILE.parquet`: over HTTP, and straight into the folder of a recommender."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from pyarrow import parquet

from services.recommender.app import create_app
from services.recommender.settings import RecommenderSettings
from soundalike.catalogue.intake import Intake
from soundalike.cli import main
from soundalike.cli.index_vectors import Held, index_file
from soundalike.client import IMPATIENT, RecommenderClient
from soundalike.errors import SoundalikeError
from soundalike.types import Item

SPACE = "fake/0123456789ab"
ROWS, DIM = 1200, 8
VALUES = np.random.default_rng(0).normal(size=(ROWS, DIM)).astype(np.float32)
IDS = [f"{number % 7}/sound-{number:04}.wav" for number in range(ROWS)]


def write(path, values=VALUES, hashed=True, **columns):
    metadata = [
        json.dumps({"title": name, "seconds": 1.5} | ({"sha256": f"{n:064x}"} if hashed else {}))
        for n, name in enumerate(IDS[: len(values)])
    ]
    vectors = pa.array(values.tolist(), pa.list_(pa.float32()))
    table = {"id": IDS[: len(values)], "space": [SPACE] * len(values), "vector": vectors}
    parquet.write_table(pa.table(table | {"metadata": metadata} | columns), path)
    return path


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "vectors.parquet")


class Wire(httpx.BaseTransport):
    """To a recommender in this process; it counts what is written, and can be cut."""

    def __init__(self, service):
        self.service, self.written, self.cut_after = service, [], None

    def handle_request(self, request):
        if request.url.path.endswith("/items") and request.method == "PUT":
            if len(self.written) == self.cut_after:
                raise httpx.ConnectError("cut")
            self.written.append(json.loads(request.content))
        answer = self.service.request(request.method, str(request.url), content=request.read())
        return httpx.Response(answer.status_code, content=answer.content)


@pytest.fixture
def wire(tmp_path):
    with TestClient(create_app(RecommenderSettings(data_dir=tmp_path / "data"))) as service:
        yield Wire(service)


@pytest.fixture
def recommender(wire, monkeypatch):
    """The client of a recommender, which the command line finds too."""
    client = RecommenderClient("http://testserver", transport=wire, patience=IMPATIENT)

    @contextmanager
    def found(args):
        yield SimpleNamespace(recommender=client, embedder=None)

    monkeypatch.setattr("soundalike.cli.destination.client", found)
    return client


def vectors(recommender):
    items = recommender.items("default", vectors=True)
    return {one["id"]: np.float32(one["vector"]) for one in items}


def assert_all_there(recommender):
    kept = vectors(recommender)
    assert sorted(kept) == sorted(IDS)
    assert all(np.array_equal(kept[name], row) for name, row in zip(IDS, VALUES, strict=True))


def test_rows_become_items_over_http(file, recommender, capsys):
    assert main(["index", str(file), "--model", "fake", "--prefix", ""]) == 0
    assert "1200 indexed, 0 unchanged, 0 failed" in capsys.readouterr().out
    assert_all_there(recommender)
    told = recommender.collection("default")
    assert (told["space"], told["dim"], told["model"]) == (SPACE, DIM, "fake")
    one = recommender.request("GET", f"/collections/default/items/{IDS[3]}")
    assert one["metadata"] == {"title": IDS[3], "seconds": 1.5, "sha256": f"{3:064x}"}


def test_rows_go_straight_into_the_folder_of_a_running_service(file, tmp_path, recommender, wire):
    assert main(["index", str(file), "--data-dir", str(tmp_path / "data")]) == 0
    assert not wire.written
    assert_all_there(recommender)
    found = recommender.recommend(vector=VALUES[5], space=SPACE, k=1)
    assert [one.id for one in found.results] == [IDS[5]]


def test_what_stands_there_is_not_sent_again(file, recommender, wire, capsys):
    assert main(["index", str(file)]) == 0
    changed = [json.dumps({"sha256": "0" * 64})] * 3
    write(file, VALUES[:3], metadata=changed)
    wire.written.clear()
    assert main(["index", str(file), "--json"]) == 0
    assert [len(one["items"]) for one in wire.written] == [3]
    capsys.readouterr()
    assert main(["index", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["indexed"], told["unchanged"]) == (0, 3)


def test_an_import_that_was_cut_goes_on_where_it_was(file, recommender, wire):
    wire.cut_after = 1
    with pytest.raises(SoundalikeError, match="does not answer"):
        index_file(recommender, file, "default")
    wire.cut_after = None
    report = index_file(recommender, file, "default")
    assert (report.indexed, report.unchanged) == (ROWS - 500, 500)
    sent = [one["id"] for body in wire.written for one in body["items"]]
    assert sorted(sent) == sorted(IDS)  # each once
    assert_all_there(recommender)


KILLED = """
import os, signal, sys
from soundalike.catalogue.intake import Intake
from soundalike.cli import main

class Killed(Intake):
    def upsert(self, name, items, *, space=None):
        written = super().upsert(name, items, space=space)
        if sum(1 for _ in self.items(name)) >= 1000:
            os.kill(os.getpid(), signal.SIGKILL)
        return written

import soundalike.catalogue.intake as module
module.Intake = Killed
sys.exit(main(sys.argv[1:]))
"""


def test_an_import_into_a_folder_that_was_killed_goes_on(file, tmp_path):
    folder = tmp_path / "data"
    command = ["index", str(file), "--data-dir", str(folder), "--json"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *command], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = subprocess.run(
        [sys.executable, "-m", "soundalike", *command],
        capture_output=True,
        check=True,
        env=os.environ | {"SOUNDALIKE_ENGINE": "exact"},
    )
    told = json.loads(done.stdout)
    assert (told["indexed"], told["unchanged"]) == (200, 1000)
    with TestClient(create_app(RecommenderSettings(data_dir=folder))) as service:
        assert_all_there(RecommenderClient("http://testserver", transport=Wire(service)))


def test_rows_without_a_content_hash_are_written_only_where_they_differ(tmp_path):
    file = write(tmp_path / "vectors.parquet", hashed=False)
    with Intake(tmp_path / "data", engine="exact") as intake:
        index_file(intake, file, "c")
        written = (tmp_path / "data" / "catalogue.sqlite3").stat().st_size
        report = index_file(intake, file, "c")
        assert (report.indexed, report.unchanged) == (ROWS, 0)
        assert (tmp_path / "data" / "catalogue.sqlite3").stat().st_size == written


def test_rows_at_fault_are_named_and_the_rest_written(tmp_path, recommender, capsys):
    values = VALUES.copy()
    values[3], values[700, 2] = 0, np.nan
    file = write(tmp_path / "vectors.parquet", values)
    assert main(["index", str(file), "--prefix", "mine/", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["indexed"] == ROWS - 2
    assert {one["id"] for one in told["failed"]} == {f"mine/{IDS[3]}", f"mine/{IDS[700]}"}


def test_a_collection_of_another_kind_is_left_alone(file, recommender, capsys):
    recommender.create("default", space=SPACE, dim=DIM + 1)
    assert main(["index", str(file)]) == 1
    assert "with dim 9 and not 8" in capsys.readouterr().err
    assert recommender.collection("default")["items"] == 0


def test_wrong_use_is_2(tmp_path, capsys):
    assert main(["index", str(tmp_path / "none.parquet")]) == 2
    assert main(["index", "--reembed", "--data-dir", str(tmp_path)]) == 2
    assert "--data-dir" in capsys.readouterr().err


def test_held_knows_items_by_content_and_all_else(tmp_path):
    vector = VALUES[0]
    with Intake(tmp_path, engine="exact") as intake:
        intake.create("c", space=SPACE, dim=DIM)
        intake.upsert("c", [Item("a", vector, {"sha256": "1", "n": 1}), Item("b", vector, {})])
        held = Held(intake, "c")
    assert Item("a", vector, {"n": 1, "sha256": "1"}) in held
    for other in (
        Item("a", vector, {"sha256": "2", "n": 1}),
        Item("a", vector, {"sha256": "1", "n": 2}),
        Item("c", vector, {"sha256": "1", "n": 1}),
        Item("b", vector, {}),
    ):
        assert other not in held
