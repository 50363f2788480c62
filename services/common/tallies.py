"""What a service counts beside its requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import Counter, Histogram
from prometheus_client.registry import Collector

USUAL_SECONDS = Histogram.DEFAULT_BUCKETS


class Tallies:
    """Counters and histograms, each to be registered by the service."""

    def __init__(self) -> None:
        self._all: list[Collector] = []

    def __iter__(self) -> Iterator[Collector]:
        return iter(self._all)

    def counter(self, name: str, told: str, labels: Sequence[str] = ()) -> Counter:
        """Make a counter, with a line that tells what it counts."""
        made = Counter(name, told, labels, registry=None)
        self._all.append(made)
        return made

    def histogram(
        self,
        name: str,
        told: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = USUAL_SECONDS,
    ) -> Histogram:
        """Make a histogram, with a line that tells of what; seconds by default."""
        made = Histogram(name, told, labels, buckets=buckets, registry=None)
        self._all.append(made)
        return made
