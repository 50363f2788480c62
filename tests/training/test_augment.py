from dataclasses import replace

import numpy as np
import pytest
import torch

from soundalike.embedders.mini_front_end import relative
from soundalike.training import augment, recipe

USUAL = recipe.read().augmentation
NOTHING = replace(
    USUAL, stretch=0.0, shift=0.0, equaliser=0.0, fade=0.0, mixed=0.0, mask=0.0,
    floor_nepers=(16.0, 16.0),
)  # fmt: skip


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def clips(count=200, frames=251):
    """Levels that rise along time and fall along frequency, each clip in its own way."""
    time, band = torch.arange(frames)[None, :, None], torch.arange(64)[None, None, :]
    slope = torch.linspace(0.5, 1.0, count)[:, None, None]
    return slope * (0.05 * time - 0.1 * band)


def only(**changes):
    return replace(NOTHING, **changes)


def test_with_nothing_done_a_crop_is_what_the_embedder_would_see():
    levels = clips(20)
    for crop, clip in zip(augment.views(levels, NOTHING), levels, strict=True):
        rows = [relative(clip[start : start + 96].numpy()) for start in range(156)]
        apart = [np.abs(crop.numpy() - row).max() for row in rows]
        assert min(apart) < 0.02  # a crop begins between two frames


def test_crops_are_stretched_and_shifted_as_far_as_the_recipe_says():
    levels = clips()
    slope = torch.linspace(0.5, 1.0, 200)
    stretched = augment.cropped(levels, only(stretch=0.25))
    factor = (stretched[:, 95, 5] - stretched[:, 0, 5]) / (95 * 0.05 * slope)
    assert factor.min() == pytest.approx(np.exp(-0.25), abs=0.02)
    assert factor.max() == pytest.approx(np.exp(0.25), abs=0.02)
    # time and frequency are told apart by a clip that is the same at each moment
    flat = (slope[:, None, None] * -0.1 * torch.arange(64)[None, None, :]).expand(-1, 251, -1)
    shifted = augment.cropped(flat, only(shift=0.6, shift_bands=2.0))
    by = ((shifted - flat[:, :96])[:, 0, 32] / slope / 0.1).numpy()
    assert np.mean(np.abs(by) < 1e-3) == pytest.approx(0.4, abs=0.1)
    assert by[np.abs(by) > 1e-3].std() == pytest.approx(2.0, abs=0.4)


def test_crops_begin_where_something_sounds():
    levels = torch.full((300, 251, 64), -10.0)
    levels[:, 60:70] = 0.0
    heard = augment.cropped(levels, NOTHING).amax((1, 2)) > -1
    by_chance = 70 / 155  # of the places at which a crop could begin
    assert heard.float().mean() > 1 - (1 - by_chance) ** 4 - 0.08


def test_another_clip_is_put_below_by_so_many_decibels():
    levels = torch.full((400, 96, 64), -40.0)
    levels[:, :, 0] = torch.linspace(-3, 3, 400)[:, None]
    levels[200:] = levels[200:].roll(30, 2)
    found = augment.mixed(levels, only(mixed=1.0, mixed_db=(6.0, 28.0)))
    first = found[:200, 0]
    added = first[:, 30] > -35  # of the other half
    below_db = (first[added, 0] - first[added, 30]) * 10 / np.log(10)
    assert 80 < added.sum() < 120
    assert below_db.min() == pytest.approx(6, abs=1.5)
    assert below_db.max() == pytest.approx(28, abs=1.5)


@pytest.mark.parametrize(
    ("change", "along"),
    [({"equaliser": 1.0}, 2), ({"fade": 1.0}, 1)],
)
def test_equalisers_and_fades_are_curves_along_one_axis(change, along):
    levels = torch.zeros(100, 251, 64)
    found = augment.views(levels, only(**change, floor_nepers=(16.0, 16.0)))
    other = 3 - along
    assert torch.allclose(found.diff(dim=other), torch.zeros(()), atol=1e-5)
    assert found.diff(dim=along).abs().amax((1, 2)).min() > 0


@pytest.mark.parametrize(("axis", "most"), [(1, 19), (2, 11)])
def test_masks_silence_one_stretch(axis, most):
    how = only(mask=1.0, mask_frames=20 if axis == 1 else 1, mask_bands=12 if axis == 2 else 1)
    found = augment.views(torch.zeros(300, 251, 64), how)
    silent = (found < -2).all(dim=3 - axis)
    assert silent.sum(1).max() == most
    assert silent.sum(1).min() == 0
    assert (silent.long().diff(dim=1) == 1).sum(1).max() <= 1


def test_the_floor_lies_where_the_recipe_says():
    levels = torch.full((300, 251, 64), -100.0)
    levels[:, :, 3] = 0.0
    found = augment.views(levels, only(floor_nepers=(9.0, 17.0)))
    floors = (found[:, 0, 40] - 1.5) * 4
    assert floors.min() == pytest.approx(-17, abs=0.2)
    assert floors.max() == pytest.approx(-9, abs=0.2)
    assert torch.allclose(found.amax((1, 2)), torch.tensor(2.25))
