import numpy as np
import pytest

import sonic
from soundalike.cli import sonic as command
from soundalike.datasets import item_vectors
from soundalike.extract.loading import Extractors
from tests.sounds import encoded, noise, tone


@pytest.fixture
def sounds(tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number in range(3):
        (folder / f"tone{number}.wav").write_bytes(encoded(tone(1.0, 300 + 90 * number)))
    (folder / "noise.wav").write_bytes(encoded(noise(seed=1)))
    return folder


def embed(sounds, out, *arguments):
    common = ["embed", "--audio-dir", str(sounds), "--embeddings-dir", str(out)]
    return command.main([*common, *arguments])


def test_mfcc_is_the_mean_of_104_coefficients_by_file_name(sounds, tmp_path, capsys):
    assert embed(sounds, tmp_path / "out", "--model-type", "MFCC", "--batch-size", "3") == 0
    assert "mfcc_104" in capsys.readouterr().out
    found = item_vectors.read(item_vectors.find(tmp_path / "out", "mfcc_104"))
    assert list(found.ids) == ["noise", "tone0", "tone1", "tone2"]
    extractor = Extractors().get("mfcc")
    expected = extractor.extract(sounds / "tone1.wav", "mean", normalize=False).vector
    np.testing.assert_array_equal(found.values[2], expected)
    assert found.values.shape == (4, 104)


def test_options_and_poolings_of_one_embedder_stand_beside_each_other(sounds, tmp_path, capsys):
    for name in ("MFCC", "mfcc", "fake", "fake:sign=minus"):
        assert embed(sounds, tmp_path, "--model-type", name) == 0
    said = capsys.readouterr().out.splitlines()
    names = [line.rpartition(" ")[2] for line in said]
    assert names == ["mfcc_104", "mfcc_206", "fake_8", "fake_minus_8"]
    assert len({item_vectors.find(tmp_path, name) for name in names}) == 4
    found = {name: item_vectors.read(item_vectors.find(tmp_path, name)).values for name in names}
    np.testing.assert_array_equal(found["fake_8"], -found["fake_minus_8"])
    assert found["mfcc_206"].shape == (4, 206)


def test_files_of_any_rate_are_heard_at_the_embedders_own(tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for rate in (16_000, 24_000, 44_100):
        (folder / f"at{rate}.wav").write_bytes(encoded(tone(2.0, rate=rate), rate))
    (folder / "mislabelled.wav").write_bytes(encoded(tone(2.0, rate=24_000), 16_000))
    assert embed(folder, tmp_path / "out", "--model-type", "MFCC") == 0
    rows = item_vectors.read(tmp_path / "out" / "mfcc_embeddings.parquet").values
    likes = rows @ rows[0] / np.linalg.norm(rows, axis=1) / np.linalg.norm(rows[0])
    assert (likes[:3] > 0.999).all()
    assert likes[3] < 0.99


@pytest.mark.parametrize("batch_size", [1, 8, 16, 17, 100])
def test_no_sound_is_dropped_whatever_the_batch(tmp_path, batch_size):
    folder = tmp_path / "sounds"
    folder.mkdir()
    names = [f"n{number:02}" for number in range(17)]
    for number, name in enumerate(names):
        (folder / f"{name}.wav").write_bytes(encoded(noise(0.5, 8000, seed=number), 8000))
    assert embed(folder, tmp_path, "--model-type", "fake", "--batch-size", str(batch_size)) == 0
    assert list(item_vectors.read(tmp_path / "fake_8_embeddings.parquet").ids) == names


def test_a_sound_that_fails_is_named_and_makes_it_1(sounds, tmp_path, capsys):
    (sounds / "bad.wav").write_bytes(b"not a sound")
    assert embed(sounds, tmp_path / "out", "--model-type", "fake", "--profile") == 1
    said = capsys.readouterr()
    assert "bad.wav" in said.err
    assert "decode: " in said.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--model-type", "no such"],
        ["--model-type", "MFCC", "--level", "3"],
        ["--model-type", "MFCC", "--stride", "3"],
        ["--model-type", "MFCC", "--batch-size", "0"],
        ["--model-type", "MERT", "--level", "40"],
    ],
)
def test_wrong_use_is_2(sounds, tmp_path, arguments):
    assert embed(sounds, tmp_path / "out", *arguments) == 2


def test_weights_that_are_missing_are_told(sounds, tmp_path, capsys):
    assert embed(sounds, tmp_path / "out", "--model-type", "dino_vits16") == 1
    assert "weights" in capsys.readouterr().err


def test_two_files_of_one_name_are_refused(sounds, tmp_path):
    (sounds / "more").mkdir()
    (sounds / "more" / "noise.wav").write_bytes((sounds / "noise.wav").read_bytes())
    assert embed(sounds, tmp_path / "out", "--model-type", "fake") == 2


def test_run_model_tells_one_recommender_beside_the_baselines(tmp_path, capsys):
    rows = [
        f"u{user}\t{item}\t{day}"
        for user in range(8)
        for item, day in (
            (f"tone{user % 2}", "2018-05-01"), (f"tone{user % 2 + 2}", "2019-02-01"),
            (f"tone{(user + 1) % 4}", "2018-06-01"),
        )
    ]  # fmt: skip
    (tmp_path / "log.tsv").write_text("user_id\ttrack_id\ttimestamp\n" + "\n".join(rows) + "\n")
    vectors = np.random.default_rng(0).normal(size=(4, 104)).astype(np.float32)
    ids = [f"tone{number}.mp3" for number in range(4)]
    item_vectors.write(tmp_path / "mfcc_embeddings.parquet", ids, vectors)
    common = ["--events", str(tmp_path / "log.tsv"), "--embeddings-dir", str(tmp_path)]
    asked = ["run-model", "--model-name", "knn", "--embedding", "mfcc_104", "--mode", "val"]
    assert command.main([*asked, "--k", "2", *common]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "recall@2" in lines[0]
    assert [line.split()[0] for line in lines[1:6]] == [
        "knn", "random", "popularity", "item-item", "chance",
    ]  # fmt: skip
    assert command.main([*asked[:2], "als", *asked[3:], *common]) == 2


def test_the_names_of_the_project_lead_to_our_modules():
    assert callable(sonic.CREAM.decode.decode)
    assert "mfcc" in sonic.TAILS.embedders.cards()
    assert sonic.ROUGE.recommenders.KEYS == (
        "random",
        "popularity",
        "item-item",
        "knn",
        "snn",
        "bert4rec",
    )
    with pytest.raises(AttributeError, match="KNUCKLES"):
        _ = sonic.KNUCKLES
