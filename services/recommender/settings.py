"""The settings of the recommender service."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from services.common.settings import BYTES_PER_MB, CommonSettings
from services.recommender.queries import MAX_QUERIES
from soundalike import engines
from soundalike.catalogue.base import DEFAULT_ENGINE
from soundalike.client import EMBEDDER_URL
from soundalike.engines.base import RECALL_TARGET


class RecommenderSettings(CommonSettings):
    """What can be set on the recommender service beside the common settings."""

    embedder_url: str = Field(EMBEDDER_URL, description="Where the embedder service is.")
    embedder_api_key: SecretStr = Field(
        SecretStr(""),
        description="Key sent to the embedder; the first of SOUNDALIKE_API_KEYS by default.",
    )
    engine: str = Field(
        DEFAULT_ENGINE,
        description=f"Engine of collections that name none: {' or '.join(engines.NAMES)}.",
    )
    recall_target: float = Field(
        RECALL_TARGET,
        gt=0,
        le=1,
        description="Share of the true neighbours that an index is to find.",
    )
    max_queries: int = Field(
        MAX_QUERIES, ge=1, le=MAX_QUERIES, description="Most queries in one request."
    )
    max_restore_mb: float = Field(
        10_000.0,
        gt=0,
        description="Largest snapshot taken in, in megabytes of 1,000,000 bytes.",
    )

    @field_validator("engine")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in engines.NAMES:
            raise ValueError(f"choose one of {', '.join(engines.NAMES)}")
        return name

    @property
    def max_restore_bytes(self) -> int:
        """Largest snapshot taken in, in bytes."""
        return int(self.max_restore_mb * BYTES_PER_MB)

    @property
    def embedder_key(self) -> str | None:
        """The key sent to the embedder; None where there is none."""
        own = self.embedder_api_key.get_secret_value()
        return own or next(iter(self.keys), None)
