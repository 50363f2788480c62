"""What comes of one sound."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from soundalike.types import FloatArray, Frames, Space


@dataclass(frozen=True, slots=True)
class AudioReport:
    """What the sound was like; names and units as the HTTP answer has them.

    Attributes
    ----------
    format : str
    sample_rate : int
        In Hz, of the source.
    channels : int
        Of the source.
    seconds : float
        Length of the source.
    seconds_used : float
        How much of it went into the vector.
    truncated : bool
        True where the file was cut off.
    clipped : float
        Share of samples at full scale, in [0, 1].
    silent : float
        Share of the sound that is quieter than -60 dB of full scale, in [0, 1].
    """

    format: str
    sample_rate: int
    channels: int
    seconds: float
    seconds_used: float
    truncated: bool
    clipped: float
    silent: float


@dataclass(frozen=True, slots=True)
class WindowVector:
    """The vector of one window and where it lies, in seconds."""

    start: float
    end: float
    vector: FloatArray


@dataclass(frozen=True, slots=True)
class Extraction:
    """What came of one sound.

    Attributes
    ----------
    model : str
        The embedder's name, with options that differ from the defaults.
    space : Space
        What the vector may be compared with.
    vector : ndarray of float32, shape (D,), or None
        None where frames were asked for alone.
    frames : Frames or None
        None where they were not asked for.
    audio : AudioReport
        What the sound was like.
    windows : int
        Into how many windows it was cut.
    window_vectors : list of WindowVector
        Empty where they were not asked for.
    device, runtime, dtype : str
        What computed it.
    ms : dict of str to float
        Milliseconds by stage.
    """

    model: str
    space: Space
    vector: FloatArray | None
    frames: Frames | None
    audio: AudioReport
    windows: int
    window_vectors: list[WindowVector]
    device: str
    runtime: str
    dtype: str
    ms: dict[str, float]

    @property
    def values(self) -> FloatArray:
        """The vector of shape (D,), or the frames of shape (T, D) where there is none."""
        if self.vector is not None:
            return self.vector
        assert self.frames is not None  # noqa: S101  (there is always one of the two)
        return np.ascontiguousarray(self.frames.values)

    def as_dict(self) -> dict[str, Any]:
        """Lay it out as the HTTP answer and the command line give it.

        Returns
        -------
        dict
            Plain types and contiguous numpy arrays.
        """
        answer: dict[str, Any] = {
            "model": self.model,
            "space": str(self.space),
            "dim": self.values.shape[-1],
        }
        if self.vector is None and self.frames is not None:
            answer |= {"frames": self.values, "frame_rate": self.frames.rate_hz}
        else:
            answer["vector"] = self.values
        answer |= {
            "audio": asdict(self.audio),
            "windows": self.windows,
            "device": self.device,
            "runtime": self.runtime,
            "dtype": self.dtype,
            "ms": self.ms,
        }
        if self.window_vectors:
            answer["window_vectors"] = [asdict(one) for one in self.window_vectors]
        return answer
