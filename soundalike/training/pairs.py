"""Pairs of synthesised clips that belong together, as log-mel spectrograms on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from soundalike.embedders.mini_front_end import MEL, log_mel
from soundalike.errors import BadRequest
from soundalike.synthesis import Patch, draw, jitter, render
from soundalike.training import recipe

HalfArray = npt.NDArray[np.float16]
Levels = np.memmap[tuple[int, ...], np.dtype[np.float16]]
Done = np.memmap[tuple[int, ...], np.dtype[np.bool_]]
Report = Callable[[int, int], None]
"""Is told how many are done, and of how many."""

PAIRS_AT_ONCE = 32  # that are written together, and lost together where a run is killed
LEVELS, DONE, FACTS = "levels.npy", "done.npy", "pairs.json"
VOICE = "vocal"


def make_pair(rng: np.random.Generator, how: recipe.Pairs) -> tuple[Patch, Patch]:
    """Draw a patch, and one that belongs to it.

    Parameters
    ----------
    rng : numpy.random.Generator
        The chance to draw by.
    how : Pairs
        The recipe.

    Returns
    -------
    patch, partner : Patch
        Of one family. Two notes of one instrument, two words of one speaker,
        one word by two, or the same again with everything a little off; recorded alike or not.
    """
    patch = draw(rng)
    timbre: float | None = float(rng.choice(how.timbre))
    effects = None if rng.random() < how.new_effects else how.effects
    score: float | None = how.score
    chance = rng.random()
    if patch.family != VOICE:
        score = how.score if chance < how.same_score else None
    elif chance < how.new_speaker:
        timbre = None
    elif chance < how.new_speaker + how.new_word:
        score = None
    return patch, jitter(patch, rng, timbre=timbre, score=score, effects=effects)


def levels_of(numbers: range, seed: int, how: recipe.Pairs) -> HalfArray:
    """Make the log-mel spectrograms of some pairs.

    Parameters
    ----------
    numbers : range
        Which pairs; each hangs on the seed and its number alone.
    seed : int
    how : Pairs

    Returns
    -------
    ndarray of float16, shape (pairs, 2, T, 64)
        In nepers of power.
    """
    found = np.empty((len(numbers), 2, frames_of(how), MEL.bands), np.float16)
    for place, number in enumerate(numbers):
        for side, patch in enumerate(make_pair(np.random.default_rng([seed, number]), how)):
            found[place, side] = log_mel(render(patch, how.seconds, MEL.rate_hz))
    return found


def frames_of(how: recipe.Pairs) -> int:
    """Tell how many frames the spectrogram of a clip has."""
    return 1 + round(how.seconds * MEL.rate_hz) // MEL.hop_samples


def prepare(
    folder: Path, seed: int, how: recipe.Pairs, *, processes: int, report: Report
) -> HalfArray:
    """Make all pairs, or what is missing of them.

    Parameters
    ----------
    folder : Path
        Where they are kept; a run that was killed goes on where it was.
    seed : int
    how : Pairs
    processes : int
        That make pairs at the same time; what they make does not hang on how many they are.
    report : callable
        Is told how many pairs there are.

    Returns
    -------
    ndarray of float16, shape (pairs, 2, T, 64)
        Mapped from the disk.

    Raises
    ------
    BadRequest
        The folder holds pairs of another recipe.
    OSError
        They cannot be written.
    """
    levels, done = _opened(folder, seed, how)
    blocks = [
        range(start, min(start + PAIRS_AT_ONCE, how.count))
        for start in range(0, how.count, PAIRS_AT_ONCE)
    ]
    missing = [number for number in range(len(blocks)) if not done[number]]
    report(how.count - sum(len(blocks[number]) for number in missing), how.count)
    made = _made([blocks[number] for number in missing], seed, how, processes)
    for number, some in zip(missing, made, strict=True):
        block = blocks[number]
        levels[block.start : block.stop] = some
        levels.flush()
        done[number] = True
        done.flush()
        report(len(block), how.count)
    return levels


def _made(blocks: list[range], seed: int, how: recipe.Pairs, processes: int) -> Iterator[HalfArray]:
    if processes == 1:
        yield from (levels_of(block, seed, how) for block in blocks)
        return
    # not forked: this process may hold threads of torch
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        several = [seed] * len(blocks), [how] * len(blocks)
        yield from pool.map(levels_of, blocks, *several)


def _opened(folder: Path, seed: int, how: recipe.Pairs) -> tuple[Levels, Done]:
    """Open the files of pairs, made where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = json.loads(json.dumps({"seed": seed, **asdict(how)}))
    known = folder / FACTS
    if known.is_file():
        if json.loads(known.read_text()) != facts:
            raise BadRequest(f"'{folder}' holds pairs of another recipe; name another folder.")
        mode = "r+"
    else:
        mode = "w+"
    shape = (how.count, 2, frames_of(how), MEL.bands)
    blocks = (-(-how.count // PAIRS_AT_ONCE),)
    levels = np.lib.format.open_memmap(folder / LEVELS, mode, np.float16, shape)
    done = np.lib.format.open_memmap(folder / DONE, mode, np.bool_, blocks)
    known.write_text(json.dumps(facts))  # last: without it, files are begun anew
    return levels, done
