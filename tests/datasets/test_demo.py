from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import soundfile

from soundalike.datasets.demo import write_demo
from soundalike.errors import BadRequest


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return folder, write_demo(folder)


def test_the_library_holds_eight_of_at_least_fourteen_kinds(library):
    _, sounds = library
    kinds = Counter(sound.metadata["label"] for sound in sounds)
    assert len(kinds) >= 14
    assert set(kinds.values()) == {8}


def test_any_reader_opens_the_files(library):
    _, sounds = library
    for sound in sounds:
        read = soundfile.info(sound.path)
        assert (read.samplerate, read.channels, read.subtype) == (44_100, 1, "PCM_16")
        assert read.frames == 3 * 44_100
        assert np.abs(soundfile.read(sound.path)[0]).max() == pytest.approx(0.9, abs=1e-4)


def test_no_two_sounds_are_alike(library):
    folder, sounds = library
    assert len(set(contents(folder).values())) == len(sounds)


def test_each_sound_is_drawn_on_its_own(library):
    _, sounds = library
    rooms = {sound.metadata["reverb_s"] for sound in sounds}
    assert len(rooms) > 0.9 * len(sounds)


def test_a_file_is_named_after_its_label(library):
    folder, sounds = library
    assert sounds[0].path == folder / "plucked-string" / "plucked-string-01.wav"
    assert set(contents(folder)) == {sound.path.relative_to(folder) for sound in sounds}


def test_metadata_says_what_a_person_wants_to_know(library):
    _, sounds = library
    by_path = {sound.path.stem: sound.metadata for sound in sounds}
    told = json.loads(json.dumps(by_path["plucked-string-03"]))
    assert told["title"] == "Plucked string 3"
    assert (told["seconds"], told["source"], told["licence"]) == (3.0, "soundalike demo", "CC0-1.0")
    assert 100 < told["pitch_hz"] < 400
    assert 60 < told["tempo_bpm"] < 180
    assert "registration" not in by_path["organ-01"]


def test_a_file_carries_its_metadata(library):
    _, sounds = library
    with soundfile.SoundFile(sounds[0].path) as file:
        assert json.loads(file.comment) == sounds[0].metadata


def test_the_same_seed_gives_the_same_bytes(tmp_path, library):
    write_demo(tmp_path, per_kind=1)
    whole = contents(library[0])
    assert all(whole[path] == content for path, content in contents(tmp_path).items())


def test_another_seed_replaces_what_stands_there(tmp_path):
    write_demo(tmp_path / "a", seed=1, per_kind=1)
    write_demo(tmp_path / "b", seed=2, per_kind=1)
    write_demo(tmp_path / "b", seed=1, per_kind=1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_an_interrupted_run_resumes(tmp_path):
    paths = [sound.path for sound in write_demo(tmp_path, per_kind=1)]
    before = contents(tmp_path)
    halved, missing, kept = paths[0], paths[1], paths[2:]
    halved.write_bytes(halved.read_bytes()[:100_000])
    missing.unlink()
    halved.with_suffix(".part").write_bytes(b"RIFF")
    written_ns = [path.stat().st_mtime_ns for path in kept]
    write_demo(tmp_path, per_kind=1)
    assert contents(tmp_path) == before
    assert [path.stat().st_mtime_ns for path in kept] == written_ns


def test_progress_is_told_after_each_sound(tmp_path, library):
    told = []
    sounds = write_demo(library[0], on_progress=lambda done, total: told.append((done, total)))
    assert told == [(number, len(sounds)) for number in range(1, len(sounds) + 1)]


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"per_kind": 0}])
def test_a_senseless_wish_is_refused(tmp_path, wrong):
    with pytest.raises(BadRequest):
        write_demo(tmp_path, **wrong)
    assert not list(tmp_path.iterdir())
