import numpy as np
import pytest

from soundalike.embedders.mini_front_end import log_mel
from soundalike.errors import BadRequest
from soundalike.synthesis import render
from soundalike.training import pairs
from tests.training.small import ignored, small_recipe

HOW = small_recipe().pairs


def prepared(folder, how=HOW, seed=3, processes=1):
    return pairs.prepare(folder, seed, how, processes=processes, report=ignored)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(pairs, "PAIRS_AT_ONCE", 8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "PAIRS_AT_ONCE", 8)
        return np.array(prepared(tmp_path_factory.mktemp("pairs")))


def drawn(count=1500):
    return [pairs.make_pair(np.random.default_rng([3, n]), HOW) for n in range(count)]


def test_partners_are_of_one_family_and_share_what_the_recipe_says():
    shared = {"vocal": [], "other": []}
    for patch, partner in drawn():
        assert patch.family == partner.family
        same = {
            "score": patch.score_seed == partner.score_seed,
            "effects": abs(patch.effects["gain_db"] - partner.effects["gain_db"]) < 1e-3,
            "speaker": near(patch.timbre, partner.timbre, 0.25),
        }
        shared["vocal" if patch.family == "vocal" else "other"].append(same)
    voices, others = shared["vocal"], shared["other"]
    assert share(others, "score") == pytest.approx(HOW.same_score, abs=0.05)
    assert share(others, "speaker") > 0.9
    assert share(voices, "score") == pytest.approx(1 - HOW.new_word, abs=0.09)
    assert share(voices, "speaker") == pytest.approx(1 - HOW.new_speaker, abs=0.09)


def near(one, other, most):
    return np.median([abs(one[name] - other[name]) for name in one]) < most / 2


def share(found, what):
    return np.mean([one[what] for one in found])


def test_levels_are_those_of_the_rendered_clips(whole):
    assert whole.shape == (20, 2, 126, 64)
    for side, patch in enumerate(pairs.make_pair(np.random.default_rng([3, 11]), HOW)):
        expected = log_mel(render(patch, 2.0, 16_000))
        np.testing.assert_allclose(whole[11, side], expected, atol=0.01)


def test_a_run_that_was_killed_goes_on_to_the_same_pairs(whole, tmp_path):
    class KilledError(Exception):
        pass

    def killed(more, total):
        if more == 8:
            raise KilledError

    with pytest.raises(KilledError):
        pairs.prepare(tmp_path, 3, HOW, processes=1, report=killed)
    done = np.load(tmp_path / pairs.DONE)
    assert done.tolist() == [True, False, False]
    told = []
    found = pairs.prepare(
        tmp_path, 3, HOW, processes=1, report=lambda more, total: told.append((more, total))
    )
    assert told == [(8, 20), (8, 20), (4, 20)]
    np.testing.assert_array_equal(found, whole)


@pytest.mark.slow
def test_two_processes_make_the_same_pairs(whole, tmp_path):
    np.testing.assert_array_equal(prepared(tmp_path, processes=2), whole)


def test_pairs_of_another_recipe_are_refused(tmp_path):
    prepared(tmp_path, small_recipe(pairs=6).pairs)
    for how, seed in ((small_recipe(pairs=7).pairs, 3), (small_recipe(pairs=6).pairs, 4)):
        with pytest.raises(BadRequest, match="another recipe"):
            prepared(tmp_path, how, seed)
