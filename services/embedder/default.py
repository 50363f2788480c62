"""The embedder that answers by default: whether it is loaded, and which one it was before."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from concurrent.futures import Future, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.embedder.settings import EmbedderSettings
from soundalike.errors import SoundalikeError
from soundalike.extract.extractor import Extractor
from soundalike.extract.loading import Extractors

log = logging.getLogger(__name__)

RECORD = "embedder.json"
MOMENT_S = 0.2


class DefaultEmbedder:
    """Loads the default embedder and tells how far that is.

    Parameters
    ----------
    settings : EmbedderSettings
        Which it is, and the folder where that is recorded.
    extractors : Extractors
        What loads it.

    Raises
    ------
    UnknownModel
        There is no such embedder.
    """

    def __init__(self, settings: EmbedderSettings, extractors: Extractors) -> None:
        self.wanted = settings.model
        extractors.check(self.wanted)
        self._record = settings.data_dir / RECORD
        self._extractors = extractors

    def load(self) -> None:
        """Begin to load it in the background, and record it once it is there."""
        self._extractors.begin(self.wanted).add_done_callback(self._loaded)

    @property
    def name(self) -> str:
        """The embedder's own name; what was wanted, until that is known."""
        begun = self._extractors.begin(self.wanted)
        wait([begun], MOMENT_S)
        if not begun.done() or begun.exception():
            return self.wanted
        return begun.result().name

    def ready(self) -> tuple[bool, Mapping[str, Any]]:
        """Tell whether it can answer, for the probes."""
        begun = self._extractors.begin(self.wanted)
        wait([begun], MOMENT_S)
        if not begun.done():
            return False, {"model": self.wanted, "reason": "It is being loaded."}
        fault = begun.exception()
        if isinstance(fault, SoundalikeError):
            return False, {"model": self.wanted, "reason": fault.detail, "code": fault.code}
        return True, {"model": begun.result().name}

    def _loaded(self, begun: Future[Extractor]) -> None:
        fault = begun.exception()
        if fault is not None:
            log.warning("The default embedder cannot answer: %s", fault)
            return
        extractor = begun.result()
        try:
            remember(self._record, extractor.name, str(extractor.space()))
        except OSError as error:
            log.warning("'%s' cannot be written: %s", self._record, error)


def remember(record: Path, model: str, space: str) -> None:
    """Record which embedder answers by default, and say where it is another than before.

    Parameters
    ----------
    record : Path
        The file, JSON of `model`, `space` and `since`.
    model, space : str
        The embedder and the space of its vectors.
    """
    before = _read(record)
    if (before.get("model"), before.get("space")) == (model, space):
        return
    if before:
        log.warning(
            "The default embedder was '%s' in space %s and is now '%s' in space %s. Collections "
            "keep the embedder they were made with.",
            *(before.get("model"), before.get("space"), model, space),
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record.parent.mkdir(parents=True, exist_ok=True)
    unfinished = record.with_name(record.name + ".new")
    unfinished.write_text(json.dumps({"model": model, "space": space, "since": now}))
    unfinished.replace(record)


def _read(record: Path) -> dict[str, Any]:
    try:
        content = json.loads(record.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
