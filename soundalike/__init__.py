"""Hand it a sound, get back what sounds like it.

`soundalike.embed(path)` gives the vector of a sound; `soundalike.Client` and
`soundalike.AsyncClient` speak to the two services.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soundalike.client import AsyncClient, Client
    from soundalike.extract.loading import Extractors
    from soundalike.types import FloatArray

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "embed"]


@functools.cache
def _extractors() -> Extractors:
    from soundalike.extract.loading import Extractors

    return Extractors()


def embed(
    source: str | Path | bytes, model: str = "auto", pooling: str | None = None
) -> FloatArray:
    """Embed a sound in this process, without a service.

    Parameters
    ----------
    source : path or bytes
        An audio file, or its content.
    model : str
        The embedder, with options after a colon; ``"auto"`` is the best whose weights are
        here, and stays the same one as long as the process runs.
    pooling : str, optional
        ``mean``, ``meanstd``, ``max``, ``percentiles`` or ``flatten10``; the embedder's own way
        by default. ``none`` gives the frames.

    Returns
    -------
    ndarray of float32, shape (D,) or (T, D)
        A vector of unit length, or the frames.

    Raises
    ------
    soundalike.errors.SoundalikeError
        The sound or the model cannot be used.
    OSError
        The file cannot be read.
    """
    sound = source if isinstance(source, bytes) else Path(source)
    return _extractors().get(model).extract(sound, pooling).values


def __getattr__(name: str) -> Any:
    """Import the client when it is first asked for."""
    if name in ("AsyncClient", "Client"):
        from soundalike import client

        return getattr(client, name)
    raise AttributeError(name)
