"""Many pictures on one sheet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundalike.pictures.drawing import encode_png, pixels
from soundalike.pictures.spectrograms import Picture

GAP_PX = 4


def contact_sheet(rows: Sequence[Sequence[Picture]]) -> bytes:
    """Draw pictures side by side and one below the other, without axes.

    Parameters
    ----------
    rows : sequence of sequence of Picture
        Each with the width and height of its settings, which are those of all.

    Returns
    -------
    bytes
        A PNG, 8 bits each of red, green and blue; white between the pictures.
    """
    settings = rows[0][0].settings
    width, height = settings.width + GAP_PX, settings.height + GAP_PX
    columns = max(len(row) for row in rows)
    sheet = np.full((len(rows) * height + GAP_PX, columns * width + GAP_PX, 3), 255, np.uint8)
    for top, row in enumerate(rows):
        for left, picture in enumerate(row):
            cell = sheet[top * height + GAP_PX :, left * width + GAP_PX :]
            cell[: settings.height, : settings.width] = pixels(
                picture, settings.width, settings.height
            )
    return encode_png(sheet)
