"""How networks are trained here: early stopping, checkpoints, the same seed the same weights."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from soundalike.errors import BadRequest
from soundalike.evaluation.blocks import fingerprint
from soundalike.evaluation.recommenders.base import Options, Task, choice, number
from soundalike.evaluation.splits import Pairs
from soundalike.evaluation.version import code_version

if TYPE_CHECKING:
    import torch

PLATEAU_EPOCHS, PLATEAU_FACTOR = 5, 0.1
HELD_SHARE, MOST_HELD = 0.1, 1000
AUTO, CPU, CUDA = "auto", "cpu", "cuda"
INITIAL, VALIDATION = 1 << 30, 1 << 30 | 1
"""Epochs that never come, for what is drawn before the first and for validation."""
RANDOM_WIDTH = 128
"""Numbers of an item's vector where there is no embedding."""
NO_CHECKPOINT = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError,
    AttributeError, LookupError, TypeError, ValueError,
)  # fmt: skip
"""How a file shows that it is damaged, or another than it is taken for."""
MOST_TOLD = 200
ON_TRAIN, ON_MONTH, NEVER = "train", "month", "never"


@dataclass(frozen=True, slots=True)
class TrainedOptions(Options):
    """What can be chosen of every network."""

    epochs: int = number(100, 1, "at most")
    patience: int = number(16, 1, "epochs without a better validation loss before it stops")
    rate: float = number(0.001, 1e-9, "Adam's learning rate")
    stop_on: str = choice(
        ON_TRAIN, ON_MONTH, NEVER,
        help="what early stopping looks at: the last items of a tenth of the users, taken out of "
        "training; the validation users' test period; nothing, the last epoch counts",
    )  # fmt: skip


class Trainee(Protocol):
    """What can be trained."""

    @property
    def net(self) -> torch.nn.Module:
        """All that is learned."""

    def losses(self) -> Iterator[torch.Tensor]:
        """Go through one epoch; what is drawn comes from torch's own generator."""

    def validation_loss(self) -> float:
        """Give the loss that early stopping looks at; NaN where it looks at nothing."""


@dataclass(slots=True)
class _State:
    """How far a training has come."""

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    best: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


class Training:
    """Trains a network, epoch by epoch.

    Parameters
    ----------
    trainee : Trainee
    task : Task
    options : TrainedOptions
    key : str
        Of the recommender, part of the checkpoint's name.
    l2 : float
        Adam's penalty on large weights.
    """

    def __init__(
        self, trainee: Trainee, task: Task, options: TrainedOptions, key: str, l2: float = 0.0
    ) -> None:
        import torch

        self.trainee, self.task, self.options = trainee, task, options
        learned = [one for one in trainee.net.parameters() if one.requires_grad]
        self._optimiser = torch.optim.Adam(learned, lr=options.rate, weight_decay=l2)
        self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self._optimiser, factor=PLATEAU_FACTOR, patience=PLATEAU_EPOCHS
        )
        self._state = _State()
        self._path = _checkpoint_path(task, options, key)

    def run(self) -> dict[str, Any]:
        """Train until the last epoch or until nothing gets better, and take the best weights.

        Returns
        -------
        dict
            What is to be told of it.
        """
        forget_peak(self.task.device)
        self._resume()
        state, begun = self._state, self._state.epoch
        while state.epoch < self.options.epochs and not self._is_over():
            started = time.perf_counter()
            with seeded(self.task.seed, state.epoch, self.task.device):
                self._epoch()
            state.epoch += 1
            self._judge(self.trainee.validation_loss())
            state.seconds += time.perf_counter() - started
            self._save()
        if self.options.stop_on != NEVER:
            self.trainee.net.load_state_dict(state.best)
        self.trainee.net.eval()
        return {
            "epochs": state.epoch,
            "best_epoch": state.best_epoch if self.options.stop_on != NEVER else state.epoch,
            "resumed_at": begun,
            "seconds_an_epoch": round(state.seconds / max(state.epoch, 1), 3),
            "peak_mb": peak_mb(self.task.device),
            "device": self.task.device,
        }

    def _is_over(self) -> bool:
        waited = self._state.epoch - self._state.best_epoch
        return self.options.stop_on != NEVER and waited >= self.options.patience

    def _epoch(self) -> None:
        self.trainee.net.train()
        for loss in self.trainee.losses():
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
        self.trainee.net.eval()

    def _judge(self, loss: float) -> None:
        if np.isnan(loss):
            return
        state = self._state
        self._plateau.step(loss)
        if loss < state.best_loss:
            state.best_loss, state.best_epoch = loss, state.epoch
            weights = self.trainee.net.state_dict()
            state.best = {name: value.detach().clone() for name, value in weights.items()}

    def _save(self) -> None:
        if self._path is None:
            return
        import torch

        state = self._state
        content = {
            "epoch": state.epoch,
            "best_epoch": state.best_epoch,
            "best_loss": state.best_loss,
            "best": state.best,
            "seconds": state.seconds,
            "net": self.trainee.net.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "plateau": self._plateau.state_dict(),
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".part")
        torch.save(content, partial)
        partial.replace(self._path)

    def _resume(self) -> None:
        if self._path is None or not self._path.is_file():
            return
        import torch

        try:
            content = torch.load(self._path, map_location=self.task.device, weights_only=True)
            self.trainee.net.load_state_dict(content.pop("net"))
            self._optimiser.load_state_dict(content.pop("optimiser"))
            self._plateau.load_state_dict(content.pop("plateau"))
            self._state = _State(**content)
        except NO_CHECKPOINT as fault:
            raise BadRequest(
                f"'{self._path}' is no checkpoint of this network: {_first_line(fault)} "
                "Delete it to begin anew."
            ) from fault


def _first_line(fault: Exception) -> str:
    return str(fault).partition("\n")[0][:MOST_TOLD].rstrip(".") + "."


def _checkpoint_path(task: Task, options: TrainedOptions, key: str) -> Path | None:
    """Name the checkpoint for all that moves the weights, but for how long they are trained.

    The code and the device are part of it: a network goes on as it was begun, or not at all.
    """
    if task.folder is None:
        return None
    recipe = {
        "options": options.as_dict() | {"epochs": None},
        "split": task.split.fingerprint(),
        "vectors": fingerprint(task.vectors),
        "seed": task.seed,
        "device": task.device,
        "code": code_version(),
    }
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    return task.folder / f"{key}-{digest}.pt"


@contextmanager
def seeded(seed: int, epoch: int, device: str) -> Iterator[None]:
    """Draw what torch draws by the seed and the epoch alone, so that a resumed fit draws the same.

    Other users of torch's generators in the process notice nothing.
    """
    import torch

    cuda = device.startswith(CUDA)
    if cuda:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or its sums differ by run
    before = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[torch.device(device)] if cuda else []):
        torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
        torch.use_deterministic_algorithms(cuda, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


def device_named(name: str) -> str:
    """Choose where networks run; ``"auto"`` is a GPU where there is one.

    Raises
    ------
    BadRequest
        There is no such device here.
    """
    from importlib.util import find_spec

    if name == CPU or (name == AUTO and find_spec("torch") is None):
        return CPU
    import torch

    if name == AUTO:
        return CUDA if torch.cuda.is_available() else CPU
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as fault:
        reason = str(fault).partition("\n")[0]
        raise BadRequest(f"There is no device '{name}' here: {reason}") from fault
    return name


def forget_peak(device: str) -> None:
    """Forget how much of a device's memory was in use, so that each network tells its own."""
    if device.startswith(CUDA):
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def peak_mb(device: str) -> int:
    """Tell how much memory has been in use at most: a GPU's, or of this process since it began."""
    if device.startswith(CUDA):
        import torch

        return int(torch.cuda.max_memory_allocated(device) >> 20)
    units_mb = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // units_mb


def hold_out(train: Pairs, seed: int) -> tuple[Pairs, Pairs]:
    """Take the last items of a tenth of the users out of training.

    Returns
    -------
    kept, held : Pairs
    """
    last = np.append(train.users[1:] != train.users[:-1], True)
    several = last & np.insert(train.users[1:] == train.users[:-1], 0, False)
    places = np.flatnonzero(several)
    count = min(MOST_HELD, max(1, round(HELD_SHARE * len(places))))
    held = np.zeros(len(last), dtype=bool)
    held[np.random.default_rng(seed).permutation(places)[:count]] = True
    return train.of(~held), train.of(held)
