import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import batch_norm, conv1d, max_pool1d, pad

from soundalike import embedders
from soundalike.embedders import crepe, viterbi
from soundalike.embedders.crepe_network import make_layers
from soundalike.embedders.long_convolution import Halves, convolve, matrices
from soundalike.errors import Quarantined, WeightsMissing
from soundalike.extract.extractor import Extractor
from soundalike.types import Clip, Window
from tests.embedders.packaged_weights import crepe_state, write_crepe

pytestmark = pytest.mark.timeout(300)  # the first test may have to fetch the packages

RATE_HZ = 16_000
PARAMETERS = {  # of convolutions, dense layer and batch norm
    "tiny": 486_552,
    "small": 1_628_104,
    "medium": 5_877_288,
    "large": 12_747_912,
    "full": 22_239_976,
}


@pytest.fixture(scope="module")
def published(real_models):
    """CREPE with its published weights by capacity, run as it is wherever nothing is set."""
    with pytest.MonkeyPatch.context() as patch:
        names = {capacity: f"crepe:capacity={capacity}" for capacity in ("full", "tiny")}
        yield {
            capacity: loaded(name, real_models, patch, "auto") for capacity, name in names.items()
        }


def loaded(name, folder, patch, runtime="torch"):
    patch.setenv("SOUNDALIKE_MODELS_DIR", str(folder))
    patch.setenv("SOUNDALIKE_RUNTIME", runtime)
    embedder = embedders.create(name)
    embedder.load()
    return embedder


def answers(embedder, frames):
    """What the network says of frames that are as they should be already."""
    with torch.inference_mode():
        some_at_once = torch.from_numpy(frames).split(crepe.FRAMES_AT_ONCE)
        return torch.cat([embedder.hear_frames(some) for some in some_at_once]).numpy()


def glide(seconds):
    """A tone of six harmonics that glides from 110 to 880 Hz, and its pitch in each frame."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    octaves = 3 * time / seconds
    phase = 2 * np.pi * 110 * (2**octaves - 1) / (3 / seconds * np.log(2))
    sound = sum(np.sin(k * phase) / k for k in range(1, 7)) / 3
    return sound.astype(np.float32), (110 * 2**octaves)[::160]


def follows(embedder, seconds):
    """The share of frames within 15 cents of the glide."""
    sound, truth_hz = glide(seconds)
    clip = Clip(sound[None], RATE_HZ)
    found = Extractor(embedder).extract(clip, "none").values[: len(truth_hz)]
    cents = 1200 * np.log2(found[:, 0] / truth_hz)
    return np.mean(np.abs(cents) <= 15)


def decode_densely(seen):
    """The likeliest path by the textbook, with every transition there could be."""
    bins = np.arange(360)
    moving = np.maximum(12 - np.abs(bins[:, None] - bins), 0)
    seeing = 0.1 * np.eye(360) + 0.9 / 360
    with np.errstate(divide="ignore"):
        moving, seeing = np.log(moving / moving.sum(axis=1, keepdims=True)), np.log(seeing)
    likelihoods = [np.full(360, -np.log(360)) + seeing[:, seen[0]]]
    for one in seen[1:]:
        likelihoods.append((likelihoods[-1][:, None] + moving).max(axis=0) + seeing[:, one])
    path = [int(np.argmax(likelihoods[-1]))]
    for likelihood in likelihoods[-2::-1]:
        origins = likelihood + moving[:, path[-1]]
        path.append(int(np.flatnonzero(origins == origins.max())[-1]))
    return np.array(path[::-1])


def plain_answers(state, frames):
    """The network as torchcrepe draws it, with torch's own convolutions in double precision."""
    heard = frames[:, None]
    for number in range(1, 7):
        name = f"conv{number}"
        heard = pad(heard, (254, 254) if number == 1 else (31, 32))
        kernel, bias = state[f"{name}.weight"][..., 0].double(), state[f"{name}.bias"].double()
        heard = conv1d(heard, kernel, bias, stride=4 if number == 1 else 1).relu()
        norm = {
            what: state[f"{name}_BN.{what}"].double()
            for what in ("running_mean", "running_var", "weight", "bias")
        }
        heard = max_pool1d(batch_norm(heard, **norm, eps=1e-3), 2)
    flat = heard.transpose(1, 2).flatten(1)
    return torch.sigmoid(
        flat @ state["classifier.weight"].double().T + state["classifier.bias"].double()
    )


@pytest.mark.parametrize("capacity", ["full", "tiny"])
def test_published_weights_give_the_reference_activations(capacity, published, shared):
    reference = shared / "reference" / "crepe"
    expected = np.load(reference / f"activation-{capacity}.npy")
    found = answers(published[capacity], np.load(reference / "frames-crepe.npy"))
    assert np.abs(found - expected).max() < 1e-5
    assert np.abs(found - expected).mean() < 1e-7


@pytest.mark.parametrize("capacity", ["full", "tiny"])
def test_the_path_through_the_reference_is_that_of_a_dense_decoder(capacity, shared):
    activations = np.load(shared / "reference" / "crepe" / f"activation-{capacity}.npy")
    seen = activations.argmax(axis=1)
    path = viterbi.decode(seen)
    np.testing.assert_array_equal(path, decode_densely(seen))
    assert (path != seen).any(), "nothing had to be smoothed"


@pytest.mark.parametrize(
    "seen",
    [
        np.random.default_rng(1).integers(0, 360, 300),
        np.r_[np.arange(0, 200, 2), np.full(50, 359), np.zeros(50, int)],
        np.array([17]),
    ],
    ids=["random", "glide-and-jumps", "one-frame"],
)
def test_the_path_is_that_of_a_dense_decoder_to_the_edges(seen):
    np.testing.assert_array_equal(viterbi.decode(seen), decode_densely(seen))


def test_tiny_follows_a_glide(published):
    assert follows(published["tiny"], 8) >= 0.95


def test_full_follows_a_glide(published):
    assert follows(published["full"], 8) >= 0.95


@pytest.mark.parametrize("capacity", PARAMETERS)
def test_every_capacity_is_the_plain_network(capacity, tmp_path, monkeypatch):
    multiplier = crepe.MULTIPLIERS[capacity]
    write_crepe(tmp_path / "crepe", multiplier=multiplier, capacity=capacity)
    embedder = loaded(f"crepe:capacity={capacity}", tmp_path, monkeypatch)
    frames = torch.randn(2, 1024, generator=torch.Generator().manual_seed(3))
    expected = plain_answers(crepe_state(multiplier), frames.double())
    np.testing.assert_allclose(answers(embedder, frames.numpy()), expected, atol=1e-5)
    counters = ("running_mean", "running_var", "num_batches_tracked")
    with torch.device("meta"):
        state = make_layers(multiplier).state_dict()
    counted = sum(one.numel() for name, one in state.items() if not name.endswith(counters))
    assert counted == PARAMETERS[capacity]


def test_a_long_convolution_is_torchs_own():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(2, 16, 3, generator=generator, dtype=torch.float64)
    kernels = torch.randn(5, 3, 64, generator=generator, dtype=torch.float64)
    bias = torch.randn(5, generator=generator, dtype=torch.float64)
    expected = conv1d(pad(samples.transpose(1, 2), (31, 32)), kernels, bias).permute(2, 0, 1)
    first, last = samples.float().transpose(0, 1).chunk(2)
    found = convolve(Halves(first, last.flip(0)), matrices(kernels.float(), 16), bias.float())
    whole = torch.cat([found.first, found.last.flip(0)])
    torch.testing.assert_close(whole.double(), expected, atol=2e-5, rtol=0)


def test_frames_are_centred_on_every_hundredth_of_a_second_and_standardized(small_embedder):
    seen = []
    small_embedder._network = lambda frames: (seen.append(frames), frames[:, :360])[1]
    samples = np.random.default_rng(0).normal(0.3, 0.2, 1700).astype(np.float32)
    small_embedder.run([small_embedder.prepare(Window(samples, 0.0, 1700 / RATE_HZ))])
    padded = np.pad(samples.astype(np.float64), 512)
    expected = np.stack([padded[160 * t : 160 * t + 1024] for t in range(1 + 1700 // 160)])
    expected = (expected - expected.mean(axis=1, keepdims=True)) / expected.std(
        axis=1, keepdims=True
    )
    found = torch.cat(seen)
    np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-5)
    assert not found[len(expected) :].any()
    assert len(found) % crepe.FRAMES_AT_ONCE == 0


@pytest.fixture
def small_embedder(tmp_path, monkeypatch):
    monkeypatch.setitem(crepe.MULTIPLIERS, "full", 1)
    write_crepe(tmp_path / "crepe")
    return loaded("crepe", tmp_path, monkeypatch)


def test_digital_silence_within_a_sound_is_no_fault(small_embedder):
    samples = np.zeros(8000, np.float32)
    samples[:2000] = np.sin(np.arange(2000) / 5)
    (found,) = small_embedder.run([small_embedder.prepare(Window(samples, 0.0, 0.5))])
    assert np.isfinite(found).all()


def test_pitch_is_the_weighted_mean_around_the_path_and_confidence_the_largest_anywhere():
    activations = np.zeros((4, 360), np.float32)
    activations[0, [100, 102, 104, 105]] = 0.8, 0.4, 0.2, 0.7  # 105 lies too far off
    activations[1, [100, 99]] = 0.9, 0.3
    activations[2, [1, 0]] = 0.6, 0.3
    activations[3, [359]] = 0.5
    for row in range(4):
        found = crepe.pitches(activations[row : row + 1])
        peak = activations[row].argmax()
        near = range(max(0, peak - 4), min(359, peak + 4) + 1)
        total = sum(float(activations[row, b]) for b in near)
        cents = sum(float(activations[row, b]) * (1997.3794084376191 + 20 * b) for b in near)
        hz = 10 * 2 ** (cents / total / 1200)
        np.testing.assert_allclose(found[0], [hz, activations[row].max()], rtol=1e-6)
    np.testing.assert_array_equal(crepe.pitches(np.zeros((1, 360), np.float32)), [[0, 0]])


def test_the_vector_counts_pitch_classes_and_octaves_by_confidence():
    values = np.array([[440, 0.9], [880, 0.3], [261.7, 0.6], [0, 0.2]], np.float32)
    vector = crepe.pitch_profile(values)
    classes, octaves = np.zeros(12), np.zeros(6)
    classes[[9, 0]] = 1.2 / 1.8, 0.6 / 1.8  # A and C
    octaves[[3, 4]] = 1.5 / 1.8, 0.3 / 1.8  # from C4 on, from C5 on
    confidence = values[:, 1].astype(np.float64)
    expected = np.r_[classes, octaves, confidence.mean(), confidence.std()]
    np.testing.assert_allclose(vector, expected, rtol=1e-5)


def test_what_no_package_carries_is_said_and_used_where_somebody_puts_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(tmp_path))
    with pytest.raises(WeightsMissing, match=r"'soundalike models pull crepe' brings them"):
        embedders.create("crepe:capacity=tiny").load()
    says = rf"'small.pth'.* travels in no package.* put it into '{tmp_path / 'crepe'}'"
    with pytest.raises(WeightsMissing, match=says):
        embedders.create("crepe:capacity=small").load()
    monkeypatch.setitem(crepe.MULTIPLIERS, "small", 1)
    write_crepe(tmp_path / "crepe", capacity="small")
    small = loaded("crepe:capacity=small", tmp_path, monkeypatch)
    monkeypatch.setitem(crepe.MULTIPLIERS, "full", 1)
    write_crepe(tmp_path / "crepe")
    assert Extractor(small).space() != Extractor(embedders.create("crepe")).space()


def test_weights_of_another_capacity_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(crepe.MULTIPLIERS, "full", 2)
    write_crepe(tmp_path / "crepe", multiplier=1)
    with pytest.raises(Quarantined, match=r"classifier\.weight is \(360, 64\) and not"):
        loaded("crepe", tmp_path, monkeypatch)


def test_the_card_and_the_package_agree():
    source = crepe.Crepe.card.weights
    for packed in source.archive.contents:
        (member,) = packed.members
        assert dataclasses.astuple(packed.part)[1:3] == (member.sha256, member.size_bytes)
