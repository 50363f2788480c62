"""`soundalike index FILE.tfrecord`, and what `recommend` prints of such a collection."""

import json
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from services.recommender.app import create_app
from services.recommender.settings import RecommenderSettings
from soundalike.cli import main
from soundalike.client import RecommenderClient
from soundalike.datasets import audioset
from soundalike.datasets.audioset import Record

NAMES = "index,mid,display_name\n0,/m/1,Speech\n137,/m/2,Music\n"


def record(number):
    octets = np.random.default_rng(number).integers(0, 256, (10, 128), np.uint8)
    return Record(f"-ideo-{number:05}", 30.0, 40.0, (137 if number % 2 else 0,), octets)


RECORDS = [record(number) for number in range(5)]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some.tfrecord"
    with path.open("wb") as opened:
        audioset.write(opened, RECORDS)
    return path


@pytest.fixture
def recommender(tmp_path, monkeypatch):
    """The client of a recommender, which the command line finds too."""
    settings = RecommenderSettings(data_dir=tmp_path / "data")
    with TestClient(create_app(settings)) as service:

        def forward(request):
            answer = service.request(request.method, str(request.url), content=request.content)
            return httpx.Response(answer.status_code, content=answer.content)

        client = RecommenderClient("http://testserver", transport=httpx.MockTransport(forward))

        @contextmanager
        def found(args):
            yield SimpleNamespace(recommender=client)

        monkeypatch.setattr("soundalike.cli.index_records.services", found)
        monkeypatch.setattr("soundalike.cli.recommend.client", found)
        yield client


@pytest.mark.parametrize("pooling", ["flatten10", "mean", "meanstd"])
def test_records_become_items_of_their_poolings_space(file, recommender, pooling, capsys):
    assert main(["index", str(file), "--pooling", pooling]) == 0
    assert "5 indexed, 0 unchanged, 0 failed" in capsys.readouterr().out
    told = recommender.collection("default")
    assert (told["space"], told["pooling"]) == (str(audioset.space(pooling)), pooling)
    for one in RECORDS:
        kept = recommender.request("GET", f"/collections/default/items/{one.video_id}")
        assert np.array_equal(np.float32(kept["vector"]), audioset.vector(one, pooling))


def test_labels_are_named_and_chosen(file, recommender, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text(NAMES)
    assert main(["index", str(file), "--labels", str(table), "--only-label", "137"]) == 0
    kept = {one["id"]: one["metadata"]["labels"] for one in recommender.items("default")}
    assert kept == {RECORDS[1].video_id: ["Music"], RECORDS[3].video_id: ["Music"]}


def test_damage_is_named_and_the_rest_indexed(file, recommender, capsys):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert main(["index", str(file), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["indexed"] == 4
    assert [one["id"] for one in told["failed"]] == ["record 3"]
    assert len(list(recommender.items("default"))) == 4


def test_what_comes_before_the_unreadable_is_indexed(file, recommender, capsys):
    file.write_bytes(file.read_bytes() + bytes(1_200_000))
    assert main(["index", str(file)]) == 1
    said = capsys.readouterr()
    assert "5 indexed, 0 unchanged, 1 failed" in said.out
    assert "the rest of the file cannot be read" in said.err


def test_a_record_without_a_direction_is_named(file, recommender, capsys):
    silent = Record("silent-0000", 0.0, 10.0, (0,), np.zeros((10, 128), np.uint8))
    with file.open("ab") as opened:
        audioset.write(opened, [silent])
    assert main(["index", str(file)]) == 1
    assert "silent-0000: " in capsys.readouterr().err
    assert len(list(recommender.items("default"))) == 5


def test_another_pooling_does_not_fit_the_collection(file, recommender, capsys):
    assert main(["index", str(file)]) == 0
    assert main(["index", str(file), "--pooling", "mean"]) == 1
    assert "audioset-vggish/" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [["--only-label", "5"], ["--pooling", "none"], ["--labels", "nowhere.csv"]],
)
def test_wrong_use_is_2(file, recommender, wrong, capsys):
    assert main(["index", str(file), *wrong]) == 2
    assert main(["index", str(file.with_name("none.tfrecord"))]) == 2
    assert not recommender.collections()


def test_neighbours_are_printed_with_their_links(file, recommender, capsys):
    assert main(["index", str(file)]) == 0
    capsys.readouterr()
    assert main(["recommend", "-k", "1", "--", RECORDS[0].video_id]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    score, found, url = line.split()
    assert url == f"https://www.youtube.com/watch?v={found}&t=30s"
    assert -1 <= float(score) <= 1
