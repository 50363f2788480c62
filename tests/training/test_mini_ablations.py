import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from benchmarks import mini_ablations
from benchmarks.mini import Question
from soundalike.embedders import create, weights
from soundalike.embedders.mini_network import WIDTHS
from soundalike.extract.extractor import Extractor
from tests.sounds import encoded, noise, tone

TITLES = (*mini_ablations.TITLES, mini_ablations.FOUND)


@pytest.fixture(scope="module")
def variants():
    return mini_ablations.variants(pairs=12, steps=2, batch=4)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return mini_ablations.Pairs(tmp_path_factory.mktemp("pairs"), 4, 1)


def test_each_row_changes_one_thing(variants):
    usual = variants["recipe"]
    assert usual.how.augmentation == mini_ablations.USUAL.augmentation
    for name, variant in variants.items():
        changed = [
            variant.without != usual.without,
            variant.widths != usual.widths,
            variant.how.pairs != usual.how.pairs,
            variant.how.augmentation != usual.how.augmentation,
            variant.how.fit != usual.how.fit,
        ]
        assert sum(changed) == (name != "recipe"), name
    assert len({variant.title for variant in variants.values()}) == len(variants)


def test_rows_without_families_take_other_pairs_of_the_same_pool(variants, pairs):
    usual, quiet = pairs.of(variants["recipe"]), pairs.of(variants["no-music"])
    assert usual.shape == quiet.shape == (12, 2, 251, 64)
    numbers = mini_ablations._numbers(variants["recipe"].how.pairs, mini_ablations.MUSIC)
    assert 0 < len(numbers) < 12
    np.testing.assert_array_equal(quiet[: len(numbers)], usual[numbers])
    assert len(list(pairs.folder.iterdir())) == 2, "the held-out pairs and one pool"


def test_vectors_are_those_of_the_embedder(tmp_path):
    paths = [tmp_path / "tone.wav", tmp_path / "noise.wav"]
    for path, samples in zip(paths, (tone(1.2), noise(2.0)), strict=True):
        path.write_bytes(encoded(samples))
    state = load_file(weights.PACKAGED / "mini" / "mini.safetensors")
    found = mini_ablations.vectors_of(state, mini_ablations.pictures(paths))
    embedder = create("mini")
    embedder.load()
    for path in paths:
        assert found[path] @ Extractor(embedder).extract(path).vector > 0.999999


@pytest.mark.parametrize("name", ["recipe", "narrow"])
def test_a_row_is_trained_and_asked(variants, pairs, name):
    seen = dict(enumerate(np.random.default_rng(0).normal(size=(4, 96, 64)).astype(np.float32)))
    wanted = [Question(title, list(seen), "abab") for title in mini_ablations.TITLES]
    threads = torch.get_num_threads()
    found = mini_ablations.measured(variants[name], pairs, wanted, seen)
    assert torch.get_num_threads() == threads
    assert list(found) == list(TITLES)
    assert all(0 <= share <= 1 for share in found.values())


def test_the_table_tells_what_is_there(tmp_path):
    rows = [("recipe", 1, 0.8), ("recipe", 2, 0.9), ("wide", 1, 0.7)]
    lines = [json.dumps({"name": n, "seed": s, **dict.fromkeys(TITLES, v)}) for n, s, v in rows]
    (tmp_path / mini_ablations.ROWS).write_text("\n".join([*lines, lines[0][:20]]))
    head, _, usual, wide = mini_ablations.table(mini_ablations.read_rows(tmp_path))
    assert head.startswith("|  | seeds | ESC-10 |")
    assert usual.startswith("| the recipe | 2 | 0.850 (0.800 to 0.900) |")
    assert wide.startswith("| one and a half times as wide | 1 | 0.700 |")


def test_widths_are_scaled(variants):
    assert variants["narrow"].widths == tuple(width // 2 for width in WIDTHS)
    assert replace(variants["narrow"], title="", widths=WIDTHS) == replace(
        variants["recipe"], title=""
    )
