"""Sounds of our own making: numpy and scipy alone.

A patch is a sound as parameters: `draw` draws one, `jitter` makes one that
sounds alike, `render` makes its samples::

    rng = np.random.default_rng(0)
    patch = draw(rng)                       # or draw(rng, "vocal")
    other = jitter(patch, rng, timbre=0.08, score=None, effects=None)
    samples = render(patch, 4.0, 16_000)

The same patch, length and rate give the same samples, but for the last bits of
the mathematical functions of a machine.
"""

from soundalike.synthesis.patch import FAMILIES, Patch, draw, jitter, render

__all__ = ["FAMILIES", "Patch", "draw", "jitter", "render"]
