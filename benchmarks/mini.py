"""What `mini` is worth on real clips, beside what one would use instead, and where it is weak.

    OMP_NUM_THREADS=1 python benchmarks/mini.py [--data ../shared] [--runs FOLDER ...]

Precision at 1 / 5: ESC-10, each clip among all others and among those of the other folds; spoken
digits among other speakers; the same digits as speakers, among other digits; the demo library. Then
precision at 1 by kind of sound, and how often the nearest of all originals to a changed copy of a
clip is the clip itself. Last what 10 s of sound take on one core, the least processor time of many
runs and as a multiple of what `mfcc` takes; `--costs` prints that alone. `--runs` names folders of
`soundalike train mini`, such as those of several seeds, and prints the mean over them with the
lowest and the highest, in place of what the released weights are worth; docs/mini.md tells what was
found.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from unittest import mock

import numpy as np
import soxr
from scipy.signal import butter, sosfilt

from soundalike.audio.decode import decode
from soundalike.datasets.demo import write_demo
from soundalike.embedders import Embedder, create
from soundalike.evaluation.retrieval import Labelled, evaluate
from soundalike.extract.extractor import Extractor
from soundalike.extract.loading import Extractors
from soundalike.types import Clip, Frames, Window

MODELS = ("mfcc", "descriptors", "mini", "mini:with=descriptors")
TRAINED = ("mini", "descriptors")  # what a run of training leaves weights for
KS = (1, 5)
TIMED = 100  # runs


@dataclass(frozen=True, slots=True)
class Question:
    """Which of some clips are to find one another; those of one group never may."""

    title: str
    clips: Sequence[Path]
    labels: Sequence[str]
    groups: Sequence[str] | None = None


def questions(audio: Path, folder: Path) -> list[Question]:
    """Read the list of real clips, and write the demo library into a folder."""
    with (audio / "dev.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    esc, fsdd = ([row for row in listed if row["set"] == name] for name in ("esc10", "fsdd"))
    demo = write_demo(folder)
    noises, digits = ([audio / row["path"] for row in rows] for rows in (esc, fsdd))
    kinds, words = ([row["label"] for row in rows] for rows in (esc, fsdd))
    folds, speakers = ([row["group"] for row in rows] for rows in (esc, fsdd))
    return [
        Question("ESC-10", noises, kinds),
        Question("ESC-10, other folds", noises, kinds, folds),
        Question("digits, other speakers", digits, words, speakers),
        Question("speakers, other digits", digits, speakers, words),
        Question("demo", [one.path for one in demo], [one.metadata["label"] for one in demo]),
    ]


def asked(question: Question, model: str, vectors: dict[Path, np.ndarray]) -> Labelled:
    """Lay a question out for one embedder's vectors."""
    groups = None if question.groups is None else list(question.groups)
    stacked = np.stack([vectors[clip] for clip in question.clips])
    return Labelled(model, "own", stacked, [[label] for label in question.labels], groups)


def by_kind(question: Question, vectors: dict[Path, np.ndarray]) -> dict[str, float]:
    """Tell for each label how often the nearest other clip has it too."""
    stacked = np.stack([vectors[clip] for clip in question.clips])
    likeness = stacked @ stacked.T
    np.fill_diagonal(likeness, -np.inf)
    labels = np.array(question.labels)
    right = labels[likeness.argmax(axis=1)] == labels
    return {str(label): float(right[labels == label].mean()) for label in np.unique(labels)}


def _noisy(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(samples.shape)
    return samples + noise * np.sqrt(np.mean(samples**2) / 10)


def _telephone(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    return sosfilt(butter(4, (300, 3_400), "bandpass", fs=rate_hz, output="sos"), samples)


def _higher(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    return soxr.resample(samples.T, 2 ** (2 / 12), 1).T


CHANGES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "12 dB softer": lambda samples, rate_hz: 0.25 * samples,
    "noise 10 dB below": _noisy,
    "as by telephone": _telephone,
    "two semitones higher and quicker": _higher,
    "its first half alone": lambda samples, rate_hz: samples[:, : samples.shape[1] // 2],
}


def found_again(
    extractor: Extractor, clips: Sequence[Path], vectors: dict[Path, np.ndarray]
) -> dict[str, float]:
    """Tell for each change how often the nearest original is the clip that was changed."""
    originals = np.stack([vectors[clip] for clip in clips])
    decoded = [decode(clip, mono=True) for clip in clips]
    shares = {}
    for name, change in CHANGES.items():
        changed = [_changed(one, change) for one in decoded]
        copies = np.stack([extractor.extract(one).values for one in changed])
        right = (copies @ originals.T).argmax(axis=1) == np.arange(len(clips))
        shares[name] = float(right.mean())
    return shares


def _changed(clip: Clip, change: Callable[[np.ndarray, int], np.ndarray]) -> Clip:
    samples = change(clip.samples.astype(np.float64), clip.sample_rate).astype(np.float32)
    return replace(clip, samples=np.ascontiguousarray(samples))


def costs() -> dict[str, float]:
    """Tell what a vector of 10 s of sound takes, from samples on, in processor seconds."""
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, 160_000).astype(np.float32)
    window = Window(samples, 0.0, 10.0)
    found = {}
    for name, model, here in (
        ("mfcc", "mfcc", True),
        ("descriptors", "descriptors", True),
        ("mini, numpy", "mini", False),
        ("mini, torch", "mini", True),
    ):
        in_torch = mock.patch.dict(os.environ, SOUNDALIKE_RUNTIME="torch")
        with in_torch, mock.patch("soundalike.embedders.mini.find_spec", return_value=here or None):
            embedder = create(model)
            embedder.load()

        def once(embedder: Embedder = embedder) -> None:
            (frames,) = embedder.run([embedder.prepare(window)])
            how = embedder.card.pooling
            embedder.pool(Frames(frames, embedder.card.frame_rate_hz), how)

        found[name] = min(timeit.repeat(once, timer=time.process_time, number=1, repeat=TIMED))
    return found


@contextmanager
def weights_of(run: Path | None) -> Iterator[None]:
    """Have embedders take the weights of a training run; those that they have, where it is None."""
    if run is None:
        yield
        return
    with tempfile.TemporaryDirectory() as name:
        for key in TRAINED:
            (Path(name) / key).mkdir()
            shutil.copy(run / f"{key}.safetensors", Path(name) / key)
        with mock.patch.dict(os.environ, SOUNDALIKE_MODELS_DIR=name):
            yield


@dataclass(frozen=True, slots=True)
class Answers:
    """What one embedder is worth: precision by question and k, by kind, and by change."""

    precision: Mapping[tuple[str, int], float]
    kinds: Mapping[str, float]
    again: Mapping[str, float]


def answers(model: str, run: Path | None, wanted: Sequence[Question]) -> Answers:
    """Ask an embedder everything."""
    with weights_of(run):
        extractor = Extractors().get(model)
    clips = {clip for one in wanted for clip in one.clips}
    vectors = {clip: extractor.extract(clip).values for clip in clips}
    precision = {}
    for one in wanted:
        found = evaluate(asked(one, model, vectors), ks=KS).figures.precision
        precision |= {(one.title, k): found[k].mean for k in KS}
    kinds = by_kind(wanted[0], vectors)
    return Answers(precision, kinds, found_again(extractor, wanted[0].clips, vectors))


def cell(values: Sequence[float], digits: int) -> str:
    """Write one figure, or the mean of several and where they lie."""
    mean = f"{fmean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def print_row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def print_answers(runs: Sequence[Path | None], wanted: Sequence[Question]) -> None:
    """Print a row an embedder, then the rows of kinds and of changes, an embedder a column."""
    print_row("embedder", *(f"{one.title} ({len(one.clips)})" for one in wanted))
    print_row(*["---"] * (1 + len(wanted)))
    found: dict[str, list[Answers]] = {}
    for model in MODELS:
        learned = any(key in model for key in TRAINED)
        found[model] = [answers(model, run, wanted) for run in (runs if learned else [None])]
        of_titles = (
            [cell([one.precision[question.title, k] for one in found[model]], 3) for k in KS]
            for question in wanted
        )
        print_row(f"`{model}`", *(" / ".join(cells) for cells in of_titles))
    for table in ("kinds", "again"):
        print()
        for name in getattr(found[MODELS[0]][0], table):
            shares = ([getattr(one, table)[name] for one in found[model]] for model in MODELS)
            print_row(name.replace("_", " "), *(cell(values, 2) for values in shares))


def main() -> int:
    """Print what embedders are worth, and what they take."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"), help="(%(default)s)")
    parser.add_argument("--runs", type=Path, nargs="+", metavar="FOLDER", help="of training")
    parser.add_argument("--costs", action="store_true", help="print what they take, and no more")
    args = parser.parse_args()
    if not args.costs:
        with tempfile.TemporaryDirectory() as name:
            print_answers(args.runs or [None], questions(args.data / "audio", Path(name)))
        print()
    spent = costs()
    for name, seconds in spent.items():
        print_row(name, f"{1000 * seconds:.1f} ms", f"{seconds / spent['mfcc']:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
