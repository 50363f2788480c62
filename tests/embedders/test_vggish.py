import numpy as np
import pytest
import torch

from soundalike import pooling
from soundalike.embedders import create, pull, vggish
from soundalike.errors import Quarantined
from soundalike.extract.extractor import Extractor
from soundalike.types import Window
from tests.embedders.ported_checkpoints import write_vggish
from tests.sounds import encoded, noise, tone

RATE = 16_000
WEIGHTS, PCA = "vggish-10086976.pth", "vggish_pca_params.npz"
CONVOLUTIONS = {0: 64, 3: 128, 6: 256, 8: 256, 11: 512, 13: 512}
HALVED_AFTER = (0, 3, 8, 13)


def sound(samples, seed=0):
    seconds = samples / RATE
    return (tone(seconds, rate=RATE) + noise(seconds, RATE, seed))[:, 0]


def loaded(name="vggish"):
    embedder = create(name)
    embedder.load()
    return embedder


def heard(embedder, samples):
    window = Window(samples, 0.0, len(samples) / RATE)
    return embedder.join(embedder.run([embedder.prepare(window)]), [window])


@pytest.fixture
def models(small_models, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(small_models))
    monkeypatch.setattr(vggish, "HIDDEN", 64)  # as in its small checkpoint
    return small_models


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A checkpoint that may be spoilt."""
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    monkeypatch.setattr(vggish, "HIDDEN", 64)
    return write_vggish(tmp_path / "vggish", hidden=64)


def formula_log_mel(samples):
    """The log-mel spectrogram as the definition has it, number by number."""
    time = np.arange(400)
    window = np.sin(np.pi * time / 400) ** 2
    turns = np.exp(-2j * np.pi * np.outer(np.arange(257), time) / 512)

    def mel(hz):
        return 1127 * np.log(1 + np.asarray(hz) / 700)

    edges = mel(125) + (mel(7500) - mel(125)) * np.arange(66) / 65
    level = []
    for start in range(0, len(samples) - 399, 160):
        magnitude = np.abs(turns @ (window * samples[start : start + 400].astype(np.float64)))
        bands = []
        for left, centre, right in zip(edges, edges[1:], edges[2:], strict=False):
            bins = mel(np.arange(257) * RATE / 512)
            up, down = (bins - left) / (centre - left), (right - bins) / (right - centre)
            weights = np.maximum(0, np.minimum(up, down))
            weights[0] = 0
            bands.append(weights @ magnitude)
        level.append(np.log(np.array(bands) + 0.01))
    return np.array(level)


def formula_network(state, patch):
    """Channels last throughout, one tap of a kernel after the other, in double precision."""
    state = {name: tensor.double().numpy() for name, tensor in state.items()}
    grid = patch.astype(np.float64)[:, :, None]
    for number in CONVOLUTIONS:
        kernel = state[f"features.{number}.weight"].transpose(2, 3, 1, 0)
        height, width, _ = grid.shape
        padded = np.pad(grid, ((1, 1), (1, 1), (0, 0)))
        taps = (
            padded[y : y + height, x : x + width] @ kernel[y, x] for y in range(3) for x in range(3)
        )
        grid = np.maximum(0, sum(taps) + state[f"features.{number}.bias"])
        if number in HALVED_AFTER:
            corners = grid[::2, ::2], grid[1::2, ::2], grid[::2, 1::2], grid[1::2, 1::2]
            grid = np.maximum.reduce(corners)
    row = grid.reshape(-1)
    for number in (0, 2, 4):
        dense = state[f"embeddings.{number}.weight"] @ row
        row = np.maximum(0, dense + state[f"embeddings.{number}.bias"])
    return row


def test_log_mel_is_the_formula():
    samples = sound(4000)
    found = vggish.log_mel(samples)
    np.testing.assert_allclose(found, formula_log_mel(samples), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("samples", "rows"), [(15_599, 0), (15_600, 1), (16_000, 1), (64_000, 4), (160_000, 10)]
)
def test_patches_are_as_many_as_fit(samples, rows):
    level = vggish.log_mel(sound(samples))
    found = vggish.patches(level)
    assert found.shape == (rows, 96, 64)
    np.testing.assert_array_equal(found.reshape(-1, 64), level[: 96 * rows])


def test_a_stereo_file_of_another_rate_has_the_rows_it_has_in_the_reference(models):
    seconds = 190_612 / 44_100
    file = encoded(np.tile(noise(seconds, 44_100), 2), 44_100)
    assert Extractor(loaded()).extract(file, "none").values.shape == (4, 128)


def test_the_network_is_the_formula_on_its_authors_names(models):
    state = torch.load(models / "vggish" / WEIGHTS, weights_only=True)
    embedder = loaded("vggish:form=raw")
    samples = sound(40_000)
    found = heard(embedder, samples).values
    patches = vggish.patches(formula_log_mel(samples))
    expected = np.array([formula_network(state, patch) for patch in patches])
    assert found.shape == (2, 128)
    assert found.min() == 0 < found.max(), "the last layer ends in a ReLU"
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


def test_it_has_the_published_number_of_parameters():
    with torch.device("meta"):
        network = vggish.make_network()
    assert sum(each.numel() for each in network.parameters()) == 72_141_184


def test_principal_components_and_bytes_are_the_formulas(models):
    samples = sound(64_000)
    raw = heard(loaded("vggish:form=raw"), samples).values.astype(np.float64)
    with np.load(models / "vggish" / PCA) as file:
        vectors, means = file["pca_eigen_vectors"], file["pca_means"][:, 0]
    projected = np.array([[vector @ (row - means) for vector in vectors] for row in raw])
    found = heard(loaded("vggish:form=pca"), samples).values
    np.testing.assert_allclose(found, projected, rtol=0, atol=1e-4)
    shown = heard(loaded(), samples).values
    expected = np.trunc((np.clip(found, -2, 2) + 2) * 63.75)
    np.testing.assert_array_equal(shown, expected)
    assert {0, 255} < set(np.unique(shown)), "some are cut and some are not"


def test_what_lies_between_two_bytes_is_cut_off_and_not_rounded():
    steps = np.array([-3, -2, -2 + 0.99 / 63.75, 0.0, 1.999, 2, 9], np.float32)
    assert vggish.quantised(steps).tolist() == [0, 0, 0, 127, 254, 255, 255]


def test_the_vector_is_mean_and_deviation_of_the_rows_before_they_are_bytes(models):
    samples = sound(64_000)
    raw = heard(loaded("vggish:form=raw"), samples).values.astype(np.float64)
    expected = np.concatenate([raw.mean(axis=0), raw.std(axis=0)])
    for form in ("bytes", "raw", "pca"):
        embedder = loaded(f"vggish:form={form}")
        found = embedder.pool(heard(embedder, samples), "own")
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_other_poolings_take_the_rows_as_they_are_shown(models):
    embedder = loaded()
    frames = heard(embedder, sound(64_000))
    flat = embedder.pool(frames, "flatten10")
    assert flat.shape == (1280,)
    np.testing.assert_array_equal(flat[:512], frames.values.ravel())
    np.testing.assert_array_equal(embedder.pool(frames, "max"), pooling.pool(frames, "max"))


def test_silence_has_rows(models):
    silent = encoded(np.zeros((2 * RATE, 1), np.float32), RATE)
    found = Extractor(loaded()).extract(silent, "none").values
    assert found.shape == (2, 128)
    np.testing.assert_array_equal(found[0], found[1])


def test_forms_and_components_are_part_of_the_space(own):
    spaces = {Extractor(create(f"vggish:form={form}")).space() for form in ("bytes", "raw", "pca")}
    assert len(spaces) == 3
    with np.load(own / PCA) as file:
        np.savez(own / PCA, **{**file, "pca_means": file["pca_means"] + 1})
    assert Extractor(create("vggish")).space() not in spaces


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda state: state.pop("features.8.bias"), r"lacks features\.8\.bias"),
        (lambda state: state.update(other=torch.ones(1)), "has no use for other"),
        (
            lambda state: state.update({"embeddings.0.weight": torch.ones(64, 6)}),
            r"holds embeddings\.0\.weight is \(64, 6\) and not \(64, 12288\)",
        ),
        (lambda state: state["embeddings.4.bias"].fill_(torch.nan), "NaN"),
        (lambda state: state["embeddings.4.bias"].fill_(-1e9), "zeros"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(own, change, why):
    state = torch.load(own / WEIGHTS, weights_only=True)
    change(state)
    torch.save(state, own / WEIGHTS)
    with pytest.raises(Quarantined, match=why):
        loaded()


def test_only_the_file_whose_digest_stands_in_its_name_is_taken(own):
    with pytest.raises(Quarantined, match="should be 10086976"):
        pull.take("vggish", create("vggish").source, own)


@pytest.mark.parametrize(
    "change",
    [
        {"pca_means": np.zeros(127)},
        {"pca_eigen_vectors": np.full((128, 128), np.nan)},
        {"pca_means": np.arange(128)},
        {"pca_means": np.array([None] * 128)},
        {"pca_means": None},
    ],
)
def test_components_that_are_none_are_refused(own, change):
    with np.load(own / PCA) as file:
        arrays = {name: array for name, array in {**file, **change}.items() if array is not None}
    np.savez(own / PCA, **arrays)
    with pytest.raises(Quarantined, match="pca"):
        loaded()


def test_a_file_that_is_no_archive_is_refused(own):
    (own / PCA).write_bytes(b"<html>")
    with pytest.raises(Quarantined, match=PCA):
        loaded()
