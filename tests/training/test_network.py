import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from soundalike.embedders.mini_network import NumpyNetwork, shapes, statistics
from soundalike.training import release
from soundalike.training.network import Learner, contrast, folded


def worn_in():
    """A network whose batch norms have seen something."""
    torch.manual_seed(0)
    learner = Learner()
    learner.train()
    for _ in range(3):
        learner(2 * torch.randn(8, 96, 64) + 0.3)
    return learner.eval()


def contrast_by_hand(one, other, temperature):
    both = np.concatenate([one, other]).astype(np.float64)
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    losses = []
    for row, vector in enumerate(both):
        weights = np.exp(both @ vector / temperature)
        partner = (row + len(one)) % len(both)
        losses.append(-np.log(weights[partner] / (weights.sum() - weights[row])))
    return np.mean(losses)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_loss_is_that_of_its_paper(temperature):
    one, other = torch.randn(7, 5), torch.randn(7, 5)
    expected = contrast_by_hand(one.numpy(), other.numpy(), temperature)
    assert contrast(one, other, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_folded_it_computes_the_same():
    learner = worn_in()
    picture = torch.randn(1, 101, 64)
    with torch.inference_mode():
        expected = learner.network(picture)[0].numpy()
    state = folded(learner.network)
    assert {name: array.shape for name, array in state.items()} == {
        name: shape for name, shape in shapes().items() if not name.startswith("statistics")
    }
    found = NumpyNetwork(state)(picture[0].numpy())
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())


def test_the_space_is_standardised_and_partly_whitened():
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(2000, 300)) * np.geomspace(8, 0.1, 300)
    seen = (latent @ rng.normal(size=(300, 1536)) + 5).astype(np.float32)
    fitted = release.fit_space(seen)
    vectors = (seen - fitted["statistics.mean"]) @ fitted["statistics.projection"]
    assert vectors.shape == (2000, 256)
    covariance = np.cov(vectors.T, bias=True)
    variances = np.diag(covariance)
    standard = (seen - seen.mean(0)) / seen.std(0)
    standard[:, 1024:] *= 2  # the deviations
    eigenvalues = np.linalg.eigvalsh(standard.T @ standard / 2000)[::-1][:256]
    np.testing.assert_allclose(variances, eigenvalues**0.6, rtol=0.02)
    assert np.abs(covariance - np.diag(variances)).max() < 0.01 * variances.max()


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_written_is_read_again(tmp_path, order):
    array = np.array(np.random.default_rng(0).normal(size=(3, 5)), np.float16, order=order)
    release.write({"one": array}, tmp_path / "some.safetensors")
    np.testing.assert_array_equal(load_file(tmp_path / "some.safetensors")["one"], array)
    assert [path.name for path in tmp_path.iterdir()] == ["some.safetensors"]


def test_statistics_are_mean_maximum_and_deviation():
    frames = np.random.default_rng(0).random((9, 512)).astype(np.float32)
    found = statistics(frames).reshape(3, 512)
    expected = [np.mean(frames, 0), np.max(frames, 0), np.std(frames.astype(float), 0)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
