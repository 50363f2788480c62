"""What the items of a collection tell one by one: what is double, silent or without a source."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from soundalike.catalogue import fingerprints
from soundalike.types import Item

SILENT_SHARE = 0.99
CONSTANT_FROM = 5  # different sounds with one vector
DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Group:
    """Items that are one recording.

    Attributes
    ----------
    ids : list of str
    proof : str
        "content" where the files are equal byte for byte, "vector" where only the vectors are,
        and the lengths.
    """

    ids: list[str]
    proof: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A vector that many different sounds have, as a silent one may: some of the items."""

    items: int
    ids: list[str]


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is remembered of an item."""

    id: str
    content: str
    seconds: float | None


@dataclass(slots=True)
class Survey:
    """What was seen so far.

    Attributes
    ----------
    items : int
    metadata_bytes : int
        Of all of it, as JSON.
    seconds : float
        Of sound, in the items that tell their length.
    sample : list of Item
        Some of them.
    silent, without_source, without_fingerprint : list of str
    """

    items: int = 0
    metadata_bytes: int = 0
    seconds: float = 0.0
    sample: list[Item] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    without_source: list[str] = field(default_factory=list)
    without_fingerprint: list[str] = field(default_factory=list)
    _by_vector: dict[bytes, list[_Kept]] = field(default_factory=lambda: defaultdict(list))
    _by_content: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, items: Iterable[Item], every: int) -> None:
        """Look at items, and keep one of every so many of them."""
        for item in items:
            if self.items % every == 0:
                self.sample.append(item)
            self.items += 1
            self._look(item)

    def _look(self, item: Item) -> None:
        told = item.metadata
        self.metadata_bytes += len(json.dumps(told, ensure_ascii=False).encode())
        self.seconds += number(told, "seconds") or 0.0
        if not (told.get("path") or told.get("url")):
            self.without_source.append(item.id)
        if is_silent(told):
            self.silent.append(item.id)
        elif fingerprints.parse(told.get("fingerprint")) is None:
            self.without_fingerprint.append(item.id)
        self._keep(item)

    def _keep(self, item: Item) -> None:
        content = content_of(item.metadata)
        if content:
            self._by_content[content].append(item.id)
        digest = hashlib.blake2b(item.vector.tobytes(), digest_size=DIGEST_BYTES).digest()
        kept = _Kept(item.id, content or f"item {item.id}", number(item.metadata, "seconds"))
        self._by_vector[digest].append(kept)

    def groups(self) -> tuple[list[Group], list[Constant]]:
        """Tell what is there more than once, and which vectors say nothing."""
        groups: list[Group] = []
        constant: list[Constant] = []
        silent = set(self.silent)
        for same in self._by_vector.values():
            if len({one.content for one in same}) >= CONSTANT_FROM:
                some = [one.id for one in same[:CONSTANT_FROM]]
                constant.append(Constant(len(same), some))
            else:
                groups += _as_long(one for one in same if one.id not in silent)
        # equal files have equal vectors, unless embedders changed in between
        group_of = {one: number for number, group in enumerate(groups) for one in group.ids}
        for ids in self._by_content.values():
            if len(ids) > 1 and len({group_of.get(one, one) for one in ids}) > 1:
                groups.append(Group(ids, "content"))
        return groups, constant


def _as_long(same: Iterable[_Kept]) -> Iterator[Group]:
    """Group items of one vector by their length."""
    by_length: dict[float | None, list[_Kept]] = defaultdict(list)
    for one in same:
        by_length[one.seconds].append(one)
    for group in by_length.values():
        if len(group) > 1:
            contents = {one.content for one in group}
            yield Group([one.id for one in group], "vector" if len(contents) > 1 else "content")


def content_of(metadata: Mapping[str, Any]) -> str | None:
    """Give the hash of an item's file; None where it is not told."""
    content = metadata.get("sha256")
    return content if isinstance(content, str) and content else None


def number(metadata: Mapping[str, Any], name: str) -> float | None:
    """Give a number of an item's metadata; None where there is none."""
    value = metadata.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def is_silent(metadata: Mapping[str, Any]) -> bool:
    """Tell whether an item's metadata say that there is no sound in it."""
    return (number(metadata, "silent") or 0.0) >= SILENT_SHARE
