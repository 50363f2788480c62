import dataclasses
import errno
import hashlib
import os
import pickle
import shutil
import socket
import time
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from soundalike.embedders import gathering, notes, pull, reading, weights
from soundalike.embedders import hub as hub_module
from soundalike.embedders.weights import Part
from soundalike.errors import (
    BadRequest,
    LicenceRefused,
    Quarantined,
    StorageFull,
    WeightsMissing,
)
from tests.embedders.fake_hub import COMMIT, serving
from tests.embedders.weighed import FREE, GAIN, NONCOMMERCIAL

KEY = "weighed"
STATE = {"gain": torch.full((2,), GAIN), "more": torch.arange(50_000, dtype=torch.float32)}
SAFE = save(STATE)


class Trap:
    """A pickle that makes a file when it is opened carelessly."""

    def __reduce__(self):
        return Path.touch, (Path("trapped"),)


def pickled(content, path):
    torch.save(content, path)
    return path.read_bytes()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


@pytest.fixture
def hub(monkeypatch):
    with serving({"model.safetensors": SAFE, "config.json": b"{}"}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def held(models):
    """Weights that are here from before."""
    folder = models / KEY
    folder.mkdir(parents=True)
    save_file({"gain": torch.ones(1)}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    return folder


def fetch(source=FREE, **how):
    seen = []
    place = pull.fetch(KEY, source, lambda *told: seen.append(told), **how)
    return place, seen


def gain_of(folder):
    return weights.read_state(folder, FREE)["gain"][0].item()


def test_what_is_fetched_is_found_read_and_known_by_its_digest(hub, models):
    with pytest.raises(WeightsMissing, match="soundalike models pull weighed'"):
        weights.folder(KEY, FREE)
    place, seen = fetch()
    assert place == models / KEY == weights.folder(KEY, FREE)
    assert gain_of(place) == GAIN
    assert weights.digest(place, FREE) == sha256(SAFE)
    assert seen[-1] == ("model.safetensors", len(SAFE), len(SAFE))
    assert not (models / gathering.GATHERING / KEY).exists()


def test_a_digest_is_read_from_its_note_as_long_as_the_file_is_the_same(held, monkeypatch):
    path = held / "model.safetensors"
    known = weights.digest(held, FREE)
    assert known == sha256(path.read_bytes())
    monkeypatch.setattr(weights, "file_digest", lambda path: pytest.fail("read again"))
    assert weights.digest(held, FREE) == known
    monkeypatch.undo()
    save_file({"gain": torch.zeros(3)}, path)
    assert weights.digest(held, FREE) == sha256(path.read_bytes()) != known


def test_a_pickle_is_converted_once_and_keeps_its_name_and_digest(hub, tmp_path):
    old = pickled(STATE, tmp_path / "old.bin")
    hub.files = {"pytorch_model.bin": old, "config.json": b"{}"}
    place, _ = fetch()
    assert sorted(path.name for path in place.iterdir()) == [
        "config.json", "pytorch_model.safetensors", "pytorch_model.safetensors.note.json",
    ]  # fmt: skip
    torch.testing.assert_close(load_file(place / "pytorch_model.safetensors"), STATE)
    assert weights.digest(place, FREE) == sha256(old)
    copy = shutil.copytree(place, tmp_path / "copy", copy_function=shutil.copyfile)
    assert weights.digest(copy, FREE) == sha256(old)
    assert notes.read_note(copy / "pytorch_model.safetensors").name == "pytorch_model.bin"


def test_the_cache_of_the_hubs_own_library_serves_too(tmp_path, monkeypatch):
    repository = tmp_path / "hub" / "models--somebody--weighed"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (snapshot / "model.safetensors").write_bytes(SAFE)
    with pytest.raises(WeightsMissing):
        weights.folder(KEY, FREE)
    (snapshot / "config.json").write_text("{}")
    assert weights.folder(KEY, FREE) == snapshot


def assert_not_there(match):
    started = time.monotonic()
    with pytest.raises(WeightsMissing, match=match):
        fetch()
    assert time.monotonic() - started < 5


def test_no_hub_is_said_within_5_seconds(hub, held, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert_not_there("HF_HUB_OFFLINE is set.*--from")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    hub.status = 503
    assert_not_there(f"{hub.url} answers 503; try again")
    hub.status, hub.is_hub = None, False
    assert_not_there("not as a model hub does; check HF_ENDPOINT")
    hub.silent = True
    assert_not_there(f"{hub.url} cannot be reached")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        assert_not_there("cannot be reached; try again.*--from")
    assert gain_of(held) == 1


def test_a_name_that_is_never_resolved_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(hub_module, "REACHED_WITHIN_S", 0.3)
    monkeypatch.setattr(hub_module, "_describe", lambda url: time.sleep(5))
    assert_not_there("cannot be reached")


@pytest.mark.parametrize("stalls", [True, False])
def test_half_a_download_is_gone_on_from(hub, held, monkeypatch, stalls):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    hub.stalls, hub.ends_at = stalls, {"model.safetensors": 70_000}
    with pytest.raises(WeightsMissing, match=r"stopped after 70,000 of 2.*it goes on from there"):
        fetch()
    assert gain_of(held) == 1
    hub.ends_at, hub.requests = {}, []
    place, seen = fetch()
    assert [asked for method, name, asked in hub.requests if method == "GET"] == ["bytes=70000-"]
    assert seen[0][1] > 70_000
    assert gain_of(place) == GAIN


def test_a_connection_that_breaks_on_its_way_is_taken_up_again(hub):
    ends = iter([50_000, 120_000, None])

    class Breaking(dict):
        def get(self, name):
            return next(ends) if name == "model.safetensors" else None

    hub.ends_at = Breaking()
    assert gain_of(fetch()[0]) == GAIN
    ranges = [asked for method, name, asked in hub.requests if asked]
    assert ranges == ["bytes=50000-", "bytes=120000-"]


def test_a_wrong_digest_is_thrown_away_and_what_was_there_stays(hub, held, models):
    hub.digests["model.safetensors"] = "f" * 64
    with pytest.raises(Quarantined, match=f"SHA-256 is {sha256(SAFE)} and should be f.*again"):
        fetch()
    assert gain_of(held) == 1
    hub.digests.clear()
    assert gain_of(fetch()[0]) == GAIN


def test_a_pickle_with_code_in_it_is_never_run(hub, held, tmp_path):
    bad = pickled({"gain": Trap()}, tmp_path / "bad.bin")
    hub.files = {"pytorch_model.bin": bad, "config.json": b"{}"}
    with pytest.raises(Quarantined, match=r"would run code.*thrown away.*stays"):
        fetch()
    assert gain_of(held) == 1
    (held / "model.safetensors").unlink()
    (held / "pytorch_model.bin").write_bytes(pickle.dumps({"gain": Trap()}, protocol=2))
    with pytest.raises(Quarantined, match="remove it"):
        weights.read_state(held, FREE)
    assert not Path("trapped").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", SAFE[:-100]),
        ("model.safetensors", b"<html>"),
        ("pytorch_model.bin", b"<html>"),
        ("pytorch_model.bin", b""),
        ("pytorch_model.bin", "a list"),
    ],
)
def test_what_is_broken_is_quarantined(held, tmp_path, name, content):
    (held / "model.safetensors").unlink()
    if isinstance(content, str):
        content = pickled([1, 2], tmp_path / "x.bin")
    (held / name).write_bytes(content)
    with pytest.raises(Quarantined, match="remove it and bring the weights again"):
        weights.read_state(held, FREE)


@pytest.mark.parametrize(
    "code",
    [
        b"R.",  # a call of what is on an empty stack
        b"h\x07.",  # what was never kept
    ],
)
def test_a_pickle_that_leads_its_reader_astray_is_quarantined(tmp_path, code):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", b"\x80\x02" + code)
        file.writestr("x/version", b"3\n")
    with pytest.raises(Quarantined, match="remove it"):
        reading.read(path)


def test_a_full_disk_is_said_and_what_came_stays(hub, held, monkeypatch, models):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 1000))
    with pytest.raises(StorageFull, match=r"needed and 1,000 are free.*make room, or"):
        fetch()
    monkeypatch.undo()
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(models))
    monkeypatch.setenv("HF_ENDPOINT", hub.url)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(hub_module, "_write", full)
    with pytest.raises(StorageFull, match="has no room for 'weighed'; make room"):
        fetch()
    assert gain_of(held) == 1


def test_a_folder_that_cannot_be_written_is_named(hub, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path / "file" / "models"))
    with pytest.raises(WeightsMissing, match="set SOUNDALIKE_MODELS_DIR to a folder"):
        fetch()


def test_one_process_at_a_time_fetches(hub, models):
    with gathering.gathering(KEY), pytest.raises(WeightsMissing, match="by another process"):
        fetch()


def test_noncommercial_weights_are_fetched_only_on_consent(hub, held, monkeypatch):
    with pytest.raises(LicenceRefused, match=r"CC-BY-NC-4.0.*--accept-noncommercial' fetches"):
        fetch(NONCOMMERCIAL)
    assert hub.requests == []
    assert weights.folder(KEY, NONCOMMERCIAL) == held, "what somebody put there loads"
    assert gain_of(fetch(NONCOMMERCIAL, accept_noncommercial=True)[0]) == GAIN
    monkeypatch.setenv("SOUNDALIKE_COMMERCIAL_ONLY", "1")
    for attempt in (
        lambda: fetch(NONCOMMERCIAL, accept_noncommercial=True),
        lambda: weights.folder(KEY, NONCOMMERCIAL),
        lambda: pull.take(KEY, NONCOMMERCIAL, held),
    ):
        with pytest.raises(LicenceRefused, match="SOUNDALIKE_COMMERCIAL_ONLY is set"):
            attempt()
    monkeypatch.setenv("SOUNDALIKE_COMMERCIAL_ONLY", "perhaps")
    with pytest.raises(BadRequest, match="set it to 1 or 0"):
        weights.folder(KEY, FREE)


@pytest.mark.parametrize("what", ["folder", "file", "pickle"])
def test_weights_are_taken_from_files_somebody_brought(models, tmp_path, what):
    brought = tmp_path / "stick"
    brought.mkdir()
    (brought / "config.json").write_text("{}")
    name = {"folder": "model.safetensors", "file": "any.safetensors", "pickle": "any.bin"}[what]
    content = pickled(STATE, tmp_path / "x.bin") if what == "pickle" else SAFE
    (brought / name).write_bytes(content)
    place = pull.take(KEY, FREE, brought if what == "folder" else brought / name)
    assert place == weights.folder(KEY, FREE)
    assert gain_of(place) == GAIN
    assert weights.digest(place, FREE) == sha256(content)
    assert (brought / name).exists()


@pytest.mark.parametrize(
    ("files", "origin", "says"),
    [
        (["config.json"], "", "holds none of model.safetensors"),
        (["model.safetensors"], "", "lacks config.json; put them beside"),
        (["model.txt"], "model.txt", "not a weights file; those end in"),
        ([], "nowhere", "does not exist"),
    ],
)
def test_files_that_will_not_do_are_named(tmp_path, files, origin, says):
    brought = tmp_path / "stick"
    brought.mkdir()
    for name in files:
        (brought / name).write_bytes(SAFE)
    with pytest.raises(BadRequest, match=says):
        pull.take(KEY, FREE, brought / origin)


def test_weights_that_changed_since_are_found_out(held):
    weights.digest(held, FREE)
    path = held / "model.safetensors"
    before = path.stat()
    weights.verify(held, FREE)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(Quarantined, match="has changed since it was brought"):
        weights.verify(held, FREE)


def test_a_full_disk_does_not_empty_the_note_of_what_was_released(models, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(SAFE)
    notes.write_note(path, "pytorch_model.bin", "a" * 64, sha256(SAFE))

    def full(self, text):
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        notes.note_quarantine(path, "broken")
    assert notes.read_note(path).sha256 == "a" * 64
    assert [one.name for one in tmp_path.glob("*unfinished*")] == []


def test_what_is_on_no_hub_is_asked_for_by_its_name_and_taken_from_files(hub, tmp_path):
    released = dataclasses.replace(FREE, release="release v1 of somebody/network")
    command = r"'soundalike models pull --from FOLDER weighed' takes them"
    says = rf"Get model\.safetensors and config\.json from release v1 of .*, and {command}"
    with pytest.raises(WeightsMissing, match=says):
        weights.folder(KEY, released)
    with pytest.raises(WeightsMissing, match=says):
        fetch(released)
    assert hub.requests == []
    (tmp_path / "model.safetensors").write_bytes(SAFE)
    (tmp_path / "config.json").write_text("{}")
    pull.take(KEY, released, tmp_path)
    assert gain_of(weights.folder(KEY, released)) == GAIN


@pytest.mark.parametrize("known", [8, 16, 64])
def test_a_file_is_known_by_the_beginning_of_its_digest(tmp_path, known):
    def source(digest):
        return dataclasses.replace(FREE, parts=(Part("model.safetensors", sha256=digest[:known]),))

    (tmp_path / "model.safetensors").write_bytes(SAFE)
    place = pull.take(KEY, source(sha256(SAFE)), tmp_path)
    weights.verify(place, source(sha256(SAFE)))
    with pytest.raises(Quarantined, match="is not the file that was released"):
        pull.take(KEY, source("f" * 64), tmp_path)
    with pytest.raises(Quarantined, match="is not the file that was released"):
        weights.verify(place, source("f" * 64))


def test_what_is_converted_can_be_read_by_whoever_may_read_new_files(tmp_path):
    (ordinary := tmp_path / "ordinary").touch()
    reading.save(STATE, tmp_path / "saved.safetensors")
    assert (tmp_path / "saved.safetensors").stat().st_mode == ordinary.stat().st_mode
