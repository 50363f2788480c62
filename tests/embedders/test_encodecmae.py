import numpy as np
import pytest
import torch

from soundalike.embedders import create, encodecmae
from soundalike.errors import Quarantined
from soundalike.extract.extractor import Extractor
from soundalike.types import Window
from tests.embedders.picture_checkpoints import make_small
from tests.embedders.ported_checkpoints import write_encodecmae
from tests.sounds import encoded, noise, tone

RATE = 24_000
WEIGHTS = "mel256-ec-base_st.pt"


def sound(samples, seed=0):
    seconds = samples / RATE
    return (tone(seconds, rate=RATE) + noise(seconds, RATE, seed=seed))[:, 0]


@pytest.fixture
def models(small_models, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(small_models))
    make_small(monkeypatch, "encodecmae")
    return small_models


def loaded():
    embedder = create("encodecmae")
    embedder.load()
    return embedder


def prepared(samples):
    return create("encodecmae").prepare(Window(samples, 0.0, len(samples) / RATE))


def state_of(folder):
    return torch.load(folder / WEIGHTS, weights_only=True)["state_dict"]


def kaldi(samples):
    """The scaled log-mel spectrogram as the definition has it, frame by frame."""
    time = np.arange(637)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * time / 636)
    turns = np.exp(-2j * np.pi * np.outer(np.arange(513), time) / 1024)

    def mel(hz):
        return 1127 * np.log(1 + np.asarray(hz) / 700)

    edges = mel(20) + (mel(12_000) - mel(20)) * np.arange(258) / 257
    bins = mel(np.arange(513) * RATE / 1024)
    filters = np.array([np.interp(bins, edges[band : band + 3], [0, 1, 0]) for band in range(256)])
    rows = []
    for start in range(0, len(samples) - 636, 318):
        frame = samples[start : start + 637].astype(np.float64)
        frame -= frame.mean()
        sharp = np.array([0.03 * frame[0], *(frame[1:] - 0.97 * frame[:-1])])
        power = filters @ np.abs(turns @ (sharp * window)) ** 2
        rows.append((np.log(np.maximum(power, 1.19e-7)) + 6.12) / 4.82)
    return np.array(rows)


def transformer(state, level, attended):
    """The frames of a window from the network's definition, head by head, in double precision."""
    weights = {name: tensor.double().numpy() for name, tensor in state.items()}

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0)

    def norm(name, x):
        centred = x - x.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def attention(name, x):
        queries, keys, values = (linear(f"{name}.{one}", x) for one in ("wq", "wk", "wv"))
        mixed = np.empty_like(values)
        for head in range(12):
            mine = slice(head, None, 12)  # every twelfth number
            scores = queries[:, mine] @ keys[:attended, mine].T / np.sqrt(64)
            shares = np.exp(scores - scores.max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
            mixed[:, mine] = shares @ values[:attended, mine]
        return linear(f"{name}.wo", mixed)

    turns = np.arange(len(level))[:, None] / 10_000 ** (np.arange(0, 768, 2) / 768)
    places = np.empty((len(level), 768))
    places[:, 0::2], places[:, 1::2] = np.sin(turns), np.cos(turns)
    places *= weights["masker.positional_encoder.scale"]
    normed = gathered = linear("wav_encoder.post_net", level) + places
    for number in range(sum(name.endswith("wq.weight") for name in weights)):
        layer = f"visible_encoder.encoder_layers.{number}"
        attended_to = attention(f"{layer}.att_layer", normed)
        normed = norm(f"{layer}.norm1", normed + attended_to)
        inner = np.maximum(linear(f"{layer}.ff_layer.0", normed), 0)
        fed = linear(f"{layer}.ff_layer.2", inner)
        normed = norm(f"{layer}.norm2", normed + fed)
        gathered = gathered + attended_to + fed
    return normed + norm("visible_encoder.final_norm", gathered)


@pytest.mark.parametrize(
    ("samples", "rows"), [(637, 1), (954, 1), (955, 2), (2 * RATE, 149), (4 * RATE, 300)]
)
def test_spectrogram_is_the_formulas(samples, rows):
    found = encodecmae.log_mel(sound(samples))
    assert found.shape == (rows, 256)
    np.testing.assert_allclose(found, kaldi(sound(samples)), rtol=0, atol=1e-9)


def test_faint_bands_have_a_floor():
    found = encodecmae.log_mel(np.zeros(1000, np.float32))
    np.testing.assert_allclose(found, (np.log(1.19e-7) + 6.12) / 4.82, rtol=1e-12)


@pytest.mark.parametrize(
    ("samples", "attended"), [(RATE, 74), (95_990, 299), (4 * RATE, 300), (2_400, 6)]
)
def test_frames_are_those_of_a_plain_transformer(models, samples, attended):
    given = sound(samples)
    (found,) = loaded().run([prepared(given)])
    expected = transformer(state_of(models / "encodecmae"), kaldi(given), attended)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_beyond_the_whole_hops_of_320_a_last_frame_is_not_attended_to():
    assert set(prepared(sound(4 * RATE))[:, 256]) == {0.0}
    assert prepared(sound(95_990)).shape[0] == 300
    assert list(np.flatnonzero(prepared(sound(95_990))[:, 256])) == [299]


@pytest.mark.slow
def test_at_full_size_frames_are_a_plain_transformers_and_weights_as_many_as_published(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    folder = write_encodecmae(tmp_path / "encodecmae", layers=10, hidden=4096)
    given = sound(RATE)
    (found,) = loaded().run([prepared(given)])
    expected = transformer(state_of(folder), kaldi(given), 74)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_the_network_has_the_published_size():
    with torch.device("meta"):
        network = encodecmae.make_network()
    scale = 1
    assert sum(one.numel() for one in network.parameters()) + scale == 30_118_913


def test_a_long_clip_is_the_mean_over_the_frames_of_all_windows(models):
    extractor = Extractor(loaded())
    content = encoded(sound(6 * RATE)[:, None], RATE, subtype="FLOAT")
    frames = extractor.extract(content, "none").values
    assert frames.shape == (300 + 149, 768)
    found = extractor.extract(content, normalize=False)
    expected = frames.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found.vector, expected, rtol=0, atol=1e-6)


LAYER = "visible_encoder.encoder_layers.1."


def drop(name):
    return lambda state: state.pop(name)


def put(name, tensor):
    return lambda state: state.update({name: tensor})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (drop("masker.positional_encoder.scale"), r"lacks masker\.positional_encoder\.scale"),
        (drop(f"{LAYER}norm2.bias"), r"lacks visible_encoder\.encoder_layers\.1\.norm2\.bias"),
        (put(f"{LAYER}att_layer.wq.bias", torch.zeros(768)), "has no use for"),
        (put("wav_encoder.post_net.weight", torch.zeros(768, 128)), r"not \(768, 256\)"),
        (put(f"{LAYER}ff_layer.2.bias", torch.zeros(768)), r"share a block.*1\.ff_layer\.2\.bias"),
        (put("visible_encoder.final_norm.bias", torch.full((768,), torch.nan)), "NaN"),
    ],
)
def test_a_faulty_file_is_refused_and_the_fault_named(tmp_path, monkeypatch, change, why):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    make_small(monkeypatch, "encodecmae")
    path = write_encodecmae(tmp_path / "encodecmae") / WEIGHTS
    content = torch.load(path, weights_only=True)
    change(content["state_dict"])
    torch.save(content, path)
    with pytest.raises(Quarantined, match=why):
        loaded()


@pytest.mark.parametrize(
    ("dtype", "within"), [(torch.float32, 1e-4), (torch.bfloat16, 4e-3), (torch.float16, 6e-4)]
)
def test_places_are_told_exactly_in_any_precision(dtype, within):
    found = encodecmae.position_code(torch.zeros(1, 300, 257, dtype=dtype))
    turns = np.arange(300)[:, None] * 10_000.0 ** (-np.arange(0, 768, 2) / 768)
    assert found.dtype == dtype
    np.testing.assert_allclose(found[:, 0::2].double(), np.sin(turns), rtol=0, atol=within)
    np.testing.assert_allclose(found[:, 1::2].double(), np.cos(turns), rtol=0, atol=within)
