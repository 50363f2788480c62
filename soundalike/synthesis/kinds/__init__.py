"""Kinds of sound that people have a name for, in units that they understand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from soundalike.synthesis.kinds.kind import Kind
from soundalike.synthesis.kinds.machines import MACHINES
from soundalike.synthesis.kinds.nature import NATURE
from soundalike.synthesis.kinds.percussive import PERCUSSIVE
from soundalike.synthesis.kinds.tonal import TONAL

KINDS: Mapping[str, Kind] = MappingProxyType(
    {kind.name: kind for kind in (*TONAL, *PERCUSSIVE, *NATURE, *MACHINES)}
)
