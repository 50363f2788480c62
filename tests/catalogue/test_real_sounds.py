"""Dislikes, variety and walks among real sounds."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from soundalike.catalogue import LocalCatalogue
from soundalike.catalogue.asks import Ask, Example
from soundalike.catalogue.choosing import Choice
from soundalike.embedders.mfcc import Mfcc
from soundalike.extract.extractor import Extractor
from soundalike.types import Item

K = 10


@pytest.fixture(scope="module")
def clips(request):
    """The clips of ESC-10, with their classes."""
    folder = request.getfixturevalue("shared") / "audio" / "dev" / "esc10"
    extractor = Extractor(Mfcc())
    items = []
    for path in sorted(folder.rglob("*.ogg")):
        heard = extractor.extract(path)
        name, label = str(path.relative_to(folder)), Path(path).parent.name
        items.append(Item(name, heard.vector, {"label": label}))
    return items


@pytest.fixture(scope="module")
def catalogue(clips, tmp_path_factory):
    with LocalCatalogue(tmp_path_factory.mktemp("clips")) as catalogue:
        catalogue.create("clips", space="mfcc/0", dim=clips[0].vector.size)
        catalogue.upsert("clips", clips)
        yield catalogue


def labels(answer) -> Counter:
    return Counter(one.metadata["label"] for one in answer.neighbours)


def test_a_dislike_moves_its_class_down_and_keeps_the_list_full(catalogue, clips):
    """For every clip that finds much of another class, one of that class is disliked."""
    before = after = tried = 0
    for clip in clips:
        (plain,) = catalogue.recommend("clips", [clip.id], K)
        others = [one for one in plain.neighbours if one.metadata != clip.metadata]
        if not others:
            continue
        hated = others[0].metadata["label"]
        ask = Ask(likes=[Example(clip.id)], dislikes=[Example(others[0].id)])
        (pushed,) = catalogue.recommend("clips", [ask], K)
        assert len(pushed.neighbours) == K
        before += labels(plain)[hated] - 1  # the disliked clip itself is left out
        after += labels(pushed)[hated]
        tried += 1
    assert tried > 50
    assert after < 0.7 * before


def test_variety_brings_more_classes(catalogue, clips):
    def classes(diversity: float) -> float:
        asks = [Ask([Example(one.id)], choice=Choice(diversity)) for one in clips[::3]]
        return float(np.mean([len(labels(one)) for one in catalogue.recommend("clips", asks, K)]))

    assert classes(0.7) > classes(0.4) > classes(0.0)


def test_a_walk_from_a_dog_to_rain_stays_near_at_every_step(catalogue, clips):
    dogs = [one for one in clips if one.metadata["label"] == "dog_bark"]
    rains = [one for one in clips if one.metadata["label"] == "rain"]
    worst, direct = [], []
    for dog, rain in itertools.product(dogs[:4], rains[:4]):
        steps = catalogue.path("clips", dog.id, rain.id, 8)
        assert (steps[0].id, steps[-1].id) == (dog.id, rain.id)
        assert len({one.id for one in steps}) == len(steps) == 8
        worst.append(min(one.cosine for one in steps[1:]))
        direct.append(float(dog.vector @ rain.vector))
        # nearer at its farthest step than the two ends are to one another
        assert worst[-1] > direct[-1]
    assert 1 - np.mean(worst) < 0.5 * (1 - np.mean(direct))
