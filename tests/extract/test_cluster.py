"""The same job on a Ray cluster: the same output, whatever becomes of its machines."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from soundalike.cli import main
from soundalike.errors import SoundalikeError
from soundalike.extract import cluster, ears
from soundalike.extract.folder import Task, planned
from soundalike.extract.found import survey
from soundalike.extract.outputs import Content
from tests.extract.folders import session
from tests.sounds import encoded, noise

pytest.importorskip("ray", reason="Ray is not here: pip install 'soundalike[cluster]'")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")

MODELS = ["fake", "fake:sign=minus"]
MANY = 60


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "audio"
    (folder / "süb folder").mkdir(parents=True)
    for number in range(6):
        (folder / f"{number}.wav").write_bytes(encoded(noise(seed=number)))
    (folder / "süb folder" / "same.wav").write_bytes(encoded(noise(seed=3)))
    (folder / "broken.wav").write_bytes(b"RIFF nothing")
    return folder


def extract(audio, out, *more):
    return main(["extract", str(audio), "--out", str(out), "--models", *MODELS, "--vectors", *more])


def arrays(out):
    """What lies in a tree, byte by byte, but for the manifests, whose lines come as they come."""
    paths = (path for path in out.rglob("*") if path.is_file() and path.suffix != ".jsonl")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def lines(out):
    """The lines of the manifests, in the order of their files."""
    found = {}
    for path in sorted(out.glob("*.jsonl")):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.name] = sorted(records, key=lambda one: one["file"])
    return found


def assert_the_same(one, other):
    assert arrays(one) == arrays(other)
    assert lines(one) == lines(other)


def test_a_cluster_of_this_machine_writes_the_same(audio, tmp_path, capsys):
    assert extract(audio, tmp_path / "here", "--jobs", "1") == 1
    told = capsys.readouterr()
    assert extract(audio, tmp_path / "there", "--jobs", "1", "--ray", "local", "--json") == 1
    assert_the_same(tmp_path / "there", tmp_path / "here")
    assert "broken.wav" in told.err
    out = capsys.readouterr().out.splitlines()
    assert all(json.loads(line) for line in out)


def test_a_cluster_is_asked_for_once_there_is_something_to_hear(audio, tmp_path, capsys):
    (audio / "broken.wav").unlink()
    assert extract(audio, tmp_path / "out", "--jobs", "1") == 0
    assert extract(audio, tmp_path / "out", "--skip_existing", "--ray", "127.0.0.1:1") == 0
    (audio / "new.wav").write_bytes(encoded(noise(seed=9)))
    capsys.readouterr()
    assert extract(audio, tmp_path / "out", "--skip_existing", "--ray", "127.0.0.1:1") == 2
    assert "no Ray cluster at '127.0.0.1:1'" in capsys.readouterr().err


def test_what_goes_to_another_machine_is_its_path_or_its_bytes(audio):
    found = next(one for one in survey(audio).sounds if one.file == "1.wav")
    task = Task(found, Content.of(found.path), ("fake",))
    for send, content in ((False, None), (True, found.path.read_bytes())):
        row = cluster._Job((), None, send, None)._row(task)
        assert row["content"] == content
        assert (row["path"], row["sha256"]) == (str(found.path), task.content.sha256)
    found.path.unlink()
    assert cluster._Job((), None, True, None)._row(task)["content"] is None


def test_actors_are_as_many_as_there_is_room_for():
    gigabyte = 1 << 30
    plain = planned(["fake"])[0]
    heavy = [cluster.Model("heavy", "heavy/0", weights_bytes=gigabyte)]
    there = {"CPU": 16.0, "GPU": 2.0, "memory": 9.0 * gigabyte}
    for models, jobs, expected in (
        (plain, None, (9, {"num_cpus": 1, "memory": gigabyte})),
        (plain, 3, (3, {"num_cpus": 1, "memory": gigabyte})),
        (heavy, None, (2, {"num_cpus": 1, "num_gpus": 1})),
        (heavy, 3, (3, {"num_cpus": 1, "num_gpus": 0.5})),
    ):
        assert cluster._Job(tuple(models), jobs, False, None)._actors(there) == expected
    without = {"CPU": 2.0, "memory": 100.0 * gigabyte}
    assert cluster._Job(tuple(heavy), None, False, None)._actors(without)[0] == 2


def test_a_machine_with_another_file_or_other_weights_says_so(audio):
    one = ears.Ears(None, {"fake": "fake/other0000000"}, None)
    fault = one._listener.hear(audio / "1.wav", ["fake"]).by_model["fake"]
    assert fault.of_model
    assert "fake/other0000000 here" in fault.reason
    assert ears.is_another(audio / "1.wav", "0" * 64)
    assert ears.is_another(audio / "none.wav", "0" * 64)
    assert not ears.is_another(audio / "1.wav", Content.of(audio / "1.wav").sha256)


def test_wrong_use_is_2(audio, tmp_path, capsys):
    assert extract(audio, tmp_path / "out", "--ray-send-files") == 2
    assert "goes with --ray" in capsys.readouterr().err
    for address in ("ray://127.0.0.1:10001", "here", "127.0.0.1:x"):
        assert extract(audio, tmp_path / "out", "--ray", address) == 2
        assert "host:port" in capsys.readouterr().err


# --- two machines, which are two raylets of this one

SLOW = """
import os, time
from soundalike.embedders import fake

def prepare(self, window, before=fake.Fake.prepare):
    time.sleep(0.1)
    if window.samples.max() > 0.9:
        os._exit(1)
    return before(self, window)

fake.Fake.prepare = prepare
"""


@pytest.fixture
def unhurried(tmp_path, monkeypatch):
    """Hearing takes its time in whatever is started."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))


@pytest.fixture
def nodes(unhurried, monkeypatch):
    """A cluster of two nodes of one core each, on which hearing takes its time."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster()
    try:
        for _ in range(2):
            made.add_node(num_cpus=1, object_store_memory=100_000_000, include_dashboard=False)
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()


def started(audio, out, *more):
    command = [sys.executable, "-m", "soundalike", "extract", str(audio), "--out", str(out)]
    with out.with_suffix(".stdout").open("wb") as told:
        return subprocess.Popen(
            [*command, "--models", *MODELS, "--vectors", "--json", *more],
            stdout=told,
            start_new_session=True,
        )


def wait_for_lines(manifest, least, process):
    while process.poll() is None:
        if manifest.is_file() and manifest.read_bytes().count(b"\n") >= least:
            return
        time.sleep(0.05)
    raise AssertionError("it ended before it was half-way")


def hears(node):
    """Whether an actor that hears runs on a node: a process below its raylet."""
    raylet = node.all_processes["raylet"][0].process.pid
    for one in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((one / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == raylet and b"(Ears)" in (one / "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_node_that_is_killed_half_way_changes_nothing(nodes, tmp_path):
    audio = tmp_path / "audio"
    audio.mkdir()
    for number in range(MANY):
        (audio / f"{number}.wav").write_bytes(encoded(noise(seed=number)))
    head, other = nodes.head_node, *nodes.worker_nodes
    process = started(audio, tmp_path / "there", "--ray", nodes.address)
    wait_for_lines(tmp_path / "there" / "fake.jsonl", MANY // 2, process)
    assert hears(head)
    assert hears(other)
    nodes.remove_node(other, allow_graceful=False)
    assert process.wait(300) == 0
    told = [json.loads(line) for line in (tmp_path / "there.stdout").read_text().splitlines()]
    assert told[-1]["summary"]["models"]["fake"]["done"] == MANY
    assert main(["extract", str(audio), "--out", str(tmp_path / "here"), "--models", *MODELS,
                 "--vectors", "--jobs", "1"]) == 0  # fmt: skip
    assert_the_same(tmp_path / "there", tmp_path / "here")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_file_that_kills_whoever_hears_it_is_named_and_the_rest_done(nodes, tmp_path):
    audio = tmp_path / "audio"
    audio.mkdir()
    for number in range(4):
        (audio / f"{number}.wav").write_bytes(encoded(noise(seed=number)))
    (audio / "deadly.wav").write_bytes(encoded(np.full((16_000, 1), 0.95, np.float32)))
    assert started(audio, tmp_path / "out", "--ray", nodes.address).wait(300) == 1
    errors = {one["file"]: one["error"] for one in lines(tmp_path / "out")["fake.jsonl"]}
    assert "died" in errors.pop("deadly.wav")
    assert set(errors.values()) == {None}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_files_are_sent_where_the_machines_do_not_share_them(nodes, audio, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # after the nodes were started: they are at home elsewhere
    (audio / "broken.wav").unlink()
    mine = Path("/proc/self/cwd/audio")
    out = tmp_path / "out"
    assert started(mine, out, "--ray", nodes.address).wait(300) == 1
    errors = [one["error"] for one in lines(out)["fake.jsonl"]]
    assert all("--ray-send-files" in one for one in errors)
    more = ["--retry-failed", "--ray-send-files", "--ray", nodes.address]
    assert started(mine, out, *more).wait(300) == 0
    assert extract(mine, tmp_path / "here", "--jobs", "1") == 0
    assert arrays(out) == arrays(tmp_path / "here")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("unhurried")
def test_what_ends_all_at_once_ends_it_after_the_files_at_hand(tmp_path):
    audio, out = tmp_path / "audio", tmp_path / "out"
    audio.mkdir()
    for number in range(MANY):
        (audio / f"{number}.wav").write_bytes(encoded(noise(seed=number)))
    process = started(audio, out, "--ray", "local", "--jobs", "1")
    wait_for_lines(out / "fake.jsonl", 3, process)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(30) == 1
    summary = json.loads(out.with_suffix(".stdout").read_text().splitlines()[-1])["summary"]
    assert summary["stopped"]
    assert 0 < summary["left"] == MANY - len(lines(out)["fake.jsonl"])
    gone_by = time.monotonic() + 10
    while (left := session(process)) and time.monotonic() < gone_by:
        time.sleep(0.1)
    assert not left, "what it started goes on without it"


@pytest.mark.slow
def test_a_cluster_on_which_nothing_can_be_loaded_is_given_up(audio):
    found = survey(audio).sounds[0]
    tasks = iter([Task(found, Content.of(found.path), ("none",))])
    hear = cluster.hands([cluster.Model("none", "none/0")], "local", 1)
    with pytest.raises(SoundalikeError, match=r"The cluster gave up: .*no embedder 'none'"):
        list(hear(tasks))
