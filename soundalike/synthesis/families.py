"""The families of sound there are."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from soundalike.synthesis.family import Family
from soundalike.synthesis.machines import MACHINES
from soundalike.synthesis.nature import NATURE
from soundalike.synthesis.percussive import PERCUSSIVE
from soundalike.synthesis.tonal import TONAL

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {family.name: family for family in (*TONAL, *PERCUSSIVE, *NATURE, *MACHINES)}
)
