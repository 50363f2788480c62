"""What is done to the spectrogram of a clip each time the network sees it.

All of it on log-mel levels in nepers, many crops at once, drawn from torch's own generator.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from soundalike.embedders.mini_front_end import LEAST_FRAMES, SCALE, SHIFT, TOP
from soundalike.training.recipe import Augmentation

NEPERS_A_DB = math.log(10) / 10
EQUALISER_POINTS = 6
CANDIDATES = 4  # of the place of a crop; most clips sound most of the time
NEAR_NEPERS = 4.0  # below the loudest moment of the clip, within which a crop has its own


def views(levels: torch.Tensor, how: Augmentation) -> torch.Tensor:
    """Make crops as the network sees them.

    Parameters
    ----------
    levels : Tensor, shape (N, T, bands)
        Log-mel levels of clips, in nepers of power.
    how : Augmentation
        The recipe.

    Returns
    -------
    Tensor of float32, shape (N, 96, bands)
        As `soundalike.embedders.mini_front_end.relative` would give them, but for the floor.
    """
    crops = cropped(levels.float(), how)
    crops = mixed(crops, how)
    crops = crops + _colour(crops, how) + _fades(crops, how)
    return _finished(crops, how)


def cropped(levels: torch.Tensor, how: Augmentation) -> torch.Tensor:
    """Take a crop of each clip, stretched in time and shifted in frequency."""
    count, frames, bands = levels.shape
    device = levels.device
    stretch = torch.exp((2 * torch.rand(count, device=device) - 1) * how.stretch)
    stretch = stretch.clamp(max=(frames - 1) / (LEAST_FRAMES - 1))
    span = stretch * (LEAST_FRAMES - 1)
    start = _starts(levels, span)
    times = start[:, None] + stretch[:, None] * torch.arange(LEAST_FRAMES, device=device)
    shift = torch.randn(count, device=device) * how.shift_bands * _chosen(count, how.shift, device)
    places = torch.arange(bands, device=device) - shift[:, None]
    # the sampler counts from -1 to 1
    across = (2 / (bands - 1) * places - 1)[:, None, :].expand(-1, LEAST_FRAMES, -1)
    along = (2 / (frames - 1) * times - 1)[:, :, None].expand(-1, -1, bands)
    grid = torch.stack([across, along], dim=-1)
    taken = functional.grid_sample(levels[:, None], grid, padding_mode="border", align_corners=True)
    return taken[:, 0]


def _starts(levels: torch.Tensor, span: torch.Tensor) -> torch.Tensor:
    """Draw where crops begin: where something sounds, if a few draws find such a place."""
    count, frames, _ = levels.shape
    loudness = levels.amax(2)
    near = loudness.amax(1) - NEAR_NEPERS
    room = frames - 1 - span
    draws = torch.rand(count, CANDIDATES, device=levels.device) * room[:, None]
    place = torch.arange(frames, device=levels.device)
    within = (place >= draws[:, :, None]) & (place <= (draws + span[:, None])[:, :, None])
    loudest = loudness[:, None, :].masked_fill(~within, -torch.inf).amax(2)
    good = (loudest >= near[:, None]).float()
    first = good.argmax(1)  # the first of all where none is good
    return draws.gather(1, first[:, None])[:, 0]


def mixed(crops: torch.Tensor, how: Augmentation) -> torch.Tensor:
    """Put another crop of the batch below some, so many decibels below."""
    count = len(crops)
    low, high = how.mixed_db
    below_db = low + (high - low) * torch.rand(count, device=crops.device)
    rows = torch.nonzero(_chosen(count, how.mixed, crops.device))[:, 0]
    others = crops[torch.randperm(count, device=crops.device)][rows]
    loudest, their = crops[rows].amax((1, 2)), others.amax((1, 2))
    gain = loudest - their - below_db[rows] * NEPERS_A_DB
    answer = crops.clone()
    answer[rows] = torch.logaddexp(crops[rows], others + gain[:, None, None])
    return answer


def _colour(crops: torch.Tensor, how: Augmentation) -> torch.Tensor:
    """Draw equalisers: six points, and straight lines between them."""
    count, _, bands = crops.shape
    points = torch.randn(count, 1, EQUALISER_POINTS, device=crops.device) * how.equaliser_nepers
    curve = functional.interpolate(points, bands, mode="linear", align_corners=True)
    return curve * _chosen(count, how.equaliser, crops.device)[:, None, None]


def _fades(crops: torch.Tensor, how: Augmentation) -> torch.Tensor:
    """Draw fades, in or out, straight in nepers."""
    count, frames, _ = crops.shape
    slope = (2 * torch.rand(count, device=crops.device) - 1) * how.fade_nepers
    slope = slope * _chosen(count, how.fade, crops.device)
    return slope[:, None, None] * torch.linspace(-0.5, 0.5, frames, device=crops.device)[:, None]


def _finished(crops: torch.Tensor, how: Augmentation) -> torch.Tensor:
    """Set level and floor, mask bands and frames, and scale."""
    count, frames, bands = crops.shape
    low, high = how.floor_nepers
    floor = -low - (high - low) * torch.rand(count, 1, 1, device=crops.device)
    relative = torch.maximum(crops - crops.amax((1, 2), keepdim=True) + TOP, floor)
    silent = _masks(count, bands, how.mask_bands, how)[:, None, :]
    silent = silent | _masks(count, frames, how.mask_frames, how)[:, :, None]
    return SCALE * torch.where(silent.to(crops.device), floor, relative) + SHIFT


def _masks(count: int, size: int, under: int, how: Augmentation) -> torch.Tensor:
    """Draw one stretch of less than so many places in some rows, shape (count, size)."""
    width = torch.floor(torch.rand(count) * under) * _chosen(count, how.mask, torch.device("cpu"))
    start = torch.floor(torch.rand(count) * (size - width + 1))
    place = torch.arange(size)
    return (place >= start[:, None]) & (place < (start + width)[:, None])


def _chosen(count: int, share: float, device: torch.device) -> torch.Tensor:
    """Choose a share of rows by chance: 1.0 or 0.0 for each."""
    return (torch.rand(count, device=device) < share).float()
