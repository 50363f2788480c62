"""`soundalike index` of what `soundalike extract` wrote."""

import json

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue
from soundalike.cli import main
from soundalike.embedders import create
from soundalike.extract.extractor import Extractor
from soundalike.extract.folder import Job, planned
from soundalike.extract.found import survey
from soundalike.extract.listener import Listener
from soundalike.extract.loading import Extractors
from soundalike.extract.manifest import Journal
from soundalike.extract.workers import threads
from tests.sounds import encoded, noise, tone

SOUNDS = {
    "low/one.wav": tone(hz=220),
    "low/two.wav": tone(hz=250),
    "high/one.wav": tone(hz=3000),
    "noise.wav": noise(),
}


class Silence:
    """A reporter that says nothing."""

    def begun(self, found): ...
    def done(self, outcome): ...
    def lost(self, model, reason): ...


def extract(audio, out, models=("mfcc",), **how):
    with Job(survey(audio), out, planned(models)[0], **how) as job:
        job.run(threads(Listener(Extractors().get), 1), Silence())


@pytest.fixture
def audio(tmp_path):
    for name, samples in SOUNDS.items():
        path = tmp_path / "audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(samples))
    return tmp_path / "audio"


@pytest.fixture
def out(audio, tmp_path):
    extract(audio, tmp_path / "out")
    return tmp_path / "out"


def indexed(source, data, *more):
    return main(["index", str(source), "--data-dir", str(data), "--json", *more])


def held(data, collection="default"):
    with LocalCatalogue(data) as catalogue:
        told = catalogue.describe(collection)
        return told, {one.id: one for one in catalogue.page(collection)}


def test_the_vectors_are_those_of_the_sounds_themselves(audio, out, tmp_path, capsys):
    assert indexed(out, tmp_path / "data") == 0
    assert json.loads(capsys.readouterr().out)["indexed"] == 4
    told, items = held(tmp_path / "data")
    extractor = Extractor(create("mfcc"))
    assert (told.space, told.model) == (str(extractor.space()), "mfcc")
    assert sorted(items) == sorted(SOUNDS)
    for name, item in items.items():
        assert np.array_equal(item.vector, extractor.extract(audio / name).vector)
    metadata = items["low/one.wav"].metadata
    assert (metadata["title"], metadata["label"], metadata["seconds"]) == ("one", "low", 1.0)
    assert metadata["path"] == str(audio / "low" / "one.wav")


def test_the_table_and_the_tree_make_the_same_items(audio, tmp_path, capsys):
    out = tmp_path / "out"
    extract(audio, out, vectors=True)
    for source, data in ((out / "mfcc.parquet", "table"), (out / "mfcc", "tree")):
        assert indexed(source, tmp_path / data) == 0
    (_, table), (_, tree) = held(tmp_path / "table"), held(tmp_path / "tree")
    assert [(one.id, one.metadata) for one in table.values()] == [
        (one.id, one.metadata) for one in tree.values()
    ]
    assert all(np.array_equal(table[name].vector, tree[name].vector) for name in SOUNDS)
    capsys.readouterr()
    assert indexed(out, tmp_path / "table") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["indexed"], told["unchanged"]) == (0, 4)


def test_what_changed_since_is_indexed_anew(audio, out, tmp_path, capsys):
    assert indexed(out, tmp_path / "data") == 0
    (audio / "noise.wav").write_bytes(encoded(noise(seed=1)))
    (audio / "new.wav").write_bytes(encoded(noise(seed=2)))
    extract(audio, out, skip_existing=True)
    capsys.readouterr()
    assert indexed(out, tmp_path / "data") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["indexed"], told["unchanged"]) == (2, 3)


def test_of_several_models_one_is_to_be_named(audio, tmp_path, capsys):
    out = tmp_path / "out"
    extract(audio, out, ["mfcc", "fake:sign=minus"])
    assert indexed(out, tmp_path / "data") == 2
    assert "fake_sign=minus, mfcc" in capsys.readouterr().err
    assert indexed(out, tmp_path / "data", "--model", "fake:sign=minus") == 0
    told, items = held(tmp_path / "data")
    assert (told.model, told.dim, len(items)) == ("fake:sign=minus", 8, 4)
    assert indexed(out, tmp_path / "data", "--model", "crepe") == 2
    assert "was made by 'crepe'" in capsys.readouterr().err
    assert indexed(out / "mfcc", tmp_path / "data", "--collection", "mfcc") == 0


def test_what_failed_is_named_and_the_rest_indexed(audio, tmp_path, capsys):
    (audio / "broken.wav").write_bytes(b"RIFF nothing")
    extract(audio, tmp_path / "out")
    assert indexed(tmp_path / "out", tmp_path / "data", "--prefix", "mine/") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["indexed"] == 4
    assert [one["id"] for one in told["failed"]] == ["mine/broken.wav"]
    assert "it was not extracted: " in told["failed"][0]["reason"]
    assert set(held(tmp_path / "data")[1]) == {f"mine/{name}" for name in SOUNDS}


def test_an_older_vector_of_another_space_is_named(out, tmp_path, capsys):
    journal = Journal(out / "mfcc.jsonl")
    older, newest = (
        pick(journal.entries.values(), key=lambda one: one.offset) for pick in (min, max)
    )
    journal.add(journal.record(older) | {"space": "mfcc/000000000000"})
    journal.add(journal.record(newest))
    journal.close()
    assert indexed(out, tmp_path / "data") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["indexed"] == 3
    assert [one["id"] for one in told["failed"]] == [older.file]
    assert "mfcc/000000000000" in told["failed"][0]["reason"]


def test_a_manifest_without_vectors_and_a_pooling_are_wrong_use(audio, out, tmp_path, capsys):
    assert indexed(out, tmp_path / "data", "--pooling", "mean") == 2
    (out / "mfcc.jsonl").write_text("")
    assert indexed(out, tmp_path / "data") == 2
    assert "tells of no vector" in capsys.readouterr().err
