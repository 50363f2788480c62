"""The settings of the recommender service."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from services.common.settings import CommonSettings
from soundalike import engines
from soundalike.catalogue.base import DEFAULT_ENGINE
from soundalike.client import EMBEDDER_URL


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
    max_queries: int = Field(1000, ge=1, description="Most queries in one request.")

    @field_validator("engine")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in engines.NAMES:
            raise ValueError(f"choose one of {', '.join(engines.NAMES)}")
        return name

    @property
    def embedder_key(self) -> str | None:
        """The key sent to the embedder; None where there is none."""
        own = self.embedder_api_key.get_secret_value()
        return own or next(iter(self.keys), None)
