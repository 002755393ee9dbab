"""The shipped graph keeps its contract, here with random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra [train])")

from torch import Tensor  # noqa: E402  (needs torch)

from converters.training.networks.averaging import average_weights  # noqa: E402  (needs torch)
from converters.training.networks.coarse_network import CoarseNetwork, coarse_view  # noqa: E402
from converters.training.networks.export import export_onnx  # noqa: E402
from converters.training.networks.graph import (  # noqa: E402
    Calibration,
    Cells,
    EvidenceMap,
    Fusion,
    GraphSettings,
    Pooling,
    SuspicionGraph,
    border_cells,
    content_cells,
    pool_logits,
    suspicion_and_evidence,
    view_extent,
)
from converters.training.networks.network import LesionNetwork  # noqa: E402


@pytest.fixture
def graph() -> SuspicionGraph:
    """A graph with random weights."""
    torch.manual_seed(0)
    parts = GraphSettings(
        pooling=Pooling(),
        fusion=Fusion(weight=0.5, border_penalty=0.5),
        evidence=EvidenceMap(coarse_weight=1.5, smoothing_cells=3),
        calibration=Calibration(slope=0.8, offset=-0.4, view_offset=0.3),
    )
    return SuspicionGraph(
        LesionNetwork(classes=2), CoarseNetwork(classes=1), parts, spacing_mm=0.15
    ).eval()


def test_outputs_are_probabilities_on_the_stated_grid(graph: SuspicionGraph) -> None:
    """Suspicion is (1, 1), evidence a cell for every 32 pixels, both 0..1; empty cells are 0."""
    view = torch.zeros(1, 1, 192, 128)
    view[:, :, :96, :64] = torch.randn(96, 64)
    with torch.no_grad():
        suspicion, evidence = graph(view)
    assert suspicion.shape == (1, 1)
    assert evidence.shape == (1, 1, 6, 4)
    assert 0 <= float(suspicion) <= 1
    assert not evidence[0, 0, 3:].any()
    assert (evidence[0, 0, :3, :2] > 0).all()


def test_an_empty_view_has_no_suspicion(graph: SuspicionGraph) -> None:
    """Nothing but padding scores practically 0."""
    with torch.no_grad():
        assert float(graph(torch.zeros(1, 1, 128, 128))[0]) < 1e-6


def test_a_crop_smaller_than_a_cell_still_counts() -> None:
    """The fullest cell sets what content is, so 20 x 20 pixels are one cell."""
    view = torch.zeros(1, 1, 128, 128)
    view[:, :, :20, :20] = 1.0
    assert float(content_cells(view, 32).sum()) == 1.0


def test_pooling_ignores_cells_without_content() -> None:
    """High logits in padding do not raise the score; a fraction of the content's cells does."""
    logits = torch.tensor([[[[9.0, 1.0], [2.0, 3.0]]]])
    content = torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]])
    pooling = Pooling(fraction=0.5, minimum_cells=1.0)
    # 1.5 of three cells: all of the 3 and half of the 2.
    assert float(pool_logits(logits, content, pooling)) == pytest.approx(4.0 / 1.5)


def some_cells(*, extent: float) -> Cells:
    """Random logits; the coarse branch's far apart, one row of cells empty."""
    torch.manual_seed(2)
    fine, coarse = torch.randn(2, 1, 24, 20), 4 * torch.randn(1, 1, 24, 20)
    content = torch.ones(1, 1, 24, 20)
    content[:, :, -1] = 0.0
    return Cells(fine[:1], fine[1:], coarse, content, torch.tensor([[extent]]))


@pytest.mark.parametrize("extent", [0.0, 0.4, 1.0])
def test_the_map_is_on_the_level_of_the_score(graph: SuspicionGraph, extent: float) -> None:
    """The mean logit of the map's highest cells is the score's: both say the same how much."""
    cells = some_cells(extent=extent)
    suspicion, evidence = suspicion_and_evidence(cells, graph.parts)
    offset = graph.parts.calibration.offset + graph.parts.calibration.view_offset * extent
    slope = graph.parts.calibration.slope
    logits = (torch.logit(evidence.clamp(1e-6)) - offset) / slope
    level = slope * pool_logits(logits, cells.content, graph.parts.pooling) + offset
    torch.testing.assert_close(level, torch.logit(suspicion), atol=1e-3, rtol=1e-3)
    assert not evidence[:, :, -1].any()


def test_the_map_has_its_own_weight_of_the_coarse_branch(graph: SuspicionGraph) -> None:
    """In a view the coarse branch moves the map, not the score; in a piece neither."""

    def outcome(coarse_weight: float, extent: float) -> tuple[Tensor, Tensor]:
        evidence = EvidenceMap(coarse_weight=coarse_weight, smoothing_cells=1)
        return suspicion_and_evidence(
            some_cells(extent=extent), replace(graph.parts, evidence=evidence)
        )

    (plain_score, plain), (score, moved) = outcome(0.0, 1.0), outcome(1.5, 1.0)
    torch.testing.assert_close(score, plain_score)
    assert int(moved.argmax()) == int(some_cells(extent=1.0).joined(1.5, 0.5)[:, :, :-1].argmax())
    assert int(moved.argmax()) != int(plain.argmax())
    torch.testing.assert_close(outcome(0.0, 0.0), outcome(1.5, 0.0))


def test_a_border_is_no_lesion() -> None:
    """In a view the cells where content ends are lower by the penalty; in a piece they stay."""
    content = torch.zeros(1, 1, 6, 5)
    content[:, :, :4, :4] = 1.0
    inner = torch.zeros(1, 1, 6, 5)
    inner[:, :, 1:3, 1:3] = 1.0
    torch.testing.assert_close(border_cells(content), content - inner)
    torch.testing.assert_close(border_cells(torch.zeros(1, 1, 2, 2)), torch.zeros(1, 1, 2, 2))
    nothing = torch.zeros(1, 1, 6, 5)
    for extent in (0.0, 1.0):
        cells = Cells(nothing, nothing, nothing, content, torch.tensor([[extent]]))
        expected = -0.5 * extent * border_cells(content)
        torch.testing.assert_close(cells.joined(0.0, 0.5), expected)


def test_the_onnx_file_gives_what_torch_gives(graph: SuspicionGraph, tmp_path: Path) -> None:
    """Static shapes, the contract's names, and the same figures without torch."""
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    path = tmp_path / "graph.onnx"
    export_onnx(graph, path, rows_px=192, columns_px=128)
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    view = np.zeros((1, 1, 192, 128), dtype=np.float32)
    view[..., :100, :90] = np.random.default_rng(0).standard_normal((100, 90))
    found = compiled({"view": view})
    with torch.no_grad():
        suspicion, evidence = graph(torch.from_numpy(view))
    np.testing.assert_allclose(found["suspicion"], suspicion.numpy(), atol=1e-4)
    np.testing.assert_allclose(found["evidence"], evidence.numpy(), atol=1e-4)


def test_averaged_weights_are_the_mean() -> None:
    """Of two networks, every weight and batch statistic lies half way."""
    torch.manual_seed(1)
    one, other = LesionNetwork(), LesionNetwork()
    mean = average_weights([one, other])
    for name, value in mean.state_dict().items():
        if value.dtype.is_floating_point:
            expected = (one.state_dict()[name] + other.state_dict()[name]) / 2
            torch.testing.assert_close(value, expected)


def test_a_whole_view_is_told_from_a_piece() -> None:
    """20 cells of 4.8 mm are a piece (0), 800 a view (1), 228 (52.5 cm2) half way."""
    content = torch.zeros(3, 1, 48, 32)
    for row, count in enumerate((20, 800, 228)):
        content[row].view(-1)[:count] = 1.0
    extent = view_extent(content, 4.8)[:, 0].tolist()
    assert extent == pytest.approx([0.0, 1.0, 0.5], abs=0.01)


def test_both_branches_have_the_same_cells(graph: SuspicionGraph) -> None:
    """The coarse branch's grid is the fine one's; in a piece of a view the fine one is alone."""
    piece = torch.zeros(1, 1, 192, 128)
    piece[:, :, :96, :64] = torch.randn(96, 64)
    with torch.no_grad():
        cells, _ = graph.cells(piece)
        alone = graph.network(piece.clamp(-5, 5))[:, :1]
    assert torch.equal(cells, alone)
    view = torch.randn(1, 1, 768, 512)
    with torch.no_grad():
        joined, content = graph.cells(view)
        alone = graph.network(view.clamp(-5, 5))[:, :1]
    assert joined.shape == alone.shape == content.shape
    assert not torch.allclose(joined, alone)


def test_the_coarse_branch_sees_no_finer_than_its_training_views() -> None:
    """A pattern of 0.6 mm, which a view of 1 mm per pixel cannot hold, is nearly gone."""
    columns = torch.arange(512)
    stripes = ((columns // 4) % 2 * 2.0 - 1.0).expand(1, 1, 64, 512)
    wide = ((columns // 32) % 2 * 2.0 - 1.0).expand(1, 1, 64, 512)
    assert float(coarse_view(stripes)[..., 2:-2].std()) < 0.05
    assert float(coarse_view(wide)[..., 2:-2].std()) > 0.8
