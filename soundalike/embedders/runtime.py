"""Where networks run: on which device, by which library, in which precision.

Three environment variables choose: SOUNDALIKE_DEVICE, SOUNDALIKE_RUNTIME and
SOUNDALIKE_PRECISION. None of them is part of a space: they move a vector by
rounding alone, and every answer names what computed it.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from soundalike.errors import DeviceMissing, OutOfMemory

if TYPE_CHECKING:
    import openvino
    import torch

AUTO, TORCH, OPENVINO = "auto", "torch", "openvino"
DEVICES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
RUNTIMES = (AUTO, TORCH, OPENVINO)
PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
"""Each precision by the name that torch and answers have for it, and OpenVINO's."""

_conversion = threading.Lock()  # tracing changes what the whole process's torch does

How = Callable[[Any, "torch.Tensor"], "torch.Tensor"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where networks run.

    Attributes
    ----------
    device : str
        ``"cpu"``, ``"cuda:0"`` and the like, or ``"mps"``.
    runtime : str
        ``"torch"`` or ``"openvino"``.
    precision : str
        A key of `PRECISIONS`.
    """

    device: str
    runtime: str
    precision: str

    @property
    def is_processor(self) -> bool:
        """Whether it is the machine's own processor, and no device beside it."""
        return self.device == "cpu"


class Placed(Protocol):
    """A network where it runs: float32 in, float32 out, both on the device of its place."""

    place: Place

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute what comes of some inputs."""


def chosen() -> Place:
    """Find out where networks run, by what is set and what is here.

    On a device that `auto` finds, or on the processor: with OpenVINO where it is installed. A
    precision lower than float32 is taken only where it is set.

    Returns
    -------
    Place

    Raises
    ------
    DeviceMissing
        What is set is not here, or does not exist.
    """
    device, runtime, precision = _settings()
    found = _find_device(device, runtime)
    return Place(found, _find_runtime(runtime, found), precision)


def check() -> None:
    """Refuse what is set where `chosen` would, without looking for a device that is not named.

    Raises
    ------
    DeviceMissing
    """
    device, runtime, _ = _settings()
    found = "cpu" if device == AUTO else _find_device(device, runtime)
    _find_runtime(runtime, found)


def _settings() -> tuple[str, str, str]:
    """Read device, runtime and precision as they are set."""
    return (
        _setting("DEVICE", AUTO, DEVICES, "auto, cpu, cuda, cuda:1 or mps"),
        _setting("RUNTIME", AUTO, _any_of(RUNTIMES), ", ".join(RUNTIMES)),
        _setting("PRECISION", "float32", _any_of(PRECISIONS), ", ".join(PRECISIONS)),
    )


def _any_of(names: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(names))


def _setting(name: str, default: str, allowed: re.Pattern[str], told: str) -> str:
    value = os.environ.get(f"SOUNDALIKE_{name}", "").strip().lower() or default
    if not allowed.fullmatch(value):
        raise DeviceMissing(f"SOUNDALIKE_{name} is '{value}'; set it to {told}.", got=value)
    return value


def _find_device(device: str, runtime: str) -> str:
    if device == "cpu" or (device == AUTO and runtime == OPENVINO):
        return "cpu"
    import torch

    if device == "mps":
        if not torch.backends.mps.is_available():
            raise DeviceMissing("SOUNDALIKE_DEVICE is 'mps', and torch finds none here.")
        return device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == AUTO:
        return "cuda:0" if count else "cpu"
    if int(device.partition(":")[2] or 0) >= count:
        raise DeviceMissing(
            f"SOUNDALIKE_DEVICE is '{device}', and torch finds {count} CUDA devices here; set it "
            "to auto, or look whether driver and torch fit together.",
            got=device,
            limit=count,
        )
    return device if ":" in device else "cuda:0"


def _find_runtime(runtime: str, device: str) -> str:
    installed = importlib.util.find_spec(OPENVINO) is not None
    if runtime == AUTO:
        return OPENVINO if device == "cpu" and installed else TORCH
    if runtime == OPENVINO and device != "cpu":
        raise DeviceMissing(f"SOUNDALIKE_RUNTIME is 'openvino', which does not run on '{device}'.")
    if runtime == OPENVINO and not installed:
        raise DeviceMissing(
            "SOUNDALIKE_RUNTIME is 'openvino', which is not installed here: "
            "pip install 'soundalike[openvino]'."
        )
    return runtime


def cores() -> int:
    """Count the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def place(
    network: torch.nn.Module,
    example: torch.Tensor,
    *,
    how: How | None = None,
    varying: Sequence[int] = (),
    workers: int = 1,
) -> Placed:
    """Bring a network to where it runs; it belongs to the result from then on.

    Parameters
    ----------
    network : Module
        On the processor, in float32 and evaluation mode.
    example : Tensor of float32
        What it takes, of the shape that it will be given on a processor.
    how : callable, optional
        Takes the network and its inputs and gives its answer, one tensor; by default the network
        is called with them.
    varying : sequence of int
        Axes of the example whose length changes from call to call.
    workers : int
        Threads that call it at the same time, among which the processor's cores are shared.

    Returns
    -------
    Placed

    Raises
    ------
    DeviceMissing
        What is set is not here, or does not compute in the precision that is set.
    OutOfMemory
        There is no room for it on the device.
    """
    where = chosen()
    whole = _whole(network, how).eval().requires_grad_(False)
    if where.runtime == OPENVINO:
        return _OnOpenVino(whole, example, varying, where, workers)
    return _OnTorch(whole, where, workers)


def _whole(network: torch.nn.Module, how: How | None) -> torch.nn.Module:
    """Make one module of a network and of how it is called."""
    if how is None:
        return network
    call = how
    from torch.nn import Module

    class Whole(Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return call(self.network, inputs)

    return Whole()


class _OnTorch:
    """A network that torch runs."""

    def __init__(self, network: torch.nn.Module, where: Place, workers: int) -> None:
        import torch

        self.place = where
        self._dtype = getattr(torch, where.precision)
        if where.is_processor:
            share = max(1, cores() // workers)
            torch.set_num_threads(min(torch.get_num_threads(), share))
        elif where.precision == "float32":
            torch.backends.cudnn.allow_tf32 = False  # which is no float32
        with memory_faults():
            self._network = network.to(where.device, self._dtype)

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute what comes of some inputs."""
        answer: torch.Tensor = self._network(inputs.to(self._dtype))
        return answer.float()


class _OnOpenVino:
    """A network that OpenVINO runs, converted in memory; its torch weights are let go of."""

    def __init__(
        self,
        network: torch.nn.Module,
        example: torch.Tensor,
        varying: Sequence[int],
        where: Place,
        workers: int,
    ) -> None:
        self.place = where
        converted = _convert(network, example, varying)
        self._compiled = _compile(converted, PRECISIONS[where.precision], workers)
        self._own = threading.local()

    @property
    def _request(self) -> openvino.InferRequest:
        """The calling thread's own request, since one serves one thread at a time."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        request: openvino.InferRequest = self._own.request
        return request

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute what comes of some inputs."""
        import torch

        answers = self._request.infer([inputs.contiguous().numpy()], share_inputs=True)
        return torch.from_numpy(answers[0])


def _convert(
    network: torch.nn.Module, example: torch.Tensor, varying: Sequence[int]
) -> openvino.Model:
    """Make OpenVINO's graph of a network.

    It is traced here and not by OpenVINO, which would run it twice more to compare.
    """
    import torch

    openvino = _openvino()
    jit: Any = torch.jit  # it has no types
    shape = [-1 if axis in varying else size for axis, size in enumerate(example.shape)]
    with _conversion, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is decided while tracing, as it is to be
        traced = jit.trace(network, example, check_trace=False)
        return openvino.convert_model(traced, example_input=example, input=[shape])


@functools.cache
def _core() -> openvino.Core:
    return _openvino().Core()


def _openvino() -> Any:
    """Import OpenVINO so that it keeps to itself what it is used for.

    Unasked it tells whoever makes it of its import and of each step of a conversion, by a process
    for each message: dozens of them, which take longer than the conversion.
    """
    reporter = "openvino_telemetry"
    if OPENVINO not in sys.modules:
        sys.modules.setdefault(reporter, None)  # type: ignore[arg-type]  # as if it were not there
    import openvino

    return openvino


def _compile(converted: openvino.Model, precision: str, workers: int) -> openvino.CompiledModel:
    compiled = _core().compile_model(
        converted,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": precision,  # its default is bfloat16 where there is one
            "NUM_STREAMS": workers,
            "INFERENCE_NUM_THREADS": max(workers, cores()),
            "ENABLE_CPU_PINNING": False,  # other processes would be pinned to the same cores
        },
    )
    truly = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if truly != precision:
        names = {short: name for name, short in PRECISIONS.items()}
        raise DeviceMissing(
            f"SOUNDALIKE_PRECISION is '{names[precision]}', and OpenVINO computes in "
            f"'{names.get(truly, truly)}' here; set that, or SOUNDALIKE_RUNTIME=torch.",
            got=names[precision],
        )
    return compiled


@contextmanager
def memory_faults() -> Iterator[None]:
    """Turn what torch says where a device has no memory left into a fault of ours.

    Raises
    ------
    OutOfMemory
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()  # what lies idle is free for the next, smaller pass
        raise OutOfMemory(
            "The device has no memory left for this sound; send it again later, or shorter."
        ) from error


def memory_bytes(device: str) -> int | None:
    """Tell how much of a device's memory is taken by this process; None on a processor."""
    if not device.startswith("cuda"):
        return None
    import torch

    return int(torch.cuda.memory_reserved(device))
