"""Engines find neighbours among arrays; they know no ids and have no disk of their own."""

from __future__ import annotations

import importlib

from soundalike.engines.base import Engine
from soundalike.errors import BadRequest

_ENGINES = {
    "exact": ("soundalike.engines.exact", "ExactEngine"),
    "annoy": ("soundalike.engines.annoy", "AnnoyEngine"),
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
    module, attribute = _ENGINES[name]
    try:
        engine: type[Engine] = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise BadRequest(
            f"The engine {name!r} needs the package {error.name!r}, which is not installed; "
            "run pip install 'soundalike[recommender]' or choose the engine 'exact'.",
            engine=name,
        ) from error
    return engine
