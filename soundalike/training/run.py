"""A training run from an empty folder to what is released."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

import torch

from soundalike.errors import BadRequest
from soundalike.training import card, descriptors, release, train
from soundalike.training.pairs import prepare
from soundalike.training.recipe import Recipe
from soundalike.training.train import Progress

MINI, DESCRIPTORS = "mini.safetensors", "descriptors.safetensors"
PAIRS = "pairs"


class Watcher(Protocol):
    """Whoever is told how far a run is."""

    def made(self, what: str, more: int, total: int) -> None:
        """Hear that some pairs or clips more are made."""

    def trained(self, progress: Progress, steps: int) -> None:
        """Hear that a step is done."""


def run(
    folder: Path, how: Recipe, *, device: str, threads: int, resume: bool, watcher: Watcher
) -> dict[str, Any]:
    """Make pairs, train, and write weights, standards and card.

    Parameters
    ----------
    folder : Path
        Where all of it goes.
    how : Recipe
    device : str
        Where the network is trained.
    threads : int
        Of torch, and processes that make pairs.
    resume : bool
        Go on where a run in this folder was killed; pairs that are there are taken in any case.
    watcher : Watcher

    Returns
    -------
    dict
        The card.

    Raises
    ------
    BadRequest
        The folder holds a run and `resume` is not set, or one of another recipe.
    OSError
        It cannot be written.
    """
    if not resume and (folder / train.CHECKPOINT).is_file():
        raise BadRequest(f"'{folder}' holds a run; go on with --resume, or name another folder.")
    torch.set_num_threads(threads)
    started = time.perf_counter()
    levels = prepare(
        folder / PAIRS,
        how.fit.seed,
        how.pairs,
        processes=threads,
        report=lambda more, total: watcher.made("pairs", more, total),
    )
    learner, progress = train.train(
        levels,
        how,
        folder,
        device=device,
        resume=resume,
        told=lambda now: watcher.trained(now, how.fit.steps),
    )
    kept, _ = train.held_out(levels)
    state = release.release(learner.network, kept.reshape(-1, *levels.shape[2:]), device)
    release.write(state, folder / MINI)
    standards = descriptors.standards(
        how.fit.seed,
        how.pairs.seconds,
        lambda more, total: watcher.made("clips", more, total),
    )
    release.write(standards, folder / DESCRIPTORS)
    minutes = (time.perf_counter() - started) / 60
    released = [folder / MINI, folder / DESCRIPTORS]
    return card.write(folder, how, progress, device=device, minutes=minutes, files=released)
