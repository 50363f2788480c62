import numpy as np
import pytest
import torch

from soundalike.embedders import audioclip, create
from soundalike.errors import Quarantined
from soundalike.extract.extractor import Extractor
from soundalike.types import Window
from tests.embedders.picture_checkpoints import make_small, write_audioclip
from tests.embedders.plain_networks import Plain
from tests.sounds import encoded, noise, tone

RATE = 44_100
WEIGHTS = "AudioCLIP-Full-Training.pt"
HEAD = "audio."


def sound(seconds=1.0, seed=0):
    return (tone(seconds, rate=RATE) + noise(seconds, RATE, seed=seed))[:, 0]


@pytest.fixture
def models(small_models, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(small_models))
    make_small(monkeypatch, "audioclip")
    return small_models


def loaded():
    embedder = create("audioclip")
    embedder.load()
    return embedder


def prepared(samples):
    return create("audioclip").prepare(Window(samples, 0.0, len(samples) / RATE))


def head_of(folder):
    state = torch.load(folder / WEIGHTS, weights_only=True)
    return {name[len(HEAD) :]: one for name, one in state.items() if name.startswith(HEAD)}


def picture(head, samples):
    """What the network looks at, as the definition has it, in complex numbers."""
    order, bandwidth, turning = (np.float64(head[f"fbsp.{name}"]) for name in ("m", "fb", "fc"))
    time = (np.pi * np.linspace(-1, 1, 2048) + 1e-8)[:, None]
    inner = bandwidth * time / (order + 1e-8)
    cardinal = (np.sin(inner) / inner).astype(np.complex128)
    wavelets = np.sqrt(bandwidth) * cardinal**order * np.exp(-1j * turning * time) / np.sqrt(2048)

    whole_numbers = samples.astype(np.float64) * 32_768
    scaled = (whole_numbers + 32_768) * 2 / 65_535 - 1
    signal = np.concatenate([np.zeros(252), scaled, np.zeros(253)])
    window = np.float64(head["window"])
    frames = np.array([signal[561 * n : 561 * n + 1654] * window for n in range(392)])
    spectrum = np.pad(frames, ((0, 0), (197, 197))) @ wavelets
    power = np.abs(spectrum[:, :1023].T) ** 2
    return 10 * np.log10(power).reshape(3, 341, 392)


def plain_answer(head, seen, groups=32):
    """The network's answer to a picture, by plain arrays."""
    plain = Plain(head)
    x = plain.stem("", seen)
    for number, stride in enumerate((1, 2, 2, 2), 1):
        stage = plain.stage(f"layer{number}", x, stride, groups)
        x = stage * weighing(plain, f"att{number}", x, stage.shape[1:])
    pooled = x.mean(axis=(1, 2), keepdims=True) * weighing(plain, "att5", x, (1, 1))
    return plain.dense("fc", pooled[:, 0, 0])


def weighing(plain, name, x, size):
    down, across = (
        [(n * have // want, -(-(n + 1) * have // want)) for n in range(want)]
        for have, want in zip(x.shape[1:], size, strict=True)
    )
    pooled = np.array(
        [[x[:, a:b, c:d].max(axis=(1, 2)) for c, d in across] for a, b in down]
    ).transpose(2, 0, 1)
    height, width = plain.weights[f"{name}.conv_depth.weight"].shape[2:]
    deep = plain.convolve(f"{name}.conv_depth", pooled, 1, (height // 2, width // 2), groups=len(x))
    level = plain.norm(f"{name}.bn", plain.convolve(f"{name}.conv_point", deep))
    return 1 / (1 + np.exp(-level))


@pytest.mark.parametrize("seconds", [5.0, 0.7])
def test_pictures_are_the_formulas(models, seconds):
    head = head_of(models / "audioclip")
    matrix = audioclip.transform(create("audioclip").fill(audioclip.make_network, head))
    samples = prepared(sound(seconds))
    found = audioclip.pictures(torch.from_numpy(samples).double()[None], matrix)[0]
    powers = (10 ** (one / 10) for one in (found.numpy(), picture(head, samples)))
    np.testing.assert_allclose(*powers, rtol=1e-8, atol=1e-16)


def test_a_short_sound_is_held_at_its_edges_in_the_middle():
    samples = sound(0.5)
    found = prepared(samples)
    assert len(found) == 220_500
    before = (220_500 - len(samples)) // 2
    np.testing.assert_array_equal(found[before : before + len(samples)], samples)
    assert set(found[:before]) == {samples[0]}
    assert set(found[before + len(samples) :]) == {samples[-1]}


def test_the_network_has_the_published_size():
    with torch.device("meta"):
        network = audioclip.make_network()
    wavelets = 3 * 1025
    assert sum(one.numel() for one in network.parameters()) + wavelets == 32_104_771


@pytest.mark.parametrize("shape", [(3, 97, 90), (3, 341, 392)])
def test_the_network_answers_as_a_plain_one(models, shape):
    head = head_of(models / "audioclip")
    embedder = create("audioclip")
    filled = embedder.fill(audioclip.make_network, head)
    seen = torch.empty(shape).normal_(-40, 20, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = audioclip.answers(filled, seen[None])[0]
    expected = plain_answer(head, seen.double().numpy())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_network_of_full_depth_answers_as_a_plain_one(tmp_path):
    depths = (3, 4, 6, 3)
    head = head_of(write_audioclip(tmp_path / "audioclip", width=64, depths=depths))
    filled = create("audioclip").fill(audioclip.make_network, head)
    seen = torch.empty(3, 70, 40).normal_(-40, 20, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = audioclip.answers(filled, seen[None])[0]
    expected = plain_answer(head, seen.double().numpy())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_vectors_are_of_unit_length_and_count_by_their_seconds(models):
    extractor = Extractor(loaded())
    samples = sound(7.0)
    head = head_of(models / "audioclip")
    parts = [samples[: 5 * RATE], samples[5 * RATE :]]
    answers = [plain_answer(head, picture(head, prepared(one))) for one in parts]
    units = [one / np.linalg.norm(one) for one in answers]
    content = encoded(samples[:, None], RATE, subtype="FLOAT")
    found = extractor.extract(content, normalize=False).vector
    np.testing.assert_allclose(found, (5 * units[0] + 2 * units[1]) / 7, rtol=0, atol=1e-5)


def drop(name):
    return lambda state: state.pop(HEAD + name)


def put(name, tensor):
    return lambda state: state.update({HEAD + name: tensor})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (drop("fbsp.fb"), r"lacks fbsp\.fb"),
        (drop("att3.conv_point.bias"), r"lacks att3\.conv_point\.bias"),
        (put("layer1.1.conv1.weight", torch.zeros(7)), r"has no use for layer1\.1\.conv1"),
        (put("window", torch.ones(2048)), r"window is \(2048,\) and not \(1654,\)"),
        (put("fbsp.fb", torch.full((1025,), -1.0)), "NaN"),
    ],
)
def test_a_faulty_file_is_refused_and_the_fault_named(tmp_path, monkeypatch, change, why):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    make_small(monkeypatch, "audioclip")
    path = write_audioclip(tmp_path / "audioclip") / WEIGHTS
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    with pytest.raises(Quarantined, match=why):
        loaded()
