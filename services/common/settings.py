"""The settings that both services know, and how settings are read."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "SOUNDALIKE_"
BYTES_PER_MB = 1_000_000


class CommonSettings(BaseSettings):
    """Read from environment variables, each named `SOUNDALIKE_` and the field in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    data_dir: Path = Field(
        default_factory=lambda: Path.home() / ".soundalike",
        description="Folder in which the services keep what must survive a restart.",
    )
    api_keys: SecretStr = Field(
        SecretStr(""),
        description="Comma-separated keys; where any is set, every request must carry one.",
    )
    max_upload_mb: float = Field(
        100.0, gt=0, description="Largest request body, in megabytes of 1,000,000 bytes."
    )
    cors_origins: str = Field(
        "",
        description="Comma-separated origins whose pages may ask from a browser, or *; "
        "none where it is empty.",
    )

    @property
    def origins(self) -> list[str]:
        """The origins whose pages may ask; empty where none may."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that open the service; empty where it is open to all."""
        listed = self.api_keys.get_secret_value().split(",")
        return tuple(key.strip() for key in listed if key.strip())

    @property
    def max_upload_bytes(self) -> int:
        """Largest request body, in bytes."""
        return int(self.max_upload_mb * BYTES_PER_MB)


Settings = TypeVar("Settings", bound=CommonSettings)


def load(table: type[Settings]) -> Settings:
    """Read a table of settings from the environment.

    Raises
    ------
    SystemExit
        Where a value makes no sense: a service must not start on a guess.
    """
    try:
        return table()
    except ValidationError as error:
        faults = [
            f"{PREFIX}{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise SystemExit("\n".join(faults)) from None
