"""Indexes are exchanged under load: nobody notices, and nothing is left behind."""

import gc
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue
from soundalike.catalogue.statements import Published
from soundalike.types import Item
from tests.catalogue.conftest import build_here

DIM, COUNT = 8, 200
VECTORS = np.random.default_rng(0).normal(size=(COUNT, DIM)).astype(np.float32)


def held(directory):
    """Open files and mappings of a folder, deleted ones too."""
    files = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            files.append(str(entry.readlink()))
        except FileNotFoundError:
            continue  # it was the listing's own
    maps = Path("/proc/self/maps").read_text().splitlines()
    return [sum(str(directory) in line for line in lines) for lines in (files, maps)]


class Load:
    """Four threads that ask for items by their own vectors, until they are stopped."""

    def __init__(self, catalogue):
        self.catalogue = catalogue
        self.stop = threading.Event()
        self.faults, self.asked = [], 0
        self.threads = [threading.Thread(target=self.ask, args=(n,)) for n in range(4)]

    def ask(self, seed):
        rng = np.random.default_rng(seed)
        while not self.stop.is_set():
            n = rng.integers(COUNT)
            try:
                (answer,) = self.catalogue.recommend("c", [VECTORS[n]], 1)
                if answer.neighbours[0].id != f"{n:03}":
                    self.faults.append((n, answer))
            except Exception as error:
                self.faults.append(error)
            self.asked += 1
            time.sleep(0.001)  # the swaps want their turn too

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


@pytest.fixture
def catalogue(tmp_path, eager, built_here):
    with LocalCatalogue(tmp_path, exact_below=100) as catalogue:
        yield catalogue


@pytest.fixture
def no_collector():
    """What nobody uses must go at once: files of deleted indexes take room until then."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(("engine", "swaps"), [("annoy", 1000), ("faiss", 200)])
def test_swaps_under_load_leave_nothing_behind(catalogue, tmp_path, engine, swaps):
    pytest.importorskip(engine)
    catalogue.create("c", space="fake/0123456789ab", dim=DIM, engine=engine)
    catalogue.upsert("c", [Item(f"{n:03}", vector) for n, vector in enumerate(VECTORS)])
    catalogue.rebuild("c")
    with catalogue._store.reading() as reader:
        live = catalogue._collections.find(reader, "c")
        first = live.described.index
        folder = tmp_path / "indexes" / "1"
        manifest = build_here(catalogue._store.path, 1, folder / "second", engine=engine)
        indexes = [first, Published("second", manifest.sequence)]
        with Load(catalogue) as load:
            for turn in range(swaps):
                before_it = live.index
                catalogue._store.publish(1, None, None, indexes[(turn + 1) % 2])
                catalogue._collections.names(reader)
                if live.outdated:  # else it was renewed in the background just now
                    live.renew(reader)
                assert live.index is not before_it
                if turn == 100:
                    before = held(tmp_path)
        del live
    assert load.faults == []
    assert load.asked > swaps
    after = held(tmp_path)
    assert np.subtract(after, before).max() <= 8  # readers' own connections, and an index or two


def test_folders_of_old_indexes_are_deleted_and_those_in_use_go_on_serving(catalogue, tmp_path):
    catalogue.create("c", space="fake/0123456789ab", dim=DIM, engine="annoy")
    catalogue.upsert("c", [Item(f"{n:03}", vector) for n, vector in enumerate(VECTORS)])
    with Load(catalogue) as load:
        for _ in range(5):
            catalogue.rebuild("c")
            assert len(list((tmp_path / "indexes" / "1").iterdir())) == 1
    assert load.faults == []
    catalogue.drop("c")
    catalogue.close()
    with LocalCatalogue(tmp_path):
        assert list((tmp_path / "indexes").glob("*/*")) == []
