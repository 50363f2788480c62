"""What is found does not depend on how: in the index, in the tail, while it is rebuilt."""

import threading
import time

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from soundalike.catalogue import LocalCatalogue, query, snapshot
from soundalike.catalogue.snapshot import Index
from soundalike.types import Item

SPACE = "fake/0123456789ab"
DIM = 4
IDS = st.sampled_from([f"item-{n:02}" for n in range(40)])
VECTORS = st.lists(st.integers(-2, 2), min_size=DIM, max_size=DIM).filter(any)


def clustered(count, dim, seed):
    centres = np.random.default_rng(0).normal(size=(10, dim))
    rng = np.random.default_rng(seed)
    return centres[rng.integers(0, 10, count)] + 0.5 * rng.normal(size=(count, dim))


def cosine(a, b):
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return a @ b / np.sqrt((a @ a) * (b @ b))


def check(neighbours, k, truth):
    """Hold an answer against the cosines of all that could have been in it."""
    found = [(neighbour.id, neighbour.score) for neighbour in neighbours]
    assert len(found) == min(k, len(truth))
    assert found == sorted(found, key=lambda pair: (-pair[1], pair[0]))
    for id, score in found:
        assert abs(score - truth[id]) <= 1e-6
    left_out = truth.keys() - {id for id, _ in found}
    assert all(truth[id] <= found[-1][1] + 1e-6 for id in left_out)


@pytest.fixture
def eager(monkeypatch):
    """Rebuild after every few writes."""
    monkeypatch.setattr(snapshot, "SHORT_TAIL_ROWS", 5)
    monkeypatch.setattr(snapshot, "FEW_DEAD_ROWS", 3)


class Writes(RuleBasedStateMachine):
    """A catalogue against a dictionary, with an index over all but the fewest items."""

    directory = None

    def __init__(self):
        super().__init__()
        self.items, self.turns, self.turn = {}, {}, 0
        self.catalogue = LocalCatalogue(next(self.directory), exact_below=8)
        self.catalogue.create("c", space=SPACE, dim=DIM, engine="annoy")

    @rule(batch=st.lists(st.tuples(IDS, VECTORS), max_size=12))
    def upsert(self, batch):
        items = [
            Item(id, np.array(vector, dtype=np.float32), {"turn": self.turn})
            for id, vector in batch
        ]
        assert self.catalogue.upsert("c", items) == len(dict(batch))
        self.items |= dict(batch)
        self.turns |= dict.fromkeys(dict(batch), self.turn)
        self.turn += 1

    @rule(ids=st.lists(IDS, max_size=6))
    def delete(self, ids):
        assert self.catalogue.delete("c", ids) == len(self.items.keys() & set(ids))
        for id in ids:
            self.items.pop(id, None)

    @rule(vector=VECTORS, k=st.integers(1, 50), exact=st.booleans())
    def recommend(self, vector, k, exact):
        (answer,) = self.catalogue.recommend("c", [np.array(vector)], k, exact=exact)
        truth = {id: cosine(vector, own) for id, own in self.items.items()}
        check(answer.neighbours, k, truth)
        assert all(one.metadata == {"turn": self.turns[one.id]} for one in answer.neighbours)

    @rule(id=IDS, k=st.integers(1, 50))
    def recommend_by_id(self, id, k):
        if id not in self.items:
            return
        (answer,) = self.catalogue.recommend("c", [id], k)
        truth = {o: cosine(self.items[id], own) for o, own in self.items.items() if o != id}
        check(answer.neighbours, k, truth)

    @rule()
    def rebuild(self):
        assert self.catalogue.rebuild("c").count == len(self.items)

    @rule()
    def reopen(self):
        directory = self.catalogue._store._path.parent
        self.catalogue.close()
        self.catalogue = LocalCatalogue(directory, exact_below=8)

    @invariant()
    def holds_what_was_written(self):
        assert self.catalogue.describe("c").count == len(self.items)
        page = self.catalogue.page("c", limit=100)
        assert {one.id: one.vector.tolist() for one in page} == self.items

    def teardown(self):
        self.catalogue.close()


def test_any_order_of_writes_queries_and_rebuilds_is_right(tmp_path, eager):
    class Here(Writes):
        directory = (tmp_path / f"{n}" for n in range(10_000))

    run_state_machine_as_test(
        Here, settings=settings(max_examples=40, stateful_step_count=25, deadline=None)
    )


@pytest.fixture
def indexed(tmp_path):
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
    answers = catalogue.recommend("c", list(clustered(100, 32, seed=2)))
    truth = catalogue.recommend("c", list(clustered(100, 32, seed=2)), exact=True)
    share = np.mean(
        [
            len(set(found_ids(a)) & set(found_ids(t))) / 10
            for a, t in zip(answers, truth, strict=True)
        ]
    )
    assert {(one.exact, one.recall) for one in answers} == {(False, info.recall)}
    assert {(one.exact, one.recall) for one in truth} == {(True, 1.0)}
    assert share >= info.recall - 0.03 >= 0.92


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
    now = catalogue._names.live["c"].index.snapshot
    assert (len(now.tail), now.dead.sum()) == (0, 0)
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


def test_a_rebuild_that_fails_leaves_the_old_index_serving(indexed, monkeypatch, caplog):
    catalogue, vectors = indexed

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("soundalike.engines.annoy._plant", fail)
    more = clustered(2001, 32, seed=4).astype("f4")
    catalogue.upsert("c", [Item(f"more-{n}", vector) for n, vector in enumerate(more)])
    wait_until(lambda: "no new index for 'c'" in caplog.text)
    assert catalogue.describe("c").indexed == 3000
    assert found_ids(catalogue.recommend("c", [more[0]], k=1)[0]) == ["more-0"]
    assert found_ids(catalogue.recommend("c", [vectors[0]], k=1)[0]) == ["0000"]


class Shelf:
    """An index of items whose metadata is their id."""

    def __init__(self, ids, vectors):
        self.index = Index("exact", 1, vectors.shape[1])
        self.index.load(list(ids), list(ids), vectors, sequence=0)

    def put(self, ids, vectors, sequence):
        self.index.put(ids, ids, vectors, sequence=sequence)

    def alive(self):
        """What the newest snapshot holds: for each id its metadata and vector."""
        now = self.index.snapshot
        return {
            now.ids[row]: (now.metadata[row], now.vectors(np.array([row]))[0].tolist())
            for row in np.flatnonzero(~now.dead)
        }


def test_what_is_written_during_a_rebuild_is_in_what_comes_out_of_it(monkeypatch):
    vectors = query.unit(clustered(20, 8, seed=1)).astype(np.float32)
    shelf = Shelf([f"{n:02}" for n in range(20)], vectors)
    shelf.put(["20"], -vectors[:1], sequence=1)
    shelf.index.remove(["00"], sequence=2)
    build = shelf.index._engine_for(20).build

    def write_meanwhile(matrix):
        shelf.put(["01", "21"], -vectors[1:3], sequence=3)
        shelf.index.remove(["02", "20"], sequence=4)
        shelf.index.relabel(["03"], ["new"])
        return build(matrix)

    monkeypatch.setattr("soundalike.engines.exact.ExactEngine.build", write_meanwhile)
    shelf.index.take(shelf.index.rebuild(None))
    expected = {f"{n:02}": (f"{n:02}", vectors[n].tolist()) for n in range(4, 20)}
    expected["01"] = ("01", (-vectors[1]).tolist())
    expected["21"] = ("21", (-vectors[2]).tolist())
    expected["03"] = ("new", vectors[3].tolist())
    assert shelf.alive() == expected
    assert (shelf.index.snapshot.live, shelf.index.snapshot.sequence) == (19, 4)
    assert len(shelf.index.snapshot.tail) == 2


def test_a_snapshot_stays_as_it_is_while_the_next_ones_are_made():
    vectors = query.unit(clustered(300, 8, seed=1)).astype(np.float32)
    shelf = Shelf(["base"], vectors[:1])
    shelf.put(["tail"], vectors[1:2], sequence=1)
    old = shelf.index.snapshot
    shelf.index.remove(["tail"], sequence=2)
    for n in range(2, 300):  # more than the buffer holds at first
        shelf.put([f"{n}"], vectors[n : n + 1], sequence=n + 1)
    shelf.put(["base"], vectors[:1], sequence=301)
    assert (old.live, old.dead.tolist()) == (2, [False, False])
    np.testing.assert_array_equal(old.vectors(np.array([0, 1])), vectors[:2])
    expected = {f"{n}": (f"{n}", vectors[n].tolist()) for n in range(2, 300)}
    assert shelf.alive() == expected | {"base": ("base", vectors[0].tolist())}


def test_readers_writers_and_rebuilds_at_once_agree(tmp_path, eager):
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


def test_every_row_lies_where_the_transform_moves_it_whatever_is_written_when():
    rng = np.random.default_rng(0)
    vectors = query.unit(clustered(400, 8, seed=1)).astype(np.float32)
    shelf = Shelf([], vectors[:0])
    for turn, name in enumerate(["centre", None, "csls:3", "csls:3", "pca:4+csls:3"]):
        made = shelf.index.rebuild(name)
        for step in range(30):
            ids = {f"{n:02}" for n in rng.integers(0, 99, 5)}
            shelf.put([*ids], rng.choice(vectors, len(ids)), sequence=100 * turn + step)
        shelf.index.remove([*ids], sequence=100 * turn + 99)
        shelf.index.take(made)
        now = shelf.index.snapshot
        rows = np.flatnonzero(~now.dead)
        assert (now.base.transform, now.base.fitted is None) == (name, turn in (0, 1))
        np.testing.assert_allclose(now.places(rows), now.base.place(now.vectors(rows)), atol=1e-6)
        assert len(now.tail) == len(now.tail_places) > 0
