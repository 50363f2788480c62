"""Listening logs of our own making, whose structure is known.

Items lie in clusters of a small space; users like what lies near their home
cluster, popular items more. What an embedder would hear of an item is a noisy
view of some of its dimensions. So it is known which recommender ought to find
what, and a mistake in one shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from soundalike.errors import BadRequest
from soundalike.types import FloatArray

Doubles: TypeAlias = npt.NDArray[np.float64]
Numbers: TypeAlias = npt.NDArray[np.int64]

FLAVOURS = {
    "static": "users keep to their taste",
    "drift": "users wander from cluster to cluster, so what they heard last tells most",
    "guilty": "as static, but every user plays one track of another cluster hundreds of times",
    "null": "taste plays no part, so no embedding can tell anything",
}
DAY_MS = 86_400_000
LATENT, AUDIO, AUDIO_OUT, LYRICS_OUT = 18, 12, 64, 32
"""Dimensions of the space, of what can be heard of it (the rest is sung), and of the views."""
ITEM_NOISE, TASTE_NOISE, ARTIST_SHARE = 0.45, 0.35, 0.5
ITEMS_AN_ARTIST = 6
AUDIO_NOISE = 0.2
"""Standard deviation of its noise at level 1, where the latent is of unit length."""
AUDIO_LEVELS = (0, 1, 2, 4)
LENGTH_SPREAD = 0.5
RANDOM_SHARE, REPLAYED = 0.05, 0.35
ZIPF, SHARPNESS = 0.7, 9.0
MEDIAN_PLAYS, SPREAD_PLAYS, LEAST_PLAYS = 110, 0.6, 20
COLD_ITEMS, COLD_USERS = 0.1, 0.03
NEW_BOOST = 2.0
"""How many times as often what is new is played."""
WANDERING = 0.04
GUILTY_PLAYS = (200, 401)
MARGIN_BEFORE_DAYS, MARGIN_AFTER_DAYS, RELEASE_DAYS = 20, 10, 10
LETTERS = np.array(list("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
ID_LETTERS = 16
WRONG_GENRES = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """What log is to be made.

    Attributes
    ----------
    flavour : str
        One of `FLAVOURS`.
    users, items, clusters : int
    start_ms, test_ms, end_ms : int
        The periods that the log is to be split by; it begins earlier and ends later.
    seed : int
    item_ids, item_clusters : sequence of str, optional
        Items that exist already and the names of their clusters, in place of `items` made ones.

    Raises
    ------
    BadRequest
        No log can be made of these.
    """

    start_ms: int
    test_ms: int
    end_ms: int
    flavour: str = "static"
    users: int = 2000
    items: int = 3000
    clusters: int = 20
    seed: int = 8
    item_ids: Sequence[str] = ()
    item_clusters: Sequence[str] = ()

    def __post_init__(self) -> None:
        clusters = len(set(self.item_clusters)) if self.item_clusters else self.clusters
        items = len(self.item_ids) if self.item_ids else self.items
        if self.flavour not in FLAVOURS or min(self.users, items, clusters) < 2 or self.seed < 0:
            raise BadRequest(
                f"A log is of a flavour ({', '.join(FLAVOURS)}) and has two users, items and "
                "clusters or more, and a seed of 0 or more.",
                flavour=self.flavour, users=self.users, items=items, clusters=clusters,
                seed=self.seed,
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Made:
    """A log, what can be known of its items, and how it came about.

    Attributes
    ----------
    user_ids, item_ids : list of str
    users, items, times : ndarray of int64, shape (N,)
        One row a play, by time: places in the ids, milliseconds since 1970.
    views : dict of str to ndarray of float32, shape (I, D)
        What embedders would make of the items.
    metadata : dict of str to list of str
        Columns of the items.
    clusters, homes : ndarray of int64
        Of items and of users.
    releases : ndarray of int64, shape (I,)
        Before when an item was never played.
    chances : ndarray of float64, shape (U, I)
        How likely each user is to choose each item, at home and when all are released.
    """

    user_ids: list[str]
    item_ids: list[str]
    users: Numbers
    items: Numbers
    times: Numbers
    views: dict[str, FloatArray]
    metadata: dict[str, list[str]]
    clusters: Numbers
    homes: Numbers
    releases: Numbers
    chances: Doubles


def unit(rows: Doubles) -> Doubles:
    """Scale rows to unit length."""
    scaled: Doubles = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def make(plan: Plan) -> Made:
    """Make a log: the same plan gives the same."""
    return _Maker(plan).made()


@dataclass(slots=True)
class _Maker:
    """The world that plays come from."""

    plan: Plan
    random: np.random.Generator = field(init=False)
    aside: np.random.Generator = field(init=False)
    clusters: Numbers = field(init=False)
    centres: Doubles = field(init=False)
    latents: Doubles = field(init=False)
    artists: Numbers = field(init=False)
    popularity: Doubles = field(init=False)
    releases: Numbers = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.plan.seed)
        # what a flavour adds is drawn apart, so that the rest of the log is that of "static"
        self.aside = np.random.default_rng([self.plan.seed, 1])
        self.clusters = self._clusters()
        count, kinds = len(self.clusters), int(self.clusters.max()) + 1
        self.centres = unit(self.random.normal(size=(kinds, LATENT)))
        self.artists = self._artists()
        of_artist = self.random.normal(size=(self.artists.max() + 1, LATENT))[self.artists]
        own = self.random.normal(size=(count, LATENT))
        noise = np.sqrt(ARTIST_SHARE) * of_artist + np.sqrt(1 - ARTIST_SHARE) * own
        self.latents = unit(self.centres[self.clusters] + ITEM_NOISE * unit(noise))
        ranks = (self.random.permutation(count) + 1).astype(np.float64)
        self.popularity = ranks**-ZIPF
        cold = self.random.permutation(count)[: round(COLD_ITEMS * count)]
        self.releases = np.zeros(count, dtype=np.int64)
        days = self.random.uniform(0, RELEASE_DAYS, len(cold))
        self.popularity[cold] *= NEW_BOOST
        self.releases[cold] = self.plan.test_ms + (days * DAY_MS).astype(np.int64)

    def _clusters(self) -> Numbers:
        if self.plan.item_clusters:
            return np.unique(np.array(self.plan.item_clusters), return_inverse=True)[1]
        return self.random.integers(0, self.plan.clusters, self.plan.items)

    def _artists(self) -> Numbers:
        """Give each item an artist, whose items all lie in one cluster."""
        order = np.argsort(self.clusters, kind="stable")
        begins = np.searchsorted(self.clusters[order], self.clusters[order])
        within = (np.arange(len(order)) - begins) // ITEMS_AN_ARTIST
        keys = self.clusters[order] * len(order) + within
        artists = np.empty(len(order), dtype=np.int64)
        artists[order] = np.unique(keys, return_inverse=True)[1]
        return artists

    def made(self) -> Made:
        users = self.plan.users
        homes = self.random.integers(0, len(self.centres), users)
        leanings = TASTE_NOISE * unit(self.random.normal(size=(users, LATENT)))
        chances = self._chances(homes, leanings)
        newcomers = self.random.random(users) < COLD_USERS
        parts = [
            self._plays_of(chances[user], leanings[user], homes[user], newcomers[user])
            for user in range(users)
        ]
        owners = np.repeat(np.arange(users), [len(items) for items, _ in parts])
        items, times = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(times, kind="stable")
        return Made(
            user_ids=[str(number) for number in self.random.permutation(users) + 1],
            item_ids=list(self.plan.item_ids) or self._item_ids(),
            users=owners[order],
            items=items[order],
            times=times[order],
            views=self._views(),
            metadata=self._metadata(),
            clusters=self.clusters,
            homes=homes,
            releases=self.releases,
            chances=chances,
        )

    def _chances(self, homes: Numbers, leanings: Doubles) -> Doubles:
        """Tell how likely items are for users at places of the space, shape (U, I)."""
        tastes = unit(self.centres[homes] + leanings)
        sharpness = 0.0 if self.plan.flavour == "null" else SHARPNESS
        liked = self.popularity * np.exp(sharpness * tastes @ self.latents.T)
        share = liked / liked.sum(axis=1, keepdims=True)
        found: Doubles = (1 - RANDOM_SHARE) * share + RANDOM_SHARE / len(self.latents)
        return found

    def _plays_of(
        self, chances: Doubles, leaning: Doubles, home: int, newcomer: bool
    ) -> tuple[Numbers, Numbers]:
        """Make the plays of one user, by time."""
        count = max(LEAST_PLAYS, MEDIAN_PLAYS * np.exp(self.random.normal(0, SPREAD_PLAYS)))
        begin = self.plan.start_ms - MARGIN_BEFORE_DAYS * DAY_MS
        end = self.plan.end_ms + MARGIN_AFTER_DAYS * DAY_MS
        times = np.sort(self.random.integers(begin, end, round(float(count))))
        if newcomer:
            times = times[-np.count_nonzero(times >= self.plan.test_ms) :]
        if self.plan.flavour == "drift":
            items = self._wander(times, leaning, home)
        else:
            items = self._choose(chances, times)
        items = self._replay(items)
        if self.plan.flavour == "guilty" and not newcomer:
            return self._with_guilty(items, times, home)
        return items, times // 1000 * 1000

    def _choose(self, chances: Doubles, times: Numbers) -> Numbers:
        """Choose an item for each moment, none before it is released."""
        items = _draw(chances, self.random.random(len(times)))
        early = self.releases[items] > times
        old = np.where(self.releases > 0, 0.0, chances)
        items[early] = _draw(old, self.random.random(int(early.sum())))
        return items

    def _wander(self, times: Numbers, leaning: Doubles, home: int) -> Numbers:
        """Choose items along a ring of clusters."""
        moves = np.cumsum(self.random.random(len(times)) < WANDERING)
        items = np.empty(len(times), dtype=np.int64)
        for step in np.unique(moves):
            here = moves == step
            cluster = np.array([(home + step) % len(self.centres)])
            chances = self._chances(cluster, leaning[np.newaxis])[0]
            items[here] = self._choose(chances, times[here])
        return items

    def _replay(self, items: Numbers) -> Numbers:
        """Put earlier items of the user in the place of some."""
        count = len(items)
        replayed = self.random.random(count) < REPLAYED
        replayed[0] = False
        earlier = (self.random.random(count) * np.arange(count)).astype(np.int64)
        for place in np.flatnonzero(replayed):
            items[place] = items[earlier[place]]
        return items

    def _with_guilty(self, items: Numbers, times: Numbers, home: int) -> tuple[Numbers, Numbers]:
        """Add hundreds of plays of an item of another cluster to the training period."""
        strange = np.flatnonzero((self.releases == 0) & (self.clusters != home))
        plays = int(self.aside.integers(*GUILTY_PLAYS))
        more = self.aside.integers(self.plan.start_ms, self.plan.test_ms, plays)
        every = np.concatenate([times, more])
        order = np.argsort(every, kind="stable")
        chosen = np.concatenate([items, np.full(plays, self.aside.choice(strange))])
        return chosen[order], every[order] // 1000 * 1000

    def _views(self) -> dict[str, FloatArray]:
        heard = self.latents[:, :AUDIO] @ self.random.normal(size=(AUDIO, AUDIO_OUT))
        sung = self.latents[:, AUDIO:] @ self.random.normal(size=(LATENT - AUDIO, LYRICS_OUT))
        lengths = np.exp(self.random.normal(0, LENGTH_SPREAD, (len(heard), 1)))
        noise = self.random.normal(size=heard.shape) * AUDIO_NOISE * np.sqrt(AUDIO)
        views = {f"audio{s}": (heard + s * noise) * lengths for s in AUDIO_LEVELS}
        views["lyrics"] = sung
        return {name: view.astype(np.float32) for name, view in views.items()}

    def _metadata(self) -> dict[str, list[str]]:
        """Make columns: two that tell something of an item, and two that tell nothing."""
        count = len(self.clusters)
        wrong = self.random.random(count) < WRONG_GENRES
        others = self.random.integers(0, len(self.centres), count)
        genres = np.where(wrong, others, self.clusters)
        return {
            "artist": [f"artist {number}" for number in self.artists],
            "genre": [f"genre {number}" for number in genres],
            "release": [str(year) for year in self.random.integers(1960, 2019, count)],
            "tempo": [f"{tempo:.1f}" for tempo in self.random.normal(120, 25, count)],
        }

    def _item_ids(self) -> list[str]:
        letters = self.random.choice(LETTERS, (len(self.clusters), ID_LETTERS))
        return ["".join(row) for row in letters]


def _draw(chances: Doubles, at: Doubles) -> Numbers:
    """Draw items by their chances, which need not sum to one."""
    sums = np.cumsum(chances)
    places: Numbers = np.searchsorted(sums, at * sums[-1], side="right")
    return np.minimum(places, len(sums) - 1)
