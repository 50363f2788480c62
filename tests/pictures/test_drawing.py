import dataclasses
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from soundalike import pictures
from soundalike.errors import BadRequest
from soundalike.pictures import figures
from soundalike.pictures.drawing import encode_png
from soundalike.pictures.settings import KINDS
from tests.pictures.redraw import BASELINES, SIZE, drawn_tune
from tests.pictures.sounds import chirp, wav

TOLERANCE = 4.0  # mean difference of 255 steps; fonts move a little from release to release


def opened(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def difference(content, path):
    return np.abs(opened(content).astype(int) - opened(path.read_bytes())).mean()


@pytest.fixture(scope="module")
def tune():
    return drawn_tune()


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_look_like_their_baselines(tune, kind):
    assert difference(tune[kind], BASELINES / f"{kind}.png") < TOLERANCE


def test_the_tolerance_tells_pictures_apart(tune):
    for kind in KINDS:
        for other in KINDS.keys() - {kind}:
            assert difference(tune[kind], BASELINES / f"{other}.png") > 2 * TOLERANCE
        upside_down = opened(tune[kind])[::-1]
        assert difference(encode_png(upside_down), BASELINES / f"{kind}.png") > 2 * TOLERANCE


@pytest.mark.parametrize("size", [(1, 1), (488, 244), (3, 700)])
def test_png_gives_the_pixels_back(size):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.open(io.BytesIO(encode_png(noise)))
    assert (image.mode, image.size) == ("RGB", size)
    np.testing.assert_array_equal(np.asarray(image), noise)


@pytest.fixture(scope="module")
def mel():
    return pictures.compute(wav(chirp(2.0)), ["mel"])["mel"]


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("size", [(488, 244), (301, 157), (1000, 600)])
def test_pictures_have_the_size_that_was_asked_for(mel, size, bare):
    settings = pictures.Settings(width=size[0], height=size[1])
    resized = dataclasses.replace(mel, settings=settings)
    assert Image.open(io.BytesIO(pictures.png(resized, bare=bare))).size == size


def test_low_rows_are_at_the_bottom_and_loud_ones_bright(mel):
    bare = opened(pictures.png(mel, bare=True)).sum(axis=2)
    ridge = bare.argmax(axis=0)[10:-10]
    assert ridge[0] > 200
    assert ridge[-1] < 60
    assert (np.diff(ridge) <= 0).all()


def test_the_picture_lies_within_its_axes_as_matplotlib_would_lay_it(mel):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(pictures.figure(mel))
    canvas.draw()
    theirs = np.asarray(canvas.buffer_rgba())[:, :, :3].astype(int)
    ours = opened(pictures.png(mel)).astype(int)
    outside = np.ones(ours.shape[:2], bool)
    outside[figures.inside(mel)] = False
    np.testing.assert_array_equal(ours[outside], theirs[outside])
    ridges = [
        image[figures.inside(mel)].sum(axis=2).argmax(axis=0)[10:-10] for image in (ours, theirs)
    ]
    assert np.abs(ridges[0] - ridges[1]).max() <= 2


def test_axes_say_what_they_are_in_which_unit(mel):
    axes, bar = pictures.figure(mel).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Time (s)", "Frequency (kHz)")
    assert bar.get_ylabel() == "Level (dB)"
    marked = dict(
        zip([t.get_text() for t in axes.get_yticklabels()], axes.get_yticks(), strict=True)
    )
    row = np.abs(mel.rows - 2000).argmin()
    assert marked["2"] == pytest.approx((row + 0.5) / len(mel.rows), abs=1 / len(mel.rows))
    assert "16" not in marked


def test_peaks_of_a_waveform_survive_shrinking():
    quiet = np.zeros(22_050 * 10)
    quiet[100_000] = 0.9
    drawn = pictures.compute(wav(quiet), ["waveform"])["waveform"]
    small = pictures.pixels(drawn, 50, 100).sum(axis=2)
    assert small[10].max() > 600


def test_no_room_for_axes_is_refused_and_bare_pictures_are_not(mel):
    small = dataclasses.replace(mel, settings=pictures.Settings(width=100, height=60))
    with pytest.raises(BadRequest, match="bare"):
        pictures.png(small)
    assert pictures.png(small, bare=True)


def test_without_matplotlib_bare_pictures_work_and_axes_say_what_to_install():
    code = (
        "import sys; sys.modules['matplotlib'] = None; sys.modules['PIL'] = None\n"
        "from soundalike import pictures\nfrom tests.pictures.sounds import chirp, wav\n"
        "mel = pictures.compute(wav(chirp(1.0)), ['mel'])['mel']\n"
        "assert pictures.png(mel, bare=True)\n"
        "try: pictures.png(mel)\nexcept Exception as fault: print(fault)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'soundalike[pictures]'" in done.stdout, done.stderr


def test_baselines_are_small():
    assert sum(path.stat().st_size for path in BASELINES.glob("*.png")) < 100_000
    assert Image.open(BASELINES / "mel.png").size == SIZE


def test_kinds_and_settings_are_documented_with_their_defaults(root):
    text = (root / "docs" / "pictures.md").read_text()
    for kind in KINDS:
        assert f"| `{kind}` |" in text
    for one in dataclasses.fields(pictures.Settings):
        assert f"| `{one.name}` | {one.default:g} |" in text
