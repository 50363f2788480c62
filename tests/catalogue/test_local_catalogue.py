"""A catalogue in a folder answers as the interface says."""

import threading
import time

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue
from soundalike.catalogue.base import DEFAULT_ENGINE
from soundalike.errors import (
    BadRequest,
    BadVector,
    CatalogueError,
    CollectionExists,
    SpaceMismatch,
    StorageFull,
    UnknownCollection,
    UnknownItem,
)
from soundalike.types import Item

SPACE = "fake/0123456789ab"
OTHER = "fake/ba9876543210"


def item(id, *numbers, **metadata):
    return Item(id, np.array(numbers, dtype=np.float32), metadata)


def ids(answer):
    return [neighbour.id for neighbour in answer.neighbours]


@pytest.fixture
def catalogue(tmp_path):
    with LocalCatalogue(tmp_path) as catalogue:
        catalogue.create("c", space=SPACE, dim=2, engine="exact")
        yield catalogue


@pytest.fixture
def compass(catalogue):
    points = {"north": (0, 1), "east": (2, 0), "south": (0, -3), "northeast": (1, 1)}
    catalogue.upsert("c", [item(id, *numbers, name=id) for id, numbers in points.items()])
    return catalogue


class TestCollections:
    def test_a_new_one_is_described(self, catalogue):
        assert catalogue.create("new", space=SPACE, dim=7, model="mfcc", pooling="mean")
        info = catalogue.describe("new")
        facts = (info.name, info.space, info.dim, info.engine, info.model, info.pooling)
        assert facts == ("new", SPACE, 7, DEFAULT_ENGINE, "mfcc", "mean")
        assert (info.count, info.indexed, info.exact, info.recall) == (0, 0, True, 1.0)

    def test_they_are_listed_by_name(self, catalogue):
        for name in ("z", "a"):
            catalogue.create(name, space=SPACE, dim=2)
        assert [info.name for info in catalogue.collections()] == ["a", "c", "z"]

    def test_creating_again_changes_nothing(self, compass):
        assert not compass.create("c", space=SPACE, dim=2, engine="exact")
        assert not compass.create("c", space=SPACE, dim=2)
        assert compass.describe("c").count == 4

    @pytest.mark.parametrize(
        "facts",
        [{"space": OTHER}, {"dim": 3}, {"engine": "annoy"}, {"model": "mfcc"}, {"pooling": "max"}],
    )
    def test_creating_again_with_another_fact_is_refused(self, catalogue, facts):
        with pytest.raises(CollectionExists, match=next(iter(facts))):
            catalogue.create("c", **{"space": SPACE, "dim": 2} | facts)

    def test_one_of_many_who_create_at_once_made_it(self, catalogue):
        made = []

        def create():
            made.append(catalogue.create("new", space=SPACE, dim=2))

        threads = [threading.Thread(target=create) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(made) == [False] * 7 + [True]

    def test_dropping_one_forgets_its_items(self, compass):
        compass.drop("c")
        with pytest.raises(UnknownCollection):
            compass.describe("c")
        compass.create("c", space=OTHER, dim=3)
        assert compass.page("c") == []

    @pytest.mark.parametrize("name", ["", ".hidden", "a/b", "ä", "x" * 65, "new\n"])
    def test_a_bad_name_is_refused(self, catalogue, name):
        with pytest.raises(BadRequest, match="name"):
            catalogue.create(name, space=SPACE, dim=2)

    @pytest.mark.parametrize(
        "facts", [{"dim": 0}, {"dim": 65_537}, {"engine": "hnsw"}, {"space": ""}, {"model": "a\n"}]
    )
    def test_a_fact_that_makes_no_sense_is_refused(self, catalogue, facts):
        with pytest.raises(BadRequest):
            catalogue.create("new", **{"space": SPACE, "dim": 2} | facts)

    @pytest.mark.parametrize(
        "call",
        [
            lambda c: c.describe("none"),
            lambda c: c.drop("none"),
            lambda c: c.upsert("none", []),
            lambda c: c.get("none", "a"),
            lambda c: c.page("none"),
            lambda c: c.delete("none", []),
            lambda c: c.recommend("none", []),
            lambda c: c.rebuild("none"),
        ],
    )
    def test_an_unknown_one_is_named(self, catalogue, call):
        with pytest.raises(UnknownCollection, match="none"):
            call(catalogue)


class TestItems:
    def test_come_back_as_they_were_given(self, catalogue):
        given = item("a/b ü", 3.25, -1e-20, label="Regen", tags=["a", None], nested={"x": 1.5})
        catalogue.upsert("c", [given])
        found = catalogue.get("c", "a/b ü")
        assert found.vector.tolist() == given.vector.tolist()
        assert (found.id, found.metadata) == (given.id, given.metadata)

    def test_are_replaced_whole(self, compass):
        compass.upsert("c", [item("north", 1, 0, colour="red")])
        assert compass.get("c", "north").metadata == {"colour": "red"}
        assert compass.describe("c").count == 4

    def test_of_one_id_twice_the_last_stays(self, catalogue):
        assert catalogue.upsert("c", [item("a", 1, 0), item("b", 1, 0), item("a", 0, 1)]) == 2
        assert catalogue.get("c", "a").vector.tolist() == [0, 1]

    def test_are_listed_by_page(self, compass):
        first = compass.page("c", limit=3)
        rest = compass.page("c", after=first[-1].id, limit=3)
        assert [one.id for one in first + rest] == ["east", "north", "northeast", "south"]

    def test_deleting_counts_those_that_were_there(self, compass):
        assert compass.delete("c", ["north", "west", "north"]) == 1
        with pytest.raises(UnknownItem, match="north"):
            compass.get("c", "north")

    def test_a_write_is_told_by_the_sequence(self, compass):
        before = compass.describe("c").sequence
        compass.upsert("c", [item("north", 0, 1, new=True)])
        assert compass.describe("c").sequence == before + 1

    @pytest.mark.parametrize("limit", [0, 1001])
    def test_a_page_of_impossible_length_is_refused(self, catalogue, limit):
        with pytest.raises(BadRequest, match="limit"):
            catalogue.page("c", limit=limit)

    @pytest.mark.parametrize("id", ["", "x" * 513, "a\nb", "a\x00", "a\x7f", "\ud800"])
    def test_a_bad_id_is_refused(self, catalogue, id):
        with pytest.raises(BadRequest, match="id"):
            catalogue.upsert("c", [item(id, 1, 0)])

    @pytest.mark.parametrize("value", [float("nan"), {1, 2}, "\ud800"])
    def test_metadata_that_json_cannot_say_is_refused(self, catalogue, value):
        with pytest.raises(BadRequest, match="'a'"):
            catalogue.upsert("c", [item("a", 1, 0, value=value)])

    @pytest.mark.parametrize(
        ("numbers", "says"),
        [
            ((1, 2, 3), "'bad' has 3 numbers; the collection's have 2"),
            ((), "0 numbers"),
            (((1, 2),), r"\[1, 2\]"),
            ((np.nan, 1), "NaN"),
            ((np.inf, 1), "infinity"),
            ((0, 0), "zeros"),
        ],
    )
    def test_a_bad_vector_is_named_and_nothing_is_written(self, catalogue, numbers, says):
        with pytest.raises(BadVector, match=says):
            catalogue.upsert("c", [item("good", 1, 0), item("bad", *numbers)])
        assert catalogue.page("c") == []

    def test_double_precision_that_float32_cannot_hold_is_refused(self, catalogue):
        for numbers in ([1e39, 1.0], [1e-50, 0.0]):
            with pytest.raises(BadVector):
                catalogue.upsert("c", [Item("a", np.array(numbers))])

    def test_of_another_space_are_refused_naming_both(self, catalogue):
        with pytest.raises(SpaceMismatch, match=f"{SPACE}.*{OTHER}"):
            catalogue.upsert("c", [item("a", 1, 0)], space=OTHER)
        assert catalogue.upsert("c", [item("a", 1, 0)], space=SPACE) == 1


class TestRecommend:
    def test_neighbours_come_by_falling_cosine_with_their_metadata(self, compass):
        (answer,) = compass.recommend("c", [np.array([0.5, 5.0])], k=3)
        assert ids(answer) == ["north", "northeast", "east"]
        assert [one.metadata for one in answer.neighbours] == [{"name": id} for id in ids(answer)]
        expected = [5, 5.5 / np.sqrt(2), 0.5] / np.sqrt(25.25)
        np.testing.assert_allclose([one.score for one in answer.neighbours], expected, atol=1e-6)
        assert (answer.exact, answer.recall) == (True, 1.0)

    def test_an_item_is_not_its_own_neighbour(self, compass):
        (answer,) = compass.recommend("c", ["north"], k=10)
        assert ids(answer) == ["northeast", "east", "south"]

    def test_many_queries_are_answered_in_order(self, compass):
        answers = compass.recommend("c", ["north", np.array([0, -1]), "south"], k=1)
        assert [ids(answer) for answer in answers] == [["northeast"], ["south"], ["east"]]

    def test_no_query_has_no_answer(self, compass):
        assert compass.recommend("c", []) == []

    def test_an_empty_collection_has_no_neighbours(self, catalogue):
        (answer,) = catalogue.recommend("c", [np.array([1.0, 0.0])])
        assert answer.neighbours == ()

    def test_ties_come_by_id_also_at_the_end(self, catalogue):
        same = ["d", "b", "a", "c", "e"]
        catalogue.upsert("c", [item(id, 1, 2) for id in same])
        catalogue.upsert("c", [item("near", 1, 1), item("b", 2, 4)])
        (answer,) = catalogue.recommend("c", [np.array([1.0, 1.0])], k=3)
        assert ids(answer) == ["near", "a", "b"]

    @pytest.mark.parametrize("scale", [1e-38, 1e38])
    def test_length_does_not_matter_however_small_or_large(self, catalogue, scale):
        catalogue.upsert("c", [item("a", scale, 0), item("b", scale, scale)])
        (answer,) = catalogue.recommend("c", [np.array([0, scale])], k=2)
        scores = [neighbour.score for neighbour in answer.neighbours]
        assert scores == pytest.approx([np.sqrt(0.5), 0], abs=1e-6)

    def test_the_very_next_query_sees_a_write(self, compass):
        for turn in range(100):
            compass.upsert("c", [item("new", np.cos(turn), np.sin(turn))])
            (answer,) = compass.recommend("c", [np.array([np.cos(turn), np.sin(turn)])], k=1)
            assert answer.neighbours[0].score == pytest.approx(1, abs=1e-6)
            compass.delete("c", ["new"])
            (answer,) = compass.recommend("c", [np.array([np.cos(turn), np.sin(turn)])], k=10)
            assert "new" not in ids(answer)

    def test_a_vector_of_another_space_is_refused(self, compass):
        with pytest.raises(SpaceMismatch):
            compass.recommend("c", [np.array([1.0, 0.0])], space=OTHER)

    @pytest.mark.parametrize("k", [0, -1, 1001])
    def test_an_impossible_k_is_refused(self, compass, k):
        with pytest.raises(BadRequest, match="k must be from 1 to 1000"):
            compass.recommend("c", ["north"], k=k)

    def test_an_unknown_item_is_named(self, compass):
        with pytest.raises(UnknownItem, match="west"):
            compass.recommend("c", ["west"])

    def test_a_bad_query_is_counted_out(self, compass):
        with pytest.raises(BadVector, match=r"query 2 has 3 numbers; the collection's have 2"):
            compass.recommend("c", [np.array([1.0, 0.0]), np.ones(3)])


def test_a_full_disk_stops_writes_but_not_answers(compass):
    pages = "PRAGMA max_page_count = {}"
    compass._store._writer.write(lambda c: c.execute(pages.format(1)))
    with pytest.raises(StorageFull):
        compass.upsert("c", [item(f"{n}", 1, n, padding="x" * 1000) for n in range(200)])
    assert compass.describe("c").count == 4
    assert ids(compass.recommend("c", ["north"], k=1)[0]) == ["northeast"]
    compass._store._writer.write(lambda c: c.execute(pages.format(1_000_000)))
    assert compass.upsert("c", [item("after", 1, 0)]) == 1


def test_everything_is_there_after_a_restart(tmp_path):
    with LocalCatalogue(tmp_path) as first:
        first.create("c", space=SPACE, dim=2, model="mfcc")
        first.upsert("c", [item("a", 3, 4, label="rain"), item("b", 1, 0)])
        before = first.describe("c"), first.recommend("c", ["a"])
    with LocalCatalogue(tmp_path) as second:
        assert (second.describe("c"), second.recommend("c", ["a"])) == before


def test_a_closed_one_refuses_everything(catalogue):
    catalogue.close()
    catalogue.close()
    calls = [
        lambda: catalogue.describe("c"),
        catalogue.collections,
        lambda: catalogue.create("c", space=SPACE, dim=2),
        lambda: catalogue.upsert("c", [item("a", 1, 0)]),
        lambda: catalogue.recommend("c", [np.array([1.0, 0.0])]),
    ]
    for call in calls:
        with pytest.raises(CatalogueError, match="closed"):
            call()


def test_closing_amid_reads_and_writes_loses_nothing_acknowledged(tmp_path):
    catalogue = LocalCatalogue(tmp_path)
    catalogue.create("c", space=SPACE, dim=2)
    acknowledged = []

    def write(thread):
        number = 0
        while True:
            number += 1
            try:
                catalogue.upsert("c", [item(f"{thread}-{number}", 1, number)])
                catalogue.recommend("c", [f"{thread}-{number}"])
            except CatalogueError:
                return
            acknowledged.append(f"{thread}-{number}")

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 50:
        time.sleep(0.001)
    catalogue.close()
    for thread in threads:
        thread.join()
    with LocalCatalogue(tmp_path) as again:
        assert set(acknowledged) <= {one.id for one in again.page("c", limit=1000)}
