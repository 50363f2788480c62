import bz2
import gzip

import h5py
import numpy as np
import pytest
import torch

from soundalike.embedders import create, keras_h5, openl3, pull, reading
from soundalike.errors import Quarantined, UndecodableAudio
from soundalike.extract.extractor import Extractor
from soundalike.types import Window
from tests.embedders import ported_checkpoints
from tests.embedders.ported_checkpoints import SMALL_WIDTHS, openl3_layers
from tests.sounds import encoded, noise, tone

RATE = 48_000
FILE = "openl3_audio_mel256_music-v0_4_0.h5.gz"


def sound(seconds=1.0, seed=0):
    return (tone(seconds, rate=RATE) + noise(seconds, RATE, seed))[:, 0]


def loaded(name="openl3"):
    embedder = create(name)
    embedder.load()
    return embedder


def heard(embedder, samples):
    return embedder.run([embedder.prepare(Window(samples, 0.0, len(samples) / RATE))])[0]


@pytest.fixture
def models(small_models, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(small_models))
    monkeypatch.setattr(openl3, "WIDTHS", SMALL_WIDTHS)  # as in its small checkpoint
    return small_models


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The folder of a checkpoint that a test writes itself."""
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    monkeypatch.setattr(openl3, "WIDTHS", SMALL_WIDTHS)
    (tmp_path / "openl3").mkdir()
    return tmp_path / "openl3"


def formula_filters():
    """Slaney's mel filters of unit area, number by number."""

    def mel(hz):
        return 3 * hz / 200 if hz < 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4)

    def hz(mel):
        return 200 * mel / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    edges = [hz(mel(24_000.0) * i / 257) for i in range(258)]
    bins = np.arange(1025) * RATE / 2048
    rows = []
    for left, centre, right in zip(edges, edges[1:], edges[2:], strict=False):
        slopes = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
        rows.append(np.maximum(0, slopes) * 2 / (right - left))
    return np.array(rows)


def formula_spectrogram(frame, front_end):
    """What the network sees of a second, as the definition has it; 256 bands, 199 columns."""
    ends = (1024, 1024) if front_end == "librosa" else (0, 1964)
    mode = "reflect" if front_end == "librosa" else "constant"
    padded = np.pad(frame.astype(np.float64), ends, mode=mode)
    window = np.sin(np.pi * np.arange(2048) / 2048) ** 2
    columns = [padded[242 * i : 242 * i + 2048] * window for i in range(199)]
    magnitude = np.abs(np.fft.fft(columns, axis=1))[:, :1025]
    level = 10 * np.log10(np.maximum(1e-10, formula_filters() @ magnitude.T))
    return np.maximum(level - level.max(), -80)


def formula_map(layers, picture):
    """The last convolution's answer to a spectrogram, channels last, from the Keras layers."""
    weighted = [weights for _, weights in layers if weights]
    grid, convolutions = picture.astype(np.float64)[:, :, None], 0
    for weights in weighted:
        if "gamma" in weights:
            scale = weights["gamma"] / np.sqrt(weights["moving_variance"] + 1e-3)
            grid = (grid - weights["moving_mean"]) * scale + weights["beta"]
            if convolutions:
                grid = np.maximum(0, grid)
            if convolutions in (2, 4, 6):
                even = grid[: grid.shape[0] // 2 * 2, : grid.shape[1] // 2 * 2]
                corners = even[::2, ::2], even[1::2, ::2], even[::2, 1::2], even[1::2, 1::2]
                grid = np.maximum.reduce(corners)
        else:
            height, width, _ = grid.shape
            padded = np.pad(grid, ((1, 1), (1, 1), (0, 0)))
            grid = weights["bias"] + sum(
                padded[y : y + height, x : x + width] @ weights["kernel"][y, x]
                for y in range(3)
                for x in range(3)
            )
            convolutions += 1
    return grid


@pytest.mark.parametrize("front_end", ["kapre", "librosa"])
def test_front_ends_are_the_formulas(front_end):
    frames = np.stack([sound(seed=1), np.pad(0.001 * sound(0.3, seed=2), (3000, 30_600))])
    found = openl3.spectrograms(torch.from_numpy(frames), front_end)
    assert found.shape == (2, 1, 256, 199)
    for frame, picture in zip(frames, found[:, 0].numpy(), strict=True):
        expected = formula_spectrogram(frame, front_end)
        np.testing.assert_allclose(picture, expected, rtol=0, atol=1e-5)
    assert found[1].min() == -80
    assert found.amax(dim=(1, 2, 3)).tolist() == [0, 0]


def test_the_front_ends_lie_four_columns_apart():
    """Half a transform, 1,024 samples, is 4.2 hops of 242."""
    frames = torch.from_numpy(sound(seed=3)[None])
    early, late = (openl3.spectrograms(frames, name)[0, 0] for name in ("kapre", "librosa"))
    apart = [
        torch.corrcoef(
            torch.stack([early[:, 10:150].ravel(), late[:, 10 + lag : 150 + lag].ravel()])
        )[0, 1]
        for lag in range(9)
    ]
    assert np.argmax(apart) == 4


def test_the_network_is_the_formula_and_the_maximum_over_the_grid_of_the_larger_answer(models):
    layers = openl3_layers()
    samples = sound(0.4)
    for front_end in ("kapre", "librosa"):
        found = heard(loaded(f"openl3:frontend={front_end}"), samples)
        assert found.shape == (1, 512)
        frame = np.pad(samples, (24_000, 24_000 - len(samples)))
        seen = formula_map(layers, formula_spectrogram(frame, front_end))
        assert seen.shape == (32, 24, 512)
        grid = seen.reshape(4, 8, 3, 8, 512).max(axis=(1, 3)).reshape(6144)
        expected = grid.reshape(4, 3, 512).max(axis=(0, 1))
        np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_references_larger_answers_have_the_shape_of_ours(shared, models):
    from soundalike.audio.decode import decode

    reference = shared / "reference" / "openl3"
    clip = decode(reference / "chirp_44k.wav", mono=True)
    found = Extractor(loaded()).extract(clip, "none").frames
    for front_end in ("kapre", "librosa"):
        with np.load(reference / f"chirp_44k_{front_end}.npz") as file:
            assert file["embedding"].shape == (len(found.values), 12 * 512)
            times = np.arange(len(found.values)) / found.rate_hz
            np.testing.assert_allclose(times, file["timestamps"])


def test_it_has_the_published_number_of_parameters_and_statistics():
    with torch.device("meta"):
        network = openl3.make_network()
    assert sum(each.numel() for each in network.parameters()) == 4_687_042
    buffers = network.named_buffers()
    assert sum(each.numel() for name, each in buffers if "running" in name) == 2_818


@pytest.mark.parametrize(
    ("samples", "rows"),
    [(48, 1), (4800, 1), (24_000, 1), (24_001, 2), (48_000, 6), (48_001, 7), (96_000, 16)],
)
def test_every_sample_is_covered_by_a_row_and_the_first_is_in_the_middle_of_one(samples, rows):
    prepared = create("openl3").prepare(Window(np.ones(samples, np.float32), 0.0, samples / RATE))
    frames = np.lib.stride_tricks.sliding_window_view(prepared, 48_000)[::4800]
    assert len(frames) == rows
    assert frames[0, :24_000].any() == False  # noqa: E712
    assert prepared[24_000 : 24_000 + samples].all()
    assert prepared.sum() == samples


def test_a_file_without_samples_has_no_rows(models):
    with pytest.raises(UndecodableAudio):
        Extractor(create("openl3")).extract(encoded(np.zeros((0, 1), np.float32), RATE))


def test_another_rate_has_as_many_rows(models):
    file = encoded(noise(2.0, 44_100), 44_100)
    assert Extractor(loaded()).extract(file, "none").values.shape == (16, 512)


def test_silence_has_rows(models):
    silent = encoded(np.zeros((RATE, 1), np.float32), RATE)
    found = Extractor(loaded()).extract(silent, "none").values
    assert found.shape == (6, 512)
    np.testing.assert_array_equal(found, np.broadcast_to(found[0], (6, 512)))


def test_front_ends_are_told_apart(models):
    one, other = (loaded(f"openl3:frontend={name}") for name in ("kapre", "librosa"))
    assert Extractor(one).space() != Extractor(other).space()
    assert not np.allclose(heard(one, sound()), heard(other, sound()), atol=1e-3)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_the_converter_gives_back_what_was_written(tmp_path, pack):
    layers = openl3_layers(range(3, 11))
    suffix = {bytes: "", gzip.compress: ".gz", bz2.compress: ".bz2"}[pack]
    path = tmp_path / f"model.h5{suffix}"
    path.write_bytes(pack(ported_checkpoints.keras_h5(layers)))
    found = openl3.renamed(reading.read(path))
    weighted = [weights for _, weights in layers if weights]
    assert len(weighted) == 16
    for number in range(8):
        norm, convolution = weighted[2 * number], weighted[2 * number + 1]
        kernel = found[f"conv{number}.weight"].numpy()
        np.testing.assert_array_equal(
            np.moveaxis(kernel, (0, 1), (3, 2)), convolution["kernel"].astype(np.float32)
        )
        for name, array in {
            f"conv{number}.bias": convolution["bias"],
            f"norm{number}.weight": norm["gamma"],
            f"norm{number}.bias": norm["beta"],
            f"norm{number}.running_mean": norm["moving_mean"],
            f"norm{number}.running_var": norm["moving_variance"],
        }.items():
            np.testing.assert_array_equal(found[name].numpy(), array.astype(np.float32))


def test_converted_weights_answer_as_the_released_ones(models, tmp_path, monkeypatch):
    before = heard(loaded(), sound())
    space = Extractor(create("openl3")).space()
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    embedder = create("openl3")
    place = pull.take("openl3", embedder.source, models / "openl3" / FILE)
    assert [path.suffix for path in place.iterdir()].count(".safetensors") == 1
    assert not (place / FILE).exists()
    np.testing.assert_array_equal(heard(loaded(), sound()), before)
    assert Extractor(create("openl3")).space() == space


def spoilt(change):
    layers = [(name, dict(weights)) for name, weights in openl3_layers()]
    change(layers)
    return gzip.compress(ported_checkpoints.keras_h5(layers), 1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda layers: layers[2][1].pop("bias"), r"lacks conv7\.bias"),
        (lambda layers: layers.pop(), r"lacks conv7\.bias and 1 more"),
        (
            lambda layers: layers.append(("d", {"kernel": np.ones((3, 2))})),
            r"use for conv8\.weight",
        ),
        (lambda layers: layers[2][1].update(scale=np.ones(3)), r"has no use for .*scale"),
        (lambda layers: layers[2][1].update(bias=np.ones(3)), r"conv0\.bias is \(3,\) and not"),
        (lambda layers: layers[-1][1].update(bias=np.full(512, np.nan)), "NaN"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(own, change, why):
    (own / FILE).write_bytes(spoilt(change))
    with pytest.raises(Quarantined, match=why):
        loaded()


def bomb(file):
    file.attrs["layer_names"] = [b"a"]
    file.create_group("a").attrs["weight_names"] = [b"kernel:0"]
    file["a"].create_dataset("kernel:0", shape=(1 << 40,), dtype="f4", chunks=(1024,))


def elsewhere(file):
    file.attrs["layer_names"] = [b"a"]
    file["a"] = h5py.ExternalLink("/etc/hostname", "/")


def outside(file):
    file.attrs["layer_names"] = [b"a"]
    file.create_group("a").attrs["weight_names"] = [b"kernel:0"]
    file["a"].create_dataset("kernel:0", (4,), "f4", external=[("/etc/hostname", 0, 16)])


def words(file):
    file.attrs["layer_names"] = [b"a"]
    file.create_group("a").attrs["weight_names"] = [b"kernel:0"]
    file["a"]["kernel:0"] = "text"


def a_folder(file):
    file.attrs["layer_names"] = [b"a"]
    file.create_group("a").attrs["weight_names"] = [b"kernel:0"]
    file["a"].create_group("kernel:0")


def unlisted(file):
    file.attrs["layer_names"] = [b"a"]


def unnamed(file):
    file["a"] = np.ones(3)


@pytest.mark.parametrize(
    ("fill", "why"),
    [
        (bomb, "no weights"),
        (elsewhere, "leads to other files"),
        (outside, "leads to other files"),
        (words, "no weights"),
        (a_folder, "is broken"),
        (unlisted, "lacks what it lists"),
        (unnamed, "not a file of weights as Keras"),
    ],
)
def test_what_is_no_plain_file_of_weights_is_not_read(tmp_path, fill, why):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        fill(file)
    with pytest.raises(Quarantined, match=why):
        reading.read(path)


@pytest.mark.parametrize("content", [b"", b"<html>", gzip.compress(b"<html>"), "cut", "cut inside"])
def test_what_is_broken_is_quarantined(tmp_path, content):
    whole = ported_checkpoints.keras_h5(openl3_layers())
    if content == "cut":
        content = gzip.compress(whole, 1)[:-1000]
    elif content == "cut inside":
        content = gzip.compress(whole[: len(whole) // 2], 1)
    path = tmp_path / "model.h5.gz"
    path.write_bytes(content)
    with pytest.raises(Quarantined, match="broken or was cut off"):
        reading.read(path)


def test_what_unpacks_to_more_than_any_model_is_not_held_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(keras_h5, "MOST_BYTES", 1000)
    path = tmp_path / "model.h5.bz2"
    path.write_bytes(bz2.compress(bytes(1001)))
    with pytest.raises(Quarantined, match="more than any model"):
        reading.read(path)
