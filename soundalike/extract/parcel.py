"""What was heard in one file as bytes, to the last bit, for the way between two machines."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from soundalike.extract.listener import Answer, Fault, Heard, Told

HEAD = "head"


def packed(told: Told) -> bytes:
    """Lay out what was heard as the bytes of an .npz file."""
    faults = {name: one for name, one in told.by_model.items() if isinstance(one, Fault)}
    heard = {name: one for name, one in told.by_model.items() if isinstance(one, Heard)}
    head = {
        "seconds": told.seconds,
        "facts": dict(told.facts),
        "spent_s": told.spent_s,
        "faults": {name: [one.reason, one.of_model] for name, one in faults.items()},
        "places": {name: one.place for name, one in heard.items()},
    }
    arrays = {HEAD: np.array(json.dumps(head))}
    for number, one in enumerate(heard.values()):
        arrays |= {f"frames{number}": one.frames, f"vector{number}": one.vector}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpacked(content: bytes) -> Told:
    """Read what `packed` made."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        head: Mapping[str, Any] = json.loads(str(arrays[HEAD]))
        by_model: dict[str, Answer] = {name: Fault(*one) for name, one in head["faults"].items()}
        for number, (name, place) in enumerate(head["places"].items()):
            by_model[name] = Heard(arrays[f"frames{number}"], arrays[f"vector{number}"], place)
    return Told(by_model, head["seconds"], head["facts"], head["spent_s"])
