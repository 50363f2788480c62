from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from soundalike.errors import BadRate, BadRequest
from soundalike.synthesis import FAMILIES, draw, jitter, render
from tests.synthesis.hearing import RATE, impression, levels

every_family = pytest.mark.parametrize("family", FAMILIES)
BAGS = ("timbre", "score", "effects")
# 50 samples of each of two sounds a family, in ten-thousandths: `heard()` gives them.
HEARD = Path(__file__).with_name("heard.json")


def patches(family, count, seed=0):
    rng = np.random.default_rng(seed)
    return [draw(rng, family) for _ in range(count)]


def heard():
    return {
        family: [
            np.round(10_000 * render(patch, 1.5)[::480]).astype(int).tolist()
            for patch in patches(family, 2, seed=2)
        ]
        for family in FAMILIES
    }


@every_family
@pytest.mark.parametrize(("seconds", "rate"), [(0.3, 8_000), (4.0, 16_000), (1.1, 44_100)])
def test_a_sound_is_what_render_promises(family, seconds, rate):
    for patch in patches(family, 3):
        samples = render(patch, seconds, rate)
        assert samples.dtype == np.float32
        assert samples.shape == (round(seconds * rate),)
        assert np.isfinite(samples).all()
        assert 0.05 < np.abs(samples).max() <= 1
        assert abs(samples.mean(dtype=np.float64)) < 1e-6
        assert np.abs(samples[[0, -1]]).max() < 1e-3 * np.abs(samples).max()


@every_family
def test_equal_patches_give_equal_samples_and_others_do_not(family):
    one, other = patches(family, 2, seed=1)
    first = render(one, 1.0)
    np.testing.assert_array_equal(first, render(patches(family, 1, seed=1)[0], 1.0))
    assert np.linalg.norm(impression(first) - impression(render(other, 1.0))) > 3


def test_sounds_are_those_of_every_other_machine():
    expected = json.loads(HEARD.read_text())
    for family, sounds in heard().items():
        assert np.abs(np.array(sounds) - expected[family]).max() <= 1, family


@every_family
def test_something_sounds_in_every_stretch_that_a_crop_could_be(family):
    for patch in patches(family, 6, seed=3):
        level = levels(render(patch, 4.0), 0.02)
        loudest = [level[start : start + 77].max() for start in range(0, len(level) - 77, 8)]
        assert min(loudest) > 1e-3 * level.max()


@every_family
def test_what_is_jittered_is_nearer_than_what_is_drawn(family):
    # recorded alike, since another recording moves a sound as far as another timbre does
    rng = np.random.default_rng(4)
    drawn = patches(family, 12, seed=4)
    slightly = [jitter(patch, rng, timbre=0.02, score=0.02, effects=0.02) for patch in drawn]
    further = [jitter(patch, rng, timbre=0.05, score=None, effects=0.02) for patch in drawn]
    first, second, third = (
        np.stack([impression(render(patch, 1.5)) for patch in several])
        for several in (drawn, slightly, further)
    )
    apart = np.linalg.norm(first[:, None] - first, axis=2)[np.triu_indices(12, 1)]
    moved = [np.median(np.linalg.norm(first - other, axis=1)) for other in (second, third)]
    assert max(moved) < 0.8 * np.median(apart)


@every_family
def test_zero_jitter_changes_the_noise_alone(family):
    patch = patches(family, 1, seed=5)[0]
    again = jitter(patch, np.random.default_rng(0), timbre=0.0, score=0.0, effects=0.0)
    assert [getattr(again, bag) for bag in BAGS] == [getattr(patch, bag) for bag in BAGS]
    assert again.score_seed == patch.score_seed
    assert again.noise_seed != patch.noise_seed


@pytest.mark.parametrize("bag", BAGS)
def test_none_draws_one_bag_anew(bag):
    patch = patches("vocal", 1)[0]
    kept = dict.fromkeys(BAGS, 0.0)
    other = jitter(patch, np.random.default_rng(1), **{**kept, bag: None})
    changed = [name for name in BAGS if getattr(other, name) != getattr(patch, name)]
    assert changed == [bag]
    assert (other.score_seed != patch.score_seed) == (bag == "score")


def test_jitter_moves_what_is_measured_by_the_deviation_and_keeps_what_is_counted():
    rng = np.random.default_rng(6)
    ranges = FAMILIES["instrument"].timbre
    moves = []
    for patch in patches("instrument", 60):
        moved = jitter(patch, rng, timbre=0.05).timbre
        for name, position in patch.timbre.items():
            if ranges[name].scale == "whole":
                assert moved[name] == position
            elif 0.2 < position < 0.8:
                moves.append(moved[name] - position)
    assert np.std(moves) == pytest.approx(0.05, rel=0.1)
    assert abs(np.mean(moves)) < 0.005


def test_positions_stay_between_0_and_1_however_far_they_are_pushed():
    rng = np.random.default_rng(7)
    pushed = jitter(patches("texture", 1)[0], rng, timbre=3.0, score=3.0, effects=3.0)
    positions = [p for bag in BAGS for p in getattr(pushed, bag).values()]
    assert 0 <= min(positions) <= max(positions) < 1


def test_families_are_drawn_by_their_weights():
    rng = np.random.default_rng(8)
    drawn = Counter(draw(rng).family for _ in range(2_000))
    assert sum(family.weight for family in FAMILIES.values()) == pytest.approx(1)
    for name, family in FAMILIES.items():
        assert drawn[name] / 2_000 == pytest.approx(family.weight, abs=0.04)


def test_a_family_that_is_not_there_is_refused():
    with pytest.raises(BadRequest, match="'trombone'"):
        draw(np.random.default_rng(0), "trombone")


@pytest.mark.parametrize(
    ("seconds", "rate", "fault"),
    [(0.05, RATE, BadRequest), (np.nan, RATE, BadRequest), (1.0, 4_000, BadRate)],
)
def test_what_cannot_be_rendered_is_refused(seconds, rate, fault):
    with pytest.raises(fault):
        render(patches("motor", 1)[0], seconds, rate)
