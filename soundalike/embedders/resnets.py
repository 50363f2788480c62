"""Residual networks for pictures, in the names that torchvision gives their tensors.

They are built as trees of modules, and what they compute is told by the functions here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

STRIDES = (1, 2, 2, 2)  # of the four stages' first blocks


def stem(channels: int, width: int) -> dict[str, nn.Module]:
    """Make the layers before the stages, by their names."""
    from torch import nn

    return {
        "conv1": nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False),
        "bn1": nn.BatchNorm2d(width),
    }


def plain_stages(depths: Sequence[int], width: int) -> dict[str, nn.Module]:
    """Make the four stages of a ResNet-18 or -34, by their names.

    Parameters
    ----------
    depths : sequence of int
        Blocks of each stage.
    width : int
        Channels of the first; each of the others has twice those of the one before.
    """
    from torch.nn import Conv2d

    def convolutions(inputs: int, outputs: int, stride: int) -> list[Conv2d]:
        return [
            Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            Conv2d(outputs, outputs, 3, padding=1, bias=False),
        ]

    return _stages(depths, width, [width << number for number in range(4)], convolutions)


def grouped_stages(
    depths: Sequence[int], width: int, *, groups: int, expansion: int = 4
) -> dict[str, nn.Module]:
    """Make the four stages of a ResNeXt-50, by their names.

    Parameters
    ----------
    depths : sequence of int
        Blocks of each stage.
    width : int
        Channels that go into the first stage.
    groups : int
        Into how many parts the middle convolution of each block is divided.
    expansion : int
        How many times as many channels come out of the first stage as go in.
    """
    from torch.nn import Conv2d

    def convolutions(inputs: int, outputs: int, stride: int) -> list[Conv2d]:
        inner = outputs // 2
        return [
            Conv2d(inputs, inner, 1, bias=False),
            Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False),
            Conv2d(inner, outputs, 1, bias=False),
        ]

    widths = [expansion * width << number for number in range(4)]
    return _stages(depths, width, widths, convolutions)


def _stages(
    depths: Sequence[int], inputs: int, widths: Sequence[int], convolutions: Any
) -> dict[str, nn.Module]:
    from torch import nn

    stages: dict[str, nn.Module] = {}
    for number, (depth, outputs) in enumerate(zip(depths, widths, strict=True), 1):
        blocks = []
        for stride in [STRIDES[number - 1], *[1] * (depth - 1)]:
            blocks.append(_block(convolutions(inputs, outputs, stride), stride))
            inputs = outputs
        stages[f"layer{number}"] = nn.Sequential(*blocks)
    return stages


def _block(convolutions: Sequence[nn.Conv2d], stride: int) -> nn.ModuleDict:
    """Make a block: convolutions, each with its norm, and what leads past them."""
    from torch import nn

    parts: dict[str, nn.Module] = {}
    for number, convolution in enumerate(convolutions, 1):
        parts[f"conv{number}"] = convolution
        parts[f"bn{number}"] = nn.BatchNorm2d(convolution.out_channels)
    inputs, outputs = convolutions[0].in_channels, convolutions[-1].out_channels
    if stride != 1 or inputs != outputs:
        parts["downsample"] = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )
    return nn.ModuleDict(parts)


def through_stem(network: Any, pictures: torch.Tensor) -> torch.Tensor:
    """Compute what comes out of the stem, at a quarter of the pictures' height and width."""
    from torch.nn.functional import max_pool2d, relu

    return max_pool2d(relu(network["bn1"](network["conv1"](pictures))), 3, stride=2, padding=1)


def through_stage(stage: Any, x: torch.Tensor) -> torch.Tensor:
    """Compute what comes out of a stage."""
    for block in stage:
        x = _through_block(block, x)
    return x


def _through_block(block: Any, x: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import relu

    past = block["downsample"](x) if "downsample" in block else x
    last = sum(name.startswith("conv") for name in block)
    for number in range(1, last + 1):
        x = block[f"bn{number}"](block[f"conv{number}"](x))
        x = relu(x + past if number == last else x)
    return x
