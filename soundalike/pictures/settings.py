"""Which pictures there are, and what can be set on them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from soundalike.errors import BadRequest

Kind = Literal["mel", "chroma", "spectrum", "tempogram", "waveform"]

KINDS: dict[Kind, str] = {
    "mel": "mel spectrogram",
    "chroma": "constant-Q chromagram",
    "spectrum": "spectrum of the Fourier transform over time",
    "tempogram": "tempo over time",
    "waveform": "amplitude over time",
}
USUAL_KINDS: tuple[Kind, ...] = ("mel", "chroma", "spectrum", "tempogram")
MOST_VALUES = 32_000_000


def _number(default: Any, text: str, least: float, most: float) -> Any:
    return field(default=default, metadata={"help": text, "least": least, "most": most})


@dataclass(frozen=True, slots=True)
class Settings:
    """How pictures are computed and how large they are; the defaults are those of SONIC.

    Raises
    ------
    BadRequest
        A value is out of its range, or all together ask for too much.
    """

    width: int = _number(488, "pixels from left to right", 16, 4096)
    height: int = _number(244, "pixels from top to bottom", 16, 4096)
    seconds: float = _number(30.0, "how much of the sound is drawn, from its beginning", 0.1, 600)
    rate_hz: int = _number(22_050, "rate that sounds are resampled to", 8_000, 48_000)
    fft_size: int = _number(2048, "samples in a Fourier transform, an even number", 64, 16_384)
    hop_samples: int = _number(128, "samples from one transform to the next", 64, 8192)
    mel_bands: int = _number(128, "bands of the mel spectrogram", 8, 512)
    range_db: float = _number(
        80.0, "decibels from the darkest to the brightest; inf: all there are", 1, math.inf
    )

    def __post_init__(self) -> None:
        for one in fields(self):
            got, least, most = getattr(self, one.name), one.metadata["least"], one.metadata["most"]
            if not least <= got <= most:
                raise BadRequest(
                    f"{one.name} is {got:g}, and takes {least:g} to {most:g}.",
                    got=got,
                    limit=[least, most] if math.isfinite(most) else least,
                )
        if self.fft_size % 2:
            raise BadRequest(f"fft_size must be even, not {self.fft_size}.", got=self.fft_size)
        rows = max(self.fft_size // 2, self.mel_bands)
        values = int(self.seconds * self.rate_hz / self.hop_samples * rows)
        if values > MOST_VALUES:
            raise BadRequest(
                f"These settings make up to {values:,} numbers a picture, and {MOST_VALUES:,} are "
                "the most; lower seconds, rate_hz, fft_size or mel_bands, or raise hop_samples.",
                got=values,
                limit=MOST_VALUES,
            )
