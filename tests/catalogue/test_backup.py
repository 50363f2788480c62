"""A collection goes into one file and comes back the same."""

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue
from soundalike.errors import (
    CollectionExists,
    StorageFull,
    UnknownCollection,
)
from soundalike.types import Item
from tests.catalogue.backups import (
    DIM,
    MEMBERS,
    ODD_IDS,
    everything,
    fill,
    restore,
    snapshot,
    written_by_hand,
)

RESTORES = """
import pathlib, sys
from soundalike.catalogue import LocalCatalogue

with LocalCatalogue(pathlib.Path(sys.argv[1])) as catalogue, open(sys.argv[2], "rb") as file:
    print("ready", flush=True)
    catalogue.restore("new", file)
"""


@pytest.fixture
def catalogue(tmp_path):
    with LocalCatalogue(tmp_path / "own") as catalogue:
        yield catalogue


@pytest.fixture
def other(tmp_path):
    with LocalCatalogue(tmp_path / "other") as catalogue:
        yield catalogue


def test_five_thousand_items_come_back_as_they_were(catalogue, other):
    fill(catalogue, 5000, engine="exact", model="mfcc", pooling="meanstd")
    catalogue.delete("c", [ODD_IDS[0], "item 17"])
    made = restore(other, snapshot(catalogue))
    assert made == catalogue.describe("c")
    assert everything(other) == everything(catalogue)
    query = np.random.default_rng(0).normal(size=DIM)
    assert other.recommend("c", [query]) == catalogue.recommend("c", [query])


def test_an_empty_collection_comes_back_too(catalogue, other):
    fill(catalogue, 0)
    assert restore(other, snapshot(catalogue), "d").count == 0


@pytest.mark.parametrize("transform", ["centre", "whiten+csls:5", "pca:4+expand:3"])
def test_what_a_transform_learned_comes_back_and_ranks_as_before(catalogue, other, transform):
    fill(catalogue, 200, transform=transform)
    catalogue.rebuild("c")
    catalogue.delete("c", ODD_IDS)  # so that fitting it anew would give another
    assert restore(other, snapshot(catalogue)) == catalogue.describe("c")
    query = np.random.default_rng(0).normal(size=DIM)
    (there,), (here,) = other.recommend("c", [query]), catalogue.recommend("c", [query])
    assert there == here
    assert there.neighbours[0].rank_score is not None


def test_a_restored_collection_is_written_to_as_any_other(catalogue):
    fill(catalogue, 20)
    restore(catalogue, snapshot(catalogue), "copy")
    before = catalogue.describe("copy").sequence
    catalogue.upsert("copy", [Item("new", np.ones(DIM, np.float32))])
    assert catalogue.describe("copy").sequence == before + 1
    assert catalogue.recommend("copy", [np.ones(DIM)], 1)[0].neighbours[0].id == "new"
    assert catalogue.describe("c").count == 20


def test_a_snapshot_is_of_one_moment(catalogue, other):
    """Two items are always written together, and so they are in the file."""
    fill(catalogue, 3000)
    stop = threading.Event()

    def write_two(turn):
        vector = np.full(DIM, turn, np.float32)
        catalogue.upsert("c", [Item(one, vector, {"turn": turn}) for one in ("!", "zz")])

    def write():
        turn = 1
        while not stop.is_set():
            turn += 1
            write_two(turn)

    write_two(1)
    writer = threading.Thread(target=write)
    writer.start()
    contents = [snapshot(catalogue) for _ in range(5)]
    stop.set()
    writer.join()
    for number, content in enumerate(contents):
        restore(other, content, f"c{number}")
        first, last = (other.get(f"c{number}", one) for one in ("!", "zz"))
        assert first.metadata == last.metadata
        assert first.vector[0] == last.vector[0] == first.metadata["turn"]


def test_the_members_are_what_the_manifest_says(catalogue):
    fill(catalogue, 30)
    with zipfile.ZipFile(io.BytesIO(snapshot(catalogue))) as archive:
        assert archive.namelist() == MEMBERS
        told = json.loads(archive.read("manifest.json"))
        for name, one in told["members"].items():
            content = archive.read(name)
            assert one == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        vectors = np.frombuffer(archive.read("vectors.f32"), "<f4").reshape(30, DIM)
        ids = [json.loads(line)["id"] for line in archive.read("items.jsonl").split(b"\n")[:-1]]
    for one, vector in zip(ids, vectors, strict=True):
        assert catalogue.get("c", one).vector.tobytes() == vector.tobytes()


def test_version_1_is_read(catalogue):
    content = written_by_hand(["a", "b"], [[1, 2], [3, -4]], metadata='{"n":[1, 2.50]}')
    made = restore(catalogue, content, "mine")
    assert (made.count, made.dim, made.pooling, made.sequence) == (2, 2, "mean", 7)
    assert made.created.timestamp() == 1.5
    assert everything(catalogue, "mine") == [
        ("a", np.array([1, 2], np.float32).tobytes(), {"n": [1, 2.5]}),
        ("b", np.array([3, -4], np.float32).tobytes(), {"n": [1, 2.5]}),
    ]


def test_what_is_there_is_not_written_over(catalogue):
    fill(catalogue, 20)
    content = snapshot(catalogue)
    catalogue.point("name", "c")
    for name in ("c", "name"):
        with pytest.raises(CollectionExists):
            restore(catalogue, content, name)
    with pytest.raises(UnknownCollection):
        snapshot(catalogue, "none")


def test_a_full_disk_is_told_and_leaves_nothing(catalogue):
    fill(catalogue, 2000)
    content = snapshot(catalogue)
    connection = catalogue._store._writer._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StorageFull):
        restore(catalogue, content, "new")
    connection.execute("PRAGMA max_page_count = 1000000")
    assert [one.name for one in catalogue.collections()] == ["c"]
    assert restore(catalogue, content, "new").count == 2000


class FullFile(io.BytesIO):
    def write(self, some):
        raise OSError(28, "No space left on device")


def test_no_room_for_the_file_is_told(catalogue):
    fill(catalogue, 20)
    with pytest.raises(StorageFull):
        catalogue.snapshot("c", FullFile())


def test_killed_in_the_middle_nothing_of_it_is_there(tmp_path, catalogue):
    fill(catalogue, 10_000)
    content, file = snapshot(catalogue), tmp_path / "snapshot.zip"
    file.write_bytes(content)
    began = time.monotonic()
    restore(catalogue, content, "timed")
    takes_s = time.monotonic() - began
    folder, rng, met = tmp_path / "killed", random.Random(0), set()
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", RESTORES, str(folder), str(file)], stdout=subprocess.PIPE
        )
        process.stdout.readline()
        time.sleep(rng.uniform(0.2, 1.0) * takes_s)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        with LocalCatalogue(folder) as again:
            held = {one.name: one.count for one in again.collections()}
            assert held in ({}, {"new": 10_000})
            met |= held.keys()
            if held:
                again.drop("new")
    with LocalCatalogue(folder) as again:
        assert restore(again, content, "new").count == 10_000
        names = {one.name for one in folder.iterdir()}
    assert names <= {
        "catalogue.sqlite3", "catalogue.sqlite3-wal", "catalogue.sqlite3-shm", "catalogue.lock",
        "indexes", "building.lock",
    }  # fmt: skip
