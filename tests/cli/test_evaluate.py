import json
from contextlib import contextmanager
from types import SimpleNamespace
from xml.etree import ElementTree

import httpx
import numpy as np
import pytest

from soundalike.cli import main
from soundalike.client import RecommenderClient
from soundalike.datasets import audioset
from soundalike.evaluation.retrieval import Labelled, evaluate
from soundalike.extract.loading import Extractors
from tests.sounds import encoded, noise, tone


@pytest.fixture
def folder(tmp_path):
    """Six tones, six noises, and one sound without a label."""
    for number in range(6):
        for kind, samples in (
            ("tone", tone(1.0, 300 + 90 * number)),
            ("noise", noise(seed=number)),
        ):
            path = tmp_path / "sounds" / kind / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(samples))
    (tmp_path / "sounds" / "stray.wav").write_bytes(encoded(noise(seed=9)))
    return tmp_path / "sounds"


@pytest.fixture
def records(tmp_path):
    """Thirty records of three kinds; of every second one the label is Music too."""
    random = np.random.default_rng(0)
    path = tmp_path / "some.tfrecord"
    with path.open("wb") as file:
        audioset.write(file, (record(n, random) for n in range(30)))
    return path


def record(number, random):
    kind = number % 3
    rows = random.integers(0, 60, (10, 128)).astype(np.uint8)
    rows[:, kind::3] += 90
    labels = (200 + kind, 137) if number % 2 else (200 + kind,)
    return audioset.Record(f"video{number:06}", 0.0, 10.0, labels, rows)


def told(capsys, *arguments):
    code = main(["evaluate", "retrieval", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)["rows"]


def test_a_folder_is_embedded_and_measured(folder, capsys):
    code, rows = told(
        capsys, folder, "--model", "mfcc", "--model", "fake", "--poolings", "mean,max",
        "--transforms", "none,centre", "--k", "1,3",
    )  # fmt: skip
    assert code == 0
    assert [(row["space"].partition("/")[0], row["pooling"], row["transform"]) for row in rows] == [
        (model, pooling, transform)
        for model in ("mfcc", "fake")
        for pooling in ("mean", "max")
        for transform in ("none", "centre")
    ]
    assert rows[0]["precision"] == {"1": 1.0, "3": 1.0}
    assert rows[0]["random"] == {"1": pytest.approx(5 / 11, abs=1e-4)} | {
        "3": pytest.approx(5 / 11, abs=1e-4)
    }
    assert rows[0]["queries"] == rows[0]["items"] == 12


@pytest.mark.parametrize("poolings", [[], ["--poolings", "own,mean"]])
def test_its_vectors_are_those_that_services_give(folder, poolings, capsys):
    _, rows = told(capsys, folder, "--model", "mfcc", "--k", "1,3", *poolings)
    extractor = Extractors().get("mfcc")
    paths = sorted(folder.glob("*/*.wav"))
    vectors = np.stack([extractor.extract(path).vector for path in paths])
    labels = [[path.parent.name] for path in paths]
    expected = evaluate(Labelled("s", "own", vectors, labels), ks=[1, 3]).figures
    assert rows[0]["space"] == str(extractor.space())
    assert rows[0]["map"] == round(expected.mean_average_precision.mean, 4)


def test_embedders_heard_together_are_measured_as_one(folder, capsys):
    _, (row,) = told(capsys, folder, "--model", "mfcc+0.5*fake", "--k", "1")
    assert (row["space"].partition("/")[0], row["pooling"]) == ("fusion", "own")


def test_a_sound_that_fails_is_named_and_makes_it_1(folder, capsys):
    (folder / "tone" / "bad.wav").write_bytes(b"not a sound")
    assert main(["evaluate", "retrieval", str(folder), "--model", "mfcc", "--k", "1"]) == 1
    said = capsys.readouterr()
    assert "tone/bad.wav: " in said.err
    assert "precision@1" in said.out.splitlines()[0]
    assert said.out.splitlines()[-1].startswith("chance")


def test_records_side_by_side(records, capsys):
    _, rows = told(capsys, records, "--poolings", "flatten10,mean,meanstd")
    assert [row["pooling"] for row in rows] == ["flatten10", "mean", "meanstd"]
    assert {row["space"].partition("/")[0] for row in rows} == {audioset.EMBEDDER}
    # ten of each kind; Music and Speech alone make nothing relevant
    assert rows[0]["random"]["1"] == pytest.approx(9 / 29, abs=1e-4)
    assert rows[1]["precision"]["1"] == 1


def test_records_with_one_label(records, capsys):
    _, rows = told(capsys, records, "--only-label", "137", "--k", "1")
    assert rows[0]["items"] == 15
    assert rows[0]["random"]["1"] == pytest.approx(4 / 14, abs=1e-4)
    _, rows = told(capsys, records, "--only-label", "137", "--ignore-labels", "", "--k", "1")
    assert rows[0]["random"]["1"] == 1


def test_a_damaged_record_is_named_and_passed_over(records, capsys):
    octets = bytearray(records.read_bytes())
    octets[len(octets) // 2] ^= 1
    records.write_bytes(octets)
    assert main(["evaluate", "retrieval", str(records)]) == 1
    assert "damaged" in capsys.readouterr().err


def test_queries_of_another_source(records, folder, capsys):
    _, rows = told(capsys, records, "--queries", records, "--k", "1", "--poolings", "mean")
    assert rows[0]["precision"]["1"] == 1  # each finds itself, which is not left out
    assert rows[0]["random"]["1"] == pytest.approx(10 / 30, abs=1e-4)
    assert main(["evaluate", "retrieval", str(records), "--queries", str(folder)]) == 2


@pytest.fixture
def collection(monkeypatch):
    """A recommender with a collection of twelve items; the last has no genre."""
    angles = np.radians(np.arange(12) * 7 + 40 * (np.arange(12) % 2))
    items = [
        {
            "id": f"{n:02}",
            "vector": [float(np.cos(angle)), float(np.sin(angle))],
            "metadata": {"genre": ["jazz", "live"][: n % 2 + 1], "artist": n // 4}
            if n < 11
            else {},
        }
        for n, angle in enumerate(angles)
    ]

    def answer(request):
        if request.url.path == "/collections/mine":
            return httpx.Response(200, json={"space": "mfcc/0", "pooling": None})
        assert request.url.params["vectors"] == "true"
        return httpx.Response(200, json={"items": items, "next": None})

    @contextmanager
    def client(args):
        transport = httpx.MockTransport(answer)
        yield SimpleNamespace(recommender=RecommenderClient(transport=transport))

    monkeypatch.setattr("soundalike.cli.labelled.client", client)
    return items


def test_a_collection_is_measured_by_its_metadata(collection, capsys):
    assert main(["evaluate", "retrieval", "mine", "--label", "genre", "--json", "--k", "2"]) == 0
    said = capsys.readouterr()
    assert "1 items have no 'genre'" in said.err
    (row,) = json.loads(said.out)["rows"]
    assert (row["space"], row["pooling"], row["items"]) == ("mfcc/0", "own", 11)
    assert row["random"] == {"2": 1.0}  # all are jazz
    _, (row,) = told(capsys, "mine", "--label", "genre", "--ignore-labels", "jazz", "--k", "2")
    assert (row["queries"], row["without_relevant"]) == (5, 6)
    assert row["random"]["2"] == pytest.approx(4 / 10)


def test_items_of_one_artist_can_be_kept_apart(collection, capsys):
    arguments = ["mine", "--label", "genre", "--ignore-labels", "jazz", "--k", "2"]
    _, (row,) = told(capsys, *arguments, "--apart", "artist")
    # live are 1, 3 | 5, 7 | 9; compared are 7, 7 and 8 items
    assert row["random"]["2"] == pytest.approx((2 * 3 / 7 + 2 * 3 / 7 + 4 / 8) / 5, abs=1e-4)


@pytest.mark.parametrize(
    "arguments",
    [
        ["SOUNDS", "--only-label", "3"],
        ["SOUNDS", "--apart", "artist"],
        ["SOUNDS", "--poolings", "none"],
        ["SOUNDS", "--model", "no such model"],
        ["SOUNDS", "--transforms", "no such transform"],
        ["SOUNDS", "--k", "12"],
        ["RECORDS", "--model", "mfcc"],
        ["RECORDS", "--only-label", "5"],
        ["missing.tfrecord"],
        ["mine", "--poolings", "mean"],
    ],
)
def test_wrong_use_is_2(folder, records, arguments, capsys):
    places = {"SOUNDS": str(folder), "RECORDS": str(records)}
    given = [places.get(one, one) for one in arguments]
    assert main(["evaluate", "retrieval", *given]) == 2
    assert capsys.readouterr().err


def test_a_picture_shows_every_figure(folder, tmp_path, capsys):
    picture = tmp_path / "some.svg"
    arguments = ["--model", "mfcc", "--poolings", "mean,max", "--k", "1,3", "--svg", str(picture)]
    main(["evaluate", "retrieval", str(folder), *arguments])
    root = ElementTree.fromstring(picture.read_text())
    texts = ["".join(one.itertext()) for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "precision at 3" in texts
    assert sum(text.startswith("mfcc/") for text in texts) == 2
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 4
