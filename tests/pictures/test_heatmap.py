"""The heatmap: well-formed, and every cell has the colour of its value."""

import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from soundalike.audio.colours import MAGMA
from soundalike.errors import SoundalikeError
from soundalike.pictures import heatmap

MATRIX = np.array([[1.0, 0.6, 0.2], [0.6, 1.0, 0.4], [0.2, 0.4, 1.0]])
NAMES = ["one", "two", "three"]
STEPS = np.array([[255, 128, 0], [128, 255, 64], [0, 64, 255]])  # of MATRIX from 0.2 to 1


def elements(svg, kind):
    return [one for one in ET.fromstring(svg).iter() if one.tag.endswith(f"}}{kind}")]


def cells(svg, count):
    """The cells, row by row: their boxes are the only squares."""
    squares = [one for one in elements(svg, "rect") if one.get("width") == one.get("height")]
    ordered = sorted(squares, key=lambda one: (int(one.get("y")), int(one.get("x"))))
    assert len(ordered) == count
    return ordered


def texts(svg):
    return [one.text for one in elements(svg, "text")]


def test_cells_have_the_colours_of_their_values():
    fills = [one.get("fill") for one in cells(heatmap.svg(MATRIX, NAMES), 9)]
    assert fills == ["#" + MAGMA[step].astype(np.uint8).tobytes().hex() for step in STEPS.flat]


def test_rows_columns_cells_and_the_scale_are_labelled():
    said = texts(heatmap.svg(MATRIX, NAMES))
    assert [said.count(name) for name in NAMES] == [2, 2, 2]
    assert [said.count(value) for value in ("1.00", "0.60", "0.40", "0.20")] == [4, 3, 2, 3]


def test_values_are_dark_on_light_and_light_on_dark():
    svg = heatmap.svg(MATRIX, NAMES)
    colours = {one.text: one.get("fill") for one in elements(svg, "text")[3:12]}
    assert colours == {"1.00": "#000000", "0.60": "#ffffff", "0.40": "#ffffff", "0.20": "#ffffff"}


def test_many_cells_are_smaller_and_hold_no_values():
    size = 60
    svg = heatmap.svg(np.eye(size), [f"{number}" for number in range(size)])
    assert {one.get("width") for one in cells(svg, size * size)} == {"10"}
    assert len(texts(svg)) == 2 * size + 3


def test_any_name_is_well_formed_and_fits():
    names = ['<b> & "c"', "a\nb\x00\ud800", "long" * 50]
    said = texts(heatmap.svg(MATRIX, names))
    assert names[0] in said
    assert "a\ufffdb\ufffd\ufffd" in said
    assert max(map(len, said)) == heatmap.LONGEST_LABEL


@pytest.mark.parametrize("matrix", [[[1.0]], [[1.0, 1.0], [1.0, 1.0]]])
def test_equal_values_are_no_fault(matrix):
    svg = heatmap.svg(np.array(matrix), NAMES[: len(matrix)])
    assert len({one.get("fill") for one in cells(svg, len(matrix) ** 2)}) == 1


def test_the_png_has_the_same_cells_twice_as_large():
    svg, png = heatmap.svg(MATRIX, NAMES), heatmap.png(MATRIX, NAMES)
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    whole = elements(svg, "svg")[0]
    assert pixels.shape[:2] == (2 * int(whole.get("height")), 2 * int(whole.get("width")))
    for cell in cells(svg, 9):
        x, y = (2 * int(cell.get(axis)) + 4 for axis in "xy")  # off the value in the middle
        assert "#" + bytes(pixels[y, x]).hex() == cell.get("fill")
    assert (pixels[: 2 * heatmap.MARGIN, :10] == 255).all()


def test_the_png_takes_names_as_they_are():
    assert heatmap.png(np.eye(2), ["$x^2", "\\frac{$}"])  # no formulas


def test_without_matplotlib_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(SoundalikeError, match="or ask for SVG"):
        heatmap.png(MATRIX, NAMES)
    assert heatmap.svg(MATRIX, NAMES)
