"""Any order of writes, queries, rebuilds and restarts, by two who share a folder, is right."""

import random

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from soundalike.catalogue import LocalCatalogue
from soundalike.types import Item

SPACE = "fake/0123456789ab"
DIM = 4
IDS = st.sampled_from([f"item-{n:02}" for n in range(40)])
VECTORS = st.lists(st.integers(-2, 2), min_size=DIM, max_size=DIM).filter(any)
WHO = st.integers(0, 1)


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


class Writes(RuleBasedStateMachine):
    """Two catalogues over one folder against a dictionary; each must see what either wrote."""

    directories = None

    def __init__(self):
        super().__init__()
        self.items, self.turns, self.turn = {}, {}, 0
        self.directory = next(self.directories)
        self.catalogues = [self.open(), self.open()]

    def open(self):
        return LocalCatalogue(self.directory, exact_below=8)

    @initialize(engine=st.sampled_from(["annoy", "faiss"]))
    def create(self, engine):
        self.catalogues[0].create("c", space=SPACE, dim=DIM, engine=engine)

    @rule(who=WHO, batch=st.lists(st.tuples(IDS, VECTORS), max_size=12))
    def upsert(self, who, batch):
        items = [
            Item(id, np.array(vector, dtype=np.float32), {"turn": self.turn})
            for id, vector in batch
        ]
        assert self.catalogues[who].upsert("c", items) == len(dict(batch))
        self.items |= dict(batch)
        self.turns |= dict.fromkeys(dict(batch), self.turn)
        self.turn += 1

    @rule(who=WHO, ids=st.lists(IDS, max_size=6))
    def delete(self, who, ids):
        assert self.catalogues[who].delete("c", ids) == len(self.items.keys() & set(ids))
        for id in ids:
            self.items.pop(id, None)

    @rule(who=WHO, vector=VECTORS, k=st.integers(1, 50), exact=st.booleans())
    def recommend(self, who, vector, k, exact):
        (answer,) = self.catalogues[who].recommend("c", [np.array(vector)], k, exact=exact)
        truth = {id: cosine(vector, own) for id, own in self.items.items()}
        check(answer.neighbours, k, truth)
        assert all(one.metadata == {"turn": self.turns[one.id]} for one in answer.neighbours)

    @rule(who=WHO, id=IDS, k=st.integers(1, 50))
    def recommend_by_id(self, who, id, k):
        if id not in self.items:
            return
        (answer,) = self.catalogues[who].recommend("c", [id], k)
        truth = {o: cosine(self.items[id], own) for o, own in self.items.items() if o != id}
        check(answer.neighbours, k, truth)

    @rule(who=WHO)
    def rebuild(self, who):
        assert self.catalogues[who].rebuild("c").count == len(self.items)

    @rule(who=WHO)
    def restart(self, who):
        self.catalogues[who].close()
        self.catalogues[who] = self.open()

    @invariant()
    def both_hold_what_was_written(self):
        for catalogue in self.catalogues:
            assert catalogue.describe("c").count == len(self.items)
            page = catalogue.page("c", limit=100)
            assert {one.id: one.vector.tolist() for one in page} == self.items

    def teardown(self):
        for catalogue in self.catalogues:
            catalogue.close()


def run(tmp_path, *, examples, steps):
    chosen = random.randrange(1 << 32)
    print(f"hypothesis.seed({chosen})")

    @seed(chosen)
    class Here(Writes):
        directories = (tmp_path / f"{n}" for n in range(1_000_000))

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_two_thousand_steps(tmp_path, eager, built_here):
    run(tmp_path, examples=20, steps=100)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_steps(tmp_path, eager, built_here):
    run(tmp_path, examples=500, steps=200)
