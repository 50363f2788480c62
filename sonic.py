"""The names of the SONIC project for what is here.

``sonic.CREAM`` reads and draws sound, ``sonic.TAILS`` makes embeddings of it,
``sonic.ROUGE`` recommends. Each is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

_ROOMS = {
    "CREAM": {
        "decode": "soundalike.audio.decode",
        "resample": "soundalike.audio.resample",
        "windows": "soundalike.audio.windows",
        "spectra": "soundalike.audio.spectra",
        "pictures": "soundalike.pictures",
    },
    "TAILS": {
        "embedders": "soundalike.embedders",
        "loading": "soundalike.extract.loading",
        "item_vectors": "soundalike.datasets.item_vectors",
    },
    "ROUGE": {
        "listening": "soundalike.datasets.listening",
        "splits": "soundalike.evaluation.splits",
        "blocks": "soundalike.evaluation.blocks",
        "recommenders": "soundalike.evaluation.recommenders",
        "recommendations": "soundalike.evaluation.recommendations",
    },
}
__all__ = list(_ROOMS)


def __getattr__(name: str) -> Any:
    """Import the modules that a name stands for."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'sonic' has no attribute '{name}'")
    room = SimpleNamespace(
        **{own: importlib.import_module(module) for own, module in _ROOMS[name].items()}
    )
    globals()[name] = room
    return room
