"""Pictures of sound.

>>> from pathlib import Path
>>> from soundalike import pictures
>>> mel = pictures.compute(Path("some.wav"))["mel"]  # values and what they mean
>>> pictures.figure(mel).savefig("mel.pdf")  # with axes, by matplotlib
>>> Path("mel.png").write_bytes(pictures.png(mel, bare=True))  # for a vision model
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soundalike.pictures.drawing import pixels, png
    from soundalike.pictures.figures import figure
    from soundalike.pictures.settings import KINDS, Settings
    from soundalike.pictures.spectrograms import Picture, compute

__all__ = ["KINDS", "Picture", "Settings", "compute", "figure", "pixels", "png"]

_HOME = {
    "KINDS": "settings",
    "Settings": "settings",
    "Picture": "spectrograms",
    "compute": "spectrograms",
    "figure": "figures",
    "pixels": "drawing",
    "png": "drawing",
}


def __getattr__(name: str) -> Any:
    """Import what is offered when it is first asked for."""
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(name)
