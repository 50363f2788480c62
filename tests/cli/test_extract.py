import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from soundalike.cli import main
from soundalike.cli.extract_progress import Lines, duration
from soundalike.extract import workers
from soundalike.extract.folder import Job, Outcome, planned
from soundalike.extract.found import survey
from soundalike.extract.listener import Listener
from soundalike.extract.loading import Extractors
from soundalike.extract.manifest import Manifest
from soundalike.extract.outputs import Result
from tests.catalogue.test_building import files_of_at_most
from tests.extract.folders import arrays, kept, session, write
from tests.sounds import encoded, noise, tone

MODELS = ("fake", "mfcc")
RATE = 8_000


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "in", a=200, rock__b=300, rock__c=400)


@pytest.fixture
def here(monkeypatch):
    """Sounds are heard in this process."""

    def hands(models, jobs=None, *, max_seconds=None):
        return workers.threads(Listener(Extractors().get, max_seconds=max_seconds), jobs or 2)

    monkeypatch.setattr(workers, "hands", hands)


def run(source, out, *options, models=MODELS):
    return main(["extract", str(source), "--out", str(out), *options, "--models", *models])


def command(source, out, *options, models=MODELS):
    arguments = [str(source), "--out", str(out), *options, "--models", *models]
    return [sys.executable, "-m", "soundalike", "extract", *arguments]


def told(capsys):
    """The lines of JSON, and the summary behind them."""
    *lines, last = map(json.loads, capsys.readouterr().out.splitlines())
    return lines, last["summary"]


@pytest.mark.usefixtures("here")
class TestInThisProcess:
    def test_it_writes_arrays_and_ends_with_a_table(self, source, tmp_path, capsys):
        assert run(source, tmp_path / "out") == 0
        said = capsys.readouterr()
        assert list(arrays(tmp_path / "out")) == [
            f"{model}/{name}.npy" for model in MODELS for name in ("a", "rock/b", "rock/c")
        ]
        lines = said.out.splitlines()
        assert lines[0].startswith("3 of 3 files, 2 s of sound in ")
        assert lines[1].split() == ["model", "done", "skipped", "copied", "failed"]
        assert lines[2].split() == ["fake", "3", "0", "0", "0"]

    def test_failures_stand_in_the_table_and_make_it_1(self, source, tmp_path, capsys):
        (source / "x.wav").write_bytes(b"broken")
        (source / "notes.txt").write_text("no sound")
        (source / "loop").symlink_to(source)
        assert run(source, tmp_path / "out") == 1
        said = capsys.readouterr()
        assert "x.wav: fake, mfcc: This is not audio" in said.err
        assert "  x.wav  fake, mfcc  This is not audio" in said.out
        assert "1 files are no sound by their names: notes.txt" in said.err
        assert "loop: a link to a folder that it lies in" in said.err
        assert "--retry-failed" in said.out
        (source / "x.wav").write_bytes(encoded(tone(0.7, 500, RATE), RATE))
        assert run(source, tmp_path / "out", "--retry-failed") == 0
        assert "1 of 1 files" in capsys.readouterr().out

    def test_missing_weights_are_said_first_and_the_others_go_on(self, source, tmp_path, capsys):
        assert run(source, tmp_path / "out", models=["clap", "fake"]) == 1
        said = capsys.readouterr()
        assert said.err.startswith("clap: ")
        assert "soundalike models pull clap" in said.err.splitlines()[0]
        assert "soundalike models pull clap" in said.out
        assert len(arrays(tmp_path / "out")) == 3

    def test_without_any_model_nothing_is_done(self, source, tmp_path, capsys):
        assert run(source, tmp_path / "out", models=["clap"]) == 1
        assert not (tmp_path / "out").exists()

    def test_a_full_disk_is_said_and_what_is_there_is_gone_on_with(self, source, tmp_path, capsys):
        with files_of_at_most(1500):
            assert run(source, tmp_path / "out", models=["fake"]) == 1
        said = capsys.readouterr()
        assert "is full" in said.err
        assert "files are left; the same command with --skip_existing" in said.out
        assert run(source, tmp_path / "out", "--skip-existing", models=["fake"]) == 0

    def test_json_tells_of_each_file_in_a_line(self, source, tmp_path, capsys):
        (source / "x.wav").write_bytes(b"broken")
        assert run(source, tmp_path / "out", "--json") == 1
        lines, summary = told(capsys)
        assert {line["file"] for line in lines} == {"a.wav", "rock/b.wav", "rock/c.wav", "x.wav"}
        assert [line["files"] for line in lines] == [1, 2, 3, 4]
        assert {line["of"] for line in lines} == {4}
        by_file = {line["file"]: line for line in lines}
        assert by_file["a.wav"]["results"]["fake"] == {
            "state": "done", "shape": [1, 8], "reason": None,
        }  # fmt: skip
        assert by_file["x.wav"]["results"]["fake"]["state"] == "failed"
        assert summary["models"]["fake"] == {"done": 3, "skipped": 0, "copied": 0, "failed": 1}
        assert [one["file"] for one in summary["failed"]] == ["x.wav"]
        assert summary["heard_s"] == pytest.approx(0.5 + 0.6 + 0.7)

    def test_verbose_tells_of_shapes(self, source, tmp_path, capsys):
        run(source, tmp_path / "out", "--verbose")
        assert "rock/b.wav: mfcc: done (19, 104)" in capsys.readouterr().err

    def test_what_is_longer_than_allowed_is_refused(self, source, tmp_path, capsys):
        assert run(source, tmp_path / "out", "--max-seconds", "0.55") == 1
        assert "at most 0.6" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "wrong",
        [["--jobs", "0"], ["--max-seconds", "0"], ["--max-seconds", "nan"], ["--ray-send-files"]],
    )
    def test_wrong_use_is_2(self, source, tmp_path, wrong, capsys):
        assert run(source, tmp_path / "out", *wrong) == 2
        assert capsys.readouterr().err.startswith("soundalike extract: ")

    @pytest.mark.parametrize("models", [["nothing"], ["lyrics"], ["fake+mfcc"]])
    def test_models_that_make_no_sense_are_2(self, source, tmp_path, models, capsys):
        assert run(source, tmp_path / "out", models=models) == 2

    def test_a_folder_without_sounds_is_2(self, tmp_path, capsys):
        (tmp_path / "empty").mkdir()
        assert run(tmp_path / "empty", tmp_path / "out") == 2
        assert "There is no sound below" in capsys.readouterr().err

    def test_on_a_terminal_there_is_a_bar(self, source, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        (source / "x.wav").write_bytes(b"broken")
        run(source, tmp_path / "out")
        said = capsys.readouterr().err
        assert "100%|" in said
        assert "4/4 files, 2 s of sound, " in said
        assert "s a second" in said
        assert "x.wav: fake, mfcc: This is not audio" in said


def test_plain_lines_come_every_ten_seconds_and_tell_the_rest(source, tmp_path, capsys):
    now = [0.0]
    found = survey(source).sounds
    with Job(survey(source), tmp_path / "out", planned(["fake"])[0]) as job:
        lines = Lines(job, clock=lambda: now[0])
        for number, sound in enumerate(found):
            lines.begun(sound)
            now[0] += 7.0
            if number == 1:
                lines.begun(found[2])
            result = {"fake": Result("done", (1, 8))}
            lines.done(Outcome(sound, result, seconds=70.0 * (number + 1), spent_s=7.0))
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "2/3 files, 210 s of sound, 15.0 s a second, 0:07 left, rock/c.wav"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.4, "0:00"), (125, "2:05"), (3725, "1:02:05"), (360_000, "100:00:00")],
)
def test_durations_are_written_as_clocks_do(seconds, written):
    assert duration(seconds) == written


def test_ctrl_c_finishes_what_is_at_hand_and_says_how_to_go_on(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    make_tiny(source, 200)
    with subprocess.Popen(
        command(source, out, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        *_, last = process.stdout.read().splitlines()
        said = process.stderr.read()
    summary = json.loads(last)["summary"]
    assert process.returncode == 1
    assert "Finishing what is at hand" in said
    assert summary["stopped"]
    done = summary["models"]["mfcc"]["done"]
    assert 0 < done < 200
    assert len(list((out / "mfcc").glob("*.npy"))) == done == 200 - summary["left"]


def make_tiny(folder, count, seconds=0.2):
    """Make sounds that all differ, and one that is like another."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:05}.wav").write_bytes(
            encoded(noise(seconds, RATE, seed=number), RATE, subtype="PCM_16")
        )
    return folder


def good_lines(out):
    """How many files each manifest has an array for."""
    found = {}
    for path in out.glob("*.jsonl"):
        manifest = Manifest(path)
        found[path.stem] = sum(entry.error is None for entry in manifest.entries.values())
        manifest.close()
    return found


def killed_at_random(source, out, rng):
    """Start an extraction, and kill it after some files, or while it starts."""
    with subprocess.Popen(
        command(source, out, "--json", "--vectors", "--skip_existing"),
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        for _ in range(rng.randrange(8)):
            process.stdout.readline()
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
    deadline = time.monotonic() + 20
    while session(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not session(process), "what it started goes on without it"


@pytest.mark.parametrize(
    "kills", [3, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_killed_at_random_it_goes_on_as_if_nothing_had_been(tmp_path, kills, capsys):
    source = make_tiny(tmp_path / "in", 10 * kills)
    (source / "same.wav").write_bytes((source / "00003.wav").read_bytes())
    (source / "broken.wav").write_bytes(b"broken")
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    rng = random.Random(kills)
    for _ in range(kills):
        killed_at_random(source, out, rng)
    there = good_lines(out)
    assert run(source, out, "--vectors", "--skip_existing", "--json") == 1
    _, summary = told(capsys)
    for name in MODELS:
        counted = summary["models"][name]
        assert counted["skipped"] == there.get(name, 0)
        assert counted["done"] + counted["copied"] + there.get(name, 0) == 10 * kills + 1
    assert run(source, undisturbed, "--vectors") == 1
    assert kept(out) == kept(undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_files_take_no_more_memory_than_one_thousand(tmp_path):
    source = make_tiny(tmp_path / "in", 10_000, seconds=0.05)
    started = time.monotonic()
    held = {}
    with subprocess.Popen(
        command(source, tmp_path / "out", "--json", models=["fake"]),
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        for number, _ in enumerate(process.stdout):
            if number == 0:
                first_s = time.monotonic() - started
            if number in (1_000, 9_900):
                held[number] = memory(session(process))
    assert process.returncode == 0
    assert first_s < 5
    # what is kept of each file is its name, its digest and a few numbers
    assert held[9_900] - held[1_000] < 9_000 * 2_000


def memory(processes):
    """Bytes that some processes hold, what they share counted once."""
    held = 0
    for process in processes:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        held += next(int(x.split()[1]) for x in rollup.splitlines() if x.startswith("Pss:")) * 1024
    return held


def test_thirty_broken_files_of_ten_kinds_are_named_and_the_rest_is_done(tmp_path, capsys):
    source = write(tmp_path / "in", **{"naïve song": 200, "日本__音 楽": 300, "plain": 400})
    broken = make_broken(source)
    assert len(broken) == 30
    assert run(source, tmp_path / "out", "--json", models=["fake"]) == 1
    _, summary = told(capsys)
    assert {one["file"] for one in summary["failed"]} == broken
    assert all(one["reason"] for one in summary["failed"])
    assert summary["models"]["fake"]["done"] == 3
    assert set(arrays(tmp_path / "out")) == {
        "fake/naïve song.npy", "fake/日本/音 楽.npy", "fake/plain.npy",
    }  # fmt: skip


def make_broken(folder):
    """Put three files of each of ten kinds that cannot be heard into a folder; their names."""
    whole = encoded(tone(0.5), container="FLAC")
    wav = encoded(tone(0.5))
    rng = np.random.default_rng(0)
    kinds = {
        "empty.wav": lambda n: b"",
        "text.mp3": lambda n: b"no sound at all " * (n + 1),
        "picture.ogg": lambda n: b"\x89PNG\r\n\x1a\n" + rng.bytes(200 + n),
        "random.flac": lambda n: rng.bytes(500 + n),
        "head-alone.wav": lambda n: wav[: 44 - n],
        "no-samples.wav": lambda n: encoded(tone(0.0), 8_000 + n),
        "nan.wav": lambda n: encoded(np.full((99 + n, 1), np.nan, "f4"), subtype="FLOAT"),
        "absurd-rate.wav": lambda n: encoded(tone(0.1, rate=8_000), 2_000_000 + n),
        "cut-at-once.flac": lambda n: whole[: 30 + n],
        "too-short.wav": lambda n: encoded(tone((n + 1) / 96_000, rate=96_000), 96_000),
    }
    names = set()
    for kind, make in kinds.items():
        for number in range(3):
            name = f"{number}-{kind}"
            (folder / name).write_bytes(make(number))
            names.add(name)
    return names


@pytest.mark.usefixtures("here")
def test_what_is_no_file_is_named(source, tmp_path, capsys):
    (source / "nowhere.wav").symlink_to(source / "gone.wav")
    (source / "itself.wav").symlink_to(source / "itself.wav")
    os.mkfifo(source / "pipe.wav")
    (source / "folder.wav").mkdir()
    assert run(source, tmp_path / "out", "--json", models=["fake"]) == 1
    _, summary = told(capsys)
    assert {one["file"]: one["reason"] for one in summary["failed"]} == {
        "nowhere.wav": "It cannot be read: No such file or directory.",
        "itself.wav": "It cannot be read: Too many levels of symbolic links.",
        "pipe.wav": "It cannot be read: it is no file.",
    }


@pytest.mark.usefixtures("here")
def test_a_file_that_may_not_be_read_is_named(source, tmp_path, capsys, monkeypatch):
    real = Path.open

    def refuse(self, *arguments, **options):
        if self.name == "b.wav":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    assert run(source, tmp_path / "out", models=["fake"]) == 1
    assert "rock/b.wav: fake: It cannot be read: Permission denied." in capsys.readouterr().err
    assert len(arrays(tmp_path / "out")) == 2
