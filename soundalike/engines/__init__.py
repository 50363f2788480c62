"""Engines find neighbours among arrays; they know no ids, and no disk but a folder given."""

from __future__ import annotations

import importlib

from soundalike.engines.base import Engine
from soundalike.errors import BadRequest

# name: (module, class, the extra that installs its library)
_ENGINES = {
    "exact": ("soundalike.engines.exact", "ExactEngine", "recommender"),
    "annoy": ("soundalike.engines.annoy", "AnnoyEngine", "recommender"),
    "faiss": ("soundalike.engines.faiss", "FaissEngine", "faiss"),
}
NAMES = tuple(_ENGINES)


def load(name: str) -> type[Engine]:
    """Find the engine of a name; only then is its library imported.

    Parameters
    ----------
    name : str
        One of `NAMES`.

    Returns
    -------
    type of Engine
        Its `build` makes an engine from vectors.

    Raises
    ------
    BadRequest
        There is no engine of this name, or its library is not installed.
    """
    if name not in _ENGINES:
        raise BadRequest(
            f"There is no engine named {name!r}; choose one of {', '.join(NAMES)}.",
            engine=name,
            engines=list(NAMES),
        )
    module, attribute, extra = _ENGINES[name]
    try:
        engine: type[Engine] = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise BadRequest(
            f"The engine {name!r} needs the package {error.name!r}, which is not installed; "
            f"run pip install 'soundalike[{extra}]' or choose the engine 'exact'.",
            engine=name,
        ) from error
    return engine
