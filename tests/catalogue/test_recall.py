"""What an index misses of live queries is measured, told, and made good."""

import time

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue, query, recall
from soundalike.catalogue.recall import Recall
from soundalike.catalogue.rows import Base, unit
from soundalike.catalogue.snapshot import Index
from soundalike.engines.base import Engine
from soundalike.engines.exact import ExactEngine
from soundalike.types import Item

DIM, COUNT, K = 8, 500, 10
VECTORS = unit(np.random.default_rng(0).normal(size=(COUNT, DIM))).astype(np.float32)


class Lossy(Engine):
    """Finds as many of a hundred neighbours as its effort says, and takes its time."""

    name, exact, recall = "lossy", False, 1.0

    def __init__(self, effort, pause_s=0.0):
        self.effort, self.pause_s = effort, pause_s

    def search(self, queries, k):
        time.sleep(self.pause_s)
        rows, scores = ExactEngine(VECTORS).search(queries, 3 * k)
        kept = np.sort(np.random.default_rng().permutation(k)[: k * min(self.effort, 100) // 100])
        others = np.arange(2 * k, 3 * k)[: k - len(kept)]
        picked = np.concatenate([kept, others])
        return rows[:, picked], scores[:, picked]

    def with_effort(self, effort):
        return Lossy(effort, self.pause_s)

    build = save = open = None


def snapshot_with(engine):
    keys = [f"{n:03}" for n in range(COUNT)]
    base = Base(keys, ["{}"] * COUNT, VECTORS, VECTORS, engine, None, None, 0, sequence=1)
    return Index(base, exact_below=1).snapshot


def ask(measured, engine, times):
    snapshot = snapshot_with(engine)
    for unit_vector in unit(np.random.default_rng(1).normal(size=(times, DIM)))[:, np.newaxis]:
        (hits,) = query.search(snapshot, unit_vector, K, without=[None])
        assert not hits.exact
        measured.offer(snapshot, unit_vector, K, [None], hits)
        better = measured.measure(engine)
        if better is not engine:
            return better
    return engine


@pytest.fixture
def all_are_sampled(monkeypatch):
    monkeypatch.setattr(recall, "SHARE_OF_TIME", 1e9)
    monkeypatch.setattr(recall, "FIRST_PAUSE_S", 0.0)


@pytest.mark.parametrize("effort", [100, 90, 50])
def test_the_recall_of_live_queries_is_told(all_are_sampled, effort):
    measured = Recall(0.97, target=0.1)
    ask(measured, Lossy(effort), 10)
    assert measured.value == 0.97  # of so few it cannot be told
    engine = Lossy(effort)
    assert ask(measured, engine, 100) is engine
    assert measured.value == pytest.approx(effort / 100)


def test_an_engine_that_falls_short_looks_at_twice_as_much_until_it_does_not(
    all_are_sampled, monkeypatch
):
    again = recall._Asked.again

    def time_as_if_scans_were_slow(asked, engine):
        return again(asked, engine)[0], 2.0 if engine is None else 1.0

    monkeypatch.setattr(recall._Asked, "again", time_as_if_scans_were_slow)
    engine, efforts = Lossy(30), [30]
    while (better := ask(Recall(0.97, target=0.95), engine, 70)) is not engine:
        engine = better
        efforts.append(engine.effort)
    assert efforts == [30, 60, 120]


def test_where_that_takes_longer_than_comparing_everything_everything_is_compared(all_are_sampled):
    assert ask(Recall(0.97, target=0.95), Lossy(30, pause_s=0.002), 200) is None


def test_chance_alone_changes_nothing(all_are_sampled):
    class OnTarget(Lossy):
        def search(self, queries, k):
            self.effort = 100 if np.random.default_rng().random() < 0.5 else 90
            return super().search(queries, k)

    engine = OnTarget(95)
    assert ask(Recall(0.95, target=0.95), engine, 400) is engine


def test_samples_take_a_hundredth_of_the_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    snapshot = snapshot_with(Lossy(100))
    measured = Recall(1.0, target=0.95)
    asked = []
    monkeypatch.setattr(
        recall._Asked, "again", lambda self, engine: (asked.append(now[0]), (self.ranks, 0.05))[1]
    )
    (hits,) = query.search(snapshot, VECTORS[:1].astype(float), 1, without=[None])
    for _ in range(10_000):
        now[0] += 0.01
        measured.offer(snapshot, VECTORS[:1].astype(float), 1, [None], hits)
        measured.measure(snapshot.engine)
    assert 0.05 * len(asked) <= 0.011 * now[0]
    assert len(asked) >= 15


def test_a_catalogue_searches_harder_where_live_queries_miss_much(
    tmp_path, built_here, engines_serve, all_are_sampled
):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1000, 32)).astype(np.float32)
    with LocalCatalogue(tmp_path, exact_below=100) as catalogue:
        catalogue.create("c", space="fake/0123456789ab", dim=32, engine="annoy")
        catalogue.upsert("c", [Item(f"{n:04}", vector) for n, vector in enumerate(vectors)])
        assert catalogue.rebuild("c").recall >= 0.95
        with catalogue._store.reading() as reader:
            live = catalogue._collections.find(reader, "c")
        live.index.use(live.snapshot.engine.with_effort(10))
        end = time.monotonic() + 60
        while (engine := live.snapshot.engine) is not None and engine.effort == 10:
            assert time.monotonic() < end
            catalogue.recommend("c", [rng.normal(size=32)], K)
            catalogue._keeper.wake()
        assert engine is None or engine.effort == 20
