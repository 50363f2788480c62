"""Vectors with labels, to be measured: of a folder, a collection or AudioSet's records."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.cli.common import client
from soundalike.cli.index import Sound, find_sounds
from soundalike.errors import AudioError, BadRecord, BadRequest

if TYPE_CHECKING:
    from soundalike.evaluation.retrieval import Labelled
    from soundalike.extract.extractor import Extractor
    from soundalike.types import FloatArray

RECORDS = ".tfrecord"
OWN = "own"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be read of a source.

    Attributes
    ----------
    models : sequence of str
        Embedders of a folder.
    poolings : sequence of str
        Of a folder or of records; those usual there where it is empty.
    field : str
        The metadata of a collection's item that says what it is.
    apart : str or None
        The metadata of which items that share it are never each other's neighbours.
    only : str or None
        The label that records must have.
    """

    models: Sequence[str]
    poolings: Sequence[str]
    field: str
    apart: str | None
    only: str | None


@dataclass(slots=True)
class _Reading:
    """Items as they come in, their vectors by space and pooling."""

    vectors: dict[tuple[str, str], list[FloatArray]] = field(default_factory=dict)
    labels: list[Collection[str]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def add(self, vectors: dict[tuple[str, str], FloatArray], labels: Collection[str]) -> None:
        for key, vector in vectors.items():
            self.vectors.setdefault(key, []).append(vector)
        self.labels.append(labels)

    def labelled(self, source: str) -> list[Labelled]:
        import numpy as np

        from soundalike.evaluation.retrieval import Labelled

        if not self.labels:
            raise BadRequest(f"There is nothing with a label in '{source}'.")
        return [
            Labelled(space, pooling, np.stack(rows), self.labels, self.groups or None)
            for (space, pooling), rows in self.vectors.items()
        ]


@dataclass(frozen=True, slots=True)
class Source:
    """What was read of a source: one set of vectors for each embedder and pooling.

    Attributes
    ----------
    sets : list of Labelled
    failed : int
        How many sounds or records could not be used.
    """

    sets: list[Labelled]
    failed: int = 0


def read(source: str, wanted: Wanted, args: argparse.Namespace) -> Source:
    """Read a source, whatever its kind.

    Parameters
    ----------
    source : str
        A folder whose sub-folders are labels, a .tfrecord file of AudioSet, or a collection's name.
    wanted : Wanted
        What to read of it.
    args : argparse.Namespace
        Where the services are.

    Returns
    -------
    Source

    Raises
    ------
    BadRequest
        There is no such source, nothing in it has a label, or an option does not go with it.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        _refuse(wanted, "a folder", "apart", "only")
        return _folder(path, wanted)
    if path.suffix == RECORDS:
        _refuse(wanted, "records", "apart", "models")
        return _records(path, wanted)
    _refuse(wanted, "a collection", "only", "models", "poolings")
    return Source(_collection(source, wanted, args))


def _refuse(wanted: Wanted, kind: str, *options: str) -> None:
    flags = {
        "models": "--model",
        "poolings": "--poolings",
        "apart": "--apart",
        "only": "--only-label",
    }
    for option in options:
        if getattr(wanted, option):
            raise BadRequest(f"{flags[option]} does not go with {kind}.")


def _folder(folder: Path, wanted: Wanted) -> Source:
    """Embed the labelled sounds of a folder, each heard once by every embedder."""
    from tqdm import tqdm

    from soundalike.extract.loading import Extractors
    from soundalike.pooling import NO_POOLING

    if NO_POOLING in wanted.poolings:
        raise BadRequest("Only vectors can be measured, so there must be a pooling.")
    sounds = [sound for sound in find_sounds(folder) if "label" in sound.metadata]
    loaded = Extractors()
    extractors = [loaded.get(name) for name in wanted.models or ["auto"]]
    ways = {extractor: wanted.poolings or extractor.poolings[:1] for extractor in extractors}
    reading, failed = _Reading(), 0
    for sound in tqdm(sounds, unit="file", disable=None):
        try:
            vectors = _hear(sound, ways)
        except (AudioError, OSError) as fault:
            failed += 1
            print(f"{sound.id}: {fault}", file=sys.stderr)
        else:
            reading.add(vectors, [sound.metadata["label"]])
    return Source(reading.labelled(str(folder)), failed)


def _hear(sound: Sound, ways: dict[Extractor, Sequence[str]]) -> dict[tuple[str, str], FloatArray]:
    """Make the vectors of one sound: frames once an embedder where there are several poolings."""
    from soundalike.pooling import NO_POOLING, unit

    vectors = {}
    for extractor, poolings in ways.items():
        keys = [(str(extractor.space(pooling)), pooling) for pooling in poolings]
        if len(keys) == 1:
            vectors[keys[0]] = extractor.extract(sound.path, poolings[0]).values
            continue
        frames = extractor.extract(sound.path, NO_POOLING).frames
        assert frames is not None  # noqa: S101  (they were asked for)
        for key in keys:
            vectors[key] = unit(extractor.embedder.pool(frames, key[1]))
    return vectors


def _records(path: Path, wanted: Wanted) -> Source:
    """Pool the records of a file; one that is damaged is named and passed over."""
    from soundalike.datasets import audioset

    poolings = wanted.poolings or [audioset.DEFAULT_POOLING]
    reading = _Reading()
    damaged: list[BadRecord] = []
    try:
        with path.open("rb") as file:
            for record in audioset.read(file, damaged.append):
                labels = [str(label) for label in record.labels]
                if wanted.only is None or wanted.only in labels:
                    vectors = {
                        (str(audioset.space(way)), way): audioset.vector(record, way)
                        for way in poolings
                    }
                    reading.add(vectors, labels)
    except OSError as fault:
        raise BadRequest(f"'{path}' cannot be read: {fault}.") from fault
    for one in damaged:
        print(one.detail, file=sys.stderr)
    return Source(reading.labelled(str(path)), len(damaged))


def _collection(name: str, wanted: Wanted, args: argparse.Namespace) -> list[Labelled]:
    """Fetch a collection from the service; items without the label are left out."""
    import numpy as np

    reading, without = _Reading(), 0
    with client(args) as services:
        facts = services.recommender.collection(name)
        key = (facts["space"], facts["pooling"] or OWN)
        for item in services.recommender.items(name, vectors=True):
            labels = _values(item["metadata"].get(wanted.field))
            if not labels:
                without += 1
                continue
            reading.add({key: np.asarray(item["vector"], np.float32)}, labels)
            if wanted.apart:
                group = item["metadata"].get(wanted.apart)
                # what has no group of its own is a group of its own
                reading.groups.append(item["id"] if group is None else f"{wanted.apart}={group}")
    if without:
        print(f"{without} items have no '{wanted.field}' and are left out.", file=sys.stderr)
    return reading.labelled(name)


def _values(found: Any) -> list[str]:
    """Read one label or a list of them."""
    every = found if isinstance(found, list) else [found]
    return [str(one) for one in every if one is not None]
