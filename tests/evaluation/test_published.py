"""What the published code does that we do not: an option brings it back, and the row tells."""

import numpy as np
import pytest

from soundalike.errors import BadRequest
from soundalike.evaluation import recommendations
from soundalike.evaluation.ranking import METRICS
from soundalike.evaluation.recommendations import METRIC_KS, places, try_out
from soundalike.evaluation.recommenders import Task, create
from tests.evaluation.worlds import world

VIEW = "audio1"


@pytest.fixture(scope="module")
def tiny():
    return world("static", "tiny")


def tried(here, metric_k, ks=(5, 10)):
    return try_out(create("knn"), Task(here.split, here.views[VIEW]), "test", ks, metric_k)[0]


def test_figures_at_two_ks_differ(tiny):
    worth = tried(tiny, "own")
    for name, of_k in worth.of_users.items():
        assert of_k[5].mean() != of_k[10].mean(), name
    assert worth.overall["coverage"][5] < worth.overall["coverage"][10]


def test_as_published_figures_at_any_k_are_those_at_50(tiny):
    worth, right = tried(tiny, "published"), tried(tiny, "own", (50,))
    assert worth.places == {5: 50, 10: 50}
    for name in METRICS:
        for k in (5, 10):
            np.testing.assert_array_equal(worth.of_users[name][k], right.of_users[name][50])
    assert worth.overall["novelty"][5] == right.overall["novelty"][50]
    by_chance = recommendations.chance(tiny.split, tiny.split.test, worth.places)
    assert by_chance["recall"][5].mean() > 50 / tiny.split.warm


def test_ks_and_ways_that_make_no_sense_are_refused():
    assert list(METRIC_KS) == ["own", "published"]
    for ks, way in (([5], "printed"), ([], "own"), ([0], "own")):
        with pytest.raises(BadRequest):
            places(ks, way)


@pytest.mark.parametrize("batch", [7, 64, 10_000])
def test_no_pair_of_an_epoch_is_dropped_whatever_the_batch(tiny, monkeypatch, batch):
    from soundalike.evaluation.recommenders.snn import _Towers

    seen = []
    monkeypatch.setattr(_Towers, "_loss", lambda self, pairs, chosen: seen.extend(chosen))
    towers = _Towers(Task(tiny.split), create(f"snn:batch={batch},stop_on=never").options)
    list(towers.losses())
    assert sorted(seen) == list(range(len(tiny.split.train.users)))


@pytest.mark.parametrize("batch", [7, 50, 1000])
def test_no_user_of_an_epoch_is_dropped_whatever_the_batch(tiny, monkeypatch, batch):
    from soundalike.evaluation.recommenders.bert4rec import _Network

    seen = []
    monkeypatch.setattr(_Network, "_masked_loss", lambda self, rows, out: seen.append(len(rows)))
    options = create(f"bert4rec:batch={batch},stop_on=never,mask_prob=0.9").options
    list(_Network(Task(tiny.split), options).losses())
    assert sum(seen) == len(tiny.split.user_ids)


@pytest.mark.parametrize("at_once", [3, 1000])
def test_lists_do_not_hang_on_how_many_are_made_at_once(tiny, monkeypatch, at_once):
    monkeypatch.setattr(recommendations, "BLOCK_SCORES", at_once * len(tiny.split.item_ids))
    model = create("popularity")
    model.fit(Task(tiny.split))
    users = tiny.split.test
    lists = recommendations.recommend(model, tiny.split, users, 10)
    assert len(lists.items) == len(users)
    alone = [recommendations.recommend(model, tiny.split, users[[n]], 10) for n in (0, 4, -1)]
    np.testing.assert_array_equal(lists.items[[0, 4, -1]], np.stack([a.items[0] for a in alone]))
