"""How the recommender hears and reads: it asks the embedder service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from soundalike.catalogue import CollectionInfo
from soundalike.client import EmbedderClient, Embedding
from soundalike.errors import EmbedderUnavailable, SoundalikeError, Unauthorized
from soundalike.types import FloatArray


def hear(embedder: EmbedderClient, sound: BinaryIO, collection: CollectionInfo) -> Embedding:
    """Embed a sound with a collection's own embedder.

    Parameters
    ----------
    embedder : EmbedderClient
        The service to ask.
    sound : binary file
        Encoded audio.
    collection : CollectionInfo
        Whose model and pooling are asked for; the embedder that its space
        names where it has no model.

    Returns
    -------
    Embedding

    Raises
    ------
    SoundalikeError
        As the embedder told it, where the fault is the sound's.
    EmbedderUnavailable
        The embedder cannot be reached, does not let us in, or failed.
    """
    with _explained(embedder):
        return embedder.embed(sound, model=_model(collection), pooling=collection.pooling)


@dataclass(frozen=True, slots=True)
class TextEmbedding:
    """The vector of words, and what it may be compared with."""

    model: str
    space: str
    vector: FloatArray


def read_words(
    embedder: EmbedderClient, text: str, collection: CollectionInfo, *, phrasings: bool
) -> TextEmbedding:
    """Embed words with a collection's own embedder; parameters and faults as of `hear`."""
    with _explained(embedder):
        told = embedder.embed_texts([text], model=_model(collection), phrasings=phrasings)
    return TextEmbedding(told.model, told.space, told.vectors[0])


def _model(collection: CollectionInfo) -> str:
    return collection.model or collection.space.partition("/")[0]


@contextmanager
def _explained(embedder: EmbedderClient) -> Iterator[None]:
    """Tell faults of the embedder apart from those of what was sent to it."""
    try:
        yield
    except Unauthorized as fault:
        raise EmbedderUnavailable(
            f"The embedder at {embedder.url} refuses the recommender's key; "
            "set SOUNDALIKE_EMBEDDER_API_KEY.",
            url=embedder.url,
        ) from fault
    except SoundalikeError as fault:
        if type(fault) is not SoundalikeError:
            raise
        raise EmbedderUnavailable(
            f"The embedder at {embedder.url} failed: {fault.detail}", url=embedder.url
        ) from fault
