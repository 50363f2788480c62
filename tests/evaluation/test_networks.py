"""Networks on whole made logs, as long as it takes them to learn: long proofs."""

import pytest

from tests.evaluation.worlds import LEAK, Oracle, world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
EPOCHS = "epochs=20,stop_on=never,max_len=50,infer_len=50"


def test_snn_is_no_worse_than_the_nearest_neighbours():
    static = world("static")
    nearest = static.recall("knn", "audio1")
    for options in ("", ",items=trained,users=fixed", ",negatives=items"):
        assert static.recall(f"snn:epochs=12,stop_on=never{options}", "audio1") >= nearest - 0.02


def test_snn_finds_unknown_items_where_vectors_are_frozen():
    assert world("static", protocol="cold").recall("snn:epochs=5,stop_on=never", "audio1") > 0.85


def test_bert4rec_is_better_than_the_nearest_neighbours():
    static = world("static")
    found = static.recall(f"bert4rec:{EPOCHS}", "audio1")
    assert found >= static.recall("knn", "audio1") + 0.05
    assert found < static.recall(Oracle(static.made)) + LEAK


def test_bert4rec_follows_users_who_wander():
    drift = world("drift")
    found = drift.recall(f"bert4rec:{EPOCHS}", "audio1")
    assert found > 2 * drift.recall("popularity")
    assert found > drift.recall("knn:last=5", "audio1") + 0.05
    assert found > drift.recall(f"bert4rec:{EPOCHS}") + 0.05
    assert found > drift.recall(f"bert4rec:{EPOCHS},scale=raw", "audio1") + 0.05


def test_early_stopping_reaches_what_fixed_epochs_do():
    static = world("static")
    fixed = static.recall("snn:epochs=12,stop_on=never", "audio1")
    assert static.recall("snn:epochs=40,patience=4", "audio1") > fixed - 0.03
