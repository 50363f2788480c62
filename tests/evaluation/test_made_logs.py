"""On logs of known structure sound recommenders find what there is, and broken ones do not."""

from dataclasses import replace

import numpy as np
import pytest

from soundalike.datasets.made_listening import Plan
from soundalike.errors import BadRequest
from soundalike.evaluation import blocks, recommendations, splits
from soundalike.evaluation.heard import Dates, gather
from soundalike.evaluation.recommenders import knn
from tests.evaluation.worlds import LEAK, MadeLog, Oracle, world

STATIC, NULL_MOST, COLD_LEAST = (0.38, 0.50), 0.04, 0.85


def in_band(recall):
    """What must hold of the nearest neighbours on the static log."""
    return STATIC[0] <= recall <= STATIC[1]


@pytest.fixture(scope="module")
def static():
    return world("static")


def test_the_log_is_as_large_as_planned(static):
    made, counts = static.made, static.split.counts
    assert 230_000 < len(made.users) < 280_000
    assert 40 < counts["train_pairs"] / len(static.split.user_ids) < 52
    assert static.split.warm == 2700
    assert 0.95 < len(static.split.user_ids) / 2000 < 0.99
    assert counts["test_pairs_of_unknown_users"] > 100


def test_random_is_its_exact_expectation(static):
    exact = recommendations.chance(static.split, static.split.test, {50: 50})["recall"][50].mean()
    assert exact == pytest.approx(0.0189, abs=0.0005)
    drawn = np.mean([static.recall("random", seed=seed) for seed in range(20)])
    assert drawn == pytest.approx(exact, abs=0.003)


def test_every_recommender_finds_what_it_can(static):
    popularity, nearest = static.recall("popularity"), static.recall("knn", "audio1")
    assert 0.02 < popularity < 0.06
    assert in_band(nearest)
    assert nearest > 8 * popularity
    assert nearest > 15 * 0.0189
    oracle = static.recall(Oracle(static.made))
    assert nearest < static.recall("item-item") < oracle + LEAK


def test_better_views_recommend_better(static):
    ladder = [static.recall("knn", f"audio{level}") for level in (1, 2, 4)]
    assert ladder[0] > ladder[1] + 0.05 > ladder[2] + 0.1


@pytest.mark.parametrize("seed", range(7, 12))
def test_the_structure_is_there_whatever_the_seed(seed):
    small = world("static", "small", seed=seed)
    nearest, popular = (small.recall(*one) for one in (("knn", "audio1"), ("popularity",)))
    assert 0.72 < nearest < 0.87
    assert popular < 0.13
    assert small.recall("knn", permuted(small.views["audio1"])) < 0.2


@pytest.mark.parametrize("seed", [8, 9])
def test_two_views_are_worth_no_less_than_one(seed):
    here = world("static", seed=seed)
    both = [blocks.unit(here.views[name]) for name in ("audio1", "lyrics")]
    single = max(here.recall("knn", name) for name in ("audio1", "lyrics"))
    assert here.recall("knn", np.concatenate(both, axis=1)) > single - 0.01


def test_both_halves_of_the_users_agree(static):
    halves = [
        static.worth("knn", "audio1", mode=mode).of_users["recall"][50].mean()
        for mode in ("test", "val")
    ]
    assert halves[0] == pytest.approx(halves[1], abs=0.06)


def test_longer_lists_find_more(static):
    worth = static.worth("knn", "audio1")
    assert worth.of_users["recall"][5].mean() < 0.2 * worth.of_users["recall"][50].mean()


def test_unknown_items_are_found_by_ear_alone():
    cold = world("static", protocol="cold")
    assert cold.recall("knn", "audio1") > COLD_LEAST
    permuted = np.random.default_rng(0).permutation(cold.views["audio1"])
    assert cold.recall("popularity") < 0.25
    assert cold.recall("knn", permuted) < 0.25
    for model, view in (("bert4rec", "audio1"), ("item-item", None), ("snn", None)):
        with pytest.raises(BadRequest, match="not in its vocabulary"):
            cold.recall(model, view)


def test_where_taste_plays_no_part_nothing_is_heard():
    null = world("null")
    assert null.recall("knn", "audio1") < NULL_MOST
    assert null.recall("popularity") > 0.1


def test_where_users_wander_their_last_items_tell_most():
    drift = world("drift")
    whole, last = drift.recall("knn", "audio1"), drift.recall("knn:last=5", "audio1")
    assert whole < drift.recall("popularity") < last


# broken on purpose: each must be seen


def permuted(views):
    return np.random.default_rng(0).permutation(views)


@pytest.mark.parametrize("broken", [permuted, lambda rows: np.roll(rows, 1, axis=0)])
def test_vectors_of_other_items_are_seen(static, broken):
    recall = static.recall("knn", broken(static.views["audio1"]))
    assert not in_band(recall)
    assert recall < 0.035


def test_lengths_that_are_left_in_are_seen(static, monkeypatch):
    monkeypatch.setattr(knn, "unit", lambda rows: rows)
    recall = static.recall("knn", "audio1")
    assert not in_band(recall)
    monkeypatch.undo()
    assert recall < 0.75 * static.recall("knn", "audio1")


def test_seen_items_that_are_kept_are_refused(static, monkeypatch):
    monkeypatch.setattr(recommendations, "_bar", lambda scores, seen: None)
    with pytest.raises(BadRequest, match="played before"):
        static.recall("knn", "audio1")


def test_replays_among_what_is_foretold_are_seen(static):
    everything = splits.split(gather(MadeLog(static.made), Dates.parse()), "repeat")
    broken = replace(everything, protocol="warm")
    assert len(broken.held.users) > 2 * len(static.split.held.users)
    assert not in_band(replace(static, split=broken).recall("knn", "audio1"))


def test_counting_plays_is_seen_where_one_track_was_played_for_hours(static):
    guilty = world("guilty")
    ways = ("none", "count", "log-count")
    each = {way: guilty.recall(f"knn:weight={way}", "audio1") for way in ways}
    assert each["none"] == pytest.approx(static.recall("knn", "audio1"), abs=0.02)
    assert each["log-count"] == pytest.approx(each["none"], abs=0.02)
    assert each["count"] < 0.1


def test_a_guilty_log_is_the_static_one_and_more(static):
    more = world("guilty").made
    assert len(more.users) - len(static.made.users) == pytest.approx(300 * 1940, rel=0.05)
    rows = [
        set(zip(made.users.tolist(), made.items.tolist(), made.times.tolist(), strict=True))
        for made in (static.made, more)
    ]
    assert rows[0] < rows[1]


@pytest.mark.parametrize(
    "wrong", [{"users": 1}, {"clusters": 1}, {"seed": -1}, {"flavour": "x"}, {"items": 0}]
)
def test_plans_of_no_log_are_refused(wrong):
    with pytest.raises(BadRequest, match="flavour"):
        Plan(0, 1, 2, **wrong)
