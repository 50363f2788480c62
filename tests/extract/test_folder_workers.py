import os
import signal
import threading
from pathlib import Path

import pytest

from soundalike.embedders import runtime
from soundalike.extract import workers
from soundalike.extract.outputs import Model
from tests.extract.folders import MODELS, arrays, extract, kept, write
from tests.sounds import encoded, noise

LONG_S = 900


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "in", a=200, rock__b=300, rock__c=400)


def children():
    """The processes that hear for this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"spawn_main" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found


def test_processes_write_what_threads_write(source, tmp_path):
    extract(source, tmp_path / "threads", vectors=True)
    extract(source, tmp_path / "processes", vectors=True, hear=workers.Processes(MODELS, 2))
    assert kept(tmp_path / "processes") == kept(tmp_path / "threads")
    assert not children()


def test_a_file_that_kills_its_process_is_named_and_the_rest_is_done(source, tmp_path):
    (source / "long.wav").write_bytes(encoded(noise(LONG_S, 8_000), 8_000))
    over = threading.Event()

    def kill_what_hears_the_long_one():
        """Whoever is still at it when nobody else has anything to do."""
        while not over.wait(0.02):
            for process in children():
                try:
                    opened = {str(f.readlink()) for f in Path(f"/proc/{process}/fd").iterdir()}
                except OSError:
                    continue
                if any(name.endswith("long.wav") for name in opened):
                    os.kill(process, signal.SIGKILL)

    killer = threading.Thread(target=kill_what_hears_the_long_one)
    killer.start()
    try:
        record, _ = extract(source, tmp_path / "out", hear=workers.Processes(MODELS, 2))
    finally:
        over.set()
        killer.join()
    assert record.states == {
        "a.wav": "done", "rock/b.wav": "done", "rock/c.wav": "done", "long.wav": "failed",
    }  # fmt: skip
    assert "died" in record.reasons["long.wav"]
    assert len(arrays(tmp_path / "out")) == 6


@pytest.mark.parametrize(("weights_bytes", "shared"), [(1, True), (0, False)])
def test_beside_a_device_threads_share_the_models(monkeypatch, weights_bytes, shared):
    place = runtime.Place("cuda:0", "torch", "float32")
    monkeypatch.setattr(runtime, "chosen", lambda: place)
    hear = workers.hands([Model("fake", "fake/0", weights_bytes=weights_bytes)])
    assert isinstance(hear, workers.Processes) != shared


@pytest.mark.parametrize(
    ("weights_bytes", "memory_bytes", "expected"),
    [(0, 1 << 40, 16), (0, 8 << 30, 4), (1 << 30, 48 << 30, 8), (64 << 30, 8 << 30, 1)],
)
def test_no_more_processes_than_fit_into_half_the_memory(
    monkeypatch, weights_bytes, memory_bytes, expected
):
    monkeypatch.setattr(runtime, "cores", lambda: 16)
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": memory_bytes // 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    monkeypatch.setenv("SOUNDALIKE_DEVICE", "cpu")
    hear = workers.hands([Model("fake", "fake/0", weights_bytes=weights_bytes)])
    assert hear.jobs == expected
