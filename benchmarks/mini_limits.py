"""What `mini` hears, and what it does not: small questions beside other embedders.

    OMP_NUM_THREADS=1 python -m benchmarks.mini_limits [--data ../shared] [--seed 0]

First synthesised sounds, each recorded in a way of its own, of a dozen things by a dozen: notes of
instruments, melodies, loops of drums, words. Precision at 1, where one of two is to be found again
with the other changed: the instrument at another pitch, the melody on another instrument. They come
of the synthesis that `mini` learned from, which flatters it, not those that it is compared with.
Then real clips: ESC-10 cut to the moments around its loudest, and two clips of different kinds at
once, equally loud: how often the nearest of all others is of either kind.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.mini import MODELS, print_row, questions
from soundalike.audio.decode import decode
from soundalike.evaluation.retrieval import Labelled, evaluate
from soundalike.extract.extractor import Extractor
from soundalike.extract.loading import Extractors
from soundalike.synthesis import FAMILIES, Patch, draw, render
from soundalike.synthesis.composing import FORMS
from soundalike.synthesis.instruments import TIMBRE, play_notes
from soundalike.synthesis.recording import EFFECTS, record
from soundalike.synthesis.scores import Note
from soundalike.synthesis.take import Take
from soundalike.types import Clip

RATE_HZ = 16_000
SECONDS, NOTE_S = 4.0, 1.5
THINGS = 12  # of each sort, so that chance is right in one case of twelve
LOWEST_HZ = 110.0
CUT_S = (0.25, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Sounds:
    """Some things, each in some conditions.

    Attributes
    ----------
    clips : list of Clip
    things, conditions : list of str
        What each clip is to be found by, and what is another in what is found.
    """

    clips: list[Clip]
    things: list[str]
    conditions: list[str]


def notes(semitones: Sequence[int], rng: np.random.Generator) -> Sounds:
    """Play single notes, so many semitones above A2, on instruments that are drawn."""
    timbres = [_values(TIMBRE, rng) for _ in range(THINGS)]
    found = Sounds([], [], [])
    for number, timbre in enumerate(timbres):
        for semitone in semitones:
            take = Take(NOTE_S + 0.5, RATE_HZ, np.random.default_rng(rng.integers(2**32)))
            note = Note(0.1, NOTE_S, LOWEST_HZ * 2 ** (semitone / 12), 1.0)
            played = record(play_notes([note], timbre, take), _values(EFFECTS, rng), take)
            found.clips.append(Clip(played[np.newaxis], RATE_HZ))
            found.things.append(str(number))
            found.conditions.append(str(semitone))
    return found


def _values(ranges: dict, rng: np.random.Generator) -> dict[str, float]:
    return {name: one.at(rng.random()) for name, one in ranges.items()}


def played(family: str, rng: np.random.Generator) -> Sounds:
    """Have things of a family each play all of some scores; they sound as things do."""
    timbres, scores = ([draw(rng, family) for _ in range(THINGS)] for _ in range(2))
    found = Sounds([], [], [])
    for number, timbre in enumerate(timbres):
        for which, score in enumerate(scores):
            patch = _of(timbre, _as_melody(score), draw(rng, family))
            found.clips.append(Clip(render(patch, SECONDS, RATE_HZ)[np.newaxis], RATE_HZ))
            found.things.append(str(number))
            found.conditions.append(str(which))
    return found


def _as_melody(patch: Patch) -> Patch:
    """Have an instrument play a repeated melody, whatever it would have played."""
    if "form" not in FAMILIES[patch.family].score:
        return patch
    last = (len(FORMS) - 0.5) / len(FORMS)
    return replace(patch, score={**patch.score, "form": last})


def _of(timbre: Patch, score: Patch, recording: Patch) -> Patch:
    return replace(
        timbre,
        score=score.score,
        score_seed=score.score_seed,
        effects=recording.effects,
        noise_seed=recording.noise_seed,
    )


def turned(sounds: Sounds) -> Sounds:
    """Ask for the conditions, the things being others."""
    return Sounds(sounds.clips, sounds.conditions, sounds.things)


def right(extractor: Extractor, sounds: Sounds) -> float:
    """Tell how often the nearest clip in any other condition is the same thing."""
    vectors = np.stack([extractor.extract(clip).values for clip in sounds.clips])
    labels = [[thing] for thing in sounds.things]
    asked = Labelled(extractor.name, "own", vectors, labels, sounds.conditions)
    return evaluate(asked, ks=(1,)).figures.precision[1].mean


def synthesised(seed: int) -> Iterator[tuple[str, Sounds]]:
    """Name all questions of synthesised sounds; the same seed asks about the same sounds."""

    def rng() -> np.random.Generator:
        return np.random.default_rng(seed)

    for title, semitones in (
        ("a semitone", (24, 25)),
        ("an octave", (18, 30)),
        ("two octaves", (12, 36)),
    ):
        yield f"instrument, its other note {title} away", notes(semitones, rng())
    yield "pitch, other instruments", turned(notes(range(18, 18 + THINGS), rng()))
    for family, thing, condition in (
        ("instrument", "instrument", "melody"),
        ("ensemble", "players", "piece"),
        ("drums", "drum kit", "rhythm"),
        ("vocal", "speaker", "word"),
    ):
        sounds = played(family, rng())
        yield f"{thing}, another {condition}", sounds
        yield f"{condition}, another {thing}", turned(sounds)


def shortened(clip: Clip, seconds: float) -> Clip:
    """Keep so many seconds around the loudest tenth of a second."""
    size, tenth = round(seconds * clip.sample_rate), round(0.1 * clip.sample_rate)
    power = np.convolve(clip.samples[0].astype(np.float64) ** 2, np.ones(tenth), "same")
    start = max(0, min(int(power.argmax()) - size // 2, clip.samples.shape[1] - size))
    return replace(clip, samples=np.ascontiguousarray(clip.samples[:, start : start + size]))


def both(one: Clip, other: Clip) -> Clip:
    """Put two clips over each other, equally loud, as long as the shorter."""
    size = min(one.samples.shape[1], other.samples.shape[1])
    pieces = [clip.samples[:, :size] for clip in (one, other)]
    mixed = sum(piece / (np.sqrt(np.mean(piece**2)) + 1e-9) for piece in pieces)
    return replace(one, samples=np.asarray(0.5 * mixed / np.abs(mixed).max(), np.float32))


def of_either(
    extractor: Extractor, clips: Sequence[Clip], labels: Sequence[str], seed: int
) -> float:
    """Tell how often the nearest to two clips at once, but those two, is of one of their kinds."""
    rng = np.random.default_rng(seed)
    originals = np.stack([extractor.extract(clip).values for clip in clips])
    found = []
    for number, clip in enumerate(clips):
        others = [n for n, label in enumerate(labels) if label != labels[number]]
        other = others[rng.integers(len(others))]
        likeness = originals @ extractor.extract(both(clip, clips[other])).values
        likeness[[number, other]] = -np.inf
        found.append(labels[likeness.argmax()] in (labels[number], labels[other]))
    return float(np.mean(found))


def real(audio: Path, seed: int) -> Iterator[tuple[str, Callable[[Extractor], float]]]:
    """Name all questions of real clips."""
    with tempfile.TemporaryDirectory() as name:
        kinds = questions(audio, Path(name))[0]
    clips = [decode(path, mono=True) for path in kinds.clips]
    for seconds in CUT_S:
        cut = [shortened(clip, seconds) for clip in clips]
        apart = [str(number) for number in range(len(cut))]
        sounds = Sounds(cut, list(kinds.labels), apart)
        yield f"ESC-10, {seconds:g} s of each", lambda one, sounds=sounds: right(one, sounds)
    yield (
        "ESC-10, two kinds at once",
        lambda one: of_either(one, clips, kinds.labels, seed),
    )


def main() -> int:
    """Print a row a question, with what each embedder answers rightly."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"), help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of synthesised sounds (%(default)s)")
    args = parser.parse_args()
    loaded = Extractors()
    extractors = [loaded.get(model) for model in MODELS]
    print_row("sought, and what is another", *(f"`{model}`" for model in MODELS))
    print_row(*["---"] * (1 + len(MODELS)))
    for title, sounds in synthesised(args.seed):
        print_row(title, *(f"{right(one, sounds):.2f}" for one in extractors))
    for title, ask in real(args.data / "audio", args.seed):
        print_row(title, *(f"{ask(one):.2f}" for one in extractors))
    return 0


if __name__ == "__main__":
    sys.exit(main())
