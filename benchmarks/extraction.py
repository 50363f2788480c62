"""What a folder takes: `soundalike extract`, beside a script that loads models once and loops.

    python -m benchmarks.extraction FOLDER [--clips N] [--reloaded N] [--json FILE]

Each way is a process of its own, measured with all that it starts: by the clock, in processor time
and in memory (the most that its processes held together, shared pages counted once). The script
hears one file after the other, each with every model: librosa reads and resamples it for each,
torch computes with as many threads as it likes, numpy.save writes the frames. Networks, weights and
frames are the same in all ways; that is looked into at the end. The last way loads the models again
for each file, so it hears a few alone.

Weights are the published ones of CREPE (tiny) and madmom, out of the packages that carry them, and
random ones of the published size for CLAP.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.embedders import bring
from soundalike import embedders
from soundalike.errors import TooShort
from soundalike.extract.extractor import Extractor
from soundalike.extract.found import spread, survey
from soundalike.types import Clip

MODELS = ("crepe:capacity=tiny", "madmom", "mfcc", "clap")
LOOK_EVERY_S = 0.5
LEAST_COSINE = 0.999
TOLD_AT = (0.1, 0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one way took."""

    name: str
    clips: int
    sound_s: float
    wall_s: float
    cpu_s: float
    peak_mb: float

    def row(self, slowest: Cost) -> str:
        """Make a row of the table."""
        rate, base = self.sound_s / self.wall_s, slowest.sound_s / slowest.wall_s
        return (
            f"| {self.name} | {self.clips} | {self.wall_s:.1f} s | {rate:.1f} | "
            f"{rate / base:.2f} | {self.cpu_s / self.wall_s:.0%} | {self.peak_mb:.0f} MB |"
        )


def loop(folder: Path, out: Path, *, reload: bool) -> None:
    """Do what the script does; to be called in a process of its own."""
    loaded = {} if reload else {name: load(name) for name in MODELS}
    for sound in survey(folder).sounds:
        for name in MODELS:
            extractor = load(name) if reload else loaded[name]
            try:
                frames = hear(extractor, sound.path)
            except TooShort:  # madmom needs half a second
                continue
            target = out / name / sound.output
            target.parent.mkdir(parents=True, exist_ok=True)
            np.save(target, frames)


def load(name: str) -> Extractor:
    embedder = embedders.create(name)
    embedder.load()
    return Extractor(embedder)


def hear(extractor: Extractor, path: Path) -> np.ndarray:
    import librosa

    rate_hz = extractor.embedder.card.sample_rate
    samples, _ = librosa.load(path, sr=rate_hz)
    frames = extractor.extract(Clip(samples[None], rate_hz), "none").values
    return frames[:, 0] if frames.shape[1] == 1 else frames


def measured(
    name: str, command: Sequence[str], clips: int, sound_s: float, **settings: str
) -> tuple[Cost, list[tuple[float, str]]]:
    """Run a way; give what it took, and the lines that it printed, each with its moment."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={**os.environ, **settings},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    peak = Peak(process.pid)
    printed = [(time.perf_counter() - started, line) for line in process.stdout]
    _, status, used = os.wait4(process.pid, 0)
    wall_s, peak_mb = time.perf_counter() - started, peak.stop()
    if os.waitstatus_to_exitcode(status) not in (0, 1):  # 1 where clips were too short
        raise SystemExit(f"{name} failed.")
    cost = Cost(name, clips, sound_s, wall_s, used.ru_utime + used.ru_stime, peak_mb)
    return cost, printed


def foresight(printed: Sequence[tuple[float, str]]) -> str:
    """Compare the time left, as it was told on the way, with the time that was left."""
    told = [(at_s, json.loads(line)) for at_s, line in printed]
    *lines, (end_s, _) = told
    said = []
    for share in TOLD_AT:
        at_s, line = next(one for one in lines if one[1]["files"] >= share * one[1]["of"])
        said.append(f"{line['left_s'] / (end_s - at_s):.2f} after {share:.0%}")
    return "Time left as told, over what it was: " + ", ".join(said)


class Peak:
    """Looks now and then how much memory the processes of a session hold together."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> float:
        """Give the most that was seen, in MB."""
        self._over.set()
        self._thread.join()
        return self._most / 1e6

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self._most = max(self._most, sum(map(self._held, Path("/proc").glob("[0-9]*"))))

    def _held(self, process: Path) -> int:
        try:
            session = int((process / "stat").read_text().rpartition(")")[2].split()[3])
            if session != self._session:
                return 0
            lines = (process / "smaps_rollup").read_text().splitlines()
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):  # it has ended
            return 0


def least_cosine(ours: Path, theirs: Path) -> float:
    """Compare what two ways wrote; the least cosine of two files' mean frames."""
    least = 1.0
    for name in MODELS:
        folder = ours / name.replace(":", "_")
        for path in folder.rglob("*.npy"):
            one, other = np.load(path), np.load(theirs / name / path.relative_to(folder))
            if one.shape != other.shape:
                raise SystemExit(f"{path}: {one.shape} and {other.shape}")
            a, b = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
            least = min(least, float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))))
    return least


def picked(folder: Path, clips: int | None, into: Path) -> tuple[Path, int, float]:
    """Link some clips, of all sizes, into a folder; give it, how many and how long they are."""
    import soundfile

    sounds = spread(survey(folder).sounds)[:clips]
    seconds = 0.0
    for sound in sounds:
        link = into / sound.file
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(sound.path.resolve())
        seconds += soundfile.info(str(sound.path)).duration
    return into, len(sounds), seconds


def main() -> None:
    """Measure, and print a table row by row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="sounds")
    parser.add_argument("--clips", type=int, help="so many of them, of all sizes (all)")
    parser.add_argument(
        "--reloaded", type=int, default=8, help="clips for which models are reloaded (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures too")
    parser.add_argument("--loop", choices=["once", "reload"], help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.loop:
        loop(args.folder, args.out, reload=args.loop == "reload")
        return
    with tempfile.TemporaryDirectory() as name:
        costs = compare(args.folder, args.clips, args.reloaded, Path(name))
    if args.json:
        args.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=2) + "\n")


def compare(folder: Path, clips: int | None, reloaded: int, work: Path) -> list[Cost]:
    """Measure all ways one after the other."""
    models = work / "models"
    models.mkdir()
    for name in MODELS:
        bring(name, models)
    os.environ |= {"SOUNDALIKE_MODELS_DIR": str(models), "SOUNDALIKE_DEVICE": "cpu"}
    some = picked(folder, clips, work / "clips")
    few = picked(folder, reloaded, work / "few")

    def script(how: str, sounds: Path) -> list[str]:
        own = [sys.executable, "-m", "benchmarks.extraction"]
        return [*own, str(sounds), "--loop", how, "--out", str(work / how)]

    def ours(out: str) -> list[str]:
        verb = [sys.executable, "-m", "soundalike", "extract"]
        return [*verb, str(some[0]), "--json", "--out", str(work / out), "--models", *MODELS]

    torch = {"SOUNDALIKE_RUNTIME": "torch"}
    ways = [
        ("script, models loaded once", script("once", some[0]), some[1:], torch),
        ("`soundalike extract`", ours("auto"), some[1:], {}),
        ("`soundalike extract`, with torch", ours("torch"), some[1:], torch),
        ("script, models loaded for each file", script("reload", few[0]), few[1:], torch),
    ]
    print("| way | clips | by the clock | sound a second | ratio | processor | memory |")
    print("|---|---|---|---|---|---|---|", flush=True)
    costs: list[Cost] = []
    foreseen: list[str] = []
    for way, command, heard, settings in ways:
        cost, printed = measured(way, command, *heard, **settings)
        costs.append(cost)
        print(cost.row(costs[0]), flush=True)
        if printed:
            foreseen.append(foresight(printed))
    print("", *foreseen, sep="\n")
    for out in ("auto", "torch"):
        cosine = least_cosine(work / out, work / "once")
        if cosine < LEAST_COSINE:
            raise SystemExit(f"The frames are not the same: cosine {cosine:.6f} ({out}).")
        print(f"Least cosine of a clip's frames ({out}): {cosine:.7f}")
    return costs


if __name__ == "__main__":
    main()
