"""What the embedder counts beside its requests."""

from __future__ import annotations

from services.common.tallies import Tallies
from soundalike.extract.extraction import Extraction

BATCHES = (1, 2, 4, 8, 16, 32)


class Counters(Tallies):
    """Counters of sounds, and of the passes that they took."""

    def __init__(self) -> None:
        super().__init__()
        self.audio_seconds = self.counter(
            "soundalike_audio_seconds",
            "Seconds of sound that were embedded.",
            ("model", "device"),
        )
        self.stage_seconds = self.histogram(
            "soundalike_stage_seconds", "Seconds that a sound spent in each stage.", ("stage",)
        )
        self.batch_sizes = self.histogram(
            "soundalike_batch_windows",
            "Windows that went through a device together.",
            buckets=BATCHES,
        )
        self.cache_hits = self.counter(
            "soundalike_cache_hits", "Sounds whose vector the cache had."
        )

    def count(self, extraction: Extraction) -> None:
        """Count what came of a sound."""
        if "cache" in extraction.ms:
            self.cache_hits.inc()
        # a name may hold any weights of a fusion, and each would stay here as a series of its own
        self.audio_seconds.labels(extraction.space.embedder, extraction.device).inc(
            extraction.audio.seconds_used
        )
        for stage, spent_ms in extraction.ms.items():
            # stages of a fusion have the name of the part behind their own
            self.stage_seconds.labels(stage.partition(" ")[0]).observe(spent_ms / 1000)
