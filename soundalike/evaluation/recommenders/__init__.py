"""Recommenders of items to listeners, one file each; this page finds them by their keys."""

from __future__ import annotations

import importlib
from dataclasses import replace

from soundalike.errors import BadRequest
from soundalike.evaluation.recommenders.base import (
    PAPER,
    PRESETS,
    SOUND,
    Options,
    Recommender,
    Task,
)

__all__ = ["KEYS", "PAPER", "PRESETS", "SOUND", "Options", "Recommender", "Task", "create", "kind"]

KEYS = ("random", "popularity", "item-item", "knn", "snn", "bert4rec")


def kind(key: str) -> type[Recommender]:
    """Find the class of a key.

    Raises
    ------
    BadRequest
        There is none.
    """
    if key not in KEYS:
        raise BadRequest(f"There is no recommender '{key}'; there are {', '.join(KEYS)}.")
    module = importlib.import_module(f"{__name__}.{key.replace('-', '_')}")
    found: type[Recommender] = module.RECOMMENDER
    return found


def create(name: str, preset: str = SOUND) -> Recommender:
    """Make the recommender of a name.

    Parameters
    ----------
    name : str
        A key, with options after a colon where wanted: ``"knn"``, ``"knn:last=10,centre=yes"``.
    preset : str
        What options are that the name does not tell: ``"sound"`` for our defaults, ``"paper"`` for
        what the paper's own code chose.

    Returns
    -------
    Recommender

    Raises
    ------
    BadRequest
        There is no such recommender, preset, option or value.
    """
    if preset not in PRESETS:
        raise BadRequest(f"There is no preset '{preset}'; there are {', '.join(PRESETS)}.")
    key, _, text = name.partition(":")
    found = kind(key)
    begun = found.options_type()
    if preset == PAPER:
        begun = replace(begun, **found.paper)
    pairs = [part.partition("=") for part in text.split(",") if part]
    return found(begun.with_texts({option.strip(): value.strip() for option, _, value in pairs}))
