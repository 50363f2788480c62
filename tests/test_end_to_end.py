"""The main job as a user does it: both services over real sockets, and the real curl."""

import csv
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from soundalike.client import Client
from soundalike.types import Item
from tests.sounds import encoded, noise, tone

START_WITHIN_S = 90


def free_ports():
    """Two ports that follow each other and that nobody listens on."""
    for port in range(18_001, 28_000, 2):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no free ports")


def environment(folder, **more):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SOUNDALIKE_")}
    return {**clean, "SOUNDALIKE_DATA_DIR": str(folder / "data"), **more}


def soundalike(*arguments, **how):
    command = [sys.executable, "-m", "soundalike", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **how)


def start(folder, port, fill, **more):
    """Start both services; give the process and what it said once it was ready."""
    command = [sys.executable, "-m", "soundalike", "serve", "all", "--port", str(port)]
    # a shell has what it starts in the background ignore Ctrl-C, and that is inherited
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*command, "--log-level", "warning", "--fill", fill],
        cwd=folder, env=environment(folder, **more), stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    said = []
    for line in process.stdout:
        said.append(line)
        if "Ctrl-C" in line:
            return process, "".join(said)
    raise AssertionError("".join(said))


def interrupt(process):
    """Do what Ctrl-C does: every process of the group is told."""
    os.killpg(process.pid, signal.SIGINT)
    return process.wait(timeout=20)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Both services, filled with the demo."""
    folder = tmp_path_factory.mktemp("user")
    port = free_ports()
    started = time.monotonic()
    process, said = start(folder, port, "demo")
    assert time.monotonic() - started < START_WITHIN_S
    embedder, recommender = (f"http://localhost:{p}" for p in (port, port + 1))
    urls = {"SOUNDALIKE_EMBEDDER_URL": embedder, "SOUNDALIKE_RECOMMENDER_URL": recommender}
    with Client(embedder, recommender) as client:
        yield SimpleNamespace(
            folder=folder, said=said, port=port, embedder=embedder, recommender=recommender,
            client=client, environment=environment(folder, **urls),
        )  # fmt: skip
    assert interrupt(process) == 0


def shell(line, folder):
    done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_demo_is_there(running):
    facts = running.client.recommender.collection("default")
    assert facts["items"] >= 96
    assert re.search(r"[1-9]\d+ indexed, 0 unchanged, 0 failed", running.said)
    labels = [i["metadata"]["label"] for i in running.client.recommender.items("default")]
    assert len(set(labels)) >= 12
    assert min(labels.count(label) for label in labels) >= 8


def test_the_demo_finishes_what_was_interrupted_and_leaves_other_catalogues_alone(running):
    command = [sys.executable, "-m", "soundalike", "demo", "--folder", running.folder / "data/demo"]
    recommender = running.client.recommender
    recommender.request(
        "POST", "/collections/default/items/delete", json={"ids": ["rain/rain-01.wav"]}
    )
    done = subprocess.run(command, env=running.environment, capture_output=True, text=True)
    assert "1 indexed, 159 unchanged" in done.stdout
    facts = recommender.collection("default")
    recommender.create("other", space=facts["space"], dim=facts["dim"])
    recommender.upsert("other", [Item("mine", np.ones(facts["dim"], np.float32))])
    done = subprocess.run(command, env=running.environment, capture_output=True, text=True)
    recommender.request("DELETE", "/collections/other")
    assert "holds 1 items already; nothing was added" in done.stdout


def test_the_printed_lines_work_as_they_stand(running):
    lines = [line.strip() for line in running.said.splitlines() if line.startswith("  curl")]
    assert len(lines) == 3
    embedded, recommended, at_once = (
        shell(re.sub("^curl", "curl -s", line), running.folder) for line in lines
    )
    assert len(embedded["vector"]) == embedded["dim"]
    assert recommended["results"] == at_once["results"]
    assert recommended["results"][0]["score"] == pytest.approx(1.0, abs=1e-6)


def test_the_readmes_lines_work_as_they_stand(running, root):
    block = re.search(r"```sh\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)[1]
    lines = [line for line in block.splitlines() if line.startswith("curl")]
    assert len(lines) == 3
    for line in lines:
        moved = line.replace("8001", str(running.port)).replace("8002", str(running.port + 1))
        told = shell(re.sub("^curl", "curl -s", moved), running.folder)
        assert "code" not in told
        assert told["space"].startswith("mini/")


def test_the_readmes_python_works_as_it_stands(running, root, tmp_path):
    block = re.search(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)[1]
    assert "soundalike.Client()" in block
    urls = f'"{running.embedder}", "{running.recommender}"'
    (tmp_path / "some.wav").write_bytes(encoded(noise(1.0)))
    code = block.replace("soundalike.Client()", f"soundalike.Client({urls})")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 10


def test_curl_upload_vector_neighbours(running, tmp_path):
    sound = tmp_path / "some.wav"
    sound.write_bytes((running.folder / "data/demo/bell/bell-03.wav").read_bytes())
    told = shell(f"curl -s -F file=@{sound} {running.embedder}/embed", tmp_path)
    body = tmp_path / "query.json"
    body.write_text(json.dumps({"vector": told["vector"], "k": 4, "space": told["space"]}))
    answer = shell(f"curl -s -d @{body} {running.recommender}/recommend", tmp_path)
    first, *others = answer["results"]
    assert first["id"] == "bell/bell-03.wav"
    assert first["score"] == pytest.approx(1, abs=1e-6)
    assert len(others) == 3
    assert [one["score"] for one in others] == sorted((o["score"] for o in others), reverse=True)
    assert "bell" in [one["metadata"]["label"] for one in others]


def test_the_command_line_recommends_by_file_and_by_id(running):
    path = running.folder / "data/demo/rain/rain-01.wav"
    by_file = soundalike("recommend", path, "-k", 3, "--json", env=running.environment)
    by_id = soundalike("recommend", "rain/rain-01.wav", "-k", 2, env=running.environment)
    assert by_file.returncode == by_id.returncode == 0
    results = json.loads(by_file.stdout)["results"]
    assert results[0]["id"] == "rain/rain-01.wav"
    assert [line.split()[1] for line in by_id.stdout.splitlines()] == [r["id"] for r in results[1:]]
    unknown = soundalike("recommend", "nothing", env=running.environment)
    assert unknown.returncode == 1
    assert "nothing" in unknown.stderr


def test_the_command_line_passes_on_what_is_demanded(running):
    path = running.folder / "data/demo/bell/bell-01.wav"
    asked = [
        "recommend",
        path,
        "--json",
        "-k",
        4,
        "--filter",
        '{"label": {"in": ["bell", "rain"]}}',
    ]
    asked += ["--cap", "label:2", "--exclude", "bell/bell-01.wav", "--like", "bell/bell-02.wav"]
    asked += ["--dislike", "rain/rain-01.wav", "--diversity", 0.3, "--min-score", -1, "--exact"]
    done = soundalike(*asked, env=running.environment)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert sorted(one["metadata"]["label"] for one in results) == ["bell", "bell", "rain", "rain"]
    named = {"bell/bell-01.wav", "bell/bell-02.wav", "rain/rain-01.wav"}
    assert named.isdisjoint(one["id"] for one in results)
    assert all("rank_score" in one for one in results)
    one = soundalike("recommend", path, "--collapse", -1, "--json", env=running.environment)
    (only,) = json.loads(one.stdout)["results"]
    assert len(only["same"]) == 100


def test_indexing_again_embeds_only_what_changed(running, tmp_path):
    folder = tmp_path / "music"
    (folder / "piano").mkdir(parents=True)
    (folder / "one.wav").write_bytes(encoded(tone(1.0)))
    (folder / "piano" / "two.flac").write_bytes(encoded(tone(1.0, 880), container="FLAC"))
    (folder / "notes.txt").write_text("not a sound by its name")

    def index():
        done = soundalike(
            "index", folder, "--collection", "mine", "--json", env=running.environment
        )
        return done.returncode, json.loads(done.stdout)

    assert index() == (0, {"collection": "mine", "indexed": 2, "unchanged": 0, "failed": []})
    (folder / "one.wav").write_bytes(encoded(noise(1.0)))
    (folder / "broken.mp3").write_bytes(b"not a sound by its content")
    code, report = index()
    assert (code, report["indexed"], report["unchanged"]) == (1, 1, 1)
    assert report["failed"][0]["id"] == "broken.mp3"
    assert "not audio" in report["failed"][0]["reason"]
    items = {i["id"]: i["metadata"] for i in running.client.recommender.items("mine")}
    assert items.keys() == {"one.wav", "piano/two.flac"}
    assert items["piano/two.flac"]["label"] == "piano"
    assert items["one.wav"]["path"] == str(folder / "one.wav")


@contextmanager
def asked_all_along(ask, collection):
    """Ask for neighbours again and again; gives the answers, which are there at the end."""
    answers, done = [], threading.Event()

    def go_on():
        last = False
        while not last:
            last = done.is_set()
            answers.append(ask.recommend(id="01.wav", collection=collection))

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(go_on)
        try:
            yield answers
        finally:
            done.set()
        asking.result()


def test_going_over_to_another_embedder_killed_half_way_and_resumed(running, tmp_path):
    for number in range(250):
        (tmp_path / f"{number:02d}.wav").write_bytes(encoded(noise(0.3, seed=number)))
    soundalike("index", tmp_path, "--collection", "moving", env=running.environment)
    ask = running.client.recommender
    ask.request("PUT", "/collections/moving/transform", json={"transform": "centre"})
    before = ask.collection("moving")
    again = ["index", "--reembed", "--model", "fake", "--collection", "moving"]
    with asked_all_along(ask, "moving") as answers:
        process = subprocess.Popen(
            [sys.executable, "-m", "soundalike", *again], env=running.environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        half = range(1, 250)
        while not any(one["items"] in half for one in ask.collections() if "fake" in one["space"]):
            time.sleep(0.01)
        process.kill()
        process.communicate()
        assert ask.recommend(id="00.wav", collection="moving").space == before["space"]
        done = soundalike(*again, env=running.environment)
        assert done.returncode == 0, done.stderr
    after = ask.collection("moving")
    assert [space for space, _ in itertools.groupby(one.space for one in answers)] == [
        before["space"], after["space"],
    ]  # fmt: skip
    assert {len(one.results) for one in answers} == {10}
    assert after["space"].startswith("fake/")
    assert after["items"] == before["items"] == 250
    assert after["transform"] == "centre"
    found = ask.recommend_audio(tmp_path / "07.wav", collection="moving", k=1)
    assert (found.space, found.results[0].id) == (after["space"], "07.wav")
    kept = f"moving.{before['space'].replace('/', '.')}"
    assert kept in done.stderr
    assert ask.collection(kept)["items"] == 250
    assert re.search(r"\b1\d\d unchanged", done.stdout), "what was there was not embedded again"
    assert soundalike(*again, env=running.environment).returncode == 2
    ask.delete("moving", ["00.wav"])
    ask.request("PUT", "/collections/moving/transform", json={"transform": "pca:4"})
    back = ["index", "--reembed", "--model", "mini", "--collection", "moving"]
    assert soundalike(*back, env=running.environment).returncode == 0
    assert ask.collection("moving")["name"] == kept
    assert ask.collection("moving")["transform"] == "centre"
    assert "00.wav" not in {item["id"] for item in ask.items("moving")}, "what was deleted is back"


def test_a_reason_that_concerns_all_is_told_as_it_is(running, tmp_path):
    (tmp_path / "one.wav").write_bytes(encoded(noise(1.0)))
    soundalike("index", tmp_path, "--collection", "same", env=running.environment)
    for model, says in (("nosuch", "no embedder 'nosuch'"), ("clap", "models pull clap")):
        done = soundalike(
            "index", "--reembed", "--model", model, "--collection", "same", env=running.environment
        )
        assert says in done.stderr


def test_a_name_that_is_not_utf8_is_told_and_does_not_stop_the_rest(running, tmp_path):
    (tmp_path / "ok.wav").write_bytes(encoded(noise(1.0)))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")).write_bytes(encoded(noise(1.0)))
    done = soundalike("index", tmp_path, "--collection", "latin", env=running.environment)
    assert done.returncode == 1
    assert "not UTF-8" in done.stderr
    assert [one["id"] for one in running.client.recommender.items("latin")] == ["ok.wav"]


def test_a_lost_source_keeps_the_name_where_it_is(running, tmp_path):
    for name in ("here.wav", "gone.wav"):
        (tmp_path / name).write_bytes(encoded(noise(1.0)))
    soundalike("index", tmp_path, "--collection", "lossy", env=running.environment)
    (tmp_path / "gone.wav").unlink()
    again = ["index", "--reembed", "--model", "fake", "--collection", "lossy"]
    done = soundalike(*again, env=running.environment)
    assert done.returncode == 1
    assert "gone.wav: its source is not where" in done.stderr
    ask = running.client.recommender
    assert ask.collection("lossy")["space"].startswith("mini/")
    assert soundalike(*again, "--partly", env=running.environment).returncode == 1
    assert ask.collection("lossy")["space"].startswith("fake/")


def test_sigterm_stops_the_command_line(running, tmp_path):
    for number in range(300):
        (tmp_path / f"{number}.wav").write_bytes(encoded(noise(5.0, seed=number)))
    process = subprocess.Popen(
        [sys.executable, "-m", "soundalike", "index", tmp_path, "--collection", "stopped"],
        env=running.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    ask = running.client.recommender
    while not any(one["items"] for one in ask.collections() if one["name"] == "stopped"):
        time.sleep(0.05)
    process.terminate()
    _, said = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "Traceback" not in said


def test_the_seeds_loop(running, root, tmp_path):
    for number in range(3):
        (tmp_path / f"sound {number}.wav").write_bytes(encoded(noise(1.0, seed=number)))
    script = root / "scripts" / "embed_wavs.sh"
    command = [script, tmp_path, running.embedder]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [json.loads((tmp_path / f"sound {n}.json").read_text()) for n in range(3)]
    assert len({tuple(one["vector"]) for one in told}) == 3
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "undecodable_audio" in done.stderr
    assert not (tmp_path / "bad.json").exists()


def test_real_clips_find_their_kind_through_the_whole_chain(running, shared, tmp_path):
    rows = [r for r in csv.DictReader((shared / "audio" / "dev.csv").open()) if r["set"] == "esc10"]
    assert len(rows) == 158
    for row in rows:
        target = tmp_path / "esc10" / row["label"] / Path(row["path"]).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared / "audio" / row["path"], target)
    done = soundalike(
        "index", tmp_path / "esc10", "--collection", "esc10", "--json", env=running.environment
    )
    assert json.loads(done.stdout)["indexed"] == 158
    right = 0
    for row in rows:
        answer = running.client.recommender.recommend_audio(
            shared / "audio" / row["path"], k=2, collection="esc10"
        )
        itself, neighbour = answer.results
        assert itself.id == f"{row['label']}/{Path(row['path']).name}"
        right += neighbour.metadata["label"] == row["label"]
    (other,) = running.client.recommender.recommend_audio(
        shared / "audio" / rows[0]["path"],
        k=1,
        collection="esc10",
        filter={"not": {"label": rows[0]["label"]}},
        exact=True,
    ).results
    assert other.metadata["label"] != rows[0]["label"]
    assert right / len(rows) >= 0.72, f"precision at 1: {right / len(rows):.3f}"


def test_what_was_indexed_is_there_after_a_restart_and_interrupt_stops_both(tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "one.wav").write_bytes(encoded(tone(1.0)))
    port = free_ports()
    for said_to_expect in ("1 indexed, 0 unchanged", "0 indexed, 1 unchanged"):
        process, said = start(tmp_path, port, "music")
        assert said_to_expect in said
        assert "file=@music/one.wav" in said
        assert interrupt(process) == 0
        with Client(f"http://localhost:{port}", f"http://localhost:{port + 1}") as client:
            assert not client.embedder.ready()
            assert not client.recommender.ready()


def test_with_keys_set_both_start_and_are_filled(tmp_path):
    (tmp_path / "one.wav").write_bytes(encoded(tone(1.0)))
    port = free_ports()
    process, said = start(tmp_path, port, ".", SOUNDALIKE_API_KEYS="first,second")
    assert "1 indexed" in said
    with Client(f"http://localhost:{port}", f"http://localhost:{port + 1}", "second") as client:
        assert client.recommender.recommend_audio(tmp_path / "one.wav").results
    assert process.poll() is None
    assert interrupt(process) == 0


def test_a_port_in_use_is_said_and_nothing_stays_behind(tmp_path):
    port = free_ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 1))
        taken.listen()
        done = soundalike("serve", "all", "--port", port, env=environment(tmp_path), timeout=60)
    assert done.returncode == 1
    assert f"Port {port + 1} cannot be used" in done.stderr
    assert free_ports() == port
