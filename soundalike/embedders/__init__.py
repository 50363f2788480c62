"""Embedders, one file each; this page finds them by their keys.

A module of this package that holds a subclass of `Embedder` with a card is a
plug-in; nothing else has to be written down anywhere. Listing them imports
no network library: those are imported inside methods.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil

from soundalike.embedders.base import Card, Embedder, parse_options
from soundalike.errors import UnknownModel

__all__ = ["Card", "Embedder", "cards", "create"]


@functools.cache
def _registry() -> dict[str, type[Embedder]]:
    found: dict[str, type[Embedder]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Embedder) and "card" in vars(value):
                found[value.card.key] = value
    return dict(sorted(found.items()))


def _aliases() -> dict[str, str]:
    return {alias: key for key, embedder in _registry().items() for alias in embedder.card.aliases}


def cards(*, hidden: bool = False) -> dict[str, Card]:
    """List the facts of all embedders by key.

    Parameters
    ----------
    hidden : bool
        List also those that serve tests.

    Returns
    -------
    dict of str to Card
    """
    return {
        key: embedder.card
        for key, embedder in _registry().items()
        if hidden >= embedder.card.hidden
    }


def create(name: str) -> Embedder:
    """Make the embedder of a name.

    Parameters
    ----------
    name : str
        A key or an alias, with options after a colon where wanted: ``"mfcc"``,
        ``"crepe:capacity=tiny"``.

    Returns
    -------
    Embedder

    Raises
    ------
    UnknownModel
        Where there is no such embedder or option.
    """
    key, _, options = name.partition(":")
    embedder = _registry().get(_aliases().get(key, key))
    if embedder is None:
        raise UnknownModel(
            f"There is no embedder '{key}'; there are {', '.join(cards())}.", got=key
        )
    return embedder(parse_options(embedder.card, options))
