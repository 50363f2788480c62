import numpy as np
from matplotlib import colormaps

from soundalike.audio.colours import exact_magma, magma


def test_magma_is_that_of_matplotlib():
    shares = np.linspace(0, 1, 5000, dtype=np.float32).reshape(50, 100)
    expected = colormaps["magma"](shares, bytes=True)[:, :, :3]
    np.testing.assert_array_equal(magma(shares), expected)


def test_exact_magma_is_that_of_matplotlib_before_it_is_cut_to_whole_numbers():
    shares = np.linspace(0, 1, 5000, dtype=np.float32)
    expected = colormaps["magma"](shares)[:, :3] * 255
    np.testing.assert_allclose(exact_magma(shares), expected, rtol=1e-7, atol=0)
    np.testing.assert_array_equal(magma(shares), np.floor(exact_magma(shares)))


def test_what_lies_outside_takes_the_colour_of_the_end():
    np.testing.assert_array_equal(magma(np.float32([-1, 2])), magma(np.float32([0, 1])))
