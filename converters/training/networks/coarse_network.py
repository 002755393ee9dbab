"""The second, coarse branch: sees shape and surroundings of a mass, where film normals exist.

Of film, normal tissue that may train the weights exists at 1 mm per pixel only. So a second small
network looks at the same prepared view, averaged inside the graph down to what those views hold.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from converters.training.networks.network import (
    STAGES,
    STEM_CHANNELS,
    InvertedBottleneck,
    SameConvolution,
    new_norm,
    read_imagenet,
)

POOLED_PX = 4
"""Pixels of the prepared view that become one of the coarse branch: 0.15 mm to 0.6 mm."""

CELL_PX = 8
"""Pixels of the coarse branch in one of its cells: 4.8 mm, the fine network's cells."""

COARSE_STAGES = 5
FINER_BLOCK = 4
"""The last block at stride 8; the last block of all is at stride 16."""
LATERAL_CHANNELS = 96

CLASSES = ("malignant", "mass", "spiculated")
"""What the cells are scored for; all but the first serve training only."""


def soften(view: Tensor) -> Tensor:
    """[1 2 1] / 4 in both directions; beyond the border is 0, as in padding and air.

    Together with the average over 4 pixels this is as sharp as a view of 1 mm per pixel that was
    enlarged to 0.6 mm: deviations of 0.45 mm and 0.5 mm.
    """
    padded = functional.pad(view, (1, 1, 1, 1))
    rows = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    columns = rows[:, :, :, :-2] + 2 * rows[:, :, :, 1:-1] + rows[:, :, :, 2:]
    return columns / 16


def coarse_view(view: Tensor) -> Tensor:
    """The prepared view (batch, 1, rows, columns) as the coarse branch sees it."""
    return soften(functional.avg_pool2d(view, POOLED_PX))


class CoarseNetwork(nn.Module):  # type: ignore[misc]  # mypy skips torch
    """The first five stages of EfficientNet-Lite0, and a head that joins strides 8 and 16.

    `forward` maps (batch, 1, rows, columns) at 0.6 mm to logits (batch, classes, rows/8,
    columns/8); rows and columns are multiples of 16.
    """

    def __init__(self, classes: int = len(CLASSES), *, dropout: float = 0.1) -> None:
        super().__init__()
        self._conv_stem = SameConvolution(1, STEM_CHANNELS, 3, 2, 1)
        self._bn0 = new_norm(STEM_CHANNELS)
        blocks: list[InvertedBottleneck] = []
        channels = STEM_CHANNELS
        for stage in STAGES[:COARSE_STAGES]:
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                blocks.append(InvertedBottleneck(channels, stage, stride=stride))
                channels = stage.channels
        for index, block in enumerate(blocks):
            block.drop_rate = 0.1 * index / len(blocks)
        self._blocks = nn.ModuleList(blocks)
        finer_channels = STAGES[2].channels
        self.finer_lateral = nn.Conv2d(finer_channels, LATERAL_CHANNELS, 1, bias=False)
        self.coarser_lateral = nn.Conv2d(channels, LATERAL_CHANNELS, 1, bias=False)
        self.joined_norm = new_norm(LATERAL_CHANNELS)
        self.mix = SameConvolution(LATERAL_CHANNELS, LATERAL_CHANNELS, 3, 1, LATERAL_CHANNELS)
        self.widen = nn.Conv2d(LATERAL_CHANNELS, 2 * LATERAL_CHANNELS, 1, bias=False)
        self.wide_norm = new_norm(2 * LATERAL_CHANNELS)
        self.dropout = nn.Dropout(dropout)
        self.cell_head = nn.Conv2d(2 * LATERAL_CHANNELS, classes, 1)
        nn.init.normal_(self.cell_head.weight, std=0.01)
        # Few cells hold a lesion: start there, or the first steps only learn that (RetinaNet).
        nn.init.constant_(self.cell_head.bias, -3.0)

    def forward(self, view: Tensor) -> Tensor:
        """Logits of each cell; see the class."""
        features = functional.relu6(self._bn0(self._conv_stem(view)))
        finer = features
        for index, block in enumerate(self._blocks):
            features = block(features)
            if index == FINER_BLOCK:
                finer = features
        raised = functional.interpolate(
            self.coarser_lateral(features), scale_factor=2.0, mode="nearest"
        )
        joined = functional.relu6(self.joined_norm(self.finer_lateral(finer) + raised))
        joined = functional.relu6(self.wide_norm(self.widen(self.mix(joined))))
        return self.cell_head(self.dropout(joined))


def load_imagenet_stages(network: CoarseNetwork) -> None:
    """Load the ImageNet weights of the stages that the coarse branch has, in place."""
    weights = read_imagenet(planes=1)
    own = network.state_dict()
    known = {name: value for name, value in weights.items() if name in own}
    fitting = {name: value for name, value in known.items() if own[name].shape == value.shape}
    network.load_state_dict(fitting, strict=False)


def malignancy_alone(network: CoarseNetwork) -> CoarseNetwork:
    """A copy whose head scores malignancy only."""
    lean = CoarseNetwork(classes=1)
    state = dict(network.state_dict())
    for name in ("cell_head.weight", "cell_head.bias"):
        state[name] = state[name][:1]
    lean.load_state_dict(state)
    lean.eval()
    return lean


def logits_of(network: CoarseNetwork, view: Tensor) -> Tensor:
    """Malignancy of each cell of a prepared view, (batch, 1, rows/32, columns/32)."""
    return network(coarse_view(view))[:, :1]
