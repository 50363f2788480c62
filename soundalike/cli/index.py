"""`soundalike index SOURCE`: sounds, or vectors that were made of some, into a collection."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.audio.containers import SUFFIXES
from soundalike.cli.common import add_collection, add_services, print_json
from soundalike.cli.destination import Destination, Services, add_data_dir, services
from soundalike.errors import (
    AudioError,
    BadRequest,
    BadVector,
    EmbedderUnavailable,
    SoundalikeError,
    SpaceMismatch,
    UnknownCollection,
    UnknownModel,
)

if TYPE_CHECKING:
    from soundalike.client import Embedding
    from soundalike.types import Item

ITEMS_AT_ONCE = 100
RECORDS, VECTORS = ".tfrecord", ".parquet"
HEARD = ("seconds", "format", "silent")  # what the embedder tells of a sound and items keep


@dataclass(frozen=True, slots=True)
class Sound:
    """A file to be indexed, the id it gets and what is known of it."""

    id: str
    path: Path
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """What became of the files: counts, and each failure with its reason."""

    indexed: int = 0
    unchanged: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "source",
        nargs="?",
        type=Path,
        metavar="SOURCE",
        help="a folder of sounds, what extract made of one, vectors in a .parquet file, or "
        "AudioSet's features in a .tfrecord file",
    )
    what.add_argument(
        "--reembed",
        action="store_true",
        help="embed the collection's own sources again, and go over to the result in one step",
    )
    parser.add_argument("--model", default=None, help="embedder of what is new")
    parser.add_argument(
        "--pooling", default=None, help="mean, meanstd, max, percentiles or flatten10"
    )
    parser.add_argument("--prefix", default="", help="put before every id, to keep folders apart")
    parser.add_argument(
        "--partly", action="store_true", help="with --reembed: go over though some sounds failed"
    )
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.add_argument(
        "--labels", type=Path, metavar="CSV", help="with records: what AudioSet's labels are called"
    )
    parser.add_argument(
        "--only-label",
        type=int,
        metavar="NUMBER",
        help="with records: only those of this label, such as 137 for music",
    )
    add_data_dir(parser)
    add_collection(parser)
    add_services(parser)


def run(args: argparse.Namespace) -> int:
    """Index the source, or the collection's own sources again, and say what became of it."""
    if args.reembed:
        from soundalike.cli import reembed

        return reembed.run(args)
    args.source = args.source.expanduser()
    if args.source.suffix == RECORDS:
        from soundalike.cli import index_records

        return index_records.run(args)
    if args.source.suffix == VECTORS:
        from soundalike.cli import index_vectors

        return index_vectors.run(args)
    from soundalike.cli import index_tree

    if manifest := index_tree.find_manifest(args.source, args.model):
        return index_tree.run(args, manifest)
    sounds = find_sounds(args.source, args.prefix)
    with services(args) as both:
        report = index_sounds(both, sounds, args.collection, args.model, args.pooling)
    return tell(report, args.collection, as_json=args.json)


def find_sounds(folder: Path, prefix: str = "") -> list[Sound]:
    """List the sounds below a folder, in the order of their names.

    The id is the path below the folder; a sound in a sub-folder has that
    folder's name as its label.

    Raises
    ------
    BadRequest
        There is no such folder, or no sound in it.
    """
    if not folder.is_dir():
        raise BadRequest(f"'{folder}' is not a folder.")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise BadRequest(f"There is no sound below '{folder}'.")
    return [_sound(path, folder, prefix) for path in paths]


def _sound(path: Path, folder: Path, prefix: str) -> Sound:
    inner = path.relative_to(folder)
    metadata = {"title": path.stem, "path": str(path.resolve())}
    if len(inner.parts) > 1:
        metadata["label"] = inner.parts[-2]
    return Sound(prefix + inner.as_posix(), path, metadata)


def index_sounds(
    services: Services,
    sounds: Sequence[Sound],
    collection: str,
    model: str | None = None,
    pooling: str | None = None,
) -> Report:
    """Embed sounds with the collection's own embedder and put them into it.

    A sound whose content stands under its id already is left alone; one that
    fails does not stop the others.

    Parameters
    ----------
    services : Services
        What hears the sounds, and where their vectors go.
    sounds : sequence of Sound
        What to index.
    collection : str
        Made where it does not exist yet.
    model : str, optional
        The embedder of a collection that is made; the service's default otherwise.
    pooling : str, optional
        The pooling of a collection that is made; the embedder's own otherwise.

    Returns
    -------
    Report

    Raises
    ------
    SoundalikeError
        What concerns all of the sounds: a service is gone, the space is another.
    """
    return _Indexing(services, collection, model, pooling).run(sounds)


class _Indexing:
    """One run over many sounds."""

    def __init__(
        self, services: Services, collection: str, model: str | None, pooling: str | None
    ) -> None:
        self.services = services
        self.collection = collection
        self.report = Report()
        self.model, self.pooling = model, pooling
        self.space: str | None = None
        self.known: dict[str, tuple[str | None, str | None]] = {}  # content and place
        self._look_up()

    def _look_up(self) -> None:
        try:
            facts = self.services.recommender.collection(self.collection)
        except UnknownCollection:
            return
        # a collection keeps its own embedder
        self.model = facts["model"] or facts["space"].partition("/")[0]
        self.pooling, self.space = facts["pooling"], facts["space"]
        for item in self.services.recommender.items(self.collection):
            metadata = item["metadata"]
            self.known[item["id"]] = (metadata.get("sha256"), metadata.get("path"))

    def run(self, sounds: Sequence[Sound]) -> Report:
        from tqdm import tqdm

        pool = ThreadPoolExecutor(os.cpu_count() or 1)
        waiting: list[Item] = []
        try:
            results = pool.map(self._embed, sounds)
            for sound in tqdm(sounds, unit="file", disable=None):
                result = next(results)
                if isinstance(result, SoundalikeError):
                    self.report.failed.append((sound.id, result.detail))
                elif result is None:
                    self.report.unchanged += 1
                else:
                    waiting.append(self._item(sound, *result))
                    if len(waiting) == ITEMS_AT_ONCE:
                        self._write(waiting)
                        waiting = []
            self._write(waiting)
        finally:
            pool.shutdown(cancel_futures=True)
        return self.report

    def _embed(self, sound: Sound) -> tuple[Embedding, dict[str, Any]] | SoundalikeError | None:
        try:
            os.fspath(sound.path).encode()
        except UnicodeEncodeError:
            return SoundalikeError("its name is not UTF-8; rename it")
        try:
            with sound.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if self.known.get(sound.id) == (digest, sound.metadata.get("path")):
                return None
            embedder = self.services.embedder
            embedding = embedder.embed(sound.path, model=self.model, pooling=self.pooling)
            return embedding, {"sha256": digest, **_fingerprint(sound.path)}
        except (EmbedderUnavailable, UnknownModel):
            raise
        except SoundalikeError as fault:
            return fault
        except OSError as fault:
            return SoundalikeError(f"cannot be read: {fault}")

    def _item(self, sound: Sound, embedding: Embedding, found: dict[str, Any]) -> Item:
        from soundalike.types import Item

        if self.space is None:
            self.services.recommender.create(
                self.collection,
                space=embedding.space,
                dim=len(embedding.vector),
                model=embedding.model,
                pooling=self.pooling,
            )
            self.space = embedding.space
        if embedding.space != self.space:
            raise SpaceMismatch(
                f"The embedder now answers in space '{embedding.space}', and collection "
                f"'{self.collection}' is of '{self.space}'; index into a new collection.",
                got=embedding.space,
                expected=self.space,
            )
        heard = {name: embedding.audio[name] for name in HEARD}
        return Item(sound.id, embedding.vector, {**sound.metadata, **heard, **found})

    def _write(self, items: list[Item]) -> None:
        recommender = self.services.recommender
        write_items(recommender, self.collection, items, self.report, space=self.space)


def _fingerprint(path: Path) -> dict[str, Any]:
    """Recognise a sound by its beginning; nothing of what cannot be decoded on this machine."""
    try:
        from soundalike.audio.decode import decode
        from soundalike.audio.fingerprint import SECONDS, fingerprint
    except ImportError:  # the services decode; where they run is another matter
        return {}
    try:
        made = fingerprint(decode(path, first_s=SECONDS, mono=True))
    except AudioError:
        return {}
    return {} if made is None else {"fingerprint": made}


def write_items(
    recommender: Destination,
    collection: str,
    items: list[Item],
    report: Report,
    *,
    space: str | None,
) -> None:
    """Write a batch; where it is refused, its halves, so that what is at fault is named."""
    if not items:
        return
    try:
        report.indexed += recommender.upsert(collection, items, space=space)
    except (BadRequest, BadVector) as fault:
        if len(items) == 1:
            report.failed.append((items[0].id, fault.detail))
            return
        middle = len(items) // 2
        write_items(recommender, collection, items[:middle], report, space=space)
        write_items(recommender, collection, items[middle:], report, space=space)


def tell(report: Report, collection: str, *, as_json: bool = False) -> int:
    """Print a report; give the exit code that belongs to it."""
    if as_json:
        print_json(
            {
                "collection": collection,
                "indexed": report.indexed,
                "unchanged": report.unchanged,
                "failed": [{"id": name, "reason": reason} for name, reason in report.failed],
            }
        )
    else:
        print(
            f"{report.indexed} indexed, {report.unchanged} unchanged, {len(report.failed)} failed "
            f"in collection '{collection}'."
        )
        for name, reason in report.failed:
            print(f"  {name}: {reason}", file=sys.stderr)
    return int(bool(report.failed))
