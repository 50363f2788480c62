"""Patches: sounds as bags of parameters, to be drawn, jittered and rendered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from soundalike.errors import BadRequest
from soundalike.synthesis import (
    drums,
    ensembles,
    impacts,
    instruments,
    motors,
    sweeps,
    textures,
    vocals,
)
from soundalike.synthesis.composing import NOTES, Score
from soundalike.synthesis.effects import Signal
from soundalike.synthesis.ranges import Bag, Ranges
from soundalike.synthesis.recording import EFFECTS, record
from soundalike.synthesis.take import Take, gate
from soundalike.types import FloatArray

LEAST_SECONDS = 0.1
LEAST_RATE_HZ = 8_000
# Seeds of 63 bits: numpy draws them as signed integers.
SEEDS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of sound whose parameters can be drawn.

    Attributes
    ----------
    weight : float
        Its share among the patches that `draw` draws.
    play : callable
        Makes the dry sound of a timbre, a score and a take, at any level.
    timbre, score : mapping of str to Range
        The parameters that `play` reads.
    """

    weight: float
    play: Callable[[Bag, Score, Take], Signal]
    timbre: Ranges
    score: Ranges


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "instrument": Family(0.26, instruments.instrument, instruments.TIMBRE, NOTES),
        "ensemble": Family(0.17, ensembles.ensemble, ensembles.TIMBRE, ensembles.SCORE),
        "vocal": Family(0.17, vocals.voice, vocals.TIMBRE, vocals.SCORE),
        "texture": Family(0.13, textures.texture, textures.TIMBRE, textures.SCORE),
        "motor": Family(0.08, motors.motor, motors.TIMBRE, motors.SCORE),
        "impact": Family(0.08, impacts.impact, impacts.TIMBRE, impacts.SCORE),
        "sweep": Family(0.06, sweeps.sweep, sweeps.TIMBRE, sweeps.SCORE),
        "drums": Family(0.05, drums.drums, drums.TIMBRE, drums.SCORE),
    }
)


@dataclass(frozen=True, slots=True)
class Patch:
    """A sound, as parameters.

    Attributes
    ----------
    family : str
        One of `FAMILIES`.
    timbre, score, effects : mapping of str to float
        What sounds, what it plays and how it is recorded: each parameter's
        position in its range, in [0, 1).
    score_seed : int
        Of what the score leaves to chance: its melody, its word, its rhythm.
    noise_seed : int
        Of what nothing decides: noise, echoes, unsteadiness.
    """

    family: str
    timbre: Bag
    score: Bag
    effects: Bag
    score_seed: int
    noise_seed: int


def draw(rng: np.random.Generator, family: str | None = None) -> Patch:
    """Draw a patch.

    Parameters
    ----------
    rng : numpy.random.Generator
        The chance to draw by; generators of equal state draw equal patches.
    family : str, optional
        One of `FAMILIES`; by their weights where unnamed.

    Returns
    -------
    Patch

    Raises
    ------
    BadRequest
        If there is no such family.
    """
    if family is None:
        family = str(rng.choice(list(FAMILIES), p=[one.weight for one in FAMILIES.values()]))
    chosen = _family(family)
    return Patch(
        family,
        _positions(chosen.timbre, rng),
        _positions(chosen.score, rng),
        _positions(EFFECTS, rng),
        int(rng.integers(SEEDS)),
        int(rng.integers(SEEDS)),
    )


def jitter(
    patch: Patch,
    rng: np.random.Generator,
    *,
    timbre: float | None = 0.08,
    score: float | None = None,
    effects: float | None = None,
) -> Patch:
    """Make a patch that sounds alike.

    Each of the three bags is moved by a normal deviation, in positions of [0, 1),
    or drawn anew. What is counted rather than measured (the number of syllables,
    which scale) does not move. The noise is always another.

    ===================================  ======  =====  =======
    wanted                               timbre  score  effects
    ===================================  ======  =====  =======
    the same instrument, other notes     0.08    None   None
    the same notes, a little off         0.08    0.08   0.08
    the same word by another speaker     None    0.05   None
    another take of the same recording   0.0     0.0    0.0
    ===================================  ======  =====  =======

    Parameters
    ----------
    patch : Patch
    rng : numpy.random.Generator
        The chance to jitter by.
    timbre, score, effects : float or None
        Deviation by which that bag's positions move, 0 or more; None draws the
        bag anew.

    Returns
    -------
    Patch
        Of the same family.
    """
    family = _family(patch.family)
    return replace(
        patch,
        timbre=_moved(patch.timbre, family.timbre, timbre, rng),
        score=_moved(patch.score, family.score, score, rng),
        effects=_moved(patch.effects, EFFECTS, effects, rng),
        score_seed=patch.score_seed if score is not None else int(rng.integers(SEEDS)),
        noise_seed=int(rng.integers(SEEDS)),
    )


def render(patch: Patch, seconds: float, rate_hz: int = 16_000) -> FloatArray:
    """Make the sound of a patch.

    Parameters
    ----------
    patch : Patch
    seconds : float
        Its length, 0.1 or more. What repeats itself does so until the end.
    rate_hz : int
        Sample rate, 8,000 or more.

    Returns
    -------
    ndarray of float32, shape (samples,)
        Mono, within [-1, 1], mean 0, silent at both ends.

    Raises
    ------
    BadRequest
        If it is too short, or of no family.
    BadRate
        If the rate is too low.
    """
    gate(seconds, rate_hz, LEAST_SECONDS, LEAST_RATE_HZ)
    family = _family(patch.family)
    take = Take(seconds, rate_hz, np.random.default_rng(patch.noise_seed))
    score = Score(_values(patch.score, family.score), patch.score_seed)
    dry = family.play(_values(patch.timbre, family.timbre), score, take)
    return record(dry, _values(patch.effects, EFFECTS), take)


def _family(name: str) -> Family:
    if name not in FAMILIES:
        raise BadRequest(f"There is no family '{name}'; there are {', '.join(FAMILIES)}.")
    return FAMILIES[name]


def _positions(ranges: Ranges, rng: np.random.Generator) -> Bag:
    return dict(zip(ranges, rng.random(len(ranges)).tolist(), strict=True))


def _values(positions: Bag, ranges: Ranges) -> Bag:
    return {name: ranges[name].at(position) for name, position in positions.items()}


def _moved(
    positions: Bag, ranges: Ranges, deviation: float | None, rng: np.random.Generator
) -> Bag:
    if deviation is None:
        return _positions(ranges, rng)
    steps = deviation * rng.standard_normal(len(positions))
    return {
        name: position if ranges[name].scale == "whole" else _reflected(position + step)
        for (name, position), step in zip(positions.items(), steps.tolist(), strict=True)
    }


def _reflected(position: float) -> float:
    """Bring a position back into [0, 1) where it left it, as a mirror would."""
    folded = position % 2.0
    return min(folded, 2.0 - folded) if folded != 1.0 else np.nextafter(1.0, 0.0)
