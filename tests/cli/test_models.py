import json
import os
import shutil
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save

from soundalike import embedders
from soundalike.cli import main
from soundalike.embedders.mfcc import Mfcc
from tests.embedders.fake_hub import serving
from tests.embedders.weighed import Unfree, Weighed

FILES = {"model.safetensors": save({"gain": torch.ones(1)}), "config.json": b"{}"}
NAN = save({"gain": torch.full((1,), torch.nan)})


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path / "models"))
    registry = {one.card.key: one for one in (Mfcc, Weighed, Unfree)}
    monkeypatch.setattr(embedders, "_registry", lambda: registry)
    return tmp_path / "models"


@pytest.fixture
def hub(monkeypatch):
    with serving(FILES) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def states(capsys):
    capsys.readouterr()
    assert main(["models", "list", "--json"]) == 0
    return {one["key"]: one for one in json.loads(capsys.readouterr().out)}


def put(folder, **files):
    folder.mkdir(parents=True)
    for name, content in {**FILES, **files}.items():
        (folder / name).write_bytes(content)


def test_list_tells_states_licences_and_sizes(models, capsys, monkeypatch):
    put(models / "unfree")
    found = states(capsys)
    assert [found[key]["state"] for key in ("mfcc", "weighed", "unfree")] == [
        "here", "missing", "here",
    ]  # fmt: skip
    assert "'soundalike models pull weighed'" in found["weighed"]["reason"]
    assert found["unfree"]["size_bytes"] == sum(map(len, FILES.values()))
    assert found["unfree"]["weights"]["licence"] == "CC-BY-NC-4.0"
    monkeypatch.setenv("SOUNDALIKE_COMMERCIAL_ONLY", "1")
    assert states(capsys)["unfree"]["state"] == "refused"
    assert main(["models", "list", "weighed"]) == 0
    assert capsys.readouterr().out.startswith("weighed        missing")


def test_pull_fetches_and_says_what_it_brought(hub, capsys):
    assert main(["models", "pull", "weighed", "mfcc"]) == 0
    said = capsys.readouterr()
    assert "'weighed' is here: 0 MB under Apache-2.0" in said.out
    assert "'mfcc' needs no weights" in said.out
    assert states(capsys)["weighed"]["state"] == "here"
    hub.requests.clear()
    assert main(["models", "pull", "weighed"]) == 0
    assert "is here already" in capsys.readouterr().out
    assert hub.requests == []


def test_one_that_cannot_be_fetched_does_not_stop_the_others(hub, capsys):
    assert main(["models", "pull", "unfree", "weighed"]) == 1
    assert "unfree: The weights of 'unfree' are under CC-BY-NC-4.0" in capsys.readouterr().err
    assert states(capsys)["weighed"]["state"] == "here"
    assert main(["models", "pull", "unfree", "--accept-noncommercial"]) == 0


def test_pull_from_a_folder_needs_no_network(hub, tmp_path, capsys):
    put(tmp_path / "stick")
    assert main(["models", "pull", "--from", str(tmp_path / "stick"), "unfree"]) == 0
    assert states(capsys)["unfree"]["state"] == "here"
    assert hub.requests == []


@pytest.mark.parametrize(
    "arguments", [["pull", "nothing"], ["pull", "weighed", "mfcc", "--from", "x"]]
)
def test_wrong_use_is_2(arguments, capsys):
    assert main(["models", *arguments]) == 2
    assert capsys.readouterr().err


def test_check_loads_each_and_listens_to_its_answer(models, capsys):
    put(models / "weighed")
    put(models / "unfree", **{"model.safetensors": NAN})
    assert main(["models", "check"]) == 1
    said = capsys.readouterr()
    assert "weighed: good, weighed/" in said.out
    assert "unfree: 'unfree' answers NaN." in said.err
    assert states(capsys)["unfree"]["state"] == "quarantined"
    shutil.rmtree(models / "unfree")
    put(models / "unfree")
    assert main(["models", "check", "unfree", "mfcc"]) == 0
    assert states(capsys)["unfree"]["state"] == "here"


def test_check_finds_weights_that_changed(models, capsys):
    put(models / "weighed")
    assert main(["models", "check"]) == 0
    path = models / "weighed" / "model.safetensors"
    before = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert main(["models", "check"]) == 1
    assert "has changed since it was brought" in capsys.readouterr().err


def test_the_real_command_goes_on_after_it_was_killed(tmp_path):
    """CLAP's own files by name, a connection that stalls, and a process that is killed then."""
    weights = save({"a": torch.arange(100_000, dtype=torch.float32)})
    files = {"model.safetensors": weights, "config.json": b"{}", "preprocessor_config.json": b"{}"}
    environment = {**os.environ, "SOUNDALIKE_MODELS_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "soundalike", "models", "pull", "clap", "--quiet"]
    with serving(files) as hub:
        environment["HF_ENDPOINT"] = hub.url
        hub.stalls, hub.ends_at = True, {"model.safetensors": 200_000}
        process = subprocess.Popen(command, env=environment)
        while size_of(tmp_path, "*.part") < 100_000:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.wait()
        hub.ends_at, hub.requests = {}, []
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert any((asked or "").startswith("bytes=") for _, _, asked in hub.requests)
    assert (tmp_path / "clap" / "model.safetensors").read_bytes() == weights


def size_of(folder, pattern):
    return sum(path.stat().st_size for path in folder.rglob(pattern))
