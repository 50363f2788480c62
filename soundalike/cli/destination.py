"""Where items go: to the recommender over HTTP, or straight into its folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from soundalike.cli.common import client

if TYPE_CHECKING:
    from soundalike.client import EmbedderClient
    from soundalike.types import Item


class Destination(Protocol):
    """What keeps collections, as far as is needed to put items into one."""

    def collection(self, name: str) -> dict[str, Any]:
        """Describe a collection, or raise `UnknownCollection`."""

    def items(self, name: str) -> Iterator[dict[str, Any]]:
        """Go through the ids and metadata of a collection."""

    def create(
        self,
        name: str,
        *,
        space: str,
        dim: int,
        model: str | None = None,
        pooling: str | None = None,
    ) -> object:
        """Create a collection, or raise `CollectionExists` where one has other facts."""

    def upsert(self, name: str, items: Sequence[Item], *, space: str | None = None) -> int:
        """Add items or replace those of the same id; give how many were written."""


class Services(Protocol):
    """What hears sounds, and what keeps their vectors."""

    @property
    def embedder(self) -> EmbedderClient:
        """The embedder service."""

    @property
    def recommender(self) -> Destination:
        """The recommender service, or its folder."""


@dataclass(frozen=True, slots=True)
class _Straight:
    embedder: EmbedderClient
    recommender: Destination


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option that leaves out the recommender service."""
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="write straight into a recommender's folder, whether or not it is running",
    )


@contextmanager
def services(args: argparse.Namespace) -> Iterator[Services]:
    """Give what `add_services` and `add_data_dir` describe."""
    with client(args) as both:
        if args.data_dir is None:
            yield both
            return
        from soundalike.catalogue.base import DEFAULT_ENGINE
        from soundalike.catalogue.intake import Intake

        engine = os.environ.get("SOUNDALIKE_ENGINE") or DEFAULT_ENGINE
        with Intake(args.data_dir.expanduser(), engine=engine) as intake:
            yield _Straight(both.embedder, intake)
