"""What goes on in the background of a catalogue: following, measuring, and making indexes."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from soundalike.catalogue import building, files, transforms
from soundalike.catalogue.live import Live, Manner
from soundalike.catalogue.names import Collections
from soundalike.catalogue.reader import Reader
from soundalike.catalogue.shelf import Shelf
from soundalike.catalogue.snapshot import LEAST_TO_FIT, Snapshot
from soundalike.catalogue.statements import Learned, Published
from soundalike.catalogue.store import Store
from soundalike.catalogue.transforms import Fitted
from soundalike.errors import CatalogueError, Overloaded, UnknownCollection

log = logging.getLogger(__name__)

EVERY_S = 1.0
RETRY_AFTER_S = 10


class Keeper:
    """Follows what other processes write, and makes indexes anew when that is due.

    Of all processes with the same folder one at a time makes an index; all
    take it up when it is published.

    Parameters
    ----------
    store : Store
    shelf : Shelf
    collections : Collections
    manner : Manner
    """

    def __init__(
        self, store: Store, shelf: Shelf, collections: Collections, manner: Manner
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._collections = collections
        self._manner = manner
        self._stop = threading.Event()
        self._untidy = threading.Event()
        self._waiting: set[int] = set()  # collections of which somebody waits for the turn to build
        self._entry = threading.Lock()
        self._following = _Loop("catalogue-follow", self._follow)
        self._building = _Loop("catalogue-build", self._build_what_is_due)

    def start(self) -> None:
        """Begin, and clear away what dead processes left."""
        self._clear_if_alone()
        self._following.start()
        self._building.start()

    def wake(self) -> None:
        """Look at once whether anything is to be done."""
        self._following.wake()

    def close(self) -> None:
        """Give up what is being made; returns when nothing goes on any more."""
        self._stop.set()
        self._following.close()
        self._building.close()

    def tidy(self) -> None:
        """Delete the indexes of collections that are gone, as soon as nobody builds."""
        self._untidy.set()
        self._building.wake()

    def rebuild(self, live: Live) -> None:
        """Fit and index all items anew; returns when that serves.

        Raises
        ------
        CatalogueError
            It could not be done; what there is goes on serving.
        Overloaded
            Somebody waits to do the same.
        """
        with self._turn_of(live):
            self._rebuild(live, live.record.transform, refit=True)

    def set_transform(self, live: Live, transform: str | None) -> None:
        """Rank by another transform; for the rest see `rebuild`."""
        with self._turn_of(live):
            self._rebuild(live, transform, refit=True)

    @contextmanager
    def _turn_of(self, live: Live) -> Iterator[None]:
        """Wait until nobody else builds, and know then what they have changed."""
        with ExitStack() as stack:
            with self._one_waits(live):
                stack.enter_context(self._shelf.building(wait=True))
            self._bring(live)
            yield

    @contextmanager
    def _one_waits(self, live: Live) -> Iterator[None]:
        """Let one thread wait for each collection: more would do the same, and answer nobody."""
        with self._entry:
            if live.record.id in self._waiting:
                raise Overloaded(
                    f"Another request waits to rebuild {live.record.name!r}; send this again "
                    "when that is done.",
                    retry_after=RETRY_AFTER_S,
                )
            self._waiting.add(live.record.id)
        try:
            yield
        finally:
            with self._entry:
                self._waiting.discard(live.record.id)

    def _bring(self, live: Live) -> None:
        """Take up what any process has written or published."""
        with self._store.reading() as reader:
            self._collections.names(reader)
            self._collections.bring(reader, live)
            if live.outdated:
                live.renew(reader)

    def _follow(self) -> None:
        with self._store.reading() as reader:
            for live in self._collections.all(reader):
                with live.alone():
                    self._look_after(reader, live)

    def _look_after(self, reader: Reader, live: Live) -> None:
        if live.outdated:
            live.renew(reader)
        live.measure()
        if live.due:
            self._building.wake()

    def _build_what_is_due(self) -> None:
        if self._untidy.is_set():
            self._clear_if_alone()
        with self._store.reading() as reader:
            due = [live for live in self._collections.names(reader).live.values() if live.due]
        for live in due:
            with self._shelf.building(wait=False) as alone:
                if not alone or self._stop.is_set():
                    return
                self._build_if_due(live)

    def _build_if_due(self, live: Live) -> None:
        try:
            self._bring(live)  # another process may have made it just before
            while live.due:
                refit = live.index.outgrown or live.index.overgrown
                self._rebuild(live, live.record.transform, refit=refit)
        except Exception as error:
            if self._stop.is_set() or isinstance(error, UnknownCollection):
                return
            log.exception("no new index for %r; the old one goes on serving", live.record.name)
            why = error.detail if isinstance(error, CatalogueError) else repr(error)
            live.failed(f"No new index could be made: {why}")

    def _rebuild(self, live: Live, transform: str | None, *, refit: bool) -> None:
        """Make and publish an index, or only a transform where there are few items."""
        snapshot, record = live.snapshot, live.record
        folder = None
        if live.large:
            name = f"{snapshot.sequence}-{secrets.token_hex(4)}"
            folder = self._shelf.path(record.id, name)
            index, learned = self._index(live, folder, transform, refit=refit)
        else:
            index, learned = None, _learned(snapshot, transform, refit=refit)
        kept = False
        try:
            kept = self._store.publish(record.id, transform, learned, index)
        finally:
            if folder is not None and not kept:
                shutil.rmtree(folder, ignore_errors=True)
        live.succeeded()
        with self._store.reading() as reader:
            live.renew(reader)
        self._clear()

    def _index(
        self, live: Live, folder: Path, transform: str | None, *, refit: bool
    ) -> tuple[Published, Learned | None]:
        manifest = building.build(
            self._store.path,
            live.record.id,
            folder,
            engine=live.record.engine,
            transform=transform,
            refit=refit,
            recall_target=self._manner.recall_target,
            stop=self._stop,
        )
        parameters = folder / files.TRANSFORM
        learned = None
        if parameters.exists():
            learned = Learned(parameters.read_bytes(), manifest.fitted_at)
        return Published(folder.name, manifest.sequence), learned

    def _clear_if_alone(self) -> None:
        with self._shelf.building(wait=False) as alone:
            if alone:
                self._clear()

    def _clear(self) -> None:
        self._untidy.clear()
        with self._store.reading() as reader:
            published = {
                one.record.id: one.index.folder
                for one in reader.collections()
                if one.index is not None
            }
        self._shelf.clear(published)


def _learned(snapshot: Snapshot, transform: str | None, *, refit: bool) -> Learned | None:
    """Fit a transform on all items of a snapshot, or keep what it knows."""
    base = snapshot.base
    fitted, fitted_at = base.fitted, base.fitted_at
    if refit or transform != base.transform:
        fitted, fitted_at = _fit(snapshot, transform), snapshot.sequence
    return None if fitted is None else Learned(fitted.to_bytes(), fitted_at)


def _fit(snapshot: Snapshot, transform: str | None) -> Fitted | None:
    if transform is None or snapshot.live < LEAST_TO_FIT:
        return None
    rows = np.flatnonzero(~snapshot.dead)
    keys = snapshot.keys(rows.tolist())
    by_key = sorted(range(len(rows)), key=keys.__getitem__)
    return transforms.fit(transform, snapshot.vectors(rows[by_key]))


class _Loop:
    """A thread that does the same again and again: when it is woken, or after a second."""

    def __init__(self, name: str, turn: Callable[[], None]) -> None:
        self._turn = turn
        self._name = name
        self._woken = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._stop.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn()
            except Exception:
                log.exception("%s failed, and is tried again", self._name)
            self._woken.wait(EVERY_S)
            self._woken.clear()
