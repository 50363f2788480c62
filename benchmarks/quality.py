"""How often neighbours are right ones: AudioSet's features, real sounds and our own.

    OMP_NUM_THREADS=2 python benchmarks/quality.py [music|all|sounds|embedders|service ...]

`music`: leave-one-out over the ten-row Music records of AudioSet's balanced train part, an item
being right where it shares a label other than Music. `all`: all records, a tenth of them (by a hash
of the id) as queries and the rest as gallery, an item being right where it shares a label other
than Music and Speech. `sounds`: ESC-10, spoken digits among other speakers, and the demo library.
`embedders`: the same sounds by every embedder whose weights can be had without a model hub
(`soundalike models pull crepe madmom --accept-noncommercial`), and by fusions of them.
`service`: the ten-row Music records once more, through a recommender that runs at --recommender-url
and gets a collection for it. docs/quality.md tells what was found.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from soundalike.catalogue.maps import directions
from soundalike.client import RECOMMENDER_URL, RecommenderClient
from soundalike.datasets import audioset
from soundalike.datasets.audioset import Record
from soundalike.datasets.demo import write_demo
from soundalike.errors import TooShort
from soundalike.evaluation import report
from soundalike.evaluation.retrieval import Labelled, Quality, Truth, evaluate, measure
from soundalike.extract.loading import Extractors
from soundalike.pooling import NO_POOLING, fuse, unit
from soundalike.types import FloatArray

PARTS = ["music", "all", "sounds", "embedders", "service"]  # the last needs one that runs
MUSIC, SPEECH = 137, 0
TEN = 10
COLLECTION, SERVED, ITEMS_AT_ONCE = "benchmark-quality", "within+expand:10", 500
ONE_IN = 10  # all records: one of so many is a query

FOUR_FIGURES = (("flatten10", "none"), ("mean", "none"), ("mean", "centre"), ("meanstd", "centre"))
RAISED = (
    "none", "whiten", "pca:64", "centre+csls", "centre+expand:10", "within",
    "within+csls", "within+expand:5", "within+expand:10",
)  # fmt: skip
SOUND_TRANSFORMS = (
    "none", "centre", "whiten", "pca:32", "centre+csls", "centre+expand:5", "within",
    "within+csls", "within+expand:5",
)  # fmt: skip
SOUND_POOLINGS = ("mean", "max", "percentiles", "meanstd", "own")
WITH_DEVIATION = ("meanstd", "own")
SOUND_KS = (1, 5)

EMBEDDERS = ("mfcc", "descriptors", "mini", "crepe:capacity=tiny", "madmom")
FUSED = (
    ("mini", "descriptors"), ("mini", "mfcc"), ("descriptors", "mfcc"),
    ("mini", "crepe:capacity=tiny"), ("mfcc", "crepe:capacity=tiny"), ("mfcc", "madmom"),
    ("mini", "descriptors", "mfcc"), EMBEDDERS,
)  # fmt: skip
EMBEDDER_TRANSFORMS = ("none", "centre", "centre+csls")


# What was tried beside the transforms that the product has: from rows (T, 128) to a vector.


def differences(rows: FloatArray) -> FloatArray:
    moves = np.abs(np.diff(rows, axis=0)).mean(axis=0) if len(rows) > 1 else np.zeros(128)
    return np.concatenate([rows.mean(axis=0), rows.std(axis=0), moves]).astype(np.float32)


def root(rows: FloatArray) -> FloatArray:
    return np.sqrt(np.concatenate([rows.mean(axis=0), rows.std(axis=0)]))


TRIED: dict[str, Callable[[FloatArray], FloatArray]] = {
    "meanstd+differences": differences,
    "root of meanstd": root,
}


def records(path: Path) -> list[Record]:
    with path.open("rb") as file:
        return list(audioset.read(file))


def pooled(some: Sequence[Record], pooling: str) -> Labelled:
    if pooling in TRIED:
        rows = [TRIED[pooling](one.rows.astype(np.float32)) for one in some]
    else:
        rows = [audioset.vector(one, pooling) for one in some]
    labels = [[str(label) for label in one.labels] for one in some]
    return Labelled(audioset.EMBEDDER, pooling, np.stack(rows), labels)


def music(path: Path) -> Iterator[Quality]:
    """Leave-one-out over the Music records of ten rows."""
    some = [one for one in records(path) if MUSIC in one.labels and len(one.rows) == TEN]
    ignored = [str(MUSIC)]
    for pooling, transform in FOUR_FIGURES:
        yield evaluate(pooled(some, pooling), transform=transform, ignored=ignored)
    for pooling in ("percentiles", *TRIED):
        yield evaluate(pooled(some, pooling), transform="centre", ignored=ignored)
    vectors = pooled(some, audioset.DEFAULT_POOLING)
    for transform in RAISED:
        yield evaluate(vectors, transform=transform, ignored=ignored)
    yield mutual_proximity(vectors, ignored)


def mutual_proximity(some: Labelled, ignored: Sequence[str]) -> Quality:
    """Rank by how likely both are nearer to each other than others are to either.

    The independent Gaussian form of Schnitzer et al., "Local and global scaling reduce hubs in
    space" (2012), over centred vectors.
    """
    from scipy.special import ndtr

    items = directions(directions(some.vectors) - directions(some.vectors).mean(axis=0))
    narrow = items.astype(np.float32)
    cosines = narrow @ narrow.T
    mean, deviation = cosines.mean(axis=1), cosines.std(axis=1)

    def score(rows: np.ndarray) -> np.ndarray:
        ours = ndtr((cosines[rows] - mean[rows, None]) / deviation[rows, None])
        theirs = ndtr((cosines[rows] - mean) / deviation)
        return (ours * theirs).astype(np.float32)

    figures = measure(score, Truth(some, ignored=ignored), [1, 10])
    return Quality(some.space, some.pooling, "centre+mutual proximity", figures)


def everything(path: Path) -> Iterator[Quality]:
    """All records: queries and gallery split by a hash of the id."""
    some = records(path)
    asked = np.array([_number(one.video_id) % ONE_IN == 0 for one in some])
    rows = (*FOUR_FIGURES, *((audioset.DEFAULT_POOLING, name) for name in RAISED))
    made: dict[str, tuple[Labelled, Labelled]] = {}
    for pooling, transform in rows:
        if pooling not in made:
            whole = pooled(some, pooling)
            made = {pooling: (_part(whole, ~asked), _part(whole, asked))}
        gallery, queries = made[pooling]
        ignored = [str(MUSIC), str(SPEECH)]
        yield evaluate(gallery, queries, transform=transform, ignored=ignored)


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _part(whole: Labelled, chosen: np.ndarray) -> Labelled:
    labels = [whole.labels[row] for row in np.flatnonzero(chosen)]
    return replace(whole, vectors=whole.vectors[chosen], labels=labels)


def through_the_service(path: Path, url: str) -> None:
    """Import, fit, build and query as users do, and print what it took and what came of it."""
    some = [one for one in records(path) if MUSIC in one.labels and len(one.rows) == TEN]
    recommender = RecommenderClient(url)
    space, dim = str(audioset.space("meanstd")), 2 * audioset.ROW_BYTES
    items = list(audioset.items(some))
    started = time.perf_counter()
    recommender.create(COLLECTION, space=space, dim=dim, pooling="meanstd")
    for start in range(0, len(items), ITEMS_AT_ONCE):
        recommender.upsert(COLLECTION, items[start : start + ITEMS_AT_ONCE], space=space)
    taken = time.perf_counter() - started
    print(f"import: {len(items)} records in {taken:.1f} s")
    started = time.perf_counter()
    recommender.request("PUT", f"/collections/{COLLECTION}/transform", json={"transform": SERVED})
    recommender.request("POST", f"/collections/{COLLECTION}/rebuild")
    print(f"{SERVED}: fitted and built in {time.perf_counter() - started:.1f} s")
    labels = {item.id: set(item.metadata["labels"]) - {str(MUSIC)} for item in items}
    hits, seconds = [], []
    for item in items:
        started = time.perf_counter()
        found = recommender.recommend(id=item.id, k=TEN, collection=COLLECTION).results
        seconds.append(time.perf_counter() - started)
        hits.append([bool(labels[item.id] & labels[one.id]) for one in found])
    at_1, at_10 = np.mean(hits, axis=0)[0], np.mean(hits)
    median, late = np.quantile(seconds, [0.5, 0.95]) * 1000
    print(f"precision {at_1:.3f} at 1, {at_10:.3f} at 10; a query {median:.1f} ms, 95 % {late:.1f}")


@dataclass(frozen=True)
class Clip:
    """A sound, what it is of, and whom it must not be compared with."""

    path: Path
    label: str
    group: str | None = None


def clips(audio: Path, folder: Path) -> dict[str, list[Clip]]:
    """List the sets of sounds."""
    with (audio / "dev.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    esc = [Clip(audio / row["path"], row["label"]) for row in listed if row["set"] == "esc10"]
    digits = [
        Clip(audio / row["path"], row["label"], row["group"])
        for row in listed
        if row["set"] == "fsdd"
    ]
    demo = [Clip(one.path, one.metadata["label"]) for one in write_demo(folder)]
    return {"ESC-10": esc, "FSDD, other speakers": digits, "demo": demo}


def heard(some: Sequence[Clip], model: str = "mfcc") -> dict[str, Labelled]:
    """Embed clips, once for all poolings."""
    extractor = Extractors().get(model)
    frames = [extractor.extract(one.path, NO_POOLING).frames for one in some]
    groups = [one.group for one in some if one.group is not None]
    return {
        pooling: Labelled(
            str(extractor.space(pooling)),
            pooling,
            np.stack([unit(extractor.embedder.pool(one, pooling)) for one in frames if one]),
            [[one.label] for one in some],
            groups or None,
        )
        for pooling in SOUND_POOLINGS
    }


def embedders(audio: Path) -> None:
    """Print one table of embedders and fusions of them, each by its own vector."""
    with tempfile.TemporaryDirectory() as name:
        sets = clips(audio, Path(name))
        own = {model: [_own(model, some) for some in sets.values()] for model in EMBEDDERS}
    print_row("embedder", "transform", *(f"{of} ({len(some)})" for of, some in sets.items()))
    print_row(*["---"] * (2 + len(sets)))
    for names in (*([model] for model in EMBEDDERS), *FUSED):
        for transform in EMBEDDER_TRANSFORMS:
            cells = [
                _of_fused([own[model][place] for model in names], some, transform)
                for place, some in enumerate(sets.values())
            ]
            print_row(f"`{'+'.join(names)}`", transform, *cells)


def _own(model: str, some: Sequence[Clip]) -> FloatArray | None:
    """Hear clips; None where one of them is too short for the embedder."""
    extractor = Extractors().get(model)
    try:
        return np.stack([extractor.extract(one.path).values for one in some])
    except TooShort:
        return None


def _of_fused(blocks: Sequence[FloatArray | None], some: Sequence[Clip], transform: str) -> str:
    there = [one for one in blocks if one is not None]
    if len(there) < len(blocks):
        return "too short"
    groups = [one.group for one in some if one.group is not None]
    labels = [[one.label] for one in some]
    fused = Labelled("", "own", fuse(there, [1] * len(there)), labels, groups or None)
    return _of_sounds(evaluate(fused, transform=transform, ks=SOUND_KS))


def sounds(audio: Path) -> None:
    """Print one table over all sets: precision at 1 and at 5, with half of the interval at 1."""
    with tempfile.TemporaryDirectory() as name:
        sets = {of: heard(some) for of, some in clips(audio, Path(name)).items()}
    titles = [f"{of} ({len(by['own'].labels)})" for of, by in sets.items()]
    print_row("pooling", "transform", *titles)
    print_row(*["---"] * (2 + len(titles)))
    for pooling in SOUND_POOLINGS:
        # within needs deviations
        known = [
            one for one in SOUND_TRANSFORMS if pooling in WITH_DEVIATION or "within" not in one
        ]
        for transform in known:
            found = [
                evaluate(by[pooling], transform=transform, ks=SOUND_KS) for by in sets.values()
            ]
            print_row(pooling, transform, *map(_of_sounds, found))
    chance = [evaluate(by["own"]).figures.precision[1].random for by in sets.values()]
    print_row("chance", "", *(f"{one:.3f}" for one in chance))


def _of_sounds(one: Quality) -> str:
    at_1, at_5 = (one.figures.precision[k] for k in SOUND_KS)
    half = (at_1.interval.high - at_1.interval.low) / 2
    return f"{at_1.mean:.3f} ± {half:.3f} / {at_5.mean:.3f}"


def print_row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def tell(title: str, found: Iterable[Quality]) -> None:
    started = time.perf_counter()
    rows = list(found)
    print(f"{title}\n{report.as_table(rows)}\n{time.perf_counter() - started:.0f} s\n", flush=True)


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="*", default=PARTS[:-1], metavar="|".join(PARTS))
    parser.add_argument("--recommender-url", default=RECOMMENDER_URL, help="(%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("../shared"), help="(%(default)s)")
    args = parser.parse_args()
    path = args.data / "audioset" / "bal_train.tfrecord"
    if "music" in args.what:
        tell("Music, leave-one-out", music(path))
    if "all" in args.what:
        tell("All records, queries and gallery apart", everything(path))
    if "sounds" in args.what:
        sounds(args.data / "audio")
    if "embedders" in args.what:
        embedders(args.data / "audio")
    if "service" in args.what:
        through_the_service(path, args.recommender_url)
    return 0


if __name__ == "__main__":
    sys.exit(main())
