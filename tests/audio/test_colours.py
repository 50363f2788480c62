import numpy as np
from matplotlib import colormaps

from soundalike.audio.colours import magma


def test_magma_is_that_of_matplotlib():
    shares = np.linspace(0, 1, 5000, dtype=np.float32).reshape(50, 100)
    expected = colormaps["magma"](shares, bytes=True)[:, :, :3]
    np.testing.assert_array_equal(magma(shares), expected)


def test_what_lies_outside_takes_the_colour_of_the_end():
    np.testing.assert_array_equal(magma(np.float32([-1, 2])), magma(np.float32([0, 1])))
