"""Listening logs divided by date into what is learned from and what is to be foretold."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from soundalike.datasets.listening import Numbers
from soundalike.errors import BadRequest
from soundalike.evaluation.heard import Heard

Flags: TypeAlias = npt.NDArray[np.bool_]

PROTOCOLS = {
    "warm": "items first played by the user in the test period, among items known from training",
    "cold": "the same, items that nobody played before alone, and among these alone",
    "all": "the same, among all items",
    "repeat": "all that the user plays in the test period, replays too, among known items",
}
WARM, COLD, ALL, REPEAT = PROTOCOLS
HALVING_SEED = 42
DIGEST_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Pairs:
    """Users and the items they played, each pair once, by user, first play and item.

    Attributes
    ----------
    users, items : ndarray of int64, shape (N,)
        Places in the ids of the split.
    first : ndarray of int64, shape (N,)
        When the pair was first played in its period, in milliseconds since 1970.
    plays : ndarray of int64, shape (N,)
        How often it was played in its period.
    """

    users: Numbers
    items: Numbers
    first: Numbers
    plays: Numbers

    def of(self, chosen: Flags) -> Pairs:
        """Choose pairs."""
        return Pairs(self.users[chosen], self.items[chosen], self.first[chosen], self.plays[chosen])

    def starts(self, users: int) -> Numbers:
        """Tell where the pairs of each user begin, and where the last one's end."""
        return np.searchsorted(self.users, np.arange(users + 1))


@dataclass(frozen=True, slots=True)
class Split:
    """A log divided by date.

    Attributes
    ----------
    protocol : str
        One of `PROTOCOLS`.
    user_ids : sequence of str, length U
        Users of the training period, sorted.
    item_ids : sequence of str, length N
        Items of the training period, sorted; then, where the protocol asks for them, those first
        played in the test period, sorted.
    warm : int
        How many items are of the training period.
    train : Pairs
        Of the training period; `plays` counts none after it.
    held : Pairs
        What is to be foretold.
    validation, test : ndarray of int64
        The users with something to be foretold, in two halves.
    counts : dict of str to int
        What was kept and what was lost.
    """

    protocol: str
    user_ids: Sequence[str]
    item_ids: Sequence[str]
    warm: int
    train: Pairs
    held: Pairs
    validation: Numbers
    test: Numbers
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def candidates(self) -> slice:
        """Which items may be recommended."""
        return {COLD: slice(self.warm, len(self.item_ids)), ALL: slice(len(self.item_ids))}.get(
            self.protocol, slice(self.warm)
        )

    @property
    def bars_seen(self) -> bool:
        """Whether what a user played in the training period is kept from that user's list."""
        return self.protocol != REPEAT

    def fingerprint(self) -> str:
        """Name the content: equal for equal ids, pairs, halves and protocol alone."""
        digest = hashlib.sha256(self.protocol.encode())
        for ids in (self.user_ids, self.item_ids):
            digest.update("\n".join([*ids, ""]).encode())
        for pairs in (self.train, self.held):
            for column in (pairs.users, pairs.items, pairs.first, pairs.plays):
                digest.update(column.astype("<i8").tobytes())
        for users in (self.validation, self.test):
            digest.update(users.astype("<i8").tobytes())
        return digest.hexdigest()[:DIGEST_DIGITS]


def split(
    heard: Heard,
    protocol: str = WARM,
    *,
    items: Collection[str] | None = None,
    seed: int = HALVING_SEED,
) -> Split:
    """Divide what was heard.

    A pair belongs to the test period where its first play does: what a user has played before is
    nothing to be foretold, unless the protocol is ``"repeat"``. Users without a play in the
    training period are left out. Users with something to be foretold are halved at random, one
    half for choosing among models, the other for judging them.

    Parameters
    ----------
    heard : Heard
        The plays of a log, gathered by pairs.
    protocol : str
        One of `PROTOCOLS`.
    items : collection of str, optional
        Ids that count, such as those with a vector; all by default.
    seed : int
        Of the halving.

    Returns
    -------
    Split

    Raises
    ------
    BadRequest
        There is no such protocol, or nothing is left to learn from or to foretell.
    """
    if protocol not in PROTOCOLS:
        raise BadRequest(f"There is no protocol '{protocol}'; there are {', '.join(PROTOCOLS)}.")
    chosen = _choose(heard, _counted(heard, items), protocol)
    counts = chosen.counts(heard)
    _refuse_nothing(heard, counts, protocol)
    user_ids, user_places = _numbered(heard.user_ids, chosen.users)
    item_ids, item_places = _numbered(heard.item_ids, chosen.warm, chosen.cold)
    places = (user_places, item_places)
    held = _pairs(heard, chosen.foretold, (heard.first_test, heard.test_plays), places)
    validation, test = _halves(held, seed)
    return Split(
        protocol=protocol,
        user_ids=user_ids,
        item_ids=item_ids,
        warm=int(np.count_nonzero(chosen.warm)),
        train=_pairs(heard, chosen.trained, (heard.first, heard.train_plays), places),
        held=held,
        validation=validation,
        test=test,
        counts=counts,
    )


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Which pairs count, are learned from, come later and are to be foretold; whose they are."""

    counted: Flags
    trained: Flags
    later: Flags
    of_known_users: Flags
    foretold: Flags
    users: Flags
    warm: Flags
    cold: Flags

    def counts(self, heard: Heard) -> dict[str, int]:
        """Tell what was kept and what was lost, in pairs and in items of the window."""
        lost = {
            "pairs_without_vector": ~self.counted,
            "train_pairs": self.trained,
            "test_pairs_found": self.later,
            "test_pairs_of_unknown_users": self.later & ~self.of_known_users,
            "test_pairs_of_other_items": self.of_known_users & ~self.foretold,
            "test_pairs": self.foretold,
        }
        found = {name: int(np.count_nonzero(flags)) for name, flags in lost.items()}
        items, counted = np.unique(heard.items), np.unique(heard.items[self.counted])
        found["items_without_vector"] = len(items) - len(counted)
        return {"pairs": len(self.counted), "items": len(items)} | found


def _choose(heard: Heard, counted: Flags, protocol: str) -> _Chosen:
    """Apply the rules of a protocol to the pairs that count."""
    trained = counted & (heard.train_plays > 0)
    users, warm = _marked(heard, trained)
    later = counted & (heard.test_plays > 0)
    if protocol != REPEAT:
        later &= heard.train_plays == 0
    of_known_users = later & users[heard.users]
    known = warm[heard.items]
    cold = np.zeros_like(warm)
    if protocol in (COLD, ALL):
        cold[heard.items[later & ~known]] = True
    wanted = {COLD: ~known, ALL: np.ones_like(known)}.get(protocol, known)
    foretold = of_known_users & wanted
    return _Chosen(counted, trained, later, of_known_users, foretold, users, warm, cold)


def _counted(heard: Heard, items: Collection[str] | None) -> Flags:
    """Tell which pairs are of items that count."""
    if items is None:
        return np.ones(len(heard.users), dtype=bool)
    return np.array([name in items for name in heard.item_ids], dtype=bool)[heard.items]


def _marked(heard: Heard, chosen: Flags) -> tuple[Flags, Flags]:
    """Mark the users and the items of pairs."""
    users = np.zeros(len(heard.user_ids), dtype=bool)
    items = np.zeros(len(heard.item_ids), dtype=bool)
    users[heard.users[chosen]] = True
    items[heard.items[chosen]] = True
    return users, items


def _numbered(ids: Sequence[str], *groups: Flags) -> tuple[list[str], Numbers]:
    """Give numbers to the ids of groups, each group sorted, one group behind the other."""
    order = [
        place
        for group in groups
        for place in sorted(np.flatnonzero(group).tolist(), key=ids.__getitem__)
    ]
    places = np.full(len(ids), -1, dtype=np.int64)
    places[order] = np.arange(len(order))
    return [ids[place] for place in order], places


def _pairs(
    heard: Heard, chosen: Flags, values: tuple[Numbers, Numbers], places: tuple[Numbers, Numbers]
) -> Pairs:
    """Choose pairs with their first plays and numbers of plays, by the places of the ids."""
    users, items = places[0][heard.users[chosen]], places[1][heard.items[chosen]]
    first, plays = (column[chosen] for column in values)
    order = np.lexsort((items, first, users))
    return Pairs(users[order], items[order], first[order], plays[order])


def _halves(held: Pairs, seed: int) -> tuple[Numbers, Numbers]:
    """Halve the users at random; where their number is odd the second half is the larger."""
    users = np.unique(held.users)
    shuffled = np.random.default_rng(seed).permutation(users)
    middle = len(users) // 2
    return np.sort(shuffled[:middle]), np.sort(shuffled[middle:])


def _refuse_nothing(heard: Heard, counts: dict[str, int], protocol: str) -> None:
    if counts["train_pairs"] and counts["test_pairs"]:
        return
    lacking = "learn from" if not counts["train_pairs"] else "foretell"
    raise BadRequest(
        f"There is nothing to {lacking} with protocol '{protocol}': {heard.told()} "
        "Choose other dates, or another log.",
        **counts,
    )
