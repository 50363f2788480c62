"""The training run: steps, checkpoints, validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from soundalike.embedders.mini_network import WIDTHS
from soundalike.errors import BadRequest
from soundalike.evaluation.recommenders.training import INITIAL, seeded
from soundalike.training.augment import views
from soundalike.training.network import Learner, contrast, folded
from soundalike.training.pairs import HalfArray
from soundalike.training.recipe import Recipe
from soundalike.training.release import statistics_of
from soundalike.types import FloatArray

CHECKPOINT = "checkpoint.pt"
KEPT_EVERY = 100  # steps
HELD_PAIRS, HELD_SHARE = 500, 0.05
SMOOTHING = 0.95
Told = Callable[["Progress"], None]


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    step : int
        Steps that are done.
    loss : float
        A running mean; NaN before the first step.
    found : list of (int, float)
        After so many steps, the share of held-out clips whose nearest other is their partner.
    """

    step: int = 0
    loss: float = math.nan
    found: list[tuple[int, float]] = field(default_factory=list)


def train(
    levels: HalfArray,
    how: Recipe,
    folder: Path,
    *,
    device: str,
    resume: bool,
    told: Told,
    widths: Sequence[int] = WIDTHS,
) -> tuple[Learner, Progress]:
    """Train the network, or go on where a run was killed.

    Parameters
    ----------
    levels : ndarray of float16, shape (pairs, 2, T, 64)
        Of which the last are held out; see `held_out`.
    how : Recipe
    folder : Path
        Where the checkpoint is kept.
    device : str
        Where it is trained. On one device the same recipe gives the same network, whether it was
        killed in between or not.
    resume : bool
        Go on from the checkpoint, where there is one; to another end, if the recipe now has one.
    told : callable
        Is told of each step.
    widths : sequence of int
        Of the network's convolutions; others than the release has are for trials.

    Returns
    -------
    learner : Learner
    progress : Progress

    Raises
    ------
    BadRequest
        The checkpoint is of another recipe.
    """
    with seeded(how.fit.seed, INITIAL, device):
        learner = Learner(widths).to(device)
    optimiser = torch.optim.AdamW(learner.parameters(), how.fit.rate, weight_decay=how.fit.decay)
    progress = Progress()
    checkpoint = folder / CHECKPOINT
    if resume and checkpoint.is_file():
        progress = _restored(checkpoint, how, learner, optimiser)
    kept, held = held_out(levels)
    for rows in _batches(len(kept), how, progress.step):
        with seeded(how.fit.seed, progress.step, device):
            loss = _step(learner, optimiser, _both(kept, rows, how), how, progress.step)
        progress.loss = _smoothed(progress.loss, loss)
        progress.step += 1
        if progress.step % KEPT_EVERY == 0 or progress.step == how.fit.steps:
            progress.found.append((progress.step, partners_found(learner, held, device)))
            _keep(checkpoint, how, learner, optimiser, progress)
        told(progress)
    return learner, progress


def held_out(levels: HalfArray) -> tuple[HalfArray, HalfArray]:
    """Divide pairs into those that are learned from and the last ones, which are not."""
    held = min(HELD_PAIRS, max(1, round(HELD_SHARE * len(levels))))
    return levels[:-held], levels[-held:]


def rate_at(step: int, how: Recipe) -> float:
    """Tell the learning rate of a step: up from nothing, level, and down to nothing.

    As long as it does not fall, nothing hangs on how many steps there will be: a run can go on
    with more of them, or be brought to its end.
    """
    up = (step + 1) / max(1, how.fit.warm_up)
    down = (how.fit.steps - step) / max(1.0, how.fit.fall * how.fit.steps)
    return how.fit.rate * min(up, 1.0, down)


def _batches(pairs: int, how: Recipe, step: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the pairs of each step from one on, every pair once before any comes again."""
    batch = min(how.fit.batch, pairs)
    an_epoch = pairs // batch
    for number in range(step, how.fit.steps):
        epoch, place = divmod(number, an_epoch)
        order = np.random.default_rng([how.fit.seed, epoch]).permutation(pairs)
        yield np.sort(order[place * batch : (place + 1) * batch])


def _both(kept: HalfArray, rows: npt.NDArray[np.int64], how: Recipe) -> torch.Tensor:
    """Take both clips of each pair, or one of them twice, shape (2 * pairs, T, 64)."""
    both = torch.from_numpy(kept[rows])
    same = torch.rand(len(rows)) < how.augmentation.one_clip
    both[same, 1] = both[same, 0]
    return both.transpose(0, 1).flatten(0, 1)


def _step(
    learner: Learner,
    optimiser: torch.optim.Optimizer,
    clips: torch.Tensor,
    how: Recipe,
    step: int,
) -> float:
    device = next(learner.parameters()).device
    for group in optimiser.param_groups:
        group["lr"] = rate_at(step, how)
    learner.train()
    seen = views(clips.to(device), how.augmentation)
    with torch.autocast(device.type, torch.bfloat16):  # twice as quick as float32
        projected = learner(seen)
    one, other = projected.chunk(2)
    loss = contrast(one, other, how.fit.temperature)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.item()


def _smoothed(before: float, loss: float) -> float:
    return loss if math.isnan(before) else SMOOTHING * before + (1 - SMOOTHING) * loss


def partners_found(learner: Learner, held: HalfArray, device: str) -> float:
    """Tell for which share of clips the nearest of all others is their partner.

    By the cosine of their statistics, each standardised over these clips.
    """
    clips = held.reshape(-1, *held.shape[2:])
    return found_nearest(statistics_of(folded(learner.network), clips, device))


def found_nearest(seen: FloatArray) -> float:
    """Tell for which share of rows the nearest is the one that rows 2n and 2n + 1 share.

    Parameters
    ----------
    seen : ndarray of float32, shape (2 * pairs, D)
    """
    wide = (seen - seen.mean(axis=0)) / (seen.std(axis=0) + 1e-9)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    likeness = wide @ wide.T
    np.fill_diagonal(likeness, -np.inf)
    return float(np.mean(likeness.argmax(axis=1) == np.arange(len(seen)) ^ 1))


def _keep(
    path: Path,
    how: Recipe,
    learner: Learner,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write a checkpoint, whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    torch.save(
        {
            "recipe": how.as_dict(),
            "learner": learner.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": progress.step,
            "loss": progress.loss,
            "found": progress.found,
        },
        unfinished,
    )
    unfinished.replace(path)


def _restored(
    path: Path, how: Recipe, learner: Learner, optimiser: torch.optim.Optimizer
) -> Progress:
    held: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    made_by = held["recipe"]
    made_by["fit"] |= {"steps": how.fit.steps, "fall": how.fit.fall}  # the end may be another now
    if made_by != how.as_dict():
        raise BadRequest(f"'{path}' is of another recipe; name another folder, or remove it.")
    learner.load_state_dict(held["learner"])
    optimiser.load_state_dict(held["optimiser"])
    return Progress(held["step"], held["loss"], [tuple(one) for one in held["found"]])
