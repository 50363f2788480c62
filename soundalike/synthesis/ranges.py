"""Parameters of sounds, and where each may lie."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Bag = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Range:
    """Where a parameter may lie.

    Attributes
    ----------
    low, high : float
        Both may occur. The unit stands in the parameter's name.
    scale : {"linear", "log", "whole"}
        ``log`` gives each octave the same share, ``whole`` gives integers.
    """

    low: float
    high: float
    scale: Literal["linear", "log", "whole"] = "linear"

    def at(self, position: float) -> float:
        """Give the value at a position in [0, 1), to four significant digits.

        Parameters
        ----------
        position : float
            0 is the low end, 1 the high end.

        Returns
        -------
        float
            In the parameter's own unit.
        """
        if self.scale == "whole":
            return math.floor(self.low + position * (self.high - self.low + 1))
        if self.scale == "log":
            value = self.low * (self.high / self.low) ** position
        else:
            value = self.low + position * (self.high - self.low)
        # Rounded here, so that what is reported is exactly what is heard.
        return float(f"{value:.4g}")


Ranges = Mapping[str, Range]
