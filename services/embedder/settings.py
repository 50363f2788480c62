"""The settings of the embedder service."""

from __future__ import annotations

from pydantic import Field

from services.common.settings import BYTES_PER_MB, CommonSettings
from soundalike.embedders.choice import AUTO
from soundalike.embedders.runtime import cores

MOST_TEXTS = 256
MOST_CHARACTERS = 10_000
MOST_NUMBERS_IN_JSON = 1_000_000


class EmbedderSettings(CommonSettings):
    """What can be set on the embedder service beside the common settings."""

    model: str = Field(
        AUTO,
        description="Embedder that answers where a request names none; "
        "'auto' is the best whose weights are here.",
    )
    max_seconds: float = Field(1200.0, gt=0, description="Longest sound taken, in seconds.")
    max_batch: int = Field(32, ge=1, description="Most files in one batch request.")
    threads: int = Field(
        default_factory=cores,
        ge=1,
        description="Sounds that are worked on at the same time; one a core by default.",
    )
    queue_seconds: float = Field(
        3600.0, gt=0, description="Seconds of sound that may wait or be worked on."
    )
    cache_mb: float = Field(
        0.0,
        ge=0,
        description="Room for vectors on disk, in megabytes of 1,000,000 bytes; 0 keeps none.",
    )

    @property
    def cache_bytes(self) -> int:
        """Room for vectors on disk, in bytes."""
        return int(self.cache_mb * BYTES_PER_MB)

    @property
    def limits(self) -> dict[str, float]:
        """What `/limits` tells beside the limit on bytes."""
        return {
            "max_seconds": self.max_seconds,
            "max_batch": self.max_batch,
            "max_texts": MOST_TEXTS,
            "max_text_characters": MOST_CHARACTERS,
            "max_numbers_in_json": MOST_NUMBERS_IN_JSON,
            "queue_seconds": self.queue_seconds,
            "threads": self.threads,
        }
