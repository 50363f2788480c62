"""What is asked of `mini`: are the questions as they are told?"""

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from benchmarks import mini, mini_limits
from soundalike.embedders import weights
from soundalike.embedders.mini_network import MEAN
from soundalike.extract.loading import Extractors
from soundalike.types import Clip
from tests.sounds import noise, tone


def test_weights_of_a_run_are_taken_in_place_of_the_released_ones(tmp_path):
    for key in mini.TRAINED:
        shutil.copy(weights.PACKAGED / key / f"{key}.safetensors", tmp_path)
    path = tmp_path / "mini.safetensors"
    state = load_file(path)
    save_file(state | {MEAN: state[MEAN] + 1}, path)
    spaces = []
    for run in (None, tmp_path):
        with mini.weights_of(run):
            spaces.append(Extractors().get("mini").space())
    assert spaces[0] != spaces[1]


def test_a_cell_tells_the_mean_and_where_it_lies():
    assert mini.cell([0.9], 3) == "0.900"
    assert mini.cell([0.9, 0.8, 1.0], 2) == "0.90 (0.80 to 1.00)"


@pytest.mark.parametrize("semitone", [0, 12])
def test_notes_are_as_high_as_they_are_told_to_be(semitone, monkeypatch):
    monkeypatch.setattr(mini_limits, "THINGS", 2)
    sounds = mini_limits.notes([semitone], np.random.default_rng(0))
    assert (sounds.things, sounds.conditions) == (["0", "1"], [str(semitone)] * 2)
    assert all(clip.seconds == 2.0 for clip in sounds.clips)


@pytest.mark.parametrize("family", ["instrument", "drums"])
def test_each_thing_plays_everything(family, monkeypatch):
    monkeypatch.setattr(mini_limits, "THINGS", 2)
    monkeypatch.setattr(mini_limits, "SECONDS", 0.5)
    sounds = mini_limits.played(family, np.random.default_rng(0))
    assert list(zip(sounds.things, sounds.conditions, strict=True)) == [
        ("0", "0"), ("0", "1"), ("1", "0"), ("1", "1"),
    ]  # fmt: skip
    assert mini_limits.turned(sounds).things == sounds.conditions


def test_clips_are_cut_around_their_loudest():
    samples = np.zeros((1, 16_000), np.float32)
    samples[0, 12_000:12_100] = 0.5
    cut = mini_limits.shortened(Clip(samples, 16_000), 0.25)
    assert cut.seconds == 0.25
    assert np.abs(cut.samples).max() == 0.5
    assert mini_limits.shortened(cut, 5.0).seconds == 0.25


def test_two_clips_at_once_are_equally_loud():
    one, other = Clip(tone(1.0).T, 16_000), Clip(0.01 * noise(2.0).T, 16_000)
    mixed = mini_limits.both(one, other)
    assert mixed.samples.dtype == np.float32
    for part in (one, other):
        likeness = np.corrcoef(mixed.samples[0], part.samples[0, :16_000])[0, 1]
        assert likeness == pytest.approx(0.5**0.5, abs=0.02)
