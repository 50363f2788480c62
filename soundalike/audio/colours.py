"""The colours of pictures of sound, for eyes and for vision models alike."""

from __future__ import annotations

import base64

import numpy as np
import numpy.typing as npt

from soundalike.types import FloatArray

Pixels = npt.NDArray[np.uint8]

# "magma" by Nathaniel Smith and Stefan van der Walt, released under CC0: 256 times red, green, blue
_MAGMA = (
    "AAADAAAEAAAGAQAHAQEJAQELAgINAgIPAwMRBAMTBAQVBQQXBgUZBwUbCAYdCQcfCgciCwgkDAkmDQooDgoqDwssEAwvEQ"
    "wxEg0zFA01FQ44Fg46Fw88GA8/GhBBGxBEHBBGHhBJHxFLIBFNIhFQIxFSJRFVJhFXKBFZKhFcKxFeLRBgLxBiMBBlMhBn"
    "NBBoNQ9qNw9sOQ9uOw9vPA9xPg9yQA9zQg90Qw91RQ92Rw93SBB4ShB5SxB5TRF6TxF7UBJ7UhJ8UxN8VRN9VxR9WBV+Wh"
    "V+WxZ+XRd+Xhd/YBh/YRh/Yxl/ZRqAZhqAaBuAaRyAaxyAbB2Abh6Bbx6BcR+Bcx+BdCCBdiGBdyGBeSKBeiKBfCOBfiSB"
    "fySBgSWBgiWBhCaBhSaBhyeBiSiBiiiBjCmAjSmAjyqAkSqAkiuAlCuAlSyAlyx/mS1/mi1/nC5/ni5+ny9+oS9+ozB+pD"
    "B9pjF9pzF9qTJ8qzN8rDN7rjR7sDR7sTV6szV6tTZ5tjZ5uDd4uTd4uzh3vTl3vjl2wDp1wjp1wzt0xTx0xjxzyD1yyj5y"
    "yz5xzT9wzkBw0EFv0UJu00Jt1ENt1kRs10Vr2UZq2kdp3Ehp3Ulo3kpn4Etm4Uxm4k1l5E5k5VBj5lFi51Ji6FRh6lVg61"
    "Zg7Fhf7Vlf7lte7l1d715d8GBd8WFc8mNc82Vc82db9Ghb9Wpb9Wxb9m5b9nBb93Fb93Nc+HVc+Hdc+Xlc+Xtd+X1d+n9e"
    "+oBe+oJf+4Rg+4Zg+4hh+4pi/Ixj/I5j/JBk/JJl/JNm/ZVn/Zdo/Zlp/Ztq/Z1r/Z9s/aFu/aJv/aRw/qZx/qhz/qp0/q"
    "x1/q52/q94/rF5/rN7/rV8/rd9/rl//ruA/ryC/r6D/sCF/sKG/sSI/saJ/seL/smN/suO/c2Q/c+S/dGT/dKV/dSX/daY"
    "/dia/dqc/dyd/d2f/d+h/eGj/OOl/OWm/Oao/Oiq/Oqs/Oyu/O6w/PCx/PGz/PO1/PW3+/e5+/m7+/q9+/y/"
)
MAGMA: Pixels = np.frombuffer(base64.b64decode(_MAGMA), np.uint8).reshape(256, 3)
"""Colours from the darkest to the brightest, shape (256, 3)."""


def magma(shares: FloatArray) -> Pixels:
    """Colour values, from near black over purple and orange to a light yellow.

    Parameters
    ----------
    shares : ndarray of float32
        Of any shape, in [0, 1]; what lies outside takes the colour of the end.

    Returns
    -------
    ndarray of uint8
        Of that shape and a last axis of red, green, blue.
    """
    steps = len(MAGMA)
    return MAGMA[np.clip(shares * steps, 0, steps - 1).astype(np.intp)]
