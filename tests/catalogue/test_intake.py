"""Writing into a catalogue's folder that others have open."""

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue
from soundalike.catalogue.intake import Intake
from soundalike.errors import (
    BadRequest,
    BadVector,
    CollectionExists,
    SpaceMismatch,
    UnknownCollection,
)
from soundalike.types import Item

SPACE = "fake/0123456789ab"
FACTS = {"space": SPACE, "dim": 4}


def item(number, **metadata):
    vector = np.random.default_rng(number).normal(size=4).astype(np.float32)
    return Item(f"item-{number:05}", vector, metadata)


@pytest.fixture
def intake(tmp_path):
    with Intake(tmp_path, engine="exact") as opened:
        yield opened


def test_what_it_writes_is_what_a_catalogue_holds(tmp_path, intake):
    items = [item(number, title=str(number)) for number in range(5)]
    assert intake.create("c", **FACTS, model="fake:sign=minus", pooling="mean")
    assert intake.upsert("c", [*items, item(0, title="again")], space=SPACE) == 5
    with LocalCatalogue(tmp_path) as catalogue:
        told = catalogue.describe("c")
        assert (told.space, told.dim, told.engine) == (SPACE, 4, "exact")
        assert (told.model, told.pooling) == ("fake:sign=minus", "mean")
        found = catalogue.page("c")
        assert [(one.id, one.metadata["title"]) for one in found] == [
            (one.id, title) for one, title in zip(items, ["again", *"1234"], strict=True)
        ]
        assert all(np.array_equal(a.vector, b.vector) for a, b in zip(found, items, strict=True))


def test_a_catalogue_that_is_open_answers_with_the_next_query(tmp_path, intake):
    with LocalCatalogue(tmp_path) as catalogue:
        intake.create("c", **FACTS)
        intake.upsert("c", [item(1)])
        (answer,) = catalogue.recommend("c", [item(1).vector])
        assert [one.id for one in answer.neighbours] == ["item-00001"]
        intake.upsert("c", [item(2)])
        (answer,) = catalogue.recommend("c", [item(2).vector])
        assert answer.neighbours[0].id == "item-00002"


def test_items_are_listed_page_by_page(intake):
    intake.create("c", **FACTS)
    intake.upsert("c", [item(number, n=number) for number in range(2000)])
    listed = list(intake.items("c"))
    assert [one["metadata"]["n"] for one in listed] == list(range(2000))
    assert listed[-1]["id"] == "item-01999"


def test_a_name_may_be_an_alias(tmp_path, intake):
    intake.create("c", **FACTS)
    with LocalCatalogue(tmp_path) as catalogue:
        catalogue.point("best", "c")
    assert not intake.create("best", **FACTS)
    intake.upsert("best", [item(1)])
    assert [one["id"] for one in intake.items("c")] == ["item-00001"]
    assert intake.collection("best")["name"] == "c"


def test_facts_of_another_collection_are_refused(intake):
    assert intake.create("c", **FACTS)
    assert not intake.create("c", **FACTS)
    for facts in ({"space": SPACE, "dim": 5}, {"space": "other/0123456789ab", "dim": 4}):
        with pytest.raises(CollectionExists, match="is there already"):
            intake.create("c", **facts)


def test_what_a_catalogue_refuses_it_refuses(intake):
    with pytest.raises(UnknownCollection):
        intake.upsert("c", [item(1)])
    with pytest.raises(BadRequest):
        intake.create("a/b", **FACTS)
    intake.create("c", **FACTS)
    with pytest.raises(BadVector):
        intake.upsert("c", [item(1), Item("zeros", np.zeros(4, np.float32))])
    with pytest.raises(SpaceMismatch):
        intake.upsert("c", [item(1)], space="other/0123456789ab")
    assert list(intake.items("c")) == []
