"""The tree of faults.

::

    SoundalikeError
    ├── BadRequest                what was asked makes no sense            bad_request
    ├── Unauthorized              a key is missing or wrong                unauthorized
    ├── Overloaded                no room in the queue                     overloaded
    ├── BadRecord                 a record of a dataset that is damaged    bad_record
    ├── AudioError
    │   ├── UndecodableAudio      not audio, or nothing left of it         undecodable_audio
    │   ├── BadSamples            NaN or infinite samples                  bad_samples
    │   ├── BadRate               a sample rate nobody records at          bad_rate
    │   ├── TooLarge              more bytes than the limit                too_large
    │   ├── TooLong               more seconds than the limit              too_long
    │   ├── TooShort              shorter than the embedder can hear       too_short
    │   └── Silent                nothing in it that could be described    silent
    ├── EmbedderError
    │   ├── UnknownModel          no embedder of this name                 unknown_model
    │   ├── WeightsMissing        known, but its weights are not here      weights_missing
    │   ├── LicenceRefused        its licence is refused by a setting      licence_refused
    │   ├── Quarantined           its weights are here and cannot be used  quarantined
    │   ├── DeviceMissing         the device that is set is not here       device_missing
    │   ├── OutOfMemory           the device has no memory left            out_of_memory
    │   └── EmbedderUnavailable   the embedder service does not answer     embedder_unavailable
    └── CatalogueError
        ├── UnknownCollection     no collection of this name               unknown_collection
        ├── UnknownItem           no item of this id                       unknown_item
        ├── CollectionExists      the name is taken by another space       collection_exists
        ├── BadVector             wrong length, not finite, or all zeros   bad_vector
        ├── SpaceMismatch         a vector of another embedding space      space_mismatch
        ├── StorageFull           the disk has no room left                storage_full
        ├── BadBackup             a snapshot that is damaged or foreign    bad_backup
        ├── DamagedIndex          an index on disk cannot be trusted       damaged_index
        └── RecommenderUnavailable  the recommender service does not answer  recommender_unavailable

Every fault carries a sentence for a person (`detail`), a stable name for a
program (`code`) and the numbers that matter (`facts`). Which HTTP status a
code has is decided where HTTP is spoken.
"""

from __future__ import annotations

from typing import Any, ClassVar


class SoundalikeError(Exception):
    """A fault that the user can understand and act upon.

    Parameters
    ----------
    detail : str
        What is wrong and what to do about it, in one or two sentences.
    **facts : object
        JSON-serialisable numbers and names that matter, such as `limit` and `got`.
    """

    code: ClassVar[str] = "error"

    def __init__(self, detail: str, **facts: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.facts = facts


class BadRequest(SoundalikeError):
    """What was asked makes no sense."""

    code = "bad_request"


class Unauthorized(SoundalikeError):
    """The key is missing or wrong."""

    code = "unauthorized"


class Overloaded(SoundalikeError):
    """There is no room in the queue; `retry_after` is in seconds."""

    code = "overloaded"


class BadRecord(SoundalikeError):
    """A record of a dataset is damaged, or the file does not hold such records."""

    code = "bad_record"


class AudioError(SoundalikeError):
    """Something is wrong with the sound itself."""


class UndecodableAudio(AudioError):
    """The bytes are not audio, or nothing usable is left of it."""

    code = "undecodable_audio"


class BadSamples(AudioError):
    """The samples hold NaN or infinity."""

    code = "bad_samples"


class BadRate(AudioError):
    """The sample rate lies outside what can be resampled sensibly."""

    code = "bad_rate"


class TooLarge(AudioError):
    """More bytes than the limit."""

    code = "too_large"


class TooLong(AudioError):
    """More seconds of sound than the limit."""

    code = "too_long"


class TooShort(AudioError):
    """Shorter than the embedder can hear."""

    code = "too_short"


class Silent(AudioError):
    """Silence, of which the embedder cannot say anything."""

    code = "silent"


class EmbedderError(SoundalikeError):
    """Something is wrong with an embedder."""


class UnknownModel(EmbedderError):
    """There is no embedder of this name, or it has no such option."""

    code = "unknown_model"


class WeightsMissing(EmbedderError):
    """The embedder is known but its weights are not here."""

    code = "weights_missing"


class LicenceRefused(EmbedderError):
    """The licence of the weights is refused by a setting."""

    code = "licence_refused"


class Quarantined(EmbedderError):
    """The weights are here and cannot be used: broken, unsafe, or answering nonsense."""

    code = "quarantined"


class DeviceMissing(EmbedderError):
    """The device, runtime or precision that is set is not here."""

    code = "device_missing"


class OutOfMemory(EmbedderError):
    """The device ran out of memory."""

    code = "out_of_memory"


class EmbedderUnavailable(EmbedderError):
    """The embedder service cannot be reached or does not answer sensibly."""

    code = "embedder_unavailable"


class CatalogueError(SoundalikeError):
    """Something is wrong with a collection or what was asked of it."""


class UnknownCollection(CatalogueError):
    """There is no collection of this name."""

    code = "unknown_collection"


class UnknownItem(CatalogueError):
    """There is no item of this id."""

    code = "unknown_item"


class CollectionExists(CatalogueError):
    """The name belongs to a collection of another space, dimension or engine."""

    code = "collection_exists"


class BadVector(CatalogueError):
    """A vector of the wrong length, with NaN or infinity, or of zeros alone."""

    code = "bad_vector"


class SpaceMismatch(CatalogueError):
    """A vector of another embedding space than the collection's."""

    code = "space_mismatch"


class StorageFull(CatalogueError):
    """The disk has no room left; what was acknowledged before is safe."""

    code = "storage_full"


class DamagedIndex(CatalogueError):
    """An index on disk is not what was written, or answers wrongly; it can be made again."""

    code = "damaged_index"


class BadBackup(CatalogueError):
    """A snapshot of a collection that is damaged, of another kind, or of an unknown version."""

    code = "bad_backup"


class RecommenderUnavailable(CatalogueError):
    """The recommender service cannot be reached or does not answer sensibly."""

    code = "recommender_unavailable"
