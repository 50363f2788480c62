"""Embedders in use: each is loaded once, when it is first asked for, and kept."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from dataclasses import dataclass

from soundalike import embedders
from soundalike.embedders import Embedder, runtime, weights
from soundalike.embedders.choice import AUTO, first_that_loads
from soundalike.errors import EmbedderError, OutOfMemory, Quarantined, WeightsMissing
from soundalike.extract import fusion
from soundalike.extract.extractor import Extractor

log = logging.getLogger(__name__)

READY, AVAILABLE, UNAVAILABLE = "ready", "available", "unavailable"


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether an embedder can be used now.

    Attributes
    ----------
    state : str
        ``"ready"`` where it is loaded, ``"available"`` where it would be loaded when it is first
        asked for, ``"unavailable"`` where it cannot be.
    fault : EmbedderError or None
        Why it is unavailable.
    """

    state: str
    fault: EmbedderError | None = None


class Extractors:
    """The extractors in use, by the names of their embedders.

    Loading one never holds up another that is loaded already.

    Parameters
    ----------
    max_seconds : float, optional
        The longest sound that is accepted.
    workers : int
        Threads on which sounds are embedded at the same time.
    """

    def __init__(self, *, max_seconds: float | None = None, workers: int = 1) -> None:
        self.max_seconds = max_seconds
        self.workers = workers
        self._begun: dict[str, Future[Extractor]] = {}
        self._lock = threading.Lock()
        self._note: str | None = None

    def get(self, name: str) -> Extractor:
        """Give the extractor of an embedder once it is loaded.

        Parameters
        ----------
        name : str
            A key, with options after a colon where wanted; several with plus signs between them;
            ``"auto"`` is the best that is here, and stays the same one from then on.

        Returns
        -------
        Extractor

        Raises
        ------
        UnknownModel
            There is no such embedder or option.
        WeightsMissing, LicenceRefused, OutOfMemory
            It cannot be loaded as things are; asking again tries again.
        Quarantined
            Its weights cannot be used; asking again does not change that.
        """
        return self.begin(name).result()

    def begin(self, name: str) -> Future[Extractor]:
        """Begin to load an embedder, unless that was done already.

        What has no weights is loaded before this returns. A fusion is put together anew each
        time: its parts are kept, and of weights there is no end.

        Returns
        -------
        Future of Extractor
            With the faults that `get` raises.

        Raises
        ------
        UnknownModel
        """
        if fusion.is_fused(name):
            return self._begin_fused(fusion.parse(name))
        embedder = None if name == AUTO else embedders.create(name)
        own_name = embedder.name if embedder else AUTO
        with self._lock:
            begun = self._begun.get(own_name)
            if begun is not None and not _is_worth_another_try(begun):
                return begun
            future: Future[Extractor] = Future()
            future.set_running_or_notify_cancel()
            self._begun[own_name] = future
        if embedder is None:
            threading.Thread(target=self._settle, args=(future,)).start()
        elif embedder.card.weights is None:
            self._load(embedder, future)
        else:
            threading.Thread(target=self._load, args=(embedder, future)).start()
        return future

    @staticmethod
    def check(name: str) -> None:
        """Refuse a name that `get` would not know, without loading anything.

        Raises
        ------
        UnknownModel
        """
        if fusion.is_fused(name):
            fusion.parse(name)
        elif name != AUTO:
            embedders.create(name)

    def note(self, name: str) -> str | None:
        """Tell what is to be said of a name: that ``"auto"`` misses the best embedder, and why."""
        return self._note if name == AUTO else None

    def standing(self, key: str) -> Standing:
        """Tell whether an embedder can be used, without loading its weights.

        Parameters
        ----------
        key : str
            Of an embedder that exists.

        Returns
        -------
        Standing
        """
        source = embedders.cards(hidden=True)[key].weights
        begun = self.begin(key) if source is None else self._begun.get(key)
        fault = begun.exception() if begun is not None and begun.done() else None
        if isinstance(fault, Quarantined):
            return Standing(UNAVAILABLE, fault)
        if begun is not None and begun.done() and fault is None:
            return Standing(READY)
        try:
            if source is not None:
                weights.folder(key, source)
        except EmbedderError as missing:
            return Standing(UNAVAILABLE, missing)
        return Standing(AVAILABLE)

    def devices(self) -> set[str]:
        """Name the devices of the embedders that are loaded."""
        with self._lock:
            done = [one for one in self._begun.values() if one.done() and not one.exception()]
        return {device for one in done for device in one.result().devices}

    def _load(self, embedder: Embedder, future: Future[Extractor]) -> None:
        embedder.workers = self.workers
        try:
            embedder.load()
        except Quarantined as fault:
            log.warning("'%s' is quarantined: %s", embedder.name, fault.detail)
            _remember(embedder, fault.detail)
            future.set_exception(fault)
        except EmbedderError as fault:
            future.set_exception(fault)
        except MemoryError:
            future.set_exception(
                OutOfMemory(f"There is no memory to load '{embedder.name}' now; ask again.")
            )
        except OSError as error:  # too many open files, say: no fault of the weights
            log.exception("'%s' cannot be loaded now", embedder.name)
            reason = error.strerror or str(error).partition("\n")[0]
            future.set_exception(
                WeightsMissing(f"'{embedder.name}' cannot be read now: {reason}; ask again.")
            )
        except Exception as error:  # foreign weights, read by foreign libraries
            log.exception("'%s' cannot be loaded", embedder.name)
            reason = str(error).partition("\n")[0]
            future.set_exception(Quarantined(f"'{embedder.name}' cannot be loaded: {reason}"))
        else:
            _remember(embedder, None)
            future.set_result(Extractor(embedder, max_seconds=self.max_seconds))

    def _begin_fused(self, parts: list[fusion.Part]) -> Future[Extractor]:
        future: Future[Extractor] = Future()
        future.set_running_or_notify_cancel()
        begun = [self.begin(part.name) for part in parts]
        if all(one.done() for one in begun):
            self._fuse(parts, begun, future)
        else:
            threading.Thread(target=self._fuse, args=(parts, begun, future)).start()
        return future

    def _fuse(
        self,
        parts: list[fusion.Part],
        begun: list[Future[Extractor]],
        future: Future[Extractor],
    ) -> None:
        try:
            extractors = [one.result() for one in begun]
        except EmbedderError as fault:
            future.set_exception(fault)
            return
        future.set_result(fusion.Fusion(parts, extractors, max_seconds=self.max_seconds))

    def _settle(self, future: Future[Extractor]) -> None:
        try:
            runtime.check()  # another embedder is no way out of a device that is not here
            extractor, self._note = first_that_loads(self.get)
        except EmbedderError as fault:
            future.set_exception(fault)
            return
        if self._note:
            log.warning(self._note)
        future.set_result(extractor)


def _remember(embedder: Embedder, quarantined: str | None) -> None:
    if embedder.source is not None:
        weights.remember_quarantine(embedder.card.key, embedder.source, quarantined)


def _is_worth_another_try(begun: Future[Extractor]) -> bool:
    if not begun.done():
        return False
    fault = begun.exception()
    return fault is not None and not isinstance(fault, Quarantined)
