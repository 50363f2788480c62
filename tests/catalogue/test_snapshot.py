"""The next snapshot shows what was written, and the one before stays as it is."""

import gc
import weakref

import numpy as np
import pytest

from soundalike.catalogue import transforms
from soundalike.catalogue.rows import Base, unit
from soundalike.catalogue.snapshot import Index, Items
from soundalike.engines.exact import ExactEngine

DIM = 4


def given(count, seed=1):
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


def vectors(count, seed=1):
    return unit(given(count, seed)).astype(np.float32)


def base_of(keys, rows, fitted=None):
    """A base as an index folder would give it."""
    places = rows if fitted is None else fitted.items(rows)
    name = fitted and fitted.name
    return Base(
        list(keys), [f"base {key}" for key in keys], rows, places, ExactEngine(places), name,
        fitted, 0, sequence=1,
    )  # fmt: skip


def items(written):
    keys, rows = list(written), np.array(list(written.values()), dtype=np.float32)
    return [Items(keys, [f"new {key}" for key in keys], rows)] if keys else []


def alive(snapshot):
    """For each id its metadata and vector."""
    rows = np.flatnonzero(~snapshot.dead)
    named = zip(snapshot.keys(rows.tolist()), snapshot.metadata(rows.tolist()), strict=True)
    held = [vector.tolist() for vector in snapshot.vectors(rows)]
    assert snapshot.live == len(rows)
    return {key: (text, vector) for (key, text), vector in zip(named, held, strict=True)}


@pytest.fixture
def index():
    return Index(base_of("abcdef", vectors(6)), exact_below=1)


def test_a_base_alone_is_all_there_is(index):
    now = index.snapshot
    assert alive(now) == {
        key: (f"base {key}", vector.tolist())
        for key, vector in zip("abcdef", vectors(6), strict=True)
    }
    assert (now.sequence, now.indexed, len(now.tail)) == (1, 6, 0)


def test_what_is_deleted_goes_and_may_come_again(index):
    new = vectors(3, seed=2)
    index.apply(5, ["a", "b", "never"], items({"b": new[0], "g": new[1]}))
    index.apply(6, ["g"], items({"h": new[2]}))
    now = index.snapshot
    assert {key: text for key, (text, _) in alive(now).items()} == {
        "b": "new b", "c": "base c", "d": "base d", "e": "base e", "f": "base f", "h": "new h",
    }  # fmt: skip
    assert alive(now)["b"][1] == new[0].tolist()
    assert (now.sequence, now.indexed, now.gone, len(now.tail)) == (6, 4, 2, 3)


def test_an_item_in_the_tail_that_is_deleted_does_not_bring_the_base_back(index):
    index.apply(2, [], items({"a": vectors(1, seed=2)[0]}))
    index.apply(3, ["a"], [])
    index.apply(4, ["a"], [])
    assert "a" not in alive(index.snapshot)
    assert index.snapshot.live == 5


def test_a_vector_of_the_same_direction_stays_where_it_is(index):
    index.apply(2, [], items({"a": 2 * given(6)[0], "g": given(1, seed=2)[0]}))
    index.apply(3, [], items({"g": 4 * given(1, seed=2)[0]}))
    now = index.snapshot
    assert (now.indexed, len(now.tail), now.live) == (6, 1, 7)
    assert (alive(now)["a"][0], alive(now)["b"][0]) == ("new a", "base b")


def test_a_snapshot_stays_as_it_is_while_the_next_ones_are_made(index):
    index.apply(2, [], items({"tail": vectors(1, seed=2)[0]}))
    old, held = index.snapshot, alive(index.snapshot)
    index.apply(3, ["tail", "a"], [])
    for n, vector in enumerate(vectors(300, seed=3)):  # more than the buffer holds at first
        index.apply(n + 4, [], items({f"{n}": vector}))
    assert alive(old) == held
    assert len(alive(index.snapshot)) == 305
    assert index.snapshot.sequence == 303


@pytest.mark.parametrize("name", [None, "centre", "csls:3", "pca:2+csls:3"])
def test_every_row_lies_where_the_transform_moves_it(name):
    rng = np.random.default_rng(0)
    rows = vectors(60)
    fitted = name and transforms.fit(name, rows)
    index = Index(base_of([f"{n:02}" for n in range(60)], rows, fitted), exact_below=1)
    for step in range(30):
        keys = [f"{n:02}" for n in rng.choice(99, 8, replace=False)]
        new = vectors(5, seed=step + 2)
        index.apply(step + 2, keys[5:], items(dict(zip(keys[:5], new, strict=True))))
    now = index.snapshot
    every = np.arange(len(now.dead))
    expected = now.vectors(every) if fitted is None else fitted.items(now.vectors(every))
    np.testing.assert_allclose(now.places(every), expected, atol=1e-6)
    assert len(now.tail) == len(now.tail_places) > 0


def test_an_index_goes_with_its_last_user_and_waits_for_no_collector():
    other = Index(base_of("abc", vectors(3)), exact_below=1)
    gone = weakref.ref(other)
    gc.disable()
    try:
        del other
        assert gone() is None
    finally:
        gc.enable()


def test_few_items_are_compared_whatever_engine_there_is(index):
    class Found(ExactEngine):
        exact = False

    engine = Found(vectors(6))
    few = Index(base_of("abcdef", vectors(6)), exact_below=6)
    few.use(engine)
    assert few.snapshot.engine is engine
    few.apply(2, ["a"], [])
    assert few.snapshot.engine is None
    few.apply(3, [], items({"g": vectors(1, seed=2)[0]}))
    assert few.snapshot.engine is engine
