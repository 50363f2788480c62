"""Several embedders heard together: their vectors side by side in one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from soundalike import embedders
from soundalike.audio.decode import decode
from soundalike.errors import BadRequest, UnknownModel
from soundalike.extract.extraction import Extraction
from soundalike.extract.extractor import Extractor
from soundalike.extract.hearing import Run, run_here
from soundalike.pooling import fuse
from soundalike.types import Clip, FloatArray, Space

# a plus sign in the query of an address stands for a space, so both divide
DIVIDER = re.compile(r"[+\s]+")
KEY = "fusion"
LEAST_WEIGHT, MOST_WEIGHT = 0.001, 1000
MOST_PARTS = 8
SHORTHANDS = {"mini:with=descriptors": "0.49*mini+descriptors"}
"""Names of fusions that are asked for as if they were one embedder."""


@dataclass(frozen=True, slots=True)
class Part:
    """An embedder of a fusion, by its own name, and how much its cosine counts."""

    name: str
    weight: float

    def __str__(self) -> str:
        if self.weight == 1:
            return self.name
        return f"{np.format_float_positional(self.weight, trim='-')}*{self.name}"


def is_fused(name: str) -> bool:
    """Tell whether a name is that of several embedders."""
    whole = name.strip()
    return whole in SHORTHANDS or DIVIDER.search(whole) is not None or "*" in whole


def parse(name: str) -> list[Part]:
    """Read the name of a fusion, such as ``"clap+0.5*mfcc"``.

    Parameters
    ----------
    name : str
        Names of embedders with plus signs between them, each after its weight and an
        asterisk where that is not 1; or one of `SHORTHANDS`.

    Returns
    -------
    list of Part
        At least two.

    Raises
    ------
    UnknownModel
        There is no such embedder, one is named twice, a weight is out of range, or there are too
        many parts or one alone.
    """
    texts = DIVIDER.split(SHORTHANDS.get(name.strip(), name.strip()))
    if not 2 <= len(texts) <= MOST_PARTS:
        raise UnknownModel(
            f"A fusion has 2 to {MOST_PARTS} parts, not {len(texts)}; one needs no weight.",
            limit=MOST_PARTS,
            got=len(texts),
        )
    parts = [_part(text) for text in texts]
    if len({part.name for part in parts}) < len(parts):
        raise UnknownModel(f"'{name}' names an embedder twice; give it one weight.", got=name)
    return parts


def _part(text: str) -> Part:
    weight, star, own = text.rpartition("*")
    try:
        value = float(weight) if star else 1.0
    except ValueError:
        value = 0.0
    if not LEAST_WEIGHT <= value <= MOST_WEIGHT:
        raise UnknownModel(
            f"'{weight}' in '{text}' is no weight from {LEAST_WEIGHT} to {MOST_WEIGHT}; "
            "write 0.5*mfcc.",
            got=text,
        )
    return Part(embedders.create(own).name, value)


class Fusion(Extractor):
    """Makes vectors whose cosine is the weighted mean of several embedders' cosines.

    Parameters
    ----------
    parts : sequence of Part
        What hears, and how much each counts.
    extractors : sequence of Extractor
        One for each part, loaded.
    max_seconds : float, optional
        The longest sound that is accepted.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        extractors: Sequence[Extractor],
        *,
        max_seconds: float | None = None,
    ) -> None:
        self.parts = list(parts)
        self.extractors = list(extractors)
        self.max_seconds = max_seconds

    @property
    def name(self) -> str:
        """The parts with their weights, as `parse` reads them."""
        return "+".join(map(str, self.parts))

    @property
    def poolings(self) -> list[str]:
        """Each part has its own, and no other may be asked for."""
        return ["own"]

    @property
    def largest_batch(self) -> int:
        """The largest of its parts'."""
        return max(one.largest_batch for one in self.extractors)

    @property
    def devices(self) -> set[str]:
        """The devices of all parts."""
        return set().union(*(one.devices for one in self.extractors))

    @property
    def place(self) -> str:
        """What computes, of each part."""
        return ", ".join(one.place for one in self.extractors)

    def space(self, pooling: str | None = None, *, normalize: bool = True) -> Space:
        """Name the space, which hangs on those of the parts and on their weights.

        Raises
        ------
        BadRequest
            Another pooling or another length was asked for.
        """
        self._chosen(pooling)
        if not normalize:
            raise self._whole_and_unit()
        total = sum(part.weight for part in self.parts)
        recipe = {
            "spaces": [str(one.space()) for one in self.extractors],
            "weights": [round(part.weight / total, 12) for part in self.parts],
        }
        return Space.of(KEY, recipe)

    def extract(
        self,
        source: BinaryIO | bytes | Path | Clip,
        pooling: str | None = None,
        *,
        normalize: bool = True,
        window_vectors: bool = False,
        with_frames: bool = False,
        run: Run = run_here,
    ) -> Extraction:
        """Make the vector of one sound, which is decoded once; see `Extractor.extract`.

        Raises
        ------
        AudioError
            One of the embedders cannot use the sound.
        BadRequest
            Frames, another pooling, vectors of windows or another length were asked for:
            embedders that see windows of different lengths have none in common.
        """
        space = self.space(pooling, normalize=normalize)
        if window_vectors or with_frames:
            raise self._whole_and_unit()
        clip = (
            source
            if isinstance(source, Clip)
            else decode(source, max_seconds=self.max_seconds, mono=True)
        )
        heard = [one.extract(clip, run=run) for one in self.extractors]
        return Extraction(
            model=self.name,
            space=space,
            vector=self._fused([one.values[np.newaxis] for one in heard])[0],
            frames=None,
            audio=max((one.audio for one in heard), key=lambda audio: audio.seconds_used),
            windows=sum(one.windows for one in heard),
            window_vectors=[],
            device=_all(one.device for one in heard),
            runtime=_all(one.runtime for one in heard),
            dtype=_all(one.dtype for one in heard),
            ms={
                f"{stage} {part.name}": spent
                for part, one in zip(self.parts, heard, strict=True)
                for stage, spent in one.ms.items()
            },
        )

    def embed_texts(self, texts: Sequence[str], *, phrasings: bool = False) -> FloatArray:
        """Embed words where every part reads them; see `Extractor.embed_texts`."""
        return self._fused([one.embed_texts(texts, phrasings=phrasings) for one in self.extractors])

    def _whole_and_unit(self) -> BadRequest:
        return BadRequest(f"'{self.name}' has vectors of whole clips, of unit length, alone.")

    def _fused(self, blocks: Sequence[FloatArray]) -> FloatArray:
        return fuse(blocks, [part.weight for part in self.parts])


def _all(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
