"""What is found does not depend on how: in the index, in the tail, while it is rebuilt."""

import threading
import time

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue, building, query
from soundalike.catalogue.rows import Base
from soundalike.catalogue.snapshot import Index, Items
from soundalike.errors import StorageFull
from soundalike.types import Item

SPACE = "fake/0123456789ab"


def clustered(count, dim, seed):
    centres = np.random.default_rng(0).normal(size=(10, dim))
    rng = np.random.default_rng(seed)
    return centres[rng.integers(0, 10, count)] + 0.5 * rng.normal(size=(count, dim))


def cosine(a, b):
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return a @ b / np.sqrt((a @ a) * (b @ b))


@pytest.fixture
def indexed(tmp_path, built_here, engines_serve):
    """A catalogue whose 3000 items are in an index, and their vectors."""
    vectors = clustered(3000, 32, seed=1)
    with LocalCatalogue(tmp_path, exact_below=1000) as catalogue:
        catalogue.create("c", space=SPACE, dim=32, engine="annoy")
        items = [Item(f"{n:04}", vector.astype("f4")) for n, vector in enumerate(vectors)]
        catalogue.upsert("c", items)
        catalogue.rebuild("c")
        yield catalogue, vectors


def found_ids(answer):
    return [neighbour.id for neighbour in answer.neighbours]


def test_the_index_serves_and_tells_its_recall(indexed):
    catalogue, _ = indexed
    info = catalogue.describe("c")
    assert (info.indexed, info.exact) == (3000, False)
    queries = list(clustered(100, 32, seed=2))
    answers = [catalogue.recommend("c", [one])[0] for one in queries]
    truth = catalogue.recommend("c", queries, exact=True)
    share = np.mean(
        [
            len(set(found_ids(a)) & set(found_ids(t))) / 10
            for a, t in zip(answers, truth, strict=True)
        ]
    )
    assert {(one.exact, one.recall) for one in answers} == {(False, info.recall)}
    assert {(one.exact, one.recall) for one in truth} == {(True, 1.0)}
    assert share >= info.recall - 0.05 >= 0.9


def test_scores_do_not_depend_on_how_they_were_found(indexed):
    catalogue, vectors = indexed
    for number, vector in enumerate(clustered(20, 32, seed=3)):
        (fast,) = catalogue.recommend("c", [vector])
        for neighbour in fast.neighbours:
            assert abs(neighbour.score - cosine(vector, vectors[int(neighbour.id)])) <= 1e-6
        (slow,) = catalogue.recommend("c", [vector], exact=True)
        common = {one.id: one.score for one in slow.neighbours}
        for neighbour in fast.neighbours:
            assert common.get(neighbour.id, neighbour.score) == neighbour.score, number


def test_a_replaced_item_is_found_where_it_is_now_alone(indexed):
    catalogue, vectors = indexed
    catalogue.upsert("c", [Item("0007", -vectors[7].astype("f4"))])
    (there,) = catalogue.recommend("c", [-vectors[7]], k=1)
    (gone,) = catalogue.recommend("c", [vectors[7]], k=100)
    assert found_ids(there) == ["0007"]
    assert "0007" not in found_ids(gone)


def test_where_the_dead_were_all_that_was_near_everything_is_compared(indexed):
    catalogue, vectors = indexed
    query = vectors[0]
    (near,) = catalogue.recommend("c", [query], k=99, exact=True)
    catalogue.delete("c", found_ids(near))
    (answer,) = catalogue.recommend("c", [query], k=10)
    assert answer.exact
    assert len(answer.neighbours) == 10
    assert not set(found_ids(answer)) & set(found_ids(near))


def test_an_unchanged_vector_stays_in_the_index(indexed):
    catalogue, vectors = indexed
    catalogue.upsert("c", [Item("0007", vectors[7].astype("f4"), {"label": "rain"})])
    assert catalogue.describe("c").indexed == 3000
    assert catalogue.recommend("c", [vectors[7]], k=1)[0].neighbours[0].metadata == {
        "label": "rain"
    }


def test_few_items_are_searched_exactly_even_where_an_index_stands(indexed):
    catalogue, _ = indexed
    catalogue.delete("c", [f"{n:04}" for n in range(2500)])
    info = catalogue.describe("c")
    assert (info.exact, info.recall) == (True, 1.0)
    assert catalogue.recommend("c", ["2999"])[0].exact


def test_an_index_is_built_on_its_own_once_there_are_enough_items(tmp_path):
    with LocalCatalogue(tmp_path, exact_below=500) as catalogue:
        catalogue.create("c", space=SPACE, dim=8, engine="annoy")
        vectors = clustered(500, 8, seed=1).astype("f4")
        catalogue.upsert("c", [Item(f"{n}", vector) for n, vector in enumerate(vectors)])
        wait_until(lambda: catalogue.describe("c").indexed == 500)
    with LocalCatalogue(tmp_path, exact_below=500) as catalogue:
        wait_until(lambda: catalogue.describe("c").indexed == 500)


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_rebuild_that_fails_leaves_the_old_index_serving_says_so_and_is_tried_again(
    indexed, monkeypatch
):
    catalogue, vectors = indexed
    build = building.build

    def fail(*_, **__):
        raise StorageFull("no room")

    monkeypatch.setattr(building, "build", fail)
    more = clustered(2001, 32, seed=4).astype("f4")
    catalogue.upsert("c", [Item(f"more-{n}", vector) for n, vector in enumerate(more)])
    wait_until(lambda: catalogue.describe("c").note)
    info = catalogue.describe("c")
    assert (info.indexed, info.index) == (3000, "ready")
    assert info.note == "No new index could be made: no room"
    assert found_ids(catalogue.recommend("c", [more[0]], k=1)[0]) == ["more-0"]
    assert found_ids(catalogue.recommend("c", [vectors[0]], k=1)[0]) == ["0000"]
    monkeypatch.setattr(building, "build", build)
    wait_until(lambda: catalogue.describe("c").indexed == 5001)
    assert catalogue.describe("c").note is None


def test_readers_writers_and_rebuilds_at_once_agree(tmp_path, eager, built_here):
    """Each writer owns an axis of its own, and always finds its own last write nearest."""
    dim, turns = 4, 60
    faults = []

    with LocalCatalogue(tmp_path, exact_below=20) as catalogue:
        catalogue.create("c", space=SPACE, dim=dim, engine="annoy")
        fill = clustered(100, dim, seed=1).astype("f4")
        catalogue.upsert("c", [Item(f"fill-{n}", vector) for n, vector in enumerate(fill)])

        def write(axis):
            for turn in range(turns):
                vector = np.full(dim, 1e-4 * (turn + 1), dtype=np.float32)
                vector[axis] = 1
                catalogue.upsert("c", [Item(f"own-{axis}", vector)])
                (answer,) = catalogue.recommend("c", [vector], k=1)
                if found_ids(answer) != [f"own-{axis}"]:
                    faults.append((axis, turn, answer))
                catalogue.delete("c", [f"own-{axis}"])
                (answer,) = catalogue.recommend("c", [vector], k=100)
                if f"own-{axis}" in found_ids(answer) or len(answer.neighbours) < 100:
                    faults.append((axis, turn, answer))

        def rebuild():
            for _ in range(20):
                catalogue.rebuild("c")

        threads = [threading.Thread(target=write, args=(axis,)) for axis in range(dim)]
        threads.append(threading.Thread(target=rebuild))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert faults == []


class Priced:
    """An engine of some effort, of which a unit takes as long as comparing five rows."""

    rows_per_effort = 5.0

    def __init__(self, effort):
        self.effort = effort


@pytest.mark.parametrize(
    ("effort", "queries", "k", "quicker"),
    [
        (100, 1, 10, False),
        (199, 1, 1, False),
        (201, 1, 1, True),
        (100, 1, 50, True),
        (100, 63, 10, False),
        (67, 64, 10, True),
        (66, 64, 10, False),
    ],
)
def test_a_scan_of_a_thousand_rows_is_preferred_where_it_is_quicker(effort, queries, k, quicker):
    index = Index(Base.empty(4, transform=None, fitted=None, fitted_at=0), exact_below=1)
    vectors = clustered(1000, 4, seed=1).astype(np.float32)
    index.apply(1, [], [Items([f"{n}" for n in range(1000)], ["{}"] * 1000, vectors)])
    assert query._scan_is_quicker(index.snapshot, Priced(effort), queries, k) == quicker
