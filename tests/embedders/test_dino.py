import io

import numpy as np
import pytest
import torch
from matplotlib import colormaps, image
from scipy.special import erf
from transformers import ViTModel

from soundalike import pictures
from soundalike.embedders import cards, create, dino
from soundalike.embedders.weights import read_state
from soundalike.errors import Quarantined
from soundalike.extract.extractor import Extractor
from soundalike.types import Window
from tests.embedders.checkpoints import DINO_FILES, DINO_SIZES, original_vit, random_vit, write_dino
from tests.sounds import encoded, noise, tone

RATE = 16_000
KEYS = list(DINO_SIZES)
COLOURS = np.array(colormaps["magma"].colors) * 255


def sound(seconds):
    """Noise, and a tone that is gone after five seconds."""
    held = tone(seconds)
    held[5 * RATE :] = 0
    return (held + noise(seconds, RATE, amplitude=0.05))[:, 0]


def loaded(name):
    embedder = create(name)
    embedder.load()
    return embedder


def picture_of(embedder, samples):
    return embedder.prepare(Window(samples, 0.0, len(samples) / RATE))


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A models folder for networks of two layers."""
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    monkeypatch.setattr(dino, "LAYERS", 2)
    return tmp_path


def windows_of(picture, divisor=1.0):
    """What goes into the network, from its definition in double precision."""
    means = np.array([0.485, 0.456, 0.406])[:, None, None]
    deviations = np.array([0.229, 0.224, 0.225])[:, None, None]
    scaled = (picture.astype(np.float64) / divisor - means) / deviations
    return [scaled[:, :, start : start + 224] for start in range(0, scaled.shape[2] - 223, 112)]


def class_token(state, pixels, epsilon=1e-6):
    """A vision transformer from its definition in double precision, in the original's names."""
    weights = {name: tensor.double().numpy() for name, tensor in state.items()}
    dim, _, patch, _ = weights["patch_embed.proj.weight"].shape
    side = 224 // patch

    def linear(name, x):
        return x @ weights[f"{name}.weight"].reshape(-1, x.shape[1]).T + weights[f"{name}.bias"]

    def norm(name, x):
        centred = x - x.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt(x.var(axis=1, keepdims=True) + epsilon)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def attend(q, k, v):
        scores = q @ k.T / 8
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True) @ v

    patches = pixels.reshape(3, side, patch, side, patch).transpose(1, 3, 0, 2, 4)
    x = linear("patch_embed.proj", patches.reshape(side * side, -1))
    x = np.concatenate([weights["cls_token"][0], x]) + weights["pos_embed"][0]
    for block in range(sum(name.endswith("qkv.bias") for name in weights)):
        at = f"blocks.{block}"
        thirds = np.split(linear(f"{at}.attn.qkv", norm(f"{at}.norm1", x)), 3, axis=1)
        heads = zip(*(np.split(third, dim // 64, axis=1) for third in thirds), strict=True)
        x += linear(f"{at}.attn.proj", np.concatenate([attend(*one) for one in heads], axis=1))
        inner = linear(f"{at}.mlp.fc1", norm(f"{at}.norm2", x))
        x += linear(f"{at}.mlp.fc2", inner * (1 + erf(inner / np.sqrt(2))) / 2)
    return norm("norm", x)[0]


def frames_by_hand(state, picture, *, epsilon=1e-6, divisor=1.0):
    return np.array([class_token(state, one, epsilon) for one in windows_of(picture, divisor)])


@pytest.mark.parametrize(("key", "layers"), [(KEYS[0], 12), *((key, 2) for key in KEYS[1:])])
def test_frames_are_those_of_a_plain_transformer_and_of_the_librarys(
    models, monkeypatch, key, layers
):
    monkeypatch.setattr(dino, "LAYERS", layers)
    write_dino(models / key, key, layers=layers)
    embedder = loaded(key)
    picture = picture_of(embedder, sound(11.0))
    found = embedder.run([picture])[0]
    assert found.shape == (2, cards()[key].frame_dim)

    config, state = random_vit(key, layers)
    by_hand = frames_by_hand(original_vit(state), picture)
    np.testing.assert_allclose(found, by_hand, rtol=0, atol=1e-5)

    config.layer_norm_eps = 1e-6
    library = ViTModel(config, add_pooling_layer=False).eval()
    library.load_state_dict(state, strict=True)
    with torch.inference_mode():
        pixels = torch.from_numpy(np.float32(windows_of(picture)))
        of_the_library = library(pixel_values=pixels).last_hidden_state[:, 0]
    np.testing.assert_allclose(found, of_the_library, rtol=0, atol=1e-5)


def test_the_network_has_the_published_size(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    write_dino(tmp_path / "dino-vits16", "dino-vits16", layers=12)
    embedder = create("dino-vits16")
    network = embedder.network(read_state(embedder.folder, embedder.source))
    assert sum(weights.numel() for weights in network.parameters()) == 21_665_664


@pytest.mark.parametrize("key", KEYS)
def test_the_hubs_files_give_the_same_numbers(models, monkeypatch, key):
    write_dino(models / key, key, layers=2)
    picture = picture_of(create(key), sound(8.0))
    (from_original,) = loaded(key).run([picture])
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(models / "hub"))
    folder = write_dino(models / "hub" / key, key, layers=2, hub=True)
    (from_hub,) = loaded(key).run([picture])
    np.testing.assert_array_equal(from_hub, from_original)

    library = ViTModel.from_pretrained(folder, layer_norm_eps=1e-6, add_pooling_layer=False)
    with torch.inference_mode():
        pixels = torch.from_numpy(np.float32(windows_of(picture)))
        expected = library.eval()(pixel_values=pixels).last_hidden_state[:, 0]
    np.testing.assert_allclose(from_hub, expected, rtol=0, atol=1e-5)


def test_the_norms_epsilon_is_the_originals_and_not_the_librarys(models):
    key = KEYS[0]
    path = write_dino(models / key, key, layers=2) / DINO_FILES[key]
    state = torch.load(path, weights_only=True)
    for name in ("cls_token", "pos_embed", "patch_embed.proj.bias"):
        state[name] *= 1e-2  # so faint that the epsilon shows
    state["patch_embed.proj.weight"] *= 1e-5
    torch.save(state, path)
    embedder = loaded(key)
    picture = picture_of(embedder, sound(8.0))
    (found,) = embedder.run([picture])
    np.testing.assert_allclose(found, frames_by_hand(state, picture), rtol=0, atol=1e-5)
    others = frames_by_hand(state, picture, epsilon=1e-12)
    assert np.abs(found - others).max() > 1e-3


def test_unit_scale_divides_by_255_and_is_another_space(models):
    key = KEYS[0]
    write_dino(models / key, key, layers=2)
    plain, unit = loaded(key), loaded(f"{key}:scale=unit")
    picture = picture_of(unit, sound(8.0))
    _, state = random_vit(key, layers=2)
    expected = frames_by_hand(original_vit(state), picture, divisor=255.0)
    np.testing.assert_allclose(unit.run([picture])[0], expected, rtol=0, atol=1e-5)
    assert np.abs(plain.run([picture])[0] - expected).max() > 1e-2
    assert Extractor(unit).space() != Extractor(plain).space()
    assert create(f"{key}:scale=bytes").name == key


@pytest.mark.parametrize(
    ("seconds", "count"), [(0.128, 1), (7.1, 1), (7.168, 1), (10.0, 1), (10.72, 2), (30.0, 7)]
)
def test_windows_are_those_that_fit(models, monkeypatch, seconds, count):
    monkeypatch.setattr(dino, "LAYERS", 1)
    write_dino(models / KEYS[0], KEYS[0], layers=1)
    embedder = loaded(KEYS[0])
    (frames,) = embedder.run([picture_of(embedder, sound(seconds))])
    assert frames.shape == (count, 384)


def test_the_clip_vector_is_the_mean_over_windows(models):
    write_dino(models / KEYS[0], KEYS[0], layers=2)
    extractor = Extractor(loaded(KEYS[0]))
    content = encoded(sound(14.5), RATE)
    frames = extractor.extract(content, "none").values
    assert len(frames) == 3
    found = extractor.extract(content, normalize=False).vector
    expected = frames.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def shares_in_float64(samples):
    """Where on the colour scale each value lies, from the definition, shape (224, columns)."""
    padded = np.pad(samples.astype(np.float64), 1024, mode="reflect")
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    edges_mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 226)
    edges = 700 * (10 ** (edges_mel / 2595) - 1)
    hz = np.fft.rfftfreq(2048, 1 / RATE)
    filters = np.array(
        [np.interp(hz, edges[b : b + 3], [0, 1, 0], left=0, right=0) for b in range(224)]
    )
    frames = [padded[start : start + 2048] for start in range(0, len(padded) - 2047, 512)]
    power = np.array([np.abs(np.fft.rfft(frame * taper)) ** 2 for frame in frames])
    level = 10 * np.log10(np.maximum(filters @ power.T, 1e-10))
    return (level - level.min() + 1e-6) / (level.max() - level.min() + 1e-6)


def test_the_picture_is_that_of_the_definition():
    samples = sound(9.0)
    found = picture_of(create(KEYS[0]), samples).transpose(1, 2, 0)
    shares = shares_in_float64(samples)
    assert found.shape == (*shares.shape, 3) == (224, 282, 3)
    # single precision may take the next colour where a value lies on the border of two
    near = [np.clip((shares + off) * 256, 0, 255).astype(int) for off in (-1e-5, 0, 1e-5)]
    off_by = np.min([np.abs(found - COLOURS[steps]).max(axis=2) for steps in near], axis=0)
    assert off_by.max() < 2e-5
    assert (np.abs(found - COLOURS[near[1]]).max(axis=2) < 2e-5).mean() > 0.999  # and few do


def test_a_short_picture_is_repeated_until_it_fills_a_window():
    samples = sound(3.0)
    found = picture_of(create(KEYS[0]), samples)
    columns = 1 + len(samples) // 512
    assert found.shape == (3, 224, 224)
    steps = np.clip(shares_in_float64(samples) * 256, 0, 255).astype(int)
    alike = np.abs(found[:, :, :columns].transpose(1, 2, 0) - COLOURS[steps]).max(axis=2) < 2e-5
    assert alike.mean() > 0.999
    np.testing.assert_array_equal(found[:, :, columns:], found[:, :, :-columns])


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_what_the_eye_sees_is_what_the_model_sees(rate, monkeypatch):
    content = encoded(np.concatenate([tone(4.0, rate=rate), noise(6.0, rate)]), rate)
    embedder, drawn_of = create(KEYS[0]), []

    class Enough(Exception):
        """Nothing but the drawing is asked for."""

    def draw(window):
        drawn_of.append(type(embedder).prepare(embedder, window))
        raise Enough

    monkeypatch.setattr(embedder, "prepare", draw)
    with pytest.raises(Enough):
        Extractor(embedder).extract(content)
    (seen,) = drawn_of

    settings = pictures.Settings(
        rate_hz=RATE, hop_samples=512, mel_bands=224, range_db=np.inf, width=313, height=224
    )
    drawn = pictures.png(pictures.compute(content, ["mel"], settings)["mel"], bare=True)
    pixels = image.imread(io.BytesIO(drawn)) * 255
    # a picture has whole colours, and its lowest band at the bottom
    np.testing.assert_array_equal(np.rint(pixels[::-1]), np.floor(seen).transpose(1, 2, 0))


def drop(name):
    return lambda state: state.pop(name)


def put(name, tensor):
    return lambda state: state.update({name: tensor})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (drop("blocks.1.norm2.bias"), r"lacks layers\.1\.layernorm_after\.bias"),
        (drop("blocks.0.attn.qkv.bias"), r"lacks layers\.0\.attention\.k_proj\.bias and 2 more"),
        (put("head.weight", torch.zeros(7, 384)), r"has no use for head\.weight"),
        (put("blocks.2.norm1.bias", torch.zeros(384)), "has no use for"),
        (put("blocks.0.attn.qkv.bias", torch.zeros(6)), r"is \(2,\) and not \(384,\)"),
        (put("blocks.0.attn.qkv.bias", torch.tensor(0.0)), r"lacks layers\.0\.attention\.k_proj"),
        (put("norm.bias", torch.full((384,), torch.nan)), "NaN"),
    ],
)
def test_a_faulty_original_file_is_refused_and_the_fault_named(models, change, why):
    path = write_dino(models / KEYS[0], KEYS[0], layers=2) / DINO_FILES[KEYS[0]]
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    with pytest.raises(Quarantined, match=why):
        loaded(KEYS[0])


def test_weights_of_another_size_are_refused(models):
    write_dino(models / "other", "dino-vits8", layers=2)
    folder = models / "dino-vits16"
    folder.mkdir()
    (models / "other" / DINO_FILES["dino-vits8"]).rename(folder / DINO_FILES["dino-vits16"])
    with pytest.raises(Quarantined, match=r"and not \(384, 3, 16, 16\)|and not \(1, 197, 384\)"):
        loaded("dino-vits16")
