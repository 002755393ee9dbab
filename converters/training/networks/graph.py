"""The graph that ships: prepared view in, suspicion and evidence map out.

Everything after the cells' logits lives here, in the graph, so that the runtime needs no rule of
its own: which cells hold breast, how they are smoothed and pooled, and the calibration.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from converters.training.networks.coarse_network import CoarseNetwork, logits_of
from converters.training.networks.network import LesionNetwork

MASKED_LOGIT = -30.0
CLAMP = 5.0
"""Local deviations beyond this carry no more information; the clamp bounds INT8's range."""


REGION_CM2 = 35.0
VIEW_CM2 = 70.0
"""95 % of CBIS-DDSM's lesion crops cover less than 25 cm2, the smallest breasts here 67 and 71."""


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """How the logits of cells become one score.

    `fraction` is the share of content cells, highest first, whose mean is the view's logit; at
    least `minimum_cells` of them.
    """

    fraction: float = 0.02
    minimum_cells: float = 1.0


@dataclass(frozen=True, kw_only=True)
class EvidenceMap:
    """How the map shows where: the cells with another weight of the coarse branch, smoothed.

    The coarse branch finds places better than it tells malignant from the rest; the score hardly
    needs it. The map's level is the score's: its highest cells have the score's mean logit.
    """

    coarse_weight: float
    smoothing_cells: int
    """Side of the averaging window over cells."""

    def __post_init__(self) -> None:
        if self.smoothing_cells % 2 == 0:
            message = f"evidence.smoothing_cells: {self.smoothing_cells} is not odd"
            raise ValueError(message)


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How the heads join: in a piece of a view malignancy, in a view detection + weight * coarse.

    In a view less the penalty of its border.

    Between the two it is linear in the extent, which is 0 for a piece of a view and 1 for a whole
    one (`view_extent`): the coarse branch learnt from views, and of a piece it does not see the
    surroundings that it judges by.
    """

    weight: float
    assessment_weight: float = 0.0
    """Of each of the fine network's heads for BI-RADS 3 and 4 or higher in detection, against
    malignancy's 1. A view without cancer is mostly one without any lesion, and what a radiologist
    would assess at all is learnt from every crop, not only from what a biopsy decided.
    """
    border_penalty: float = 0.0
    """Logits taken from a view's cells at the border of its content. Lesion crops lie in nothing in
    training, so a border speaks for a lesion; in a view it is where skin or picture ends, at the
    chest wall too.
    """


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Platt scaling: sigmoid(slope * logit + offset + view_offset * extent).

    1/slope is the temperature. `extent` is 0 for a piece of a view and 1 for a whole one
    (`view_extent`): the highest cells of 800 are higher than those of 20 by chance alone.
    """

    slope: float = 1.0
    offset: float = 0.0
    view_offset: float = 0.0


@dataclass(frozen=True, kw_only=True)
class GraphSettings:
    """What the graph does after the cells' logits."""

    pooling: Pooling
    fusion: Fusion
    evidence: EvidenceMap
    calibration: Calibration


def view_extent(content: Tensor, cell_mm: float) -> Tensor:
    """0 below REGION_CM2 of content, 1 above VIEW_CM2, linear between; shape (batch, 1)."""
    area_cm2 = content.flatten(1).sum(dim=1, keepdim=True) * (cell_mm / 10) ** 2
    return torch.clamp((area_cm2 - REGION_CM2) / (VIEW_CM2 - REGION_CM2), 0.0, 1.0)


def content_cells(view: Tensor, cell_px: int) -> Tensor:
    """1 where a cell holds content, else 0; shape (batch, 1, rows/cell_px, columns/cell_px).

    Preparation leaves padding and air at exactly 0. A cell counts when it is at least half as
    full as the fullest one: half full in a view, less in a lesion crop that is smaller than a cell.
    """
    filled = torch.logical_not(torch.eq(view, 0.0)).to(torch.float32)
    share = functional.avg_pool2d(filled, cell_px)
    fullest = torch.amax(share, dim=(2, 3), keepdim=True)
    needed = torch.clamp(fullest * 0.5, min=1e-3)
    return (share >= needed).to(torch.float32)


def border_cells(content: Tensor) -> Tensor:
    """1 where a content cell has a neighbour without content or outside the view; same shape."""
    surrounded = functional.avg_pool2d(content, 3, 1, 1) > 1.0 - 1e-3
    return content * torch.logical_not(surrounded).to(torch.float32)


def smooth_logits(logits: Tensor, content: Tensor, window_cells: int) -> Tensor:
    """Mean of the content cells' logits in a window around each cell; same shape as `logits`."""
    if window_cells == 1:
        return logits
    margin = window_cells // 2
    total = functional.avg_pool2d(logits * content, window_cells, 1, margin)
    share = functional.avg_pool2d(content, window_cells, 1, margin)
    return total / torch.clamp(share, min=1e-6)


def pool_logits(logits: Tensor, content: Tensor, pooling: Pooling) -> Tensor:
    """Mean of the highest content cells, shape (batch, 1); MASKED_LOGIT if there is no content."""
    masked = logits * content + MASKED_LOGIT * (1.0 - content)
    flat = masked.flatten(1)
    cells = flat.shape[1]
    ordered = torch.topk(flat, cells, dim=1, sorted=True).values
    filled = torch.clamp(content.flatten(1).sum(dim=1, keepdim=True), min=1.0)
    # A lesion crop may have fewer cells than the minimum: then all of them count.
    count = torch.minimum(torch.clamp(filled * pooling.fraction, min=pooling.minimum_cells), filled)
    ranks = torch.arange(cells, dtype=torch.float32).unsqueeze(0)
    # A fractional count gives the last cell a fractional weight: no jump between sizes of breast.
    weights = torch.clamp(count - ranks, 0.0, 1.0)
    return (ordered * weights).sum(dim=1, keepdim=True) / count


class Cells(NamedTuple):
    """What both branches say of each cell, (batch, 1, rows, columns); `extent` is (batch, 1)."""

    malignancy: Tensor
    detection: Tensor
    coarse: Tensor
    content: Tensor
    extent: Tensor

    def joined(self, coarse_weight: float, border_penalty: float) -> Tensor:
        """In a piece malignancy, in a whole view detection + `coarse_weight` * coarse - border."""
        penalty = border_penalty * border_cells(self.content)
        in_view = self.detection + coarse_weight * self.coarse - penalty
        return self.malignancy + self.extent[:, :, None, None] * (in_view - self.malignancy)


def suspicion_and_evidence(cells: Cells, parts: GraphSettings) -> tuple[Tensor, Tensor]:
    """Score (batch, 1) and map (batch, 1, rows, columns), both 0..1; the map is 0 beside content.

    The mean logit of the map's highest cells is the score's logit: both say the same how much.
    """
    calibration, penalty = parts.calibration, parts.fusion.border_penalty
    judged = cells.joined(parts.fusion.weight, penalty)
    pooled = pool_logits(judged, cells.content, parts.pooling)
    located = cells.joined(parts.evidence.coarse_weight, penalty)
    shown = smooth_logits(located, cells.content, parts.evidence.smoothing_cells)
    level = pooled - pool_logits(shown, cells.content, parts.pooling)
    offset = calibration.offset + calibration.view_offset * cells.extent
    suspicion = torch.sigmoid(calibration.slope * pooled + offset)
    lift = calibration.slope * level + offset
    evidence = torch.sigmoid(calibration.slope * shown + lift[:, :, None, None])
    return suspicion, evidence * cells.content


class SuspicionGraph(nn.Module):  # type: ignore[misc]  # mypy skips torch
    """`view` (1, 1, H, W) to `suspicion` (1, 1) and `evidence` (1, 1, H/cell, W/cell), all 0..1.

    `network` has two classes, malignancy and detection; `coarse` has malignancy alone.
    """

    def __init__(
        self,
        network: LesionNetwork,
        coarse: CoarseNetwork,
        parts: GraphSettings,
        *,
        spacing_mm: float,
    ) -> None:
        super().__init__()
        self.network = network
        self.coarse = coarse
        self.parts = parts
        self.cell_mm = spacing_mm * network.cell_px

    def with_calibration(self, calibration: Calibration) -> SuspicionGraph:
        """The same networks and pooling, another calibration."""
        parts = replace(self.parts, calibration=calibration)
        spacing_mm = self.cell_mm / self.network.cell_px
        return SuspicionGraph(self.network, self.coarse, parts, spacing_mm=spacing_mm)

    def cells(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Joined logits of the cells before calibration, and which cells hold content."""
        cells, fusion = self._parts_of_cells(view), self.parts.fusion
        return cells.joined(fusion.weight, fusion.border_penalty), cells.content

    def _parts_of_cells(self, view: Tensor) -> Cells:
        content = content_cells(view, self.network.cell_px)
        limited = torch.clamp(view, -CLAMP, CLAMP)
        fine = self.network(limited)
        return Cells(
            malignancy=fine[:, :1],
            detection=fine[:, 1:2],
            coarse=logits_of(self.coarse, limited),
            content=content,
            extent=view_extent(content, self.cell_mm),
        )

    def forward(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Score a prepared view; see the class."""
        return suspicion_and_evidence(self._parts_of_cells(view), self.parts)
