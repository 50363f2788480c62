"""Which name means which collection, for all that are in use."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field, replace

from soundalike.catalogue.snapshot import Index
from soundalike.catalogue.statements import Record

UNFIT_FOR_NAME = re.compile(r"[^A-Za-z0-9._-]")
MAX_NAME = 64
KEPT_OF_NAME = 32


@dataclass(frozen=True, slots=True)
class Live:
    """A collection in use: what it is, where it is searched, and whether that is being rebuilt."""

    record: Record
    index: Index
    rebuilding: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class Names:
    """Every collection by its name, and the names that point at one; replaced, never changed."""

    live: dict[str, Live]
    aliases: dict[str, str]

    def find(self, name: str) -> Live | None:
        """Give what a name means, or points at."""
        return self.live.get(self.aliases.get(name, name))

    def renamed(self, name: str, record: Record) -> Names:
        """Give a collection another name; what points at it follows."""
        live = {one: held for one, held in self.live.items() if one != name}
        live[record.name] = replace(self.live[name], record=record)
        aliases = {a: record.name if to == name else to for a, to in self.aliases.items()}
        return Names(live, aliases)


def aside_name(record: Record) -> str:
    """Name a collection that has to give up its name after what tells it from its successor."""
    return f"{record.name[:KEPT_OF_NAME]}.{UNFIT_FOR_NAME.sub('.', record.space)}"[:MAX_NAME]
