"""How the recommender hears: it asks the embedder service."""

from __future__ import annotations

from typing import BinaryIO

from soundalike.catalogue import CollectionInfo
from soundalike.client import EmbedderClient, Embedding
from soundalike.errors import EmbedderUnavailable, SoundalikeError, Unauthorized


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
    model = collection.model or collection.space.partition("/")[0]
    try:
        return embedder.embed(sound, model=model, pooling=collection.pooling)
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
