import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from soundalike.cli import main
from soundalike.embedders import create
from soundalike.errors import BadRequest
from soundalike.training import descriptors, recipe, run, train
from soundalike.training.train import found_nearest, rate_at
from tests.embedders.test_mini import frames_of
from tests.sounds import noise
from tests.training.small import ignored, small_recipe

FILES = ["card.json", "checkpoint.pt", "descriptors.safetensors", "mini.safetensors", "pairs"]


@pytest.fixture(scope="module")
def levels():
    """Noise in pairs of like colour, which a network learns in no time."""
    rng = np.random.default_rng(0)
    colours = rng.normal(size=(40, 1, 1, 64)) * 3
    return (colours + rng.normal(size=(40, 2, 126, 64))).astype(np.float16)


def trained(levels, how, folder, *, resume=False, told=ignored):
    return train.train(levels, how, folder, device="cpu", resume=resume, told=told)


def weights_of(learner):
    return {name: tensor.clone() for name, tensor in learner.state_dict().items()}


def test_the_rate_rises_stays_and_falls():
    how = recipe.read()
    how = replace(how, fit=replace(how.fit, steps=100, warm_up=10, rate=1.0, fall=0.2))
    assert rate_at(0, how) == pytest.approx(0.1)
    assert rate_at(9, how) == rate_at(80, how) == 1
    assert rate_at(90, how) == pytest.approx(0.5)
    assert rate_at(99, how) == pytest.approx(0.05)


def test_partners_are_found_among_all_others():
    near = np.array([[0.0, 3.0], [0.1, 3.0], [5.0, 0.0], [5.1, 0.1], [-5, -4], [4.9, 0.0]])
    # the last pair is none: one is alone, the other nearest to the third
    assert found_nearest(near.astype(np.float32)) == pytest.approx(3 / 6)


def test_it_learns_which_clips_belong_together(levels, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "SMOOTHING", 0.0)
    losses = []
    how = small_recipe(steps=30, batch=16)
    trained(levels, how, tmp_path, told=lambda now: losses.append(now.loss))
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_a_run_that_was_killed_goes_on_to_the_same_network(levels, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "KEPT_EVERY", 2)
    how = small_recipe(steps=5)
    (tmp_path / "whole").mkdir()
    expected, _ = trained(levels, how, tmp_path / "whole")

    class KilledError(Exception):
        pass

    def killed(now):
        if now.step == 3:
            raise KilledError

    with pytest.raises(KilledError):
        trained(levels, how, tmp_path, told=killed)
    steps = []
    found, progress = trained(
        levels, how, tmp_path, resume=True, told=lambda now: steps.append(now.step)
    )
    assert steps == [3, 4, 5]
    assert [step for step, _ in progress.found] == [2, 4, 5]
    for name, tensor in weights_of(expected).items():
        assert torch.equal(tensor, weights_of(found)[name]), name


def test_a_run_goes_on_to_more_steps_and_to_nothing_else(levels, tmp_path):
    trained(levels, small_recipe(steps=2), tmp_path)
    _, progress = trained(levels, small_recipe(steps=3), tmp_path, resume=True)
    assert progress.step == 3
    with pytest.raises(BadRequest, match="another recipe"):
        trained(levels, small_recipe(steps=3, seed=4), tmp_path, resume=True)


class Silent:
    def made(self, *told):
        pass

    def trained(self, *told):
        pass


@pytest.fixture
def few_clips(monkeypatch):
    monkeypatch.setattr(descriptors, "CLIPS", 12)


@pytest.fixture
def small_file(tmp_path):
    text = recipe.RELEASED.read_text()
    for old, new in (("seconds = 4.0", "seconds = 2.0"), ("batch = 256", "batch = 6")):
        text = text.replace(old, new)
    path = tmp_path / "small.toml"
    path.write_text(text)
    return path


def test_the_command_makes_what_the_embedders_read(
    few_clips, small_file, tmp_path, capsys, monkeypatch
):
    folder = tmp_path / "models" / "mini"
    command = ["train", "mini", str(folder), "--recipe", str(small_file), "--pairs", "12"]
    settings = ["--steps", "2", "--seed", "5", "--threads", "1", "--device", "cpu", "--json"]
    threads = torch.get_num_threads()
    assert main([*command, *settings]) == 0
    torch.set_num_threads(threads)
    card = json.loads(capsys.readouterr().out)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert json.loads((folder / "card.json").read_text()) == card
    assert (card["recipe"]["fit"]["seed"], card["recipe"]["pairs"]["count"]) == (5, 12)
    assert [step for step, _ in card["partners_found"]] == [2]
    assert card["files"]["mini.safetensors"]["bytes"] < 4_000_000
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path / "models"))
    embedder = create("mini")
    embedder.load()
    assert embedder.weights_digest() == card["files"]["mini.safetensors"]["sha256"]
    assert frames_of(embedder, noise(1.0)[:, 0]).shape == (12, 512)
    assert main([*command, *settings]) == 2, "a run is not written over"
    assert "--resume" in capsys.readouterr().err


def test_descriptors_are_standardised_over_synthesised_clips(few_clips):
    found = descriptors.standards(1, 2.0, ignored)
    again = descriptors.standards(1, 2.0, ignored)
    other = descriptors.standards(2, 2.0, ignored)
    np.testing.assert_array_equal(found["mean"], again["mean"])
    assert not np.array_equal(found["mean"], other["mean"])
    assert (found["deviation"] > 0).all()
    packaged = load_file(run.__file__.replace("training/run.py", "embedders/trained/descriptors/")
                         + run.DESCRIPTORS)  # fmt: skip
    apart = np.abs(found["mean"] - packaged["mean"]) / packaged["deviation"]
    assert np.median(apart) < 1


@pytest.mark.parametrize("wrong", [["--threads", "0"], ["--steps", "0"], ["--device", "abacus"]])
def test_wrong_use_is_refused(tmp_path, wrong, capsys):
    assert main(["train", "mini", str(tmp_path / "new"), *wrong]) == 2
    assert not (tmp_path / "new").exists()
