"""Building happens elsewhere: whatever befalls it, what serves goes on serving."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue, building, files, transforms
from soundalike.errors import CatalogueError, DamagedIndex, StorageFull, UnknownCollection
from soundalike.types import Item
from tests.catalogue import index_folders
from tests.catalogue.index_folders import COUNT, DIM, edit, forge, harm, library
from tests.engines.vectors import clustered

VECTORS = clustered(COUNT, DIM, seed=1)
PATIENCE_S = 60


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return library(tmp_path_factory.mktemp("catalogue"), VECTORS)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A library that takes seconds to index."""
    return library(tmp_path_factory.mktemp("large"), clustered(30_000, 48, seed=1))


@pytest.fixture(scope="module")
def originals(database, tmp_path_factory):
    folder = tmp_path_factory.mktemp("indexes")
    for engine in ("annoy", "faiss"):
        building.build(database, 1, folder / engine, engine=engine)
    return folder


def wait_for(condition):
    until = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)
    return found


def children(process="self"):
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def files_of_at_most(size):
    """A disk on which no file can grow beyond some bytes, for this process and its children."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestBuild:
    def test_vectors_come_to_length_one_in_double_precision(self, tmp_path):
        rng = np.random.default_rng(0)
        vectors = rng.normal(size=(60, 4)) * 10.0 ** rng.integers(-35, 36, (60, 1))
        given = vectors.astype(np.float32)
        building.build(library(tmp_path, given), 1, tmp_path / "index", engine="exact")
        stored = files.open_folder(tmp_path / "index")
        rows = [json.loads(text)["row"] for text in stored.metadata]
        wide = (3 * given)[rows].astype(np.float64)
        expected = wide / np.linalg.norm(wide, axis=1, keepdims=True)
        np.testing.assert_array_equal(stored.vectors, expected.astype(np.float32))

    def test_what_is_read_is_of_one_write_while_others_go_on(self, tmp_path):
        done = threading.Event()
        with LocalCatalogue(tmp_path) as catalogue:
            catalogue.create("sounds", space="fake/1", dim=4)

            def write():
                number = 0
                while not done.is_set():
                    pair = [Item(f"{side}{number}", np.ones(4, np.float32)) for side in "az"]
                    catalogue.upsert("sounds", pair)
                    number += 1

            writer = threading.Thread(target=write)
            writer.start()
            try:
                wait_for(lambda: catalogue.describe("sounds").count)
                made = building.build(
                    tmp_path / "catalogue.sqlite3", 1, tmp_path / "index", engine="exact"
                )
            finally:
                done.set()
                writer.join()
        assert made.items == 2 * made.sequence
        keys = list(files.open_folder(tmp_path / "index").keys)
        half = made.items // 2
        assert sorted(key[1:] for key in keys[:half]) == sorted(key[1:] for key in keys[half:])

    def test_two_builds_are_the_same_byte_for_byte(self, originals, database, tmp_path):
        for engine in ("annoy", "faiss"):
            again = building.build(database, 1, tmp_path / engine, engine=engine)
            assert again == files.verify(originals / engine)

    def test_a_transform_in_the_tables_is_taken_over_unless_it_is_to_be_fitted_anew(self, tmp_path):
        database = library(tmp_path, VECTORS, transform="centre")
        with LocalCatalogue(tmp_path) as catalogue:
            fitted = catalogue.rebuild("sounds").fitted
            catalogue.upsert("sounds", [Item("new", np.ones(DIM, np.float32))])
        kept = building.build(
            database, 1, tmp_path / "kept", engine="exact", transform="centre", refit=False
        )
        anew = building.build(database, 1, tmp_path / "anew", engine="exact", transform="centre")
        assert fitted.items == COUNT
        assert (kept.sequence, kept.fitted_at) == (2, fitted.sequence)
        assert (anew.sequence, anew.fitted_at) == (2, 2)
        assert files.open_folder(tmp_path / "kept").fitted.count == COUNT
        assert files.open_folder(tmp_path / "anew").fitted.count == COUNT + 1

    def test_too_few_items_are_searched_as_they_are(self, tmp_path):
        made = building.build(
            library(tmp_path, VECTORS[:20]),
            1,
            tmp_path / "index",
            engine="annoy",
            transform="centre",
        )
        assert (made.transform, made.fitted_at) == ("centre", 0)
        assert files.open_folder(tmp_path / "index").fitted is None

    def test_places_of_a_transform_do_not_hang_on_the_blocks_they_are_made_in(self, tmp_path):
        vectors = clustered(5000, 4, seed=1)
        database = library(tmp_path, vectors)
        building.build(database, 1, tmp_path / "index", engine="exact", transform="pca:2")
        stored = files.open_folder(tmp_path / "index")
        fitted = transforms.fit("pca:2", stored.vectors)
        np.testing.assert_array_equal(stored.places, fitted.items(stored.vectors))

    @pytest.mark.parametrize("collection", [1, 2])
    def test_a_collection_that_is_empty_or_gone_is_told(self, tmp_path, collection):
        with LocalCatalogue(tmp_path) as catalogue:
            catalogue.create("sounds", space="fake/1", dim=4)
        with pytest.raises(UnknownCollection):
            building.build(
                tmp_path / "catalogue.sqlite3", collection, tmp_path / "index", engine="exact"
            )
        assert not [path for path in tmp_path.iterdir() if path.stem == "index"]


class TestMishaps:
    @pytest.mark.parametrize("engine", ["annoy", "faiss"])
    @pytest.mark.parametrize("size", [40_000, 60_000])
    def test_a_full_disk_leaves_the_old_folder_alone_and_nothing_behind(
        self, originals, database, tmp_path, engine, size
    ):
        (tmp_path / "old").mkdir()
        with files_of_at_most(size), pytest.raises(StorageFull):
            building.build(database, 1, tmp_path / "new", engine=engine)
        assert [path.name for path in tmp_path.iterdir()] == ["old"]

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_a_full_disk_is_known_by_its_number(self, monkeypatch, number):
        from soundalike.catalogue import builder

        def full(**_):
            raise OSError(number, "full")

        monkeypatch.setitem(builder.JOBS, "build", full)
        assert builder.outcome({"build": {}})["code"] == "storage_full"

    def test_a_folder_that_is_there_is_not_touched(self, database, tmp_path):
        (tmp_path / "index").mkdir()
        (tmp_path / "index" / "mine").write_text("mine")
        with pytest.raises(CatalogueError, match="there already"):
            building.build(database, 1, tmp_path / "index", engine="exact")
        assert (tmp_path / "index" / "mine").read_text() == "mine"

    def test_a_killed_build_is_told_and_leaves_nothing_behind(self, large, tmp_path):
        def kill():
            wait_for((tmp_path / "index.unfinished" / "vectors.npy").exists)
            os.kill(children()[0], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(CatalogueError, match="SIGKILL"):
            building.build(large, 1, tmp_path / "index", engine="faiss")
        killer.join()
        assert not list(tmp_path.iterdir())

    def test_a_build_can_be_given_up(self, large, tmp_path):
        stop = threading.Event()

        def give_up():
            wait_for((tmp_path / "index.unfinished").exists)
            stop.set()

        other = threading.Thread(target=give_up)
        other.start()
        with pytest.raises(CatalogueError, match="given up"):
            building.build(large, 1, tmp_path / "index", engine="faiss", stop=stop)
        other.join()
        assert not list(tmp_path.iterdir())
        assert not children()

    def test_the_child_ends_with_its_parent_and_leaves_no_index(self, large, tmp_path):
        code = (
            "import sys; from pathlib import Path; from soundalike.catalogue import building\n"
            "building.build(Path(sys.argv[1]), 1, Path(sys.argv[2]), engine='faiss')"
        )
        index = tmp_path / "index"
        parent = subprocess.Popen([sys.executable, "-c", code, str(large), str(index)])
        wait_for((tmp_path / "index.unfinished" / "vectors.npy").exists)
        (child,) = children(parent.pid)
        parent.kill()
        parent.wait()
        wait_for(lambda: not running(child))
        assert [path.name for path in tmp_path.iterdir()] == [f"index{building.UNFINISHED}"]


class TestCheck:
    @pytest.mark.parametrize("engine", ["annoy", "faiss"])
    def test_what_was_built_passes(self, originals, engine):
        building.check(originals / engine)

    @pytest.mark.parametrize(
        ("engine", "damage"), [one for one in index_folders.ALL if one[1] != "cyclic_child"]
    )
    def test_damage_that_the_manifest_agrees_with_is_found_by_trying(
        self, originals, tmp_path, engine, damage
    ):
        folder = copied(originals / engine, tmp_path)
        harm(folder, engine, damage)
        forge(folder)
        files.verify(folder)
        with pytest.raises(DamagedIndex):
            building.check(folder)

    @pytest.mark.parametrize("claim", [{"effort": 1}, {"recall": 1.0, "effort": 20}])
    def test_an_engine_that_finds_less_than_it_claims_is_found(self, tmp_path, claim):
        database = library(tmp_path, clustered(3000, 32, seed=1, clusters=1))
        made = building.build(database, 1, tmp_path / "index", engine="annoy")
        edit(tmp_path / "index", index=made.index | claim)
        with pytest.raises(DamagedIndex, match="claims"):
            building.check(tmp_path / "index")

    def test_keys_out_of_order_are_found(self, originals, tmp_path):
        folder = copied(originals / "annoy", tmp_path)
        keys = (folder / "items.utf8").read_bytes()
        (folder / "items.utf8").write_bytes(keys.replace(b"100.wav", b"900.wav"))
        forge(folder)
        with pytest.raises(DamagedIndex, match="order"):
            building.check(folder)

    def test_an_index_that_answers_never_is_given_up(self, originals, tmp_path):
        folder = copied(originals / "annoy", tmp_path)
        harm(folder, "annoy", "cyclic_child")
        forge(folder)
        with pytest.raises(DamagedIndex, match="SIGXCPU"):
            building.check(folder, limit_s=3)
        assert not children()


def copied(folder, into):
    copy = into / folder.name
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy
