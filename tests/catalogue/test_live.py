"""Collections in use keep their own facts together, and their faults to themselves."""

import threading
import time

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue, query, transforms
from soundalike.catalogue.reader import Reader
from soundalike.catalogue.recall import Recall
from soundalike.catalogue.statements import Learned
from soundalike.errors import Overloaded
from soundalike.types import Item

DIM, COUNT = 8, 300
VECTORS = np.random.default_rng(0).normal(size=(COUNT, DIM)).astype(np.float32)
PATIENCE_S = 60


def wait_for(condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def catalogue(tmp_path, built_here, engines_serve):
    with LocalCatalogue(tmp_path, exact_below=100) as catalogue:
        catalogue.create("c", space="s", dim=DIM)
        catalogue.upsert("c", [Item(f"{n:03}", one) for n, one in enumerate(VECTORS)])
        catalogue.rebuild("c")
        yield catalogue


@pytest.fixture
def nothing_follows(catalogue):
    catalogue._keeper._following.close()


class TestMeasuring:
    def test_an_engine_is_not_put_over_an_index_that_came_meanwhile(
        self, catalogue, nothing_follows, monkeypatch
    ):
        def measure_slowly(recall, engine):
            catalogue.delete("c", [f"{n:03}" for n in range(150)])
            catalogue.rebuild("c")
            return engine.with_effort(2 * engine.effort)

        live = catalogue._find("c")
        monkeypatch.setattr(Recall, "measure", measure_slowly)
        live.measure()
        assert live.snapshot.engine is live.snapshot.base.engine
        (answer,) = catalogue.recommend("c", [VECTORS[200]], 1)
        assert answer.neighbours[0].id == "200"

    def test_a_sample_goes_to_the_recall_of_the_index_that_was_asked(
        self, catalogue, nothing_follows, monkeypatch
    ):
        offered = []
        monkeypatch.setattr(Recall, "offer", lambda recall, *_: offered.append(recall))
        search = query.search

        def search_slowly(*args, **how):
            catalogue.rebuild("c")
            return search(*args, **how)

        asked = catalogue._find("c").serving
        monkeypatch.setattr(query, "search", search_slowly)
        catalogue.recommend("c", [VECTORS[0]], 1)
        assert offered == [asked.recall]
        assert catalogue._find("c").serving is not asked


class TestRebuild:
    def rebuild_meanwhile(self, catalogue, what):
        """Ask for a rebuild while somebody else builds, who does something before he is done."""
        asked = threading.Thread(target=catalogue.rebuild, args=("c",))
        with catalogue._keeper._shelf.building(wait=True):
            asked.start()
            wait_for(lambda: catalogue._keeper._waiting)
            what()
        asked.join()

    def test_it_keeps_the_transform_that_was_set_while_it_waited(self, catalogue):
        self.rebuild_meanwhile(catalogue, lambda: catalogue._store.publish(1, "centre", None, None))
        assert catalogue.describe("c").transform == "centre"
        assert catalogue.describe("c").fitted is not None

    def test_a_second_one_does_not_wait_as_well(self, catalogue):
        def refused():
            for again in (catalogue.rebuild, lambda name: catalogue.set_transform(name, "centre")):
                with pytest.raises(Overloaded) as told:
                    again("c")
                assert told.value.facts["retry_after"] > 0

        self.rebuild_meanwhile(catalogue, refused)
        assert catalogue.set_transform("c", "centre").transform == "centre"


class TestFaults:
    @pytest.fixture
    def broken(self, catalogue):
        """Beside it one whose transform cannot be read."""
        catalogue.create("broken", space="s", dim=DIM)
        catalogue._store.publish(2, "centre", Learned(b"no parameters", 1), None)
        return catalogue

    def test_one_that_cannot_be_read_leaves_the_others_in_use(self, broken, tmp_path):
        assert [one.name for one in broken.collections()] == ["c"]
        broken.close()
        with LocalCatalogue(tmp_path, exact_below=100) as again:
            assert [one.name for one in again.collections()] == ["c"]
            again.upsert("c", [Item("new", VECTORS[0])])
            assert again.describe("c").count == COUNT + 1

    def test_it_can_be_dropped(self, broken):
        broken.drop("broken")
        broken.create("broken", space="s", dim=DIM)
        assert [one.name for one in broken.collections()] == ["broken", "c"]


def test_a_transform_and_what_it_learned_are_read_at_one_moment(
    catalogue, nothing_follows, monkeypatch
):
    live, learned = catalogue._find("c"), Reader.learned
    fitted = transforms.fit("centre", VECTORS)

    def publish_just_before(reader, collection):
        monkeypatch.setattr(Reader, "learned", learned)
        catalogue._store.publish(1, "centre", Learned(fitted.to_bytes(), 1), None)
        return learned(reader, collection)

    monkeypatch.setattr(Reader, "learned", publish_just_before)
    with catalogue._store.reading() as reader:
        described, found, _ = live._open(reader, check=False)
    assert (described.record.transform is None) == (found is None)


def test_the_index_of_a_dropped_collection_is_deleted(catalogue, tmp_path):
    assert list((tmp_path / "indexes" / "1").iterdir())
    catalogue.drop("c")
    wait_for(lambda: not list((tmp_path / "indexes").glob("*/*")))
