import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from soundalike.cli import main
from soundalike.pictures import drawing, folder, spectrograms
from soundalike.pictures.folder import Job, Order, Outcome
from tests.pictures.sounds import chirp, wav
from tests.sounds import encoded


@pytest.fixture
def sounds(tmp_path):
    """Two sounds of one stem, one in a folder below, and one that is no sound."""
    source = tmp_path / "sounds"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "a.wav").write_bytes(wav(chirp(1.0)))
    (source / "a.flac").write_bytes(encoded(chirp(0.5).astype(np.float32), 22_050, "FLAC"))
    (source / "deep" / "er" / "a.wav").write_bytes(wav(chirp(0.7)))
    (source / "broken.wav").write_bytes(b"not a sound")
    return source


def pictures_in(out):
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def run(sounds, out, *options, capsys):
    code = main(["pictures", str(sounds), "--out", str(out), "--jobs", "2", "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def test_a_folder_is_drawn_and_then_only_what_is_missing(sounds, tmp_path, capsys):
    out = tmp_path / "out"
    code, told = run(sounds, out, "--kinds", "mel", "chroma", capsys=capsys)
    assert (code, told["drawn"], told["there"]) == (1, 6, 0)
    assert [one["file"] for one in told["failed"]] == ["broken.wav"]
    assert "not audio" in told["failed"][0]["reason"]
    names = ("a.flac.png", "a.wav.png", "deep/er/a.wav.png")
    assert pictures_in(out) == [f"{kind}/{name}" for kind in ("chroma", "mel") for name in names]

    (sounds / "broken.wav").unlink()
    (out / "mel" / "a.wav.png").unlink()
    before = (out / "mel" / "a.flac.png").stat().st_mtime_ns
    code, told = run(sounds, out, "--kinds", "mel", "chroma", capsys=capsys)
    assert (code, told["drawn"], told["there"], told["failed"]) == (0, 1, 5, [])
    assert (out / "mel" / "a.flac.png").stat().st_mtime_ns == before

    code, told = run(sounds, out, "--kinds", "mel", "--force", "--bare", capsys=capsys)
    assert (code, told["drawn"]) == (0, 3)
    one = spectrograms.compute(sounds / "a.flac", ["mel"])["mel"]
    assert (out / "mel" / "a.flac.png").read_bytes() == drawing.png(one, bare=True)


def test_failures_are_told_to_people_too(sounds, tmp_path, capsys):
    for path in sounds.rglob("a.*"):
        path.unlink()
    assert main(["pictures", str(sounds), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("0 drawn, 0 there already, 1 sounds failed")
    assert "broken.wav: This is not audio" in said.err


@pytest.mark.parametrize("wrong", [["--jobs", "0"], ["--width", "3"], ["--range-db", "nan"]])
def test_wrong_use_is_2(sounds, wrong, capsys):
    assert main(["pictures", str(sounds), *wrong]) == 2
    assert wrong[0].strip("-").replace("-", "_") in capsys.readouterr().err.replace("--", "")


def test_settings_reach_the_pictures(sounds, tmp_path, capsys):
    (sounds / "broken.wav").unlink()
    options = ["--kinds", "spectrum", "--bare", "--width", "50", "--height", "40", "--jobs", "1"]
    code, _ = run(sounds, tmp_path / "out", *options, "--seconds", "0.2", capsys=capsys)
    settings = spectrograms.Settings(width=50, height=40, seconds=0.2)
    expected = spectrograms.compute(sounds / "a.wav", ["spectrum"], settings)["spectrum"]
    assert code == 0
    written = (tmp_path / "out" / "spectrum" / "a.wav.png").read_bytes()
    assert written == drawing.png(expected, bare=True)


def test_a_picture_that_cannot_be_written_leaves_nothing_behind(sounds, tmp_path, monkeypatch):
    replace = Path.replace

    def full(path, target):
        if "mel" in str(target):
            raise OSError("No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", full)
    order = Order(tmp_path / "out", ("chroma", "mel"))
    outcome = folder.draw(Job(sounds / "a.wav", Path("a.wav")), order)
    assert outcome.fault == "No space left on device"
    assert pictures_in(tmp_path / "out") == ["chroma/a.wav.png"]


def test_a_sound_that_kills_its_process_is_named_and_the_rest_is_drawn(tmp_path, monkeypatch):
    def dies_of_some(source, kinds, settings):
        if "deadly" in source.name:
            os._exit(1)
        return {}

    monkeypatch.setattr(spectrograms, "compute", dies_of_some)
    # a forked process keeps what is patched here
    monkeypatch.setattr(folder, "get_context", lambda _: multiprocessing.get_context("fork"))
    names = ["a", "deadly-1", "b", "c", "deadly-2", "d", "e"]
    jobs = [Job(Path(name), Path(name)) for name in names]
    outcomes = list(folder.draw_all(jobs, Order(tmp_path, ("mel",)), processes=2))
    assert [one.job for one in outcomes] == jobs
    faults = {one.job.source.name for one in outcomes if one.fault}
    assert faults == {"deadly-1", "deadly-2"}
    assert outcomes[0] == Outcome(jobs[0], drawn=1)
