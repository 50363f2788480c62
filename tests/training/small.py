"""A recipe that is quick to go through, and the pairs it makes."""

from dataclasses import replace

from soundalike.training import recipe


def small_recipe(*, steps=4, pairs=20, batch=6, seed=3, **pair_changes):
    usual = recipe.read()
    return recipe.Recipe(
        replace(usual.pairs, count=pairs, seconds=2.0, **pair_changes),
        usual.augmentation,
        replace(usual.fit, steps=steps, batch=batch, seed=seed, warm_up=2),
    )


def ignored(*told):
    """Be told of progress."""
