"""Duplicates planted among real clips are found, and no different clips are called duplicates."""

import csv
import hashlib
import io

import numpy as np
import pytest
import soundfile

from soundalike.audio.decode import decode
from soundalike.audio.fingerprint import SECONDS, fingerprint
from soundalike.catalogue import LocalCatalogue
from soundalike.catalogue.audit import audit
from soundalike.extract.loading import Extractors
from soundalike.types import Item

# two of the clips are one recording, which their waveforms show: a correlation of 0.97
ONE_RECORDING = ("2-28314-A.ogg", "2-30322-A.ogg")
PLANTED = 60
LEAST_S = 0.3  # of what is less, a cut by 50 ms leaves too little to tell by


def encoded(samples, rate, container, subtype=None):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()


def copies(content):
    clip = decode(content)
    samples, rate = clip.samples.T, clip.sample_rate
    louder = np.clip(10 ** (3 / 20) * samples, -1, 1)
    return {
        "ogg": encoded(samples, rate, "OGG", "VORBIS"),
        "mp3": encoded(samples, rate, "MP3"),
        "cut": encoded(samples[round(0.05 * rate) :], rate, "WAV", "PCM_16"),
        "loud": encoded(louder, rate, "WAV", "PCM_16"),
    }


def item(extractor, name, content):
    heard = extractor.extract(content)
    metadata = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "seconds": heard.audio.seconds,
        "silent": heard.audio.silent,
        "fingerprint": fingerprint(decode(content, first_s=SECONDS, mono=True)),
    }
    return Item(name, heard.vector, metadata)


@pytest.fixture
def clips(shared):
    """Real clips by name, those of the environment and of speech by turns."""
    with (shared / "audio" / "dev.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if float(row["seconds"]) < 60]
    long = [row for row in rows if float(row["seconds"]) >= LEAST_S]
    by_set = [[row["path"] for row in long if row["set"] == one] for one in ("esc10", "fsdd")]
    turns = [path for pair in zip(*by_set, strict=False) for path in pair]
    names = [*turns, *(row["path"] for row in rows if row["path"] not in set(turns))]
    return {name: (shared / "audio" / name).read_bytes() for name in names}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_planted_copies_are_found_and_nothing_else(clips, tmp_path):
    extractor = Extractors().get("mfcc")
    items = [item(extractor, name, content) for name, content in clips.items()]
    planted = set()
    for name in list(clips)[:PLANTED]:
        for how, content in copies(clips[name]).items():
            items.append(item(extractor, f"{name}#{how}", content))
            planted.add((name, f"{name}#{how}"))
    with LocalCatalogue(tmp_path) as catalogue:
        catalogue.create("c", space="mfcc/0", dim=len(items[0].vector))
        catalogue.upsert("c", items)
        found = audit(catalogue, "c", limit=10_000)
    pairs = {pair.ids for pair in found.near_duplicates.listed}
    assert planted <= pairs
    of_two = {tuple(one.partition("#")[0] for one in pair) for pair in pairs}
    different = {tuple(map(_file, pair)) for pair in of_two if len(set(pair)) > 1}
    assert different <= {ONE_RECORDING, ONE_RECORDING[::-1]}
    assert found.exact_duplicates.count == found.alike.count == 0


def _file(name):
    return name.rpartition("/")[2]
