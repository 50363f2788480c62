"""What a transform does to vectors, and to what a collection answers."""

import sqlite3
import time

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue, transforms
from soundalike.catalogue.maps import shrinkage
from soundalike.errors import BadRequest, CollectionExists, StorageFull
from soundalike.types import Item
from tests.catalogue import plain_transforms as plain

SPACE = "fake/0123456789ab"
DIM = 12
MAPS = ["centre", "pca:5", "whiten", "centre+pca:8", "pca:6+whiten", "whiten+pca:20"]
RANKINGS = ["csls:4", "expand:3", "centre+csls", "whiten+expand:2", "pca:6+csls:3+expand:4"]


def crowded(count, seed=0):
    """Vectors of unequal lengths and spreads that have much in common, in clusters."""
    centres = np.random.default_rng(99).normal(size=(8, DIM))
    rng = np.random.default_rng(seed)
    around = centres[rng.integers(0, 8, count)] + 0.6 * rng.normal(size=(count, DIM))
    vectors = 2 + around * np.linspace(0.2, 2, DIM)
    return (vectors * rng.uniform(0.5, 3, size=(count, 1))).astype(np.float32)


@pytest.mark.parametrize("name", MAPS)
def test_maps_move_as_their_formulas_say(name):
    seen, others = crowded(80), crowded(20, seed=1)
    fitted, move = transforms.fit(name, seen), plain.maps(name, seen)
    for vectors in (seen, others):
        moved = fitted.apply(vectors)
        assert moved.dtype == np.float32
        # a map may turn all that it moves; what counts is how they lie to one another
        expected = move(vectors) @ move(vectors).T
        np.testing.assert_allclose(moved @ moved.T, expected, atol=2e-5)


def test_within_divides_mean_and_deviation_by_how_much_each_number_moves():
    vectors = np.abs(crowded(80))
    units = plain.unit(vectors)
    moves = [np.sqrt(np.mean(units[:, DIM // 2 + n] ** 2)) for n in range(DIM // 2)]
    expected = plain.unit((units - units.mean(axis=0)) / [*moves, *moves])
    np.testing.assert_allclose(
        transforms.fit("within", vectors).apply(vectors), expected, atol=1e-6
    )


def test_within_takes_the_mean_alone_away_where_nothing_can_be_a_deviation():
    for vectors in (crowded(80) - 5, np.abs(crowded(80))[:, 1:]):
        moved = transforms.fit("within", vectors).apply(vectors)
        np.testing.assert_array_equal(moved, transforms.fit("centre", vectors).apply(vectors))


@pytest.mark.parametrize("count", [5, 12, 100])
def test_the_covariance_is_shrunk_as_far_as_ledoit_and_wolf_say(count):
    centred = crowded(count).astype(np.float64)
    centred -= centred.mean(axis=0)
    assert shrinkage(centred) == pytest.approx(plain.shrinkage(centred)[2], rel=1e-9)


@pytest.mark.parametrize("name", [*MAPS, *RANKINGS])
def test_ranks_are_those_of_the_formulas(name):
    items, queries = crowded(60), crowded(5, seed=1)
    fitted = transforms.fit(name, items)
    found = fitted.scores(queries, fitted.items(items))
    expected = [plain.ranks(name, items, items, query) for query in queries]
    np.testing.assert_allclose(found, expected, atol=5e-5)


def test_a_query_that_is_an_item_is_left_out_of_its_own_neighbours():
    items = crowded(60)
    fitted = transforms.fit("expand:3", items)
    found = fitted.scores(items[:2], fitted.items(items), own=np.array([0, -1]))
    others = plain.ranks("expand:3", items[1:], items[1:], items[0])
    assert found[0, 0] == -np.inf
    np.testing.assert_allclose(found[0, 1:], others, atol=5e-5)
    np.testing.assert_allclose(found[1], plain.ranks("expand:3", items, items, items[1]), atol=5e-5)


def test_what_is_searched_by_csls_is_of_length_one():
    fitted = transforms.fit("centre+csls", crowded(60))
    lengths = np.linalg.norm(fitted.items(crowded(60)), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(fitted.queries(crowded(3)), axis=1), 1, atol=1e-9)


@pytest.mark.parametrize("name", [*MAPS, *RANKINGS])
def test_a_vector_moves_the_same_alone_scaled_and_from_disk(name):
    vectors = crowded(700)
    fitted = transforms.fit(name, vectors)
    moved = fitted.items(vectors)
    again = transforms.Fitted.from_bytes(fitted.to_bytes())
    assert (again.name, again.count) == (name, 700)
    np.testing.assert_array_equal(again.items(vectors), moved)
    np.testing.assert_allclose(fitted.items(vectors[600:601]), moved[600:601], atol=1e-7)
    np.testing.assert_allclose(fitted.items(vectors * 1e20), moved, atol=1e-6)


@pytest.mark.parametrize("name", ["centre", "pca:3", "whiten", "centre+csls", "whiten+expand:2"])
@pytest.mark.parametrize("vectors", [np.ones((1, 4)), np.full((30, 4), 0.1), [[0.1, 0.7]] * 3])
def test_nothing_is_left_of_vectors_that_do_not_differ(name, vectors):
    fitted = transforms.fit(name, np.float32(vectors))
    assert not fitted.apply(np.float32(vectors)).any()
    assert np.isfinite(fitted.scores(vectors, fitted.items(vectors))).all()


def test_whitening_fewer_vectors_than_dimensions_keeps_new_directions_finite():
    fitted = transforms.fit("whiten", crowded(4))
    lengths = np.linalg.norm(fitted.apply(crowded(10, seed=1)), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


def test_pca_keeps_no_axis_along_which_nothing_differs():
    assert transforms.fit("pca:10", crowded(4)).apply(crowded(2)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "There is no transform ''"),
        ("Centre", f"there are {', '.join(transforms.NAMES)}, joined by"),
        ("centre+", "There is no transform ''"),
        ("pca", "pca takes a number from 1 to 65536"),
        ("pca:0", "'pca:0' does not say one"),
        ("pca:65537", "65536"),
        ("csls:٣", "does not say one"),
        ("centre:2", "centre takes no number"),
        ("csls+centre", "at the end"),
        ("expand:3+csls", "in this order"),
        ("csls+csls", "once each"),
    ],
)
def test_a_name_that_makes_no_sense_is_refused(name, says):
    with pytest.raises(BadRequest, match=says):
        transforms.parse(name)


def test_of_many_vectors_some_are_drawn(monkeypatch):
    monkeypatch.setattr(transforms, "MOST_REFERENCES", 40)
    monkeypatch.setattr(transforms, "MOST_ITEMS", 50)
    fitted = transforms.fit("centre+csls", crowded(60))
    assert (fitted.count, len(fitted.references)) == (60, 40)
    whole = plain.unit(crowded(60)).mean(axis=0)
    assert 0 < np.abs(fitted.shift - whole).max() < 0.05


def items_of(vectors, prefix=""):
    return [Item(f"{prefix}{n:04}", vector) for n, vector in enumerate(vectors)]


def found(answer):
    return [(one.id, one.rank_score, one.score) for one in answer.neighbours]


@pytest.fixture
def catalogue(tmp_path):
    with LocalCatalogue(tmp_path) as catalogue:
        yield catalogue


def filled(catalogue, name, vectors, **facts):
    catalogue.create("c", space=SPACE, dim=vectors.shape[1], transform=name, **facts)
    catalogue.upsert("c", items_of(vectors))
    catalogue.rebuild("c")


def hold(neighbours, ranks, cosines, k):
    """Hold neighbours against what all items rank by, and their cosines."""
    assert len(neighbours) == k
    order = [(-one.rank_score, one.id) for one in neighbours]
    assert order == sorted(order)
    rows = [int(one.id) for one in neighbours]
    np.testing.assert_allclose([one.rank_score for one in neighbours], ranks[rows], atol=1e-5)
    np.testing.assert_allclose([one.score for one in neighbours], cosines[rows], atol=1e-6)


@pytest.mark.parametrize("exact_below", [10, 10_000])
@pytest.mark.parametrize("name", [*MAPS[:3], *RANKINGS])
def test_a_collection_ranks_by_the_formulas_and_tells_the_cosine(
    tmp_path, built_here, name, exact_below
):
    vectors, k = crowded(120), 10
    recalls = []
    with LocalCatalogue(tmp_path, exact_below=exact_below) as catalogue:
        filled(catalogue, name, vectors, engine="annoy")
        assert catalogue.describe("c").indexed == (120 if exact_below == 10 else 0)
        for query in crowded(4, seed=1):
            ranks = plain.ranks(name, vectors, vectors, query)
            cosines = plain.unit(vectors) @ plain.unit(query)
            (answer,) = catalogue.recommend("c", [query], k)
            hold(answer.neighbours, ranks, cosines, k)
            best = np.sort(ranks)[-k]
            recalls.append(np.mean([ranks[int(o.id)] >= best - 1e-5 for o in answer.neighbours]))
    assert np.mean(recalls) >= (0.9 if exact_below == 10 else 1)


def test_an_item_expands_by_its_neighbours_and_not_itself(catalogue):
    vectors = crowded(60)
    filled(catalogue, "expand:3", vectors)
    (answer,) = catalogue.recommend("c", ["0000"])
    others = plain.ranks("expand:3", vectors[1:], vectors[1:], vectors[0])
    hold(answer.neighbours, np.append(-1, others), plain.unit(vectors) @ plain.unit(vectors[0]), 10)


def test_without_a_transform_nothing_ranks_but_the_score(catalogue):
    filled(catalogue, None, crowded(60))
    info = catalogue.describe("c")
    assert (info.transform, info.fitted) == (None, None)
    assert {rank for _, rank, _ in found(catalogue.recommend("c", ["0000"])[0])} == {None}


def test_too_few_items_are_ranked_by_score_and_told_to_be(catalogue):
    filled(catalogue, "centre", crowded(49))
    info = catalogue.describe("c")
    assert (info.transform, info.fitted) == ("centre", None)
    assert {rank for _, rank, _ in found(catalogue.recommend("c", ["0000"])[0])} == {None}


def test_a_transform_is_fitted_on_its_own_once_there_are_enough_and_when_they_double(catalogue):
    catalogue.create("c", space=SPACE, dim=DIM, transform="centre")
    catalogue.upsert("c", items_of(crowded(50)))
    wait_for_fit(catalogue, 50)
    catalogue.upsert("c", items_of(crowded(49), "more-"))
    assert catalogue.describe("c").fitted.items == 50
    catalogue.upsert("c", items_of(crowded(1), "last-"))
    wait_for_fit(catalogue, 100)
    assert catalogue.describe("c").fitted.sequence == 3


def wait_for_fit(catalogue, items):
    end = time.monotonic() + 20
    while (fitted := catalogue.describe("c").fitted) is None or fitted.items != items:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_comes_after_is_moved_as_was_learned_until_the_next_rebuild(catalogue):
    before, after = crowded(60), crowded(30, seed=1) - 4
    filled(catalogue, "centre+csls:5", before)
    catalogue.upsert("c", [Item(f"{n:04}", v) for n, v in enumerate(after, start=60)])
    every, query = np.concatenate([before, after]), crowded(1, seed=2)[0]
    cosines = plain.unit(every) @ plain.unit(query)
    for seen in (before, every):
        (answer,) = catalogue.recommend("c", [query], k=90)
        hold(answer.neighbours, plain.ranks("centre+csls:5", seen, every, query), cosines, 90)
        catalogue.rebuild("c")


@pytest.mark.parametrize("exact_below", [10, 10_000])
def test_a_restart_ranks_the_same_what_was_written_since_included(
    tmp_path, built_here, exact_below
):
    with LocalCatalogue(tmp_path, exact_below=exact_below) as first:
        filled(first, "whiten+csls:5+expand:2", crowded(100))
        first.upsert("c", items_of(crowded(20, seed=1) - 3, "more-"))
        before = first.describe("c").fitted, found(first.recommend("c", ["0000"], exact=True)[0])
    with LocalCatalogue(tmp_path, exact_below=exact_below) as second:
        answer = second.recommend("c", ["0000"], exact=True)[0]
        assert (second.describe("c").fitted, found(answer)) == before


class TestSetting:
    def test_another_transform_changes_the_order_and_lasts(self, tmp_path):
        vectors, query = crowded(80), crowded(1, seed=1)[0]
        cosines = plain.unit(vectors) @ plain.unit(query)
        with LocalCatalogue(tmp_path) as catalogue:
            filled(catalogue, None, vectors)
            by_score = found(catalogue.recommend("c", [query])[0])
            info = catalogue.set_transform("c", "pca:4")
            assert (info.transform, info.fitted.items, info.fitted.sequence) == ("pca:4", 80, 1)
            (answer,) = catalogue.recommend("c", [query])
            hold(answer.neighbours, plain.ranks("pca:4", vectors, vectors, query), cosines, 10)
        with LocalCatalogue(tmp_path) as catalogue:
            assert catalogue.describe("c") == info
            assert catalogue.recommend("c", [query]) == [answer]
            assert catalogue.set_transform("c", None).fitted is None
            assert found(catalogue.recommend("c", [query])[0]) == by_score

    def test_one_that_cannot_be_kept_or_read_changes_nothing(self, catalogue, monkeypatch):
        filled(catalogue, "centre", crowded(80))
        before = catalogue.describe("c"), catalogue.recommend("c", ["0000"])
        with pytest.raises(BadRequest):
            catalogue.set_transform("c", "sharpen")

        def fail(*_):
            raise StorageFull("full")

        with monkeypatch.context() as patch:
            patch.setattr(catalogue._store, "publish", fail)
            with pytest.raises(StorageFull):
                catalogue.set_transform("c", "pca:3")
        assert (catalogue.describe("c"), catalogue.recommend("c", ["0000"])) == before

    def test_it_is_a_fact_of_the_collection(self, catalogue):
        filled(catalogue, "centre", crowded(60))
        catalogue.set_transform("c", "whiten")
        assert not catalogue.create("c", space=SPACE, dim=DIM, transform="whiten")
        assert not catalogue.create("c", space=SPACE, dim=DIM)
        with pytest.raises(CollectionExists, match="'whiten' and not 'centre'"):
            catalogue.create("c", space=SPACE, dim=DIM, transform="centre")
        with pytest.raises(BadRequest):
            catalogue.create("d", space=SPACE, dim=DIM, transform="sharpen")


@pytest.mark.parametrize("exact_below", [10, 10_000])
def test_items_that_are_all_the_same_come_by_id(tmp_path, built_here, exact_below):
    with LocalCatalogue(tmp_path, exact_below=exact_below) as catalogue:
        filled(catalogue, "centre", np.full((60, 3), 0.1, dtype=np.float32))
        (answer,) = catalogue.recommend("c", [np.array([1, 1, 1])], k=3)
    assert found(answer) == [("0000", 0, 1), ("0001", 0, 1), ("0002", 0, 1)]


VERSION_1 = """
CREATE TABLE collections (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
    space TEXT NOT NULL, dim INTEGER NOT NULL, engine TEXT NOT NULL, model TEXT, pooling TEXT,
    created REAL NOT NULL, sequence INTEGER NOT NULL DEFAULT 0);
CREATE TABLE items (id INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE, key TEXT NOT NULL,
    vector BLOB NOT NULL, metadata TEXT NOT NULL, hash BLOB NOT NULL, sequence INTEGER NOT NULL,
    UNIQUE (collection, key));
INSERT INTO collections VALUES (1, 'c', 'fake/0123456789ab', 2, 'exact', 'mfcc', NULL, 1.5, 60);
PRAGMA user_version = 1;
"""
ALIASES = """CREATE TABLE aliases (name TEXT PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE);
INSERT INTO aliases VALUES ('other', 1);"""


@pytest.mark.parametrize("more", ["", ALIASES])
def test_a_file_of_the_first_version_is_taken_over(tmp_path, more):
    vectors = crowded(60)[:, :2]
    with sqlite3.connect(tmp_path / "catalogue.sqlite3") as connection:
        connection.executescript(VERSION_1 + more)
        connection.executemany(
            "INSERT INTO items VALUES (NULL, 1, ?, ?, '{}', x'00', 60)",
            [(f"{n:04}", vector.astype("<f4").tobytes()) for n, vector in enumerate(vectors)],
        )
    connection.close()
    with LocalCatalogue(tmp_path) as catalogue:
        info = catalogue.describe("c")
        assert (info.model, info.count, info.transform, info.sequence) == ("mfcc", 60, None, 60)
        assert catalogue.aliases() == ({"other": "c"} if more else {})
        assert catalogue.set_transform("c", "centre").fitted.items == 60
        catalogue.point("another", "c")
    with LocalCatalogue(tmp_path) as catalogue:
        assert catalogue.describe("another").fitted.items == 60
        np.testing.assert_array_equal(catalogue.get("c", "0007").vector, vectors[7])


def test_dropping_a_collection_drops_what_its_transform_learned(catalogue):
    filled(catalogue, "centre", crowded(60))
    catalogue.drop("c")
    count = "SELECT count(*) FROM fitted"
    assert catalogue._store._writer.write(lambda c: c.execute(count).fetchone()) == (0,)
