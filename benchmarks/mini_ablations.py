"""What each part of `mini`'s recipe is worth: small networks, each with one thing changed.

    OMP_NUM_THREADS=1 python -m benchmarks.mini_ablations FOLDER [--only NAME ...] [--seeds N ...]
    python -m benchmarks.mini_ablations FOLDER --table

All train alike but for what their row says: 200 steps of 128 out of 2,000 pairs, a sixteenth of
what the released network saw. A row is precision at 1 on the real clips of benchmarks/mini.py, and
the share of 800 held-out synthesised clips whose nearest other is their partner. Its figures are
added to rows.jsonl in the folder as soon as they are there, and a row that is there is not made
again: a table that was killed goes on. Rows share their pairs where the pairs are the same.
`--table` prints what is there, with the mean and range of several seeds, which draw the first
weights, the order and the augmentation anew, but not the pairs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.mini import Question, asked, questions
from soundalike.audio.decode import decode
from soundalike.audio.resample import resample
from soundalike.embedders.mini_front_end import FLOOR, MEL, log_mel, relative
from soundalike.embedders.mini_network import MEAN, PROJECTION, WIDTHS, make_torch_network
from soundalike.embedders.mini_network import statistics as statistics_of
from soundalike.evaluation.retrieval import evaluate
from soundalike.pooling import unit
from soundalike.training import recipe, release, train
from soundalike.training.pairs import HalfArray, make_pair, prepare
from soundalike.training.recipe import Recipe

USUAL = recipe.read()
PAIRS, HELD_PAIRS = 2_000, 400
STEPS, BATCH, WARM_UP = 200, 128, 20
PAIRS_SEED, HELD_SEED = 1, 0
MUSIC = frozenset({"instrument", "ensemble", "drums"})
VOICES = frozenset({"vocal"})
NOISES = frozenset({"texture", "motor", "impact", "sweep"})
POOL = 2.1  # times as many pairs as a row takes, of which a row without music leaves half out
TITLES = ("ESC-10", "ESC-10, other folds", "digits, other speakers")
FOUND = "partners found"
ROWS = "rows.jsonl"


@dataclass(frozen=True, slots=True)
class Variant:
    """A row: a recipe, families that are left out of its pairs, and the network's widths."""

    title: str
    how: Recipe
    without: frozenset[str] = frozenset()
    widths: tuple[int, ...] = WIDTHS


def variants(pairs: int = PAIRS, steps: int = STEPS, batch: int = BATCH) -> dict[str, Variant]:
    """Name all rows of the table, in its order."""
    how = Recipe(
        replace(USUAL.pairs, count=pairs),
        USUAL.augmentation,
        replace(USUAL.fit, steps=steps, batch=batch, warm_up=WARM_UP),
    )
    return {
        "recipe": Variant("the recipe", how),
        "no-music": Variant("without instruments, ensembles and drums", how, MUSIC),
        "no-voices": Variant("without voices", how, VOICES),
        "no-noises": Variant("without textures, motors, impacts and sweeps", how, NOISES),
        **_of_positives(how),
        **_of_augmentation(how),
        "narrow": Variant("half as wide", how, widths=_times(0.5)),
        "wide": Variant("one and a half times as wide", how, widths=_times(1.5)),
        "brief": Variant("half the steps", replace(how, fit=replace(how.fit, steps=steps // 2))),
        "long": Variant("twice the steps", replace(how, fit=replace(how.fit, steps=steps * 2))),
    }


def _times(factor: float) -> tuple[int, ...]:
    return tuple(round(factor * width) for width in WIDTHS)


def _of_positives(how: Recipe) -> dict[str, Variant]:
    crops = {name: _augmented(how, one_clip=share) for name, share in (("all", 1.0), ("none", 0.0))}
    same = replace(how.pairs, same_score=1.0, new_word=0.0)
    other = replace(how.pairs, same_score=0.0, new_speaker=0.0, new_word=1.0)
    pairs = {
        "same-score": ("the same notes and words always", same),
        "other-score": ("other notes and words always", other),
        "other-recording": ("recorded in another way always", _effects(how, 1.0)),
        "same-recording": ("recorded in nearly the same way always", _effects(how, 0.0)),
    }
    return {
        "crops-alone": Variant("two crops of one clip always", crops["all"]),
        "no-crops": Variant("two crops of one clip never", crops["none"]),
        **{name: Variant(title, replace(how, pairs=one)) for name, (title, one) in pairs.items()},
    }


def _effects(how: Recipe, share: float) -> recipe.Pairs:
    return replace(how.pairs, new_effects=share)


def _of_augmentation(how: Recipe) -> dict[str, Variant]:
    usual = how.augmentation
    still = {"stretch": 0.0, "shift": 0.0}
    plain = {"equaliser": 0.0, "fade": 0.0}
    floor = {"floor_nepers": (-FLOOR, -FLOOR)}
    bare = _augmented(how, **still, **plain, **floor, mixed=0.0, mask=0.0)
    return {
        "bare": Variant("no augmentation but the crop", bare),
        "milder": Variant("half the augmentation", _augmented(how, **_scaled(usual, 0.5))),
        "stronger": Variant("twice the augmentation", _augmented(how, **_scaled(usual, 2.0))),
        "no-masks": Variant("no masks", _augmented(how, mask=0.0)),
        "no-mix": Variant("no other clip below", _augmented(how, mixed=0.0)),
        "no-shift": Variant("neither stretched nor shifted", _augmented(how, **still)),
        "no-colour": Variant("neither equaliser nor fades", _augmented(how, **plain)),
    }


def _augmented(how: Recipe, **changes: Any) -> Recipe:
    return replace(how, augmentation=replace(how.augmentation, **changes))


def _scaled(usual: recipe.Augmentation, factor: float) -> dict[str, float]:
    """Scale what moves a crop, and the shares of crops that are mixed and masked."""
    moved = ("stretch", "shift_bands", "equaliser_nepers", "fade_nepers")
    shares = {name: min(1.0, factor * getattr(usual, name)) for name in ("mixed", "mask")}
    return {name: factor * getattr(usual, name) for name in moved} | shares


class Pairs:
    """The pairs of all rows, made when a row first asks for them.

    Parameters
    ----------
    folder : Path
        Where they are kept.
    held : int
        How many are held out, of the recipe as it is.
    processes : int
        That make them.
    """

    def __init__(self, folder: Path, held: int, processes: int) -> None:
        self.folder, self.processes = folder, processes
        self.held = self._made(HELD_SEED, replace(USUAL.pairs, count=held))

    def of(self, variant: Variant) -> HalfArray:
        """Give the pairs of a row; those of the families that it has, where it leaves some out."""
        how = variant.how.pairs
        if how != replace(USUAL.pairs, count=how.count):
            return self._made(PAIRS_SEED, how)
        pool = replace(how, count=round(POOL * how.count))
        return self._made(PAIRS_SEED, pool)[_numbers(pool, variant.without)[: how.count]]

    def _made(self, seed: int, how: recipe.Pairs) -> HalfArray:
        named = json.dumps([seed, asdict(how)])
        folder = self.folder / sha256(named.encode()).hexdigest()[:12]
        with tqdm(desc=f"pairs in {folder.name}", disable=None) as bar:

            def told(more: int, total: int) -> None:
                bar.total = total
                bar.update(more)

            return prepare(folder, seed, how, processes=self.processes, report=told)


def _numbers(how: recipe.Pairs, without: Collection[str]) -> list[int]:
    """Tell which pairs are of none of some families, without making their sounds."""
    families = (
        make_pair(np.random.default_rng([PAIRS_SEED, number]), how)[0].family
        for number in range(how.count)
    )
    return [number for number, family in enumerate(families) if family not in without]


def pictures(clips: Iterable[Path]) -> dict[Path, np.ndarray]:
    """Compute what the network sees of real clips; none is longer than one window of `mini`."""
    return {path: relative(log_mel(_samples(path))) for path in clips}


def _samples(path: Path) -> np.ndarray:
    clip = decode(path, mono=True)
    return resample(clip.samples[0], clip.sample_rate, MEL.rate_hz)


def vectors_of(
    state: Mapping[str, np.ndarray], seen: Mapping[Path, np.ndarray]
) -> dict[Path, np.ndarray]:
    """Compute the vectors that an embedder with these weights, of whatever widths, would give."""
    wide = {name: array.astype(np.float32) for name, array in state.items()}
    network = make_torch_network(wide).eval()
    found = {}
    with torch.inference_mode():
        for path, picture in seen.items():
            frames = network(torch.from_numpy(picture)[None])[0].numpy()
            found[path] = unit((statistics_of(frames) - wide[MEAN]) @ wide[PROJECTION])
    return found


def measured(
    variant: Variant, pairs: Pairs, wanted: Sequence[Question], seen: Mapping[Path, np.ndarray]
) -> dict[str, float]:
    """Train a row's network, and ask all questions of it."""
    levels = pairs.of(variant)
    steps = variant.how.fit.steps
    with tempfile.TemporaryDirectory() as nowhere, tqdm(total=steps, disable=None) as bar:
        learner, _ = train.train(
            levels,
            variant.how,
            Path(nowhere),
            device="cpu",
            resume=False,
            told=lambda _: bar.update(1),
            widths=variant.widths,
        )
    kept, _ = train.held_out(levels)
    state = release.release(learner.network, kept.reshape(-1, *levels.shape[2:]), "cpu")
    vectors = vectors_of(state, seen)
    found = {
        one.title: evaluate(asked(one, "mini", vectors), ks=(1,)).figures.precision[1].mean
        for one in wanted
    }
    return found | {FOUND: train.partners_found(learner, pairs.held, "cpu")}


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the figures that are there; a line that was cut short is none."""
    path = folder / ROWS
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lay out the rows that are there: the mean of the seeds, and how far they lie apart."""
    yield _line("", "seeds", *TITLES, FOUND)
    yield _line(*["---"] * (3 + len(TITLES)))
    for name, variant in variants().items():
        of_seeds = [row for row in rows if row["name"] == name]
        if of_seeds:
            cells = [_cell([row[title] for row in of_seeds]) for title in (*TITLES, FOUND)]
            yield _line(variant.title, str(len(of_seeds)), *cells)


def _cell(values: Sequence[float]) -> str:
    mean = f"{fmean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f} to {max(values):.3f})"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def make_rows(args: argparse.Namespace) -> None:
    """Measure the rows that are not there yet, all of one seed before those of the next."""
    torch.set_num_threads(args.threads)
    all_variants = variants()
    there = {(row["name"], row["seed"]) for row in read_rows(args.folder)}
    pairs = Pairs(args.folder, HELD_PAIRS, args.threads)
    with tempfile.TemporaryDirectory() as name:
        wanted = [one for one in questions(args.data / "audio", Path(name)) if one.title in TITLES]
    seen = pictures({clip for one in wanted for clip in one.clips})
    for seed in args.seeds:
        for name in args.only or all_variants:
            if (name, seed) in there:
                continue
            variant = _seeded(all_variants[name], seed)
            begun_s = time.process_time()
            found = measured(variant, pairs, wanted, seen)
            row = {"name": name, "seed": seed, **found}
            _add(args.folder, row | {"seconds": round(time.process_time() - begun_s)})


def _seeded(variant: Variant, seed: int) -> Variant:
    return replace(variant, how=replace(variant.how, fit=replace(variant.how.fit, seed=seed)))


def _add(folder: Path, row: Mapping[str, Any]) -> None:
    line = json.dumps(row)
    print(line, flush=True)
    with (folder / ROWS).open("a") as file:
        file.write(line + "\n")


def main() -> int:
    """Make the rows, or print what is there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="for pairs and figures")
    parser.add_argument("--only", nargs="+", choices=list(variants()), help="rows (all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1], help="(1)")
    parser.add_argument("--data", type=Path, default=Path("../shared"), help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="and processes (%(default)s)")
    parser.add_argument("--table", action="store_true", help="print what is there, and stop")
    args = parser.parse_args()
    if not args.table:
        make_rows(args)
    print("\n".join(table(read_rows(args.folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
