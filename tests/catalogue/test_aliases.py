"""Names that point at collections, and move from one to another in one step."""

import contextlib
import threading

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue
from soundalike.errors import (
    BadRequest,
    CollectionExists,
    SoundalikeError,
    UnknownCollection,
)
from soundalike.types import Item

OLD, NEW = "mfcc/000000000000", "clap/111111111111"


@pytest.fixture
def catalogue(tmp_path):
    """Two collections of different spaces, each with one item that names it."""
    with LocalCatalogue(tmp_path) as catalogue:
        for name, space in (("default", OLD), ("next", NEW)):
            catalogue.create(name, space=space, dim=2)
            catalogue.upsert(name, [Item(name, np.ones(2, np.float32))])
        yield catalogue


def first(catalogue, name):
    (answer,) = catalogue.recommend(name, [np.ones(2, np.float32)], 1)
    return answer.space, answer.neighbours[0].id


def test_an_alias_stands_for_its_collection(catalogue):
    assert catalogue.point("live", "default") is None
    assert first(catalogue, "live") == (OLD, "default")
    assert catalogue.describe("live").name == "default"
    assert catalogue.describe("default").aliases == ("live",)
    catalogue.upsert("live", [Item("more", np.ones(2, np.float32))])
    assert catalogue.get("default", "more").id == "more"


def test_an_alias_moves(catalogue):
    catalogue.point("live", "default")
    catalogue.point("live", "next")
    assert first(catalogue, "live") == (NEW, "next")
    assert catalogue.aliases() == {"live": "next"}


def test_a_name_that_a_collection_bears_is_taken_over_and_the_collection_set_aside(catalogue):
    aside = catalogue.point("default", "next")
    assert aside == "default.mfcc.000000000000"
    assert first(catalogue, "default") == (NEW, "next")
    assert first(catalogue, aside) == (OLD, "default")
    assert [info.name for info in catalogue.collections()] == [aside, "next"]


def test_going_back_is_pointing_at_what_was_set_aside(catalogue):
    aside = catalogue.point("default", "next")
    assert catalogue.point("default", aside) is None
    assert first(catalogue, "default") == (OLD, "default")


def test_aliases_follow_a_collection_that_is_renamed(catalogue):
    catalogue.point("live", "default")
    aside = catalogue.point("default", "next")
    assert catalogue.aliases() == {"default": "next", "live": aside}
    assert first(catalogue, "live") == (OLD, "default")


def test_they_are_there_after_a_restart(tmp_path, catalogue):
    aside = catalogue.point("default", "next")
    catalogue.close()
    with LocalCatalogue(tmp_path) as again:
        assert again.aliases() == {"default": "next"}
        assert first(again, "default") == (NEW, "next")
        assert first(again, aside) == (OLD, "default")


def test_dropping_a_collection_drops_its_aliases(tmp_path, catalogue):
    catalogue.point("live", "next")
    catalogue.drop("next")
    with pytest.raises(UnknownCollection):
        catalogue.describe("live")
    catalogue.close()
    with LocalCatalogue(tmp_path) as again:
        assert again.aliases() == {}


def test_an_alias_is_not_dropped_as_if_it_were_the_collection(catalogue):
    catalogue.point("live", "next")
    with pytest.raises(BadRequest, match="alias of 'next'"):
        catalogue.drop("live")
    catalogue.unpoint("live")
    assert catalogue.describe("next").count == 1
    with pytest.raises(UnknownCollection):
        catalogue.unpoint("live")


def test_a_collection_cannot_be_made_under_an_alias_of_other_facts(catalogue):
    catalogue.point("live", "next")
    assert catalogue.create("live", space=NEW, dim=2) is False
    with pytest.raises(CollectionExists):
        catalogue.create("live", space=OLD, dim=2)


@pytest.mark.parametrize(
    ("alias", "name", "fault"),
    [
        ("next", "next", BadRequest),
        ("live", "nowhere", UnknownCollection),
        ("not a name", "next", BadRequest),
    ],
)
def test_what_cannot_be_pointed(catalogue, alias, name, fault):
    with pytest.raises(fault):
        catalogue.point(alias, name)


def test_a_name_that_is_set_aside_twice_is_refused_and_nothing_changes(catalogue):
    catalogue.create("default.mfcc.000000000000", space=OLD, dim=2)
    with pytest.raises(CollectionExists):
        catalogue.point("default", "next")
    assert first(catalogue, "default") == (OLD, "default")
    assert catalogue.aliases() == {}


def test_a_name_to_be_set_aside_under_an_alias_is_refused_and_nothing_changes(catalogue):
    catalogue.point("default.mfcc.000000000000", "next")
    with pytest.raises(CollectionExists):
        catalogue.point("default", "next")
    assert first(catalogue, "default") == (OLD, "default")


def test_names_are_the_same_after_a_restart_whatever_happens_at_once(tmp_path, catalogue):
    def try_all(*calls):
        for call in calls:
            with contextlib.suppress(SoundalikeError):
                call()

    def change(seed):
        for step in range(20):
            name = f"c{(seed + step) % 3}"
            try_all(
                lambda name=name: catalogue.create(name, space=OLD, dim=2),
                lambda name=name: catalogue.point(name, "next"),
                lambda name=name: catalogue.drop(name),
                lambda name=name: catalogue.unpoint(name),
            )

    threads = [threading.Thread(target=change, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names, aliases = [info.name for info in catalogue.collections()], catalogue.aliases()
    assert all(catalogue.describe(name) for name in [*names, *aliases])
    catalogue.close()
    with LocalCatalogue(tmp_path) as again:
        assert [info.name for info in again.collections()] == names
        assert again.aliases() == aliases


def test_while_a_name_moves_every_answer_is_of_one_collection(catalogue):
    catalogue.point("live", "default")
    mixed, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            found = first(catalogue, "live")
            if found not in ((OLD, "default"), (NEW, "next")):
                mixed.append(found)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        catalogue.point("live", "next")
        catalogue.point("live", "default")
    stop.set()
    for thread in threads:
        thread.join()
    assert not mixed
