"""Pictures a second beside librosa's own display calls, and memory over many files.

    OMP_NUM_THREADS=1 python benchmarks/pictures.py [--clips 20] [--files 1000]

Both read the same WAV files of 30 s and write the four kinds as PNGs of 488 x 244 with axes and a
colour bar: librosa in this process and one thread, after one clip to warm up; ours in two
processes, the time they take to start included. Memory is the largest that any of our processes
took, over a tenth of the files and over all of them, each file of 3 s.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from soundalike.pictures.folder import Job, Order, draw_all
from soundalike.pictures.settings import USUAL_KINDS, Settings

RATE = 22_050
CORES = 2
USUAL = Settings()


def write_clips(folder: Path, count: int, seconds: float) -> list[Job]:
    """Write clips of notes in noise, each of them different."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    jobs = []
    for number in range(count):
        random = np.random.default_rng(number)
        notes = random.uniform(80, 2000, int(4 * seconds) + 1)
        phase = 2 * np.pi * np.cumsum(notes[(4 * time_s).astype(int)]) / RATE
        sound = np.sin(phase) * np.exp(-4 * (time_s % 0.25)) + 0.02 * random.normal(size=len(phase))
        path = folder / f"{number:04d}.wav"
        soundfile.write(path, 0.5 * sound, RATE)
        jobs.append(Job(path, Path(path.name)))
    return jobs


def librosa_draws(jobs: Iterable[Job], out: Path) -> None:
    """Draw the four kinds as librosa's documentation does, at the same settings."""
    import librosa
    import librosa.display
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    at = {"sr": RATE, "hop_length": USUAL.hop_samples}
    for job in jobs:
        sound, _ = librosa.load(job.source, duration=USUAL.seconds)
        mel = librosa.feature.melspectrogram(
            y=sound, n_fft=USUAL.fft_size, n_mels=USUAL.mel_bands, **at
        )
        spectrum = np.abs(librosa.stft(sound, n_fft=USUAL.fft_size, hop_length=USUAL.hop_samples))
        shown = {
            "mel": (librosa.power_to_db(mel, ref=np.max), "mel"),
            "chroma": (librosa.feature.chroma_cqt(y=sound, **at), "chroma"),
            "spectrum": (librosa.amplitude_to_db(spectrum, ref=np.max), "linear"),
            "tempogram": (librosa.feature.tempogram(y=sound, **at), "tempo"),
        }
        for kind, (values, axis) in shown.items():
            size = (USUAL.width / 100, USUAL.height / 100)
            figure, axes = plt.subplots(figsize=size, dpi=100, layout="constrained")
            image = librosa.display.specshow(values, x_axis="time", y_axis=axis, ax=axes, **at)
            figure.colorbar(image, ax=axes)
            figure.savefig(out / f"{job.target}.{kind}.png")
            plt.close(figure)


def we_draw(jobs: list[Job], out: Path, processes: int = CORES) -> None:
    """Draw the four kinds as the command line does."""
    faults = [one.fault for one in draw_all(jobs, Order(out), processes) if one.fault]
    assert not faults, faults


def pictures_a_second(clips: int) -> None:
    """Measure and print both."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jobs = write_clips(folder, clips, USUAL.seconds)
        librosa_draws(jobs[:1], folder)
        theirs = jobs[: max(1, clips // 4)]
        started = time.perf_counter()
        librosa_draws(theirs, folder)
        slow = len(theirs) * len(USUAL_KINDS) / (time.perf_counter() - started)
        started = time.perf_counter()
        we_draw(jobs, folder / "out")
        fast = clips * len(USUAL_KINDS) / (time.perf_counter() - started)
    print(f"librosa, one thread  {slow:6.2f} pictures/s")
    print(f"soundalike, {CORES} cores  {fast:6.2f} pictures/s, {fast / slow:.1f} times as many")


def memory(files: int) -> None:
    """Print the largest process after a tenth of the files, and after all of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jobs = write_clips(folder, files, 3.0)
        for count in (files // 10, files):
            we_draw(jobs[:count], folder / str(count))
            kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            print(f"{count:5d} files: {kilobytes / 1000:.0f} MB in the largest process")


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=20, help="clips to draw (%(default)s)")
    parser.add_argument("--files", type=int, default=0, help="files for memory (%(default)s)")
    args = parser.parse_args()
    # first, while no process of ours has been larger
    if args.files:
        memory(args.files)
    pictures_a_second(args.clips)
    return 0


if __name__ == "__main__":
    sys.exit(main())
