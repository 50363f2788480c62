"""What embedding costs: clips for each second of a processor core, over HTTP too, and on devices.

    OMP_NUM_THREADS=1 python -m benchmarks.embedder [clap] [http] [mert] [device]

`clap`: sixteen WAVs of 10 s (44.1 kHz, stereo, 16 bits) from their bytes to vectors, by the loop
that tutorials show (librosa and the transformers library; with the model kept, and loaded for each
clip) and by ours in torch float32, OpenVINO float32 and bfloat16. `http`: the same through the
service, asked by eight clients. `mert`: one clip of 30 s, against the library's HubertModel with
scaled dot product attention in float32. `device`: batches of 1, 8 and 32 windows of CLAP, features
included, on the device that SOUNDALIKE_DEVICE names, against the processor's vectors.

Checkpoints have random weights and the published size. All but the clients of `http` and `device`
run on one core; times are processor time, the best of --rounds, and mean something only next to
each other. docs/performance.md tells what was found.
"""

from __future__ import annotations

import argparse
import io
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import librosa
import numpy as np
import soundfile
import torch
from torch.nn import functional
from transformers import ClapModel, ClapProcessor, HubertModel
from transformers.utils import logging

from soundalike import embedders
from soundalike.audio.decode import decode
from soundalike.audio.resample import resample
from soundalike.extract.extractor import Extractor
from soundalike.types import FloatArray, Window
from tests.embedders.checkpoints import write_clap, write_mert

PARTS = ("clap", "http", "mert", "device")
RATE_HZ, CLIP_S, CLIPS = 44_100, 10, 16
CLIENTS, ASKED = 8, 48
CORES = os.sched_getaffinity(0)
CORE = {min(CORES)}
OURS = (("torch", "float32"), ("openvino", "float32"), ("openvino", "bfloat16"))
MERT_SIZE = {"intermediate_size": 3072, "conv_dim": [512] * 7}

Embed = Callable[[bytes], FloatArray]


def clip(seed: int, seconds: int, rate_hz: int, channels: int) -> bytes:
    """Make a WAV: harmonics that decay over and over, and noise of some colour."""
    draw = np.random.default_rng(seed)
    times = np.arange(seconds * rate_hz) / rate_hz
    pitch, beats = draw.uniform(60, 900), draw.uniform(0.3, 6)
    harmonics = sum(
        draw.uniform(0, 1) / k * np.sin(2 * np.pi * pitch * k * times) for k in range(1, 9)
    )
    spectrum = np.fft.rfft(draw.standard_normal(len(times)))
    spectrum /= np.maximum(1, np.arange(len(spectrum))) ** draw.uniform(0, 1)
    noise = np.fft.irfft(spectrum, len(times))
    sound = harmonics * np.exp(-4 * (times * beats % 1)) + draw.uniform(0, 2) * noise / noise.std()
    content = io.BytesIO()
    stereo = np.stack([sound, np.roll(sound, 40)][:channels], axis=1)
    soundfile.write(content, 0.5 * stereo / np.abs(stereo).max(), rate_hz, "PCM_16", format="WAV")
    return content.getvalue()


def plain(model: ClapModel, processor: ClapProcessor, content: bytes) -> FloatArray:
    """Embed a clip as tutorials do."""
    audio, rate_hz = librosa.load(io.BytesIO(content), sr=48_000)
    inputs = processor(audio=audio, sampling_rate=rate_hz, return_tensors="pt")
    with torch.no_grad():
        embeddings = model.get_audio_features(**inputs).pooler_output
        return functional.normalize(embeddings, p=2, dim=-1).squeeze(0).numpy()


def plain_reloaded(folder: Path, content: bytes) -> FloatArray:
    """Embed a clip with a model that is loaded for it."""
    return plain(ClapModel.from_pretrained(folder), ClapProcessor.from_pretrained(folder), content)


def reference(model: ClapModel, processor: ClapProcessor, content: bytes) -> FloatArray:
    """Embed a clip with the library's model, from ten seconds to the sample."""
    heard = decode(content, mono=True)
    samples = resample(heard.samples[0], heard.sample_rate, 48_000)
    inputs = processor(audio=samples, sampling_rate=48_000, return_tensors="pt")
    with torch.inference_mode():
        return model.get_audio_features(**inputs).pooler_output[0].numpy()


def ours(name: str, runtime: str, precision: str) -> Extractor:
    """Load one of our embedders."""
    os.environ.update(SOUNDALIKE_RUNTIME=runtime, SOUNDALIKE_PRECISION=precision)
    embedder = embedders.create(name)
    started = time.process_time()
    embedder.load()
    print(f"  loading {name} in {runtime} {precision}: {time.process_time() - started:.1f} s")
    return Extractor(embedder)


def processor_s(embed: Embed, clips: Sequence[bytes]) -> tuple[float, FloatArray]:
    """Tell the processor time a clip takes, and the vectors."""
    started = time.process_time()
    vectors = [embed(one) for one in clips]
    return (time.process_time() - started) / len(clips), np.array(vectors)


def in_rounds(
    ways: dict[str, Embed], clips: Sequence[bytes], rounds: int
) -> dict[str, tuple[float, FloatArray]]:
    """Take each way in turn, round after round, and the best time of each."""
    best: dict[str, tuple[float, FloatArray]] = {}
    for way in ways.values():
        way(clips[0])  # what is done once is done now
    for _ in range(rounds):
        for name, way in ways.items():
            spent, vectors = processor_s(way, clips)
            best[name] = min(
                best.get(name, (np.inf, vectors)), (spent, vectors), key=lambda r: r[0]
            )
    return best


def cosine(found: FloatArray, expected: FloatArray) -> float:
    """Give the smallest cosine of vectors with what they should be."""
    dots = (found * expected).sum(axis=1, dtype=np.float64)
    return float((dots / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)).min())


def show(best: dict[str, tuple[float, FloatArray]], first: str, expected: FloatArray) -> None:
    """Print a table; `first` is what the others are compared with."""
    centre = expected.mean(axis=0) if len(expected) > 1 else 0
    print("\n| way | clips a core second | against the first | cosine | centred |")
    print("|---|---|---|---|---|")
    for name, (spent, vectors) in best.items():
        times = best[first][0] / spent
        alike = cosine(vectors, expected), cosine(vectors - centre, expected - centre)
        print(f"| {name} | {1 / spent:.2f} | {times:.2f} | {alike[0]:.6f} | {alike[1]:.5f} |")


def clap(models: Path, rounds: int) -> None:
    """Measure CLAP in this process."""
    clips = [clip(seed, CLIP_S, RATE_HZ, 2) for seed in range(CLIPS)]
    model = ClapModel.from_pretrained(models / "clap").eval()
    processor = ClapProcessor.from_pretrained(models / "clap")
    ways: dict[str, Embed] = {
        "plain, model kept": lambda content: plain(model, processor, content),
        "plain, model loaded each time": lambda content: plain_reloaded(models / "clap", content),
    }
    for runtime, precision in OURS:
        extractor = ours("clap", runtime, precision)
        ways[f"ours, {runtime} {precision}"] = lambda content, e=extractor: (
            e.extract(content).vector
        )
    expected = np.array([reference(model, processor, one) for one in clips])
    show(in_rounds(ways, clips, rounds), "plain, model kept", expected)


@contextmanager
def served(runtime: str, precision: str) -> Iterator[tuple[str, int]]:
    """Start the service on our core and leave that; gives its address and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    chosen = {"SOUNDALIKE_RUNTIME": runtime, "SOUNDALIKE_PRECISION": precision}
    command = [sys.executable, "-m", "soundalike", "serve", "embedder", "--port", str(port)]
    command += ["--log-level", "warning"]
    process = subprocess.Popen(
        command,
        env={**os.environ, **chosen, "SOUNDALIKE_MODEL": "clap"},
    )
    os.sched_setaffinity(0, CORES - CORE or CORES)
    url = f"http://127.0.0.1:{port}"
    try:
        while not _answers(url):
            time.sleep(0.2)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()
        os.sched_setaffinity(0, CORE)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def spent_s(process: int) -> float:
    """Tell the processor time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def http(models: Path, rounds: int) -> None:
    """Measure the service asked by many clients, next to the same work in this process."""
    clips = [clip(seed, CLIP_S, RATE_HZ, 2) for seed in range(CLIPS)]
    print("\n| way | in process | over HTTP | of it |")
    print("|---|---|---|---|")
    for runtime, precision in OURS[1:]:
        extractor = ours("clap", runtime, precision)
        way: dict[str, Embed] = {"": lambda content, e=extractor: e.extract(content).vector}
        ((inside, _),) = in_rounds(way, clips, rounds).values()
        with served(runtime, precision) as (url, process), ThreadPoolExecutor(CLIENTS) as pool:

            def ask(place: int, url: str = url) -> None:
                answer = httpx.post(f"{url}/embed", content=clips[place % CLIPS], timeout=120)
                answer.raise_for_status()

            list(pool.map(ask, range(CLIENTS)))
            before = spent_s(process)
            list(pool.map(ask, range(ASKED)))
            outside = (spent_s(process) - before) / ASKED
        print(
            f"| {runtime} {precision} | {1 / inside:.2f} | {1 / outside:.2f} "
            f"| {inside / outside:.3f} |"
        )


def mert(models: Path, rounds: int) -> None:
    """Measure MERT on half a minute."""
    content = clip(1, 30, 24_000, 1)
    samples = decode(content, mono=True).samples[0]
    embedder = embedders.create("mert")
    state = embedders.weights.read_state(embedder.folder, embedder.source)
    network = embedder.network(state).eval()
    assert isinstance(network, HubertModel)
    prepared = torch.from_numpy(embedder.prepare(Window(samples, 0.0, 30.0)))[None]

    def library(_: bytes) -> FloatArray:
        with torch.inference_mode():
            vector = network(prepared).last_hidden_state[0].mean(dim=0)
        return functional.normalize(vector, dim=0).numpy()

    ways: dict[str, Embed] = {"HubertModel, sdpa, float32": library}
    for runtime, precision in OURS:
        extractor = ours("mert", runtime, precision)
        ways[f"ours, {runtime} {precision}"] = lambda given, e=extractor: e.extract(given).vector
    show(in_rounds(ways, [content], rounds), "HubertModel, sdpa, float32", library(content)[None])


def device(models: Path, rounds: int) -> None:
    """Measure batches on a device, features included."""
    clips = [clip(seed, CLIP_S, RATE_HZ, 2) for seed in range(32)]
    wanted = os.environ.get("SOUNDALIKE_DEVICE", "auto")
    os.environ["SOUNDALIKE_DEVICE"] = "cpu"
    expected = np.array(list(map(_on_processor(), clips)))
    os.environ["SOUNDALIKE_DEVICE"] = wanted
    extractor = ours("clap", "auto", "float32")
    embedder = extractor.embedder
    windows = [_window(embedder, one) for one in clips]
    print(f"\nOn {embedder.device}, {embedder.runtime} {embedder.dtype}:\n")
    print("| windows at once | a second | cosine to the processor's |\n|---|---|---|")
    for size in (1, 8, 32):
        found = np.array([one[0] for one in embedder.run(windows[:size])])
        best = np.inf
        for _ in range(max(3, rounds)):
            started = time.perf_counter()
            embedder.run(windows[:size])
            best = min(best, time.perf_counter() - started)
        print(f"| {size} | {size / best:.1f} | {cosine(found, expected[:size]):.6f} |")


def _on_processor() -> Embed:
    extractor = ours("clap", "torch", "float32")
    return lambda content: extractor.extract(content).vector


def _window(embedder: embedders.Embedder, content: bytes) -> FloatArray:
    heard = decode(content, mono=True)
    samples = resample(heard.samples[0], heard.sample_rate, embedder.card.sample_rate)
    return embedder.prepare(Window(samples, 0.0, CLIP_S))


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["clap"], metavar="|".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3, help="the best counts (%(default)s)")
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if "device" not in args.parts:
        os.sched_setaffinity(0, CORE)
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        os.environ.update(SOUNDALIKE_MODELS_DIR=folder, SOUNDALIKE_DATA_DIR=folder)
        write_clap(models / "clap")
        if "mert" in args.parts:
            write_mert(models / "mert", settings=MERT_SIZE)
        for part in args.parts:
            print(f"\n## {part}\n", flush=True)
            {"clap": clap, "http": http, "mert": mert, "device": device}[part](models, args.rounds)


if __name__ == "__main__":
    main()
