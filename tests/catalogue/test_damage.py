"""An index that was damaged is found before it is used; answers are right all along."""

import shutil
import time

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue, building, files
from soundalike.types import Item
from tests.catalogue.conftest import build_here

SPACE = "fake/0123456789ab"
DIM, COUNT = 16, 400
RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(COUNT, DIM)).astype(np.float32)


def cut(folder):
    file = folder / "annoy.index"
    file.write_bytes(file.read_bytes()[: -4 * (DIM + 2)])


def flip(folder):
    file = folder / "annoy.index"
    damaged = bytearray(file.read_bytes())
    for place in RNG.integers(0, len(damaged), 200):
        damaged[place] ^= 0xFF
    file.write_bytes(damaged)


def zero(folder):
    file = folder / "vectors.npy"
    file.write_bytes(bytes(file.stat().st_size))


def swap(folder):
    """Exchange two files, each of which is sound."""
    (folder / "items.utf8").rename(folder / "x")
    (folder / "vectors.npy").rename(folder / "items.utf8")
    (folder / "x").rename(folder / "vectors.npy")


def lose_a_file(folder):
    (folder / "items.offsets.npy").unlink()


def lose_the_manifest(folder):
    (folder / "manifest.json").unlink()


def take_another_dimension(folder):
    file = folder / "manifest.json"
    file.write_text(file.read_text().replace(f'"dim": {DIM}', f'"dim": {DIM // 2}'))


@pytest.fixture
def directory(tmp_path, built_here):
    with LocalCatalogue(tmp_path, exact_below=100) as catalogue:
        catalogue.create("c", space=SPACE, dim=DIM, engine="annoy")
        catalogue.upsert("c", [Item(f"{n:03}", vector) for n, vector in enumerate(VECTORS)])
        catalogue.rebuild("c")
    return tmp_path


def indexes(directory):
    return [path for path in (directory / "indexes").glob("*/*") if path.is_dir()]


def the_index(directory):
    (folder,) = indexes(directory)
    return folder


def check_answers(catalogue):
    for n in range(0, COUNT, 40):
        (answer,) = catalogue.recommend("c", [VECTORS[n]], 5)
        units = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
        best = np.argsort(-units @ units[n])[:5]
        assert [one.id for one in answer.neighbours] == [f"{row:03}" for row in best]


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    "damage",
    [cut, flip, zero, swap, lose_a_file, lose_the_manifest, take_another_dimension, shutil.rmtree],
)
def test_every_damage_is_found_and_made_good(directory, monkeypatch, damage):
    released, built = [], []

    def build_when_released(*job, **how):
        wait_until(lambda: released)
        built.append(job)
        return build_here(*job, **how)

    damaged = the_index(directory)
    damage(damaged)
    monkeypatch.setattr(building, "build", build_when_released)
    with LocalCatalogue(directory, exact_below=100) as catalogue:
        info = catalogue.describe("c")
        assert (info.index, info.exact, info.count) == ("missing", True, COUNT)
        assert info.note.startswith("Every item is compared while the index is made anew: ")
        check_answers(catalogue)
        released.append(True)
        wait_until(lambda: catalogue.describe("c").index == "ready")
        assert catalogue.describe("c").note is None
        wait_until(lambda: damaged not in indexes(directory))
        assert len(built) == len(indexes(directory)) == 1
    with LocalCatalogue(directory, exact_below=100) as catalogue:
        assert catalogue.describe("c").index == "ready"


def test_an_index_of_another_collection_is_not_used(directory, monkeypatch):
    with LocalCatalogue(directory, exact_below=100) as catalogue:
        own = the_index(directory)
        catalogue.create("d", space=SPACE, dim=DIM, engine="annoy")
        catalogue.upsert("d", [Item(f"{n:03}", vector) for n, vector in enumerate(-VECTORS)])
        catalogue.rebuild("d")
        (other,) = {path for path in (directory / "indexes").glob("2/*") if path.is_dir()}
    shutil.rmtree(other)
    shutil.copytree(own, other)
    monkeypatch.setattr(building, "build", lambda *_, stop, **__: stop.wait())
    with LocalCatalogue(directory, exact_below=100) as catalogue:
        assert "another collection" in catalogue.describe("d").note
        (answer,) = catalogue.recommend("d", [-VECTORS[3]], 1)
        assert (answer.exact, answer.neighbours[0].id) == (True, "003")


def test_a_damaged_index_is_looked_into_by_another_process(directory, monkeypatch):
    """The file's digests may be right and its content crash whoever opens it."""
    damaged = the_index(directory)
    looked = []
    monkeypatch.setattr(building, "check", lambda folder, **_: looked.append(folder))
    with LocalCatalogue(directory, exact_below=100):
        assert looked == [damaged]


def test_an_index_that_is_replaced_while_it_is_opened_is_passed_over(directory, monkeypatch):
    opened = files.open_folder
    with LocalCatalogue(directory, exact_below=100) as one:

        def too_late(folder):
            monkeypatch.setattr(files, "open_folder", opened)
            one.rebuild("c")  # deletes the folder
            return opened(folder)

        monkeypatch.setattr(files, "open_folder", too_late)
        with LocalCatalogue(directory, exact_below=100) as two:
            info = two.describe("c")
    assert (info.index, info.note) == ("ready", None)
