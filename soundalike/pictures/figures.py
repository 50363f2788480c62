"""Axes, units and colour bars, drawn by matplotlib."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from soundalike.errors import BadRequest, SoundalikeError
from soundalike.pictures.settings import Kind, Settings
from soundalike.pictures.spectrograms import Picture, rows_of
from soundalike.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from soundalike.audio.colours import Pixels

DPI = 128  # a power of two, so that pixels become inches and pixels again without rounding
POINTS_PER_PIXEL = 72 / DPI
LABEL_POINTS, TICK_POINTS = 10 * POINTS_PER_PIXEL, 9 * POINTS_PER_PIXEL
LEFT, RIGHT, TOP, BOTTOM = 48, 64, 10, 34  # margins in pixels
BAR_GAP, BAR_WIDTH = 10, 8
NARROWEST, LOWEST = 220, 100
KEPT_FRAMES = 32


@dataclass(frozen=True, slots=True)
class Look:
    """What stands beside a picture.

    Attributes
    ----------
    rows : str
        What the rows are, with their unit.
    ticks : dict of float to str
        Rows that are marked, and how they are called.
    bar : str or None
        What the colours are, with their unit; None for no colour bar.
    """

    rows: str
    ticks: dict[float, str]
    bar: str | None


def _kilohertz(*ticks: float) -> dict[float, str]:
    return {1000 * tick: f"{tick:g}" for tick in ticks}


LOOKS: dict[Kind, Look] = {
    "mel": Look("Frequency (kHz)", _kilohertz(0.25, 0.5, 1, 2, 4, 8, 16), "Level (dB)"),
    "spectrum": Look("Frequency (kHz)", _kilohertz(*range(0, 25, 2)), "Level (dB)"),
    "chroma": Look(
        "Pitch class",
        dict(zip((0, 2, 4, 5, 7, 9, 11), "CDEFGAB", strict=True)),
        "Relative strength",
    ),
    "tempogram": Look(
        "Tempo (beats/min)",
        {tick: str(tick) for tick in (30, 45, 60, 90, 120, 180, 240)},
        "Autocorrelation",
    ),
    "waveform": Look(
        "Amplitude",
        {at: f"{at:g}".replace("-", "\N{MINUS SIGN}") for at in (-1, -0.5, 0, 0.5, 1)},
        None,
    ),
}


@dataclass(frozen=True, slots=True)
class _Scene:
    """All of a picture but its values."""

    kind: Kind
    settings: Settings
    seconds: float
    limits: tuple[float, float]

    @classmethod
    def of(cls, picture: Picture) -> _Scene:
        return cls(picture.kind, picture.settings, picture.seconds, picture.limits)

    @property
    def right(self) -> int:
        """The margin on the right, in pixels."""
        return RIGHT if LOOKS[self.kind].bar else TOP


def figure(picture: Picture) -> Figure:
    """Draw a picture as a matplotlib figure with axes, units and a colour bar.

    Parameters
    ----------
    picture : Picture
        Its settings say how large the figure is.

    Returns
    -------
    matplotlib.figure.Figure
        To be shown, saved or drawn on.

    Raises
    ------
    BadRequest
        There is no room for axes.
    SoundalikeError
        matplotlib is not installed.
    """
    return _figure(_Scene.of(picture), picture.values)


def frame(picture: Picture) -> Pixels:
    """Draw all of a picture but its values.

    That is what takes matplotlib its time, and it is the same for all sounds
    of a length; so it is drawn once and kept.

    Parameters
    ----------
    picture : Picture
        See `figure`.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        For the caller to lay the values in, where `inside` says.
    """
    return _frame(_Scene.of(picture)).copy()


def inside(picture: Picture) -> tuple[slice, slice]:
    """Tell which rows and columns of the frame's pixels are the picture itself."""
    settings = picture.settings
    return (
        slice(TOP, settings.height - BOTTOM),
        slice(LEFT, settings.width - _Scene.of(picture).right),
    )


_drawing = threading.Lock()  # matplotlib's fonts are shared by all figures


@functools.lru_cache(maxsize=KEPT_FRAMES)
def _frame(scene: _Scene) -> Pixels:
    blank = _figure(scene, np.zeros((1, 1), np.float32))
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with _drawing:
        canvas = FigureCanvasAgg(blank)
        canvas.draw()  # type: ignore[no-untyped-call]
        colours = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return colours[:, :, :3].copy()


def _figure(scene: _Scene, values: FloatArray) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SoundalikeError(
            "Axes are drawn by matplotlib, which is not installed: "
            "pip install 'soundalike[pictures]', or ask for bare pictures."
        ) from None
    width, height = scene.settings.width, scene.settings.height
    if width < NARROWEST or height < LOWEST:
        raise BadRequest(
            f"{width} x {height} pixels have no room for axes; ask for {NARROWEST} x {LOWEST} "
            "or more, or for bare pictures.",
            got=[width, height],
            limit=[NARROWEST, LOWEST],
        )
    drawn = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    axes = _axes_at(drawn, LEFT, width - scene.right)
    image = axes.imshow(
        values,
        cmap="magma",
        vmin=scene.limits[0],
        vmax=scene.limits[1],
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(0, scene.seconds, 0, 1),
    )
    _label(axes, scene)
    bar = LOOKS[scene.kind].bar
    if bar is not None:
        _add_bar(drawn, image, bar)
    return drawn


def _axes_at(drawn: Figure, left: int, right: int) -> Axes:
    """Add axes between two columns of pixels."""
    width, height = drawn.get_size_inches() * DPI
    axes = drawn.add_axes(
        (left / width, BOTTOM / height, (right - left) / width, (height - TOP - BOTTOM) / height)
    )
    axes.tick_params(
        labelsize=TICK_POINTS,
        length=3 * POINTS_PER_PIXEL,
        width=POINTS_PER_PIXEL,
        pad=2 * POINTS_PER_PIXEL,
    )
    axes.spines[:].set_visible(False)
    return axes


def _label(axes: Axes, scene: _Scene) -> None:
    """Say what columns and rows are; a row is marked in its middle."""
    look, rows = LOOKS[scene.kind], rows_of(scene.kind, scene.settings)
    axes.set_xlabel("Time (s)", fontsize=LABEL_POINTS)
    axes.set_ylabel(look.rows, fontsize=LABEL_POINTS)
    ticks = {at: name for at, name in look.ticks.items() if rows[0] <= at <= rows[-1]}
    middles = (np.arange(len(rows)) + 0.5) / len(rows)
    axes.set_yticks(np.interp(list(ticks), rows, middles), labels=list(ticks.values()))


def _add_bar(drawn: Figure, image: AxesImage, text: str) -> None:
    start = round(drawn.get_size_inches()[0] * DPI) - RIGHT + BAR_GAP
    scale = drawn.colorbar(image, cax=_axes_at(drawn, start, start + BAR_WIDTH))
    scale.outline.set_visible(False)
    scale.set_label(text, fontsize=LABEL_POINTS)
