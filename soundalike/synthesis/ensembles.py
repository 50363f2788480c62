"""Music in layers: a lead, chords and a bass over drums, in one key and tempo."""

from __future__ import annotations

import numpy as np

from soundalike.synthesis import drums, instruments
from soundalike.synthesis.composing import NOTES, Score, compose
from soundalike.synthesis.effects import Signal, unit
from soundalike.synthesis.ranges import Bag, Range
from soundalike.synthesis.take import Take

PARTS = ("lead", "chords", "bass")
# Where each part plays, in octaves from the key; and in which form it does.
OCTAVES = {"lead": 1, "chords": 0, "bass": -1}
FORMS = {"lead": 3, "chords": 2, "bass": 3}

TIMBRE = {
    **{
        f"{part}.{name}": values
        for part in PARTS
        for name, values in instruments.TIMBRE.items()
        if name != "register_hz"
    },
    **{f"drums.{name}": values for name, values in drums.TIMBRE.items()},
    "parts": Range(1, len(PARTS), "whole"),
    "first_part": Range(0, len(PARTS) - 1, "whole"),
    **{f"{part}_level": Range(0.3, 1) for part in PARTS},
    "drums_level": Range(-0.6, 1),
}

SCORE = {
    **{name: values for name, values in NOTES.items() if name not in ("form", "transpose")},
    **{name: values for name, values in drums.SCORE.items() if name not in NOTES},
    "key_hz": Range(130, 262, "log"),
    "lead_held": Range(0.3, 1.1),
}


def ensemble(timbre: Bag, score: Score, take: Take) -> Signal:
    """Play one to three instruments together, and drums where there are any."""
    mixed = np.zeros(take.samples)
    for number in range(int(timbre["parts"])):
        part = PARTS[(int(timbre["first_part"]) + number) % len(PARTS)]
        mixed += timbre[f"{part}_level"] * unit(_part(part, timbre, score, take))
    if timbre["drums_level"] > 0:
        kit = _own("drums", timbre)
        mixed += timbre["drums_level"] * unit(drums.drums(kit, score, take))
    return mixed


def _part(part: str, timbre: Bag, score: Score, take: Take) -> Signal:
    values = {**score.values, "form": FORMS[part], "transpose": 12.0 * OCTAVES[part]}
    if part == "lead":
        values["held"] = values["lead_held"]
    # Each part has a melody of its own, in the same scale and on the same beat.
    own = Score(values, score.seed + PARTS.index(part))
    notes = compose(own, take.seconds, values["key_hz"])
    return instruments.play_notes(notes, _own(part, timbre), take)


def _own(part: str, timbre: Bag) -> Bag:
    return {
        name.partition(".")[2]: value
        for name, value in timbre.items()
        if name.startswith(part + ".")
    }
