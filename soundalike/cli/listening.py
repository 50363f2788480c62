"""Listening logs and embeddings of items, as the command line names them, made into tasks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.errors import BadRequest, EmbedderError

if TYPE_CHECKING:
    from soundalike.evaluation.blocks import Source
    from soundalike.evaluation.heard import Heard
    from soundalike.evaluation.recommenders import Task
    from soundalike.evaluation.splits import Split

METADATA, NO_EMBEDDING = "metadata", "none"
DROP, FLAG = "drop", "flag"
INTERSECTION, OWN = "intersection", "own"
OWN_K, PUBLISHED_K = "own", "published"
PAPER = "paper"


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is learned from."""
    parser.add_argument(
        "--embeddings-dir", type=Path, default=Path("embeddings"), metavar="DIR",
        help="where vectors of items are (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--metadata", action="append", default=[], metavar="FILE[:a,b]",
        help="a table of items, and which columns make the block 'metadata' (all); may be repeated",
    )  # fmt: skip
    parser.add_argument("--start", metavar="DATE", help="of the training period (2018-02-20)")
    parser.add_argument("--test", metavar="DATE", help="of the test period (2019-01-20)")
    parser.add_argument("--end", metavar="DATE", help="of the test period (2019-02-20); or 'none'")
    parser.add_argument(
        "--protocol", default="warm", help="warm, cold, all or repeat (%(default)s)"
    )
    parser.add_argument(
        "--preset", default="sound", help="sound, or paper for its code's choices (%(default)s)"
    )
    parser.add_argument(
        "--metric-k", choices=(OWN_K, PUBLISHED_K),
        help="figures at k are of the first k, or as published of the first 50 (of the preset)",
    )  # fmt: skip
    parser.add_argument(
        "--items", choices=(INTERSECTION, OWN), default=INTERSECTION,
        help="compare embeddings on the items that all have, or each on its own (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--missing", choices=(DROP, FLAG), default=DROP,
        help="items without a block: left out, or zeros with a number that tells (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--bad-share", type=float, default=0.01, help="of rows, that may be unusable (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (%(default)s)")
    parser.add_argument(
        "--split-seed", type=int, default=42, help="of halving the users (%(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    parser.add_argument(
        "--checkpoints", type=Path, metavar="DIR", help="networks go on from here if broken off"
    )
    parser.add_argument("--json", action="store_true", help="every figure, as JSON")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="one figure a line")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw a metric over k")
    parser.add_argument(
        "--metric", default="recall", help="what is drawn and compared (%(default)s)"
    )


@dataclass(slots=True)
class Sources:
    """The blocks of embeddings, each read once.

    Attributes
    ----------
    found : dict of str to Source
    faults : dict of str to str
        Why a block could not be had.
    """

    args: argparse.Namespace
    found: dict[str, Source] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Read a block, or say why it cannot be."""
        if name in self.found or name in self.faults:
            return
        if name == METADATA:
            self.found[name] = self._metadata()
            return
        source = self._vectors(name)
        if source is None:
            self.faults[name] = _why_missing(name, self.args.embeddings_dir)
        else:
            self.found[name] = source

    def _vectors(self, name: str) -> Source | None:
        from soundalike.datasets import item_vectors

        path = item_vectors.find(self.args.embeddings_dir.expanduser(), name)
        if path is None:
            return None
        vectors = item_vectors.read(path)
        promised = name.rpartition("_")[2]
        if promised.isdigit() and int(promised) != vectors.values.shape[1]:
            raise BadRequest(
                f"'{name}' promises {promised} numbers, and '{path}' has {vectors.values.shape[1]}."
            )
        return vectors

    def _metadata(self) -> Source:
        from soundalike.datasets import item_metadata

        if not self.args.metadata:
            raise BadRequest("The block 'metadata' needs --metadata FILE.")
        tables = []
        for given in self.args.metadata:
            path, _, columns = given.partition(":")
            wanted = [name for name in columns.split(",") if name]
            tables.append(item_metadata.read(Path(path).expanduser(), wanted))
        return item_metadata.beside_each_other(tables)

    def counts(self) -> dict[str, dict[str, int]]:
        """Tell of every block how many items have one, and how many rows say nothing."""
        return {
            name: {"items": len(one.ids), "unusable": one.dropped}
            for name, one in self.found.items()
        }


def _why_missing(name: str, folder: Path) -> str:
    """Tell whether an embedding is not there because its embedder has no weights here."""
    from soundalike import embedders
    from soundalike.cli.sonic import EMBEDDERS
    from soundalike.embedders import weights

    cards = embedders.cards()
    parts = name.split("_")
    keys = ("_".join(parts[:count]) for count in range(len(parts), 0, -1))
    names = (EMBEDDERS.get(key, key).replace("_", "-") for key in keys)
    card = next((cards[key] for key in names if key in cards), None)
    if card is not None and card.weights is not None:
        try:
            weights.folder(card.key, card.weights)
        except EmbedderError:
            return "weights missing"
    return f"no vectors in {folder}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """An embedding that is to be tried, by its whole name and its blocks' names."""

    name: str
    blocks: Sequence[str]


class Tasks:
    """The divided log of every embedding.

    Parameters
    ----------
    path : Path
        The log.
    embeddings : sequence of str
        Their names.
    args : argparse.Namespace
        As `add_data` describes.
    """

    def __init__(self, path: Path, embeddings: Sequence[str], args: argparse.Namespace) -> None:
        from tqdm import tqdm

        from soundalike.datasets.listening import Log
        from soundalike.evaluation import heard

        self.args = args
        dates = _dates(args)
        self._log = Log(path, bad_share=args.bad_share)
        with tqdm(unit="row", unit_scale=True, disable=None) as bar:
            self.heard: Heard = heard.gather(self._log, dates, bar.update)
        self.sources = Sources(args)
        every = dict.fromkeys([*embeddings, NO_EMBEDDING])
        self._wanted = [self._with_blocks(name) for name in every]
        self._splits: dict[frozenset[str] | None, Split] = {}

    def _with_blocks(self, name: str) -> Wanted:
        from soundalike.evaluation import blocks

        if name == NO_EMBEDDING:
            return Wanted(name, [])
        parts = [part.name for part in blocks.parse(name)]
        for part in parts:
            self.sources.add(part)
        return Wanted(name, parts)

    def fault(self, name: str) -> str:
        """Say why an embedding cannot be tried; nothing where it can."""
        (wanted,) = (one for one in self._wanted if one.name == name)
        faults = (self.sources.faults.get(block, "") for block in wanted.blocks)
        return "; ".join(dict.fromkeys(filter(None, faults)))

    def of(self, name: str) -> Task:
        """Divide the log for an embedding, and give the vectors of the split's items."""
        from soundalike.evaluation import blocks
        from soundalike.evaluation.recommenders import Task
        from soundalike.evaluation.recommenders.training import device_named

        split, vectors = self._split(self._items(name)), None
        if name != NO_EMBEDDING:
            parts = blocks.parse(name)
            vectors = blocks.join(parts, self.sources.found, split.item_ids, split.warm)
        device = device_named(self.args.device)
        return Task(split, vectors, self.args.seed, device, self.args.checkpoints)

    def _items(self, name: str) -> frozenset[str] | None:
        """Choose the items that count for an embedding; None for all."""
        from soundalike.evaluation import blocks

        compared = [
            one for one in self._wanted
            if one.blocks and not self.fault(one.name)
            and (self.args.items == INTERSECTION or one.name == name)
        ]  # fmt: skip
        names = {block for one in compared for block in one.blocks}
        if not names or self.args.missing == FLAG:
            return None
        return frozenset(blocks.common([self.sources.found[one] for one in sorted(names)]))

    def _split(self, items: frozenset[str] | None) -> Split:
        from soundalike.evaluation.splits import split

        if items not in self._splits:
            self._splits[items] = split(
                self.heard, self.args.protocol, items=items, seed=self.args.split_seed
            )
        return self._splits[items]

    def facts(self) -> dict[str, Any]:
        """Lay out what every row has in common as a JSON object."""
        return {
            "log": {
                **self._log.report.as_dict(),
                "users": len(self._log.users),
                "items": len(self._log.items),
                "plays_in_window": self.heard.plays_in_window,
            },
            "dates": self.heard.dates.as_dict(),
            "blocks": self.sources.counts(),
            "protocol": self.args.protocol,
            "metric_k": metric_k_of(self.args),
            "preset": self.args.preset,
            "seed": self.args.seed,
            "split_seed": self.args.split_seed,
            "items_compared": self.args.items,
            "missing": self.args.missing,
        }


def metric_k_of(args: argparse.Namespace) -> str:
    """Say of how many first places figures are, as `recommendations.METRIC_KS` has it."""
    if args.metric_k is None:
        return PUBLISHED_K if args.preset == PAPER else OWN_K
    return str(args.metric_k)


def _dates(args: argparse.Namespace) -> Any:
    from soundalike.evaluation import heard

    paper = args.preset == PAPER
    start = args.start or (heard.PAPER_START if paper else heard.START)
    test = args.test or (heard.PAPER_TEST if paper else heard.TEST)
    end = args.end or (None if paper else heard.END)
    return heard.Dates.parse(start, test, None if end == "none" else end)
