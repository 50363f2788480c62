"""Draws the baselines anew: python -m tests.pictures.redraw, then look at each."""

from pathlib import Path

from soundalike import pictures
from tests.pictures.sounds import tune, wav

BASELINES = Path(__file__).parent / "baselines"
SIZE = (320, 160)


def drawn_tune():
    settings = pictures.Settings(width=SIZE[0], height=SIZE[1])
    drawn = pictures.compute(wav(tune()), list(pictures.KINDS), settings)
    return {kind: pictures.png(one) for kind, one in drawn.items()}


if __name__ == "__main__":
    for kind, content in drawn_tune().items():
        (BASELINES / f"{kind}.png").write_bytes(content)
