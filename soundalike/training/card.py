"""The card of a training run: what it was made of, when, with what, and how far it came."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from soundalike.embedders.notes import file_digest
from soundalike.synthesis import FAMILIES
from soundalike.training.recipe import Recipe
from soundalike.training.train import Progress

CARD = "card.json"
LIMITS = (
    "It never heard a recorded sound: what no family of the synthesis is like, it knows badly.",
    "It tells speakers apart worse than MFCC statistics do.",
    "Words mean nothing to it; it compares sounds alone.",
)


def write(
    folder: Path,
    how: Recipe,
    progress: Progress,
    *,
    device: str,
    minutes: float,
    files: list[Path],
) -> dict[str, Any]:
    """Write the card of a run that is done.

    Parameters
    ----------
    folder : Path
        Where it goes, as ``card.json``.
    how : Recipe
    progress : Progress
        As it was at the end.
    device : str
        Where it was trained.
    minutes : float
        Of the last start until the end.
    files : list of Path
        What was released.

    Returns
    -------
    dict
        Its content.
    """
    card: dict[str, Any] = {
        "name": "mini",
        "licence": "MIT",
        "data": "synthesised sound alone: " + ", ".join(FAMILIES),
        "date": datetime.now(UTC).date().isoformat(),
        "recipe": how.as_dict(),
        "made_with": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "device": device,
        },
        "minutes": round(minutes, 1),
        "steps": progress.step,
        "loss": round(progress.loss, 4),
        "partners_found": [[step, round(share, 4)] for step, share in progress.found],
        "limits": list(LIMITS),
        "files": {
            file.name: {"bytes": file.stat().st_size, "sha256": file_digest(file)} for file in files
        },
    }
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")
    return card
