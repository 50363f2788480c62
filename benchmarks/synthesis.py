"""Sounds a second that one core makes, family by family and as training draws them.

    OMP_NUM_THREADS=1 python benchmarks/synthesis.py [--count 60] [--seconds 4] [--rate-hz 16000]

Counted is the time of the processor, so that what else the machine does disturbs little. Each
family renders the same patches in every run, after two to warm up.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from soundalike.synthesis import FAMILIES, Patch, draw, render


def milliseconds_each(patches: list[Patch], seconds: float, rate_hz: int) -> float:
    """Measure what a patch costs."""
    for patch in patches[:2]:
        render(patch, seconds, rate_hz)
    begun_s = time.process_time()
    for patch in patches:
        render(patch, seconds, rate_hz)
    return 1_000 * (time.process_time() - begun_s) / len(patches)


def main() -> int:
    """Print a line a family, then the mixture by their weights."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=60, help="patches a family (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each (%(default)s)")
    parser.add_argument("--rate-hz", type=int, default=16_000, help="sample rate (%(default)s)")
    args = parser.parse_args()
    mixture_ms = 0.0
    print(f"{'family':12s}{'share':>7s}{'ms':>8s}{'a second':>10s}{'x real time':>13s}")
    for name, family in FAMILIES.items():
        rng = np.random.default_rng(0)
        patches = [draw(rng, name) for _ in range(args.count)]
        each_ms = milliseconds_each(patches, args.seconds, args.rate_hz)
        mixture_ms += family.weight * each_ms
        print_line(name, f"{family.weight:.2f}", each_ms, args.seconds)
    print_line("all", "1.00", mixture_ms, args.seconds)
    return 0


def print_line(name: str, share: str, each_ms: float, seconds: float) -> None:
    """Print what one sound costs, and what that comes to."""
    a_second = 1_000 / each_ms
    print(f"{name:12s}{share:>7s}{each_ms:8.1f}{a_second:10.0f}{a_second * seconds:13.0f}")


if __name__ == "__main__":
    sys.exit(main())
