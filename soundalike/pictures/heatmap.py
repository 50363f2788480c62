"""A matrix of similarities as a picture: every cell coloured, rows and columns labelled."""

from __future__ import annotations

import html
import io
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from soundalike.errors import SoundalikeError

Similarities: TypeAlias = npt.NDArray[np.floating]
Colour: TypeAlias = tuple[int, int, int]

PICTURE_PX, LARGEST_CELL, SMALLEST_CELL = 600, 56, 8
LEAST_CELL_WITH_VALUE = 32
LARGEST_FONT, VALUE_FONT = 12, 11
MARGIN, GAP = 12, 6
BAR_WIDTH, BAR_STEPS, BAR_TICKS = 14, 64, 3
BAR_LABEL_WIDTH = 36
LONGEST_LABEL = 28
CHARACTER_EM = 0.62  # what a character of a sans-serif font takes, on average
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
LUMINANCE = (0.299, 0.587, 0.114)
SCALE = 2  # pixels of a PNG for one of the drawing, so that it is sharp on fine screens
POINTS_PER_INCH = 72

Anchor: TypeAlias = Literal["start", "middle", "end"]
ALIGNMENTS = {"start": "left", "middle": "center", "end": "right"}


@dataclass(frozen=True, slots=True)
class _Box:
    """A filled rectangle, in pixels from the top left."""

    x: int
    y: int
    width: int
    height: int
    colour: Colour


@dataclass(frozen=True, slots=True)
class _Text:
    """A line of text; its middle height, and its start, middle or end, lie at (x, y)."""

    x: float
    y: float
    content: str
    size: float
    anchor: Anchor
    colour: Colour = BLACK
    upwards: bool = False


@dataclass(frozen=True, slots=True)
class _Drawing:
    """All there is to draw, for whatever draws it."""

    width: int
    height: int
    boxes: list[_Box]
    texts: list[_Text]


def svg(matrix: Similarities, labels: Sequence[str]) -> str:
    """Draw a matrix as SVG.

    Colours go from the smallest similarity to the largest. Values stand in
    the cells where there is room for them.

    Parameters
    ----------
    matrix : ndarray of float, shape (N, N)
        Similarities, finite.
    labels : sequence of str, length N
        Of rows and columns alike.

    Returns
    -------
    str
    """
    drawing = _draw(matrix, labels)
    size = f'width="{drawing.width}" height="{drawing.height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">',
            f'<rect {size} fill="{_hex(WHITE)}"/>',
            '<g shape-rendering="crispEdges">',
            *map(_svg_box, drawing.boxes),
            "</g>",
            *map(_svg_text, drawing.texts),
            "</svg>\n",
        ]
    )


def png(matrix: Similarities, labels: Sequence[str]) -> bytes:
    """Draw the same picture as PNG; parameters as of `svg`.

    Raises
    ------
    SoundalikeError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SoundalikeError(
            "Text in a PNG is drawn by matplotlib, which is not installed: "
            "pip install 'soundalike[pictures]', or ask for SVG."
        ) from None
    drawing = _draw(matrix, labels)
    pixels = np.full((drawing.height, drawing.width, 3), WHITE, np.uint8)
    for box in drawing.boxes:
        pixels[box.y : box.y + box.height, box.x : box.x + box.width] = box.colour
    inches = drawing.width / POINTS_PER_INCH, drawing.height / POINTS_PER_INCH
    figure = Figure(figsize=inches, dpi=SCALE * POINTS_PER_INCH)
    figure.figimage(pixels.repeat(SCALE, axis=0).repeat(SCALE, axis=1))
    for text in drawing.texts:
        figure.text(
            text.x / drawing.width,
            1 - text.y / drawing.height,
            text.content,
            fontsize=text.size,
            color=_hex(text.colour),
            parse_math=False,
            **_alignment(text),
        )
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _draw(matrix: Similarities, labels: Sequence[str]) -> _Drawing:
    """Lay out labels on the left and below, cells, and a bar of colours on the right."""
    names = [_shortened(label) for label in labels]
    count = len(names)
    cell = int(np.clip(PICTURE_PX // count, SMALLEST_CELL, LARGEST_CELL))
    font = min(LARGEST_FONT, cell)
    widest = max(_width(name, font) for name in names)
    upwards = widest > cell - GAP
    left = MARGIN + round(widest) + GAP
    side = count * cell
    below = round(widest) if upwards else font
    limits = float(matrix.min()), float(matrix.max())
    colours = _colours(matrix, limits)
    boxes, texts = _bar(left + side + MARGIN, side, limits)
    boxes += _cells(colours, left, cell)
    if cell >= LEAST_CELL_WITH_VALUE:
        texts += _values(matrix, colours, left, cell)
    for number, name in enumerate(names):
        middle = number * cell + cell / 2
        texts.append(_Text(left - GAP, MARGIN + middle, name, font, "end"))
        under = MARGIN + side + GAP + (0 if upwards else font / 2)
        anchor: Anchor = "end" if upwards else "middle"
        texts.append(_Text(left + middle, under, name, font, anchor, upwards=upwards))
    width = left + side + MARGIN + BAR_WIDTH + GAP + BAR_LABEL_WIDTH
    return _Drawing(width, MARGIN + side + GAP + below + MARGIN, boxes, texts)


def _colours(values: Similarities, limits: tuple[float, float]) -> npt.NDArray[np.uint8]:
    from soundalike.audio.colours import magma

    lowest, highest = limits
    return magma(((values - lowest) / ((highest - lowest) or 1)).astype(np.float32))


def _cells(colours: npt.NDArray[np.uint8], left: int, cell: int) -> list[_Box]:
    return [
        _Box(left + column * cell, MARGIN + row * cell, cell, cell, (red, green, blue))
        for row, of_row in enumerate(colours.tolist())
        for column, (red, green, blue) in enumerate(of_row)
    ]


def _values(
    matrix: Similarities, colours: npt.NDArray[np.uint8], left: int, cell: int
) -> Iterator[_Text]:
    """Write each value into its cell, dark on light and light on dark."""
    for (row, column), value in np.ndenumerate(matrix):
        bright = float(colours[row, column] @ LUMINANCE) > 255 / 2
        yield _Text(
            left + (column + 0.5) * cell,
            MARGIN + (row + 0.5) * cell,
            f"{value:.2f}",
            VALUE_FONT,
            "middle",
            BLACK if bright else WHITE,
        )


def _bar(left: int, height: int, limits: tuple[float, float]) -> tuple[list[_Box], list[_Text]]:
    """Draw which colour is which value, the largest on top."""
    steps = min(BAR_STEPS, height)
    edges = MARGIN + np.arange(steps + 1) * height // steps
    colours = _colours(np.linspace(limits[1], limits[0], steps), limits).tolist()
    boxes = [
        _Box(left, int(top), BAR_WIDTH, int(bottom - top), (red, green, blue))
        for top, bottom, (red, green, blue) in zip(edges, edges[1:], colours, strict=False)
    ]
    ticks = zip(
        np.linspace(MARGIN, MARGIN + height, BAR_TICKS),
        np.linspace(limits[1], limits[0], BAR_TICKS),
        strict=True,
    )
    right = left + BAR_WIDTH + GAP
    return boxes, [_Text(right, float(y), f"{tick:.2f}", VALUE_FONT, "start") for y, tick in ticks]


def _shortened(label: str) -> str:
    """Make a label fit: on one line, printable, its middle left out where it is long."""
    line = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in label)
    if len(line) <= LONGEST_LABEL:
        return line
    return f"{line[: LONGEST_LABEL // 2 - 1]}…{line[-LONGEST_LABEL // 2 :]}"


def _width(text: str, font: float) -> float:
    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in text)
    return (len(text) * CHARACTER_EM + wide * (1 - CHARACTER_EM)) * font


def _hex(colour: Colour) -> str:
    return "#" + bytes(colour).hex()


def _svg_box(box: _Box) -> str:
    return (
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" '
        f'fill="{_hex(box.colour)}"/>'
    )


def _svg_text(text: _Text) -> str:
    turn = f' transform="rotate(-90 {text.x:g} {text.y:g})"' if text.upwards else ""
    return (
        f'<text x="{text.x:g}" y="{text.y:g}" font-size="{text.size:g}" '
        f'text-anchor="{text.anchor}" dominant-baseline="central" '
        f'fill="{_hex(text.colour)}"{turn}>{html.escape(text.content)}</text>'
    )


def _alignment(text: _Text) -> dict[str, Any]:
    """Place a text for matplotlib, which turns the box of a text and not the text in it."""
    if text.upwards:
        return {"ha": "center", "va": "top", "rotation": 90}
    return {"ha": ALIGNMENTS[text.anchor], "va": "center_baseline"}
