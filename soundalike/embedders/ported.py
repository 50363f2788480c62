"""Embedders whose network is written here, filled from a checkpoint of its authors'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from soundalike.embedders.checkpointed import Checkpointed

if TYPE_CHECKING:
    import torch


class Ported(Checkpointed):
    """An embedder with a network of our own.

    Its `load` reads the state, gives it the network's names where they are
    others, has `fill` make the network of it, then `place` and `probe`.
    """

    def fill(
        self, make: Callable[[], torch.nn.Module], state: Mapping[str, torch.Tensor]
    ) -> torch.nn.Module:
        """Make a network and fill it with weights.

        Parameters
        ----------
        make : callable
            Builds it; called on the meta device, for what it draws is thrown away. What the
            network computes itself has to stand in plain buffers off that device.
        state : mapping of str to Tensor
            All of its floating weights and nothing else. Counters of batches may be there or
            not: nothing is computed from them.

        Returns
        -------
        Module
            In float32 and evaluation mode.

        Raises
        ------
        Quarantined
            A tensor is missing, has the wrong shape, or belongs nowhere.
        """
        import torch

        with torch.device("meta"):
            network = make()
        whole = network.state_dict()
        wanted, found = _floating(whole), _floating(state)
        self.refuse_names(
            missing=[name for name in wanted if name not in found],
            extra=[name for name in found if name not in wanted],
            misshapen=[
                f"{name} is {tuple(found[name].shape)} and not {tuple(tensor.shape)}"
                for name, tensor in wanted.items()
                if name in found and found[name].shape != tensor.shape
            ],
        )
        plain = {name: tensor.float() for name, tensor in found.items()}
        counters = {
            name: torch.zeros(like.shape, dtype=like.dtype)
            for name, like in whole.items()
            if name not in wanted
        }
        network.load_state_dict(plain | counters, assign=True)
        return network.eval().requires_grad_(False)


def _floating(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
