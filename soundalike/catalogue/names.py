"""Which name means which collection, for all that are in use."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

from soundalike.catalogue.live import Live
from soundalike.catalogue.reader import Collection, Reader
from soundalike.catalogue.statements import Record
from soundalike.errors import UnknownCollection

UNFIT_FOR_NAME = re.compile(r"[^A-Za-z0-9._-]")
MAX_NAME = 64
KEPT_OF_NAME = 32
NAMES = 0  # where a reader remembers which of them it has seen; collections count from 1


@dataclass(frozen=True, slots=True)
class Names:
    """Every collection by its name, and the names that point at one; replaced, never changed."""

    layout: int
    live: dict[str, Live]
    aliases: dict[str, str]

    def find(self, name: str) -> Live | None:
        """Give what a name means, or points at."""
        return self.live.get(self.aliases.get(name, name))

    def named(self, name: str) -> Live:
        """Give what a name means, or raise `UnknownCollection`."""
        live = self.find(name)
        if live is None:
            raise UnknownCollection(
                f"There is no collection named {name[:80]!r}.", collection=name[:80]
            )
        return live


class Collections:
    """All collections in use, which follow what any process writes.

    Parameters
    ----------
    open_one : callable
        Makes the `Live` of a collection.
    """

    def __init__(self, open_one: Callable[[Collection], Live]) -> None:
        self._open_one = open_one
        self._reading = threading.Lock()
        self._names = Names(-1, {}, {})

    def names(self, reader: Reader) -> Names:
        """Give the names as they are now."""
        return self._names_at(reader, reader.version())

    def _names_at(self, reader: Reader, version: int) -> Names:
        if reader.seen.get(NAMES) != version:
            self._read(reader)
            reader.seen[NAMES] = version
        return self._names

    def find(self, reader: Reader, name: str) -> Live:
        """Give what a name means, brought up to date.

        Raises
        ------
        UnknownCollection
            Nothing.
        """
        version = reader.version()
        live = self._names_at(reader, version).named(name)
        self._bring_to(reader, live, version)
        return live

    def all(self, reader: Reader) -> list[Live]:
        """Give every collection by name, brought up to date; without those that cannot be."""
        found = []
        for _, live in sorted(self.names(reader).live.items()):
            with live.alone():
                self.bring(reader, live)
                found.append(live)
        return found

    def bring(self, reader: Reader, live: Live) -> None:
        """Show in a collection all that was written before."""
        self._bring_to(reader, live, reader.version())

    def _bring_to(self, reader: Reader, live: Live, version: int) -> None:
        if reader.seen.get(live.record.id) != version:
            live.catch_up(reader)
            reader.seen[live.record.id] = version

    def _read(self, reader: Reader) -> None:
        if reader.layout() == self._names.layout:
            return
        with self._reading, reader.moment():
            layout = reader.layout()
            if layout > self._names.layout:
                by_id = {live.record.id: live for live in self._names.live.values()}
                live = {
                    described.record.name: self._keep(by_id.get(described.record.id), described)
                    for described in reader.collections()
                }
                self._names = Names(layout, live, reader.aliases())

    def _keep(self, live: Live | None, described: Collection) -> Live:
        if live is None:
            return self._open_one(described)
        live.describe(described)
        return live


def aside_name(record: Record) -> str:
    """Name a collection that has to give up its name after what tells it from its successor."""
    return f"{record.name[:KEPT_OF_NAME]}.{UNFIT_FOR_NAME.sub('.', record.space)}"[:MAX_NAME]
