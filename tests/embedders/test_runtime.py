import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from soundalike.embedders import create, runtime
from soundalike.errors import DeviceMissing, OutOfMemory
from soundalike.extract.extractor import Extractor
from soundalike.types import Window
from tests.sounds import noise, tone

pytest.importorskip("openvino")
AUTO = ("auto", "auto", "float32")


@pytest.fixture
def asked(monkeypatch):
    def ask(device="auto", kind="auto", precision="float32"):
        for name, value in (("DEVICE", device), ("RUNTIME", kind), ("PRECISION", precision)):
            monkeypatch.setenv(f"SOUNDALIKE_{name}", value)
        return runtime.chosen

    return ask


@pytest.fixture
def small(small_models, monkeypatch):
    monkeypatch.setenv("SOUNDALIKE_MODELS_DIR", str(small_models))
    monkeypatch.setattr("soundalike.embedders.dino.LAYERS", 1)


def cuda(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def vectors(name, seconds=(3.0, 1.5)):
    embedder = create(name)
    embedder.load()
    rate = embedder.card.sample_rate
    heard = []
    for seed, length in enumerate(seconds):
        samples = (tone(length, 300 * 2**seed, rate) + noise(length, rate, seed))[:, 0]
        (frames,) = embedder.run([embedder.prepare(Window(samples, 0.0, length))])
        heard.append(frames.astype(np.float64).mean(axis=0))
    return embedder, np.array(heard)


def cosines(one, other):
    dots = (one * other).sum(axis=1)
    return dots / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


@pytest.mark.parametrize("name", ["clap", "mert:layer=7", "dino-vits16"])
def test_openvino_computes_what_torch_computes(small, asked, name):
    asked(kind="torch")
    by_torch, expected = vectors(name)
    assert (by_torch.device, by_torch.runtime, by_torch.dtype) == ("cpu", "torch", "float32")
    asked(kind="openvino")
    by_openvino, found = vectors(name)
    assert (by_openvino.runtime, by_openvino.dtype) == ("openvino", "float32")
    assert cosines(found, expected).min() > 1 - 5e-7
    assert Extractor(by_torch).space() == Extractor(by_openvino).space()


@pytest.mark.parametrize("kind", ["torch", "openvino"])
def test_bfloat16_is_close_and_said(small, asked, kind):
    asked(kind="torch")
    _, expected = vectors("clap")
    asked(kind=kind, precision="bfloat16")
    if kind == "openvino" and "BF16" not in runtime._core().get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        pytest.skip("this processor does not compute in bfloat16")
    embedder, found = vectors("clap")
    assert embedder.dtype == "bfloat16"
    assert 0.9999 < cosines(found, expected).min() < 1 - 1e-7


def test_openvino_gives_every_thread_the_same_numbers(asked):
    asked(kind="openvino")
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.GELU(), torch.nn.Linear(64, 8))
    inputs = [torch.randn(count, 64) for count in range(1, 9)] * 4
    with torch.inference_mode():
        expected = [network(one) for one in inputs]
    placed = runtime.place(network, torch.zeros(1, 64), varying=[0], workers=4)
    alone = [placed(one).clone() for one in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(placed, inputs))
    for one, other, plain in zip(alone, together, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
        torch.testing.assert_close(one, plain, rtol=0, atol=1e-6)


SILENT = """
import sys, torch
from soundalike.embedders import runtime
placed = runtime.place(torch.nn.Linear(4, 4), torch.zeros(1, 4))
assert placed.place.runtime == "openvino"
assert not [name for name in sys.modules if name.startswith("openvino_telemetry.")]
"""


def test_openvino_tells_nobody_what_it_is_used_for(asked):
    asked(kind="openvino")
    done = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_auto_takes_cuda_then_openvino_then_torch(asked, monkeypatch):
    chosen = asked(*AUTO)
    cuda(monkeypatch, 1)
    assert chosen() == runtime.Place("cuda:0", "torch", "float32")
    cuda(monkeypatch, 0)
    assert chosen() == runtime.Place("cpu", "openvino", "float32")
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert chosen() == runtime.Place("cpu", "torch", "float32")


def test_what_is_named_is_taken(asked, monkeypatch):
    cuda(monkeypatch, 2)
    assert asked("cuda:1", precision="float16")() == runtime.Place("cuda:1", "torch", "float16")
    assert asked("cuda")().device == "cuda:0"
    assert asked("cpu", "torch", "bfloat16")() == runtime.Place("cpu", "torch", "bfloat16")
    assert asked("auto", "openvino")().device == "cpu"


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (("cuda", "auto", "float32"), "finds 1 CUDA|finds 0 CUDA"),
        (("cuda:3", "auto", "float32"), "cuda:3"),
        (("mps", "auto", "float32"), "mps"),
        (("gpu", "auto", "float32"), "set it to auto, cpu"),
        (("cpu", "tensorrt", "float32"), "SOUNDALIKE_RUNTIME is 'tensorrt'"),
        (("cpu", "auto", "int8"), "SOUNDALIKE_PRECISION is 'int8'"),
    ],
)
def test_what_is_not_here_is_a_fault_and_never_another_device(asked, monkeypatch, wish, told):
    cuda(monkeypatch, 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceMissing, match=told):
        asked(*wish)()


def test_openvino_that_is_not_installed_or_not_for_the_device_is_a_fault(asked, monkeypatch):
    cuda(monkeypatch, 1)
    with pytest.raises(DeviceMissing, match="does not run on 'cuda:0'"):
        asked("cuda", "openvino")()
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DeviceMissing, match="pip install"):
        asked("cpu", "openvino")()


def test_a_precision_that_openvino_replaces_is_a_fault(asked, monkeypatch):
    asked("cpu", "openvino", "float16")
    other = SimpleNamespace(get_type_name=lambda: "f32")
    compiled = SimpleNamespace(get_property=lambda name: other)
    core = SimpleNamespace(compile_model=lambda *given: compiled)
    monkeypatch.setattr(runtime, "_core", lambda: core)
    with pytest.raises(DeviceMissing, match="computes in 'float32' here"):
        runtime.place(torch.nn.Linear(2, 2), torch.zeros(1, 2))


def test_windows_of_one_shape_go_to_a_device_together(small, asked):
    asked(kind="torch")
    embedder = create("mert")
    embedder.load()
    windows = [noise(seconds, 24_000, seed)[:, 0] for seed, seconds in enumerate([1, 0.5, 1, 1, 1])]
    expected = embedder.run(windows)
    shapes = []
    hear_all, embedder.largest_batch = embedder.hear_all, 3
    embedder.hear_all = lambda samples: shapes.append(tuple(samples.shape)) or hear_all(samples)
    found = embedder.run(windows)
    assert shapes == [(3, 24_000), (1, 24_000), (1, 12_000)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)


def test_a_device_without_memory_is_a_fault_of_ours(small, asked):
    asked(kind="torch")
    embedder = create("dino-vits16")
    embedder.load()

    def full(samples):
        raise torch.OutOfMemoryError("CUDA out of memory")

    embedder.hear_all = full
    with pytest.raises(OutOfMemory, match="no memory left"):
        embedder.run([np.zeros((3, 224, 224), np.float32)])
