"""Going over to another embedder: the sources of a collection, embedded again."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.cli.common import client
from soundalike.cli.index import HEARD, Report, Sound, index_sounds, tell
from soundalike.errors import AudioError, BadRequest, UnknownCollection

if TYPE_CHECKING:
    from soundalike.client import Client

KEPT_OF_NAME = 32
FROM_THE_FILE = ("sha256", "fingerprint", *HEARD)


@dataclass(frozen=True, slots=True)
class Move:
    """What became of it.

    Attributes
    ----------
    collection : str
        The new collection.
    report : Report
        What became of the sounds.
    set_aside : str or None
        The new name of the old collection; None where the name was an alias, or did not move.
    moved : bool
        Whether the name points at the new collection now.
    """

    collection: str
    report: Report
    set_aside: str | None
    moved: bool


def run(args: argparse.Namespace) -> int:
    """Embed the collection's own sources again, and say what became of them."""
    if args.pooling:
        raise BadRequest("--pooling is for a new collection; --reembed takes the embedder's own.")
    if args.data_dir:
        raise BadRequest("--reembed goes by the recommender, and takes no --data-dir.")
    name = args.collection
    with client(args) as both:
        move = reembed(both, name, args.model, partly=args.partly)
    code = tell(move.report, move.collection, as_json=args.json)
    if not move.moved:
        print(f"'{name}' was not moved; mend the above, or say --partly.", file=sys.stderr)
    elif move.set_aside is not None:
        print(
            f"'{name}' now is '{move.collection}'. What it was is kept as '{move.set_aside}'.",
            file=sys.stderr,
        )
    return code


def reembed(services: Client, name: str, model: str | None, *, partly: bool) -> Move:
    """Embed the sources of a collection again and make its name point at the result.

    The old collection serves until all is done. Interrupted, it goes on where
    it was; what was added to the old collection meanwhile is embedded too.

    Parameters
    ----------
    services : Client
        Both services.
    name : str
        The collection, or an alias of it.
    model : str, optional
        The embedder to go over to; the service's default otherwise.
    partly : bool
        Move the name though some sounds could not be embedded again.

    Returns
    -------
    Move

    Raises
    ------
    BadRequest
        The embedder is the collection's own, or no source can be embedded.
    """
    old = services.recommender.collection(name)
    sounds, lost = _sources(services, old["name"])
    new = _make_new(services, name, old, sounds, model)
    done: dict[str, str] = {}
    report = Report()
    while fresh := [one for one, content in sounds if done.get(one.id) != content]:
        part = index_sounds(services, fresh, new, model)
        report.indexed += part.indexed
        report.unchanged += part.unchanged
        report.failed += part.failed
        done |= {one.id: content for one, content in sounds}
        sounds, lost = _sources(services, old["name"])
    _forget_others(services, new, {*lost, *(one.id for one, _ in sounds)})
    report.failed += [(one, "its source is not where it was indexed from") for one in lost]
    if report.failed and not partly:
        return Move(new, report, None, moved=False)
    told = services.recommender.point(name, new)
    return Move(new, report, told["set_aside"], moved=True)


def _forget_others(services: Client, collection: str, ids: set[str]) -> None:
    """Delete what the old collection holds no more, as an earlier run may have left it."""
    held = [item["id"] for item in services.recommender.items(collection)]
    services.recommender.delete(collection, [one for one in held if one not in ids])


def _sources(services: Client, collection: str) -> tuple[list[tuple[Sound, str]], list[str]]:
    """List the items whose files are there, each with its content hash, and the others' ids."""
    sounds, lost = [], []
    for item in services.recommender.items(collection):
        path = Path(item["metadata"].get("path", ""))
        if path.is_file():
            sound = Sound(item["id"], path, _own(item["metadata"]))
            sounds.append((sound, item["metadata"].get("sha256", "")))
        else:
            lost.append(item["id"])
    return sounds, lost


def _own(metadata: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if name not in FROM_THE_FILE}


def _make_new(
    services: Client,
    name: str,
    old: dict[str, Any],
    sounds: list[tuple[Sound, str]],
    model: str | None,
) -> str:
    """Make the new collection, or find it, for the space of the first sound that can be embedded.

    It is named after that space. Made now, it is searched and ranked as the old one; one that
    is there, as where somebody goes back, keeps its own ways.
    """
    why = "their files are not where they were indexed from"
    for sound, _ in sounds:
        try:
            embedding = services.embedder.embed(sound.path, model=model)
        except AudioError as fault:
            why = fault.detail
            continue
        if embedding.space == old["space"]:
            raise BadRequest(
                f"Collection '{name}' is of space '{old['space']}' already; name another --model."
            )
        new = f"{name[:KEPT_OF_NAME]}.{embedding.space.replace('/', '.')}"
        try:
            services.recommender.collection(new)
        except UnknownCollection:
            services.recommender.create(
                new,
                space=embedding.space,
                dim=len(embedding.vector),
                engine=old["engine"],
                model=embedding.model,
                transform=old["transform"],
            )
        return new
    raise BadRequest(f"No source of collection '{name}' can be embedded: {why}")
