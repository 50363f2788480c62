import pytest

from soundalike.errors import BadRequest
from soundalike.training import recipe


def changed(tmp_path, old, new):
    text = recipe.RELEASED.read_text()
    assert old in text
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(old, new, 1))
    return path


def test_the_released_recipe_is_read_with_its_types():
    found = recipe.read()
    assert found.pairs.seconds == 4.0
    assert found.pairs.timbre == (0.03, 0.08, 0.15)
    assert found.augmentation.mask_bands == 12
    assert found.fit.batch == 256


def test_some_numbers_can_be_changed_and_the_others_stay():
    found, usual = recipe.read().but(seed=7, steps=None, pairs=300), recipe.read()
    assert (found.fit.seed, found.fit.steps) == (7, usual.fit.steps)
    assert (found.pairs.count, found.pairs.seconds) == (300, usual.pairs.seconds)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("[fit]", "[fitting]", "has \\[pairs\\]"),
        ("seed = 3", "", "has seed, steps"),
        ("seed = 3", "seed = 3\nmore = 2", "has seed, steps"),
        ("seed = 3", "seed = 3.5", "'seed' .* is no number"),
        ("seed = 3", "seed = -1", "'seed' .* is no number"),
        ("seed = 3", "seed = true", "'seed' .* is no number"),
        ("seed = 3", 'seed = "1"', "'seed' .* is no number"),
        ("seed = 3", "seed = [1]", "'seed' .* is one number"),
        ("rate = 2.5e-3", "rate = nan", "'rate' .* is no number"),
        ("mixed_db = [6.0, 28.0]", "mixed_db = [6.0]", "two numbers"),
        ("mixed_db = [6.0, 28.0]", "mixed_db = 6.0", "is a list"),
        ("timbre = [0.03, 0.08, 0.15]", "timbre = []", "is a list"),
        ("mask = 0.50", "mask = 1.50", "'mask' .* is a share"),
        ("new_word = 0.30", "new_word = 0.90", "new_speaker \\+ new_word"),
        ("seconds = 4.0", "seconds = 1.0", "at least 2 s"),
        ("batch = 256", "batch = 1", "from 2 pairs"),
        ("temperature = 0.1", "temperature = 0", "temperature above 0"),
        ("[fit]", "[fit", "is no recipe"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, old, new, why):
    with pytest.raises(BadRequest, match=why):
        recipe.read(changed(tmp_path, old, new))


@pytest.mark.parametrize("changes", [{"steps": 0}, {"pairs": 100}])
def test_changes_that_make_no_sense_are_refused(changes):
    with pytest.raises(BadRequest):
        recipe.read().but(**{"seed": None, "steps": None, "pairs": None} | changes)
