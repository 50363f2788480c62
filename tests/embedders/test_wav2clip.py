import numpy as np
import pytest
import torch

from soundalike.embedders import create, wav2clip
from soundalike.errors import Quarantined
from soundalike.extract.extractor import Extractor
from soundalike.types import Window
from tests.embedders.picture_checkpoints import make_small, write_wav2clip
from tests.embedders.plain_networks import Plain, relu
from tests.sounds import encoded, noise, tone

RATE = 16_000
WEIGHTS = "Wav2CLIP.pt"


def sound(seconds=1.0, seed=0):
    return (tone(seconds) + noise(seconds, seed=seed))[:, 0]


@pytest.fixture
def models(small_models, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(small_models))
    make_small(monkeypatch, "wav2clip")
    return small_models


def loaded():
    embedder = create("wav2clip")
    embedder.load()
    return embedder


def heard(embedder, samples):
    return embedder.run([embedder.prepare(Window(samples, 0.0, len(samples) / RATE))])[0]


def spectrogram(samples):
    """The scaled spectrogram as the definition has it, frame by frame."""
    time = np.arange(512)
    window = np.sin(np.pi * time / 512) ** 2
    turns = np.exp(-2j * np.pi * np.outer(np.arange(257), time) / 512)
    wide = samples.astype(np.float64)
    mirrored = np.concatenate([wide[256:0:-1], wide, wide[-2:-258:-1]])
    frames = [mirrored[353 * n : 353 * n + 512] for n in range(1 + len(wide) // 353)]
    level = np.log(np.abs(turns @ (np.array(frames) * window).T) ** 2 + 1e-7)
    deviation = np.sqrt(((level - level.mean()) ** 2).sum() / (level.size - 1))
    return (level - level.mean()) / (deviation + 1e-9)


def by_hand(folder, samples):
    """The vector of a window, by plain arrays."""
    plain = Plain(torch.load(folder / WEIGHTS, weights_only=True))
    x = plain.stem("audio_encoder.", spectrogram(samples)[None])
    for number, stride in enumerate((1, 2, 2, 2), 1):
        x = plain.stage(f"audio_encoder.layer{number}", x, stride)
    hidden = relu(plain.dense("audio_transform.sequential.0", x.mean(axis=(1, 2))))
    return plain.dense("audio_transform.sequential.3", hidden)


@pytest.mark.parametrize(("samples", "columns"), [(257, 1), (353, 2), (RATE, 46), (10 * RATE, 454)])
def test_spectrogram_is_the_formulas(samples, columns):
    given = sound(10.0)[:samples]
    found = wav2clip.log_spectrogram(torch.from_numpy(given).double()[None])[0]
    assert found.shape == (257, columns)
    np.testing.assert_allclose(found, spectrogram(given), rtol=0, atol=1e-10)


def test_windows_are_scaled_each_by_itself():
    loud, faint = torch.from_numpy(sound()), 1e-3 * torch.from_numpy(sound(seed=1))
    together = wav2clip.log_spectrogram(torch.stack([loud, faint]).double())
    alone = wav2clip.log_spectrogram(faint.double()[None])
    torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-12)


def test_vectors_are_those_of_a_plain_network_at_full_size(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    folder = write_wav2clip(tmp_path / "wav2clip", width=64, blocks=2)
    embedder = loaded()
    for seconds in (1.0, 0.02):
        found = heard(embedder, sound(seconds))
        expected = by_hand(folder, sound(seconds))
        close_to = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(found[0], expected, rtol=0, atol=close_to)


def test_the_network_has_the_published_size():
    with torch.device("meta"):
        network = wav2clip.make_network()
    assert sum(one.numel() for one in network.parameters()) == 11_170_240 + 525_312


def test_a_long_clip_is_the_mean_of_its_windows_by_their_seconds(models):
    extractor = Extractor(loaded())
    samples = sound(14.0)
    found = extractor.extract(
        encoded(samples[:, None], RATE, subtype="FLOAT"), normalize=False, window_vectors=True
    )
    first, second = (
        heard(extractor.embedder, samples[at]) for at in (slice(160_000), slice(160_000, None))
    )
    np.testing.assert_allclose(found.vector, (10 * first[0] + 4 * second[0]) / 14, atol=1e-5)


def drop(name):
    return lambda state: state.pop(name)


def put(name, tensor):
    return lambda state: state.update({name: tensor})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (drop("audio_encoder.layer3.0.downsample.1.bias"), r"lacks audio_encoder\.layer3\.0"),
        (drop("audio_transform.sequential.3.bias"), r"lacks audio_transform\.sequential\.3\.bias"),
        (put("audio_encoder.fc.weight", torch.zeros(7)), r"has no use for audio_encoder\.fc"),
        (put("audio_encoder.conv1.weight", torch.zeros(8, 3, 7, 7)), r"not \(8, 1, 7, 7\)"),
        (put("audio_encoder.bn1.bias", torch.full((8,), torch.nan)), "NaN"),
    ],
)
def test_a_faulty_file_is_refused_and_the_fault_named(tmp_path, monkeypatch, change, why):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    make_small(monkeypatch, "wav2clip")
    path = write_wav2clip(tmp_path / "wav2clip") / WEIGHTS
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    with pytest.raises(Quarantined, match=why):
        loaded()


def test_towers_for_pictures_and_words_are_left_aside(tmp_path, monkeypatch, models):
    expected = heard(loaded(), sound())
    path = write_wav2clip(tmp_path / "wav2clip") / WEIGHTS
    state = torch.load(path, weights_only=True)
    torch.save(state | {"image_encoder.weight": torch.zeros(3)}, path)
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    np.testing.assert_array_equal(heard(loaded(), sound()), expected)
