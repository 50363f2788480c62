"""The settings of the embedder service."""

from __future__ import annotations

import os

from pydantic import Field

from services.common.settings import CommonSettings
from soundalike.embedders.choice import AUTO


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
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        description="Sounds that are worked on at the same time; one a core by default.",
    )
