"""The head that ships is the mean of those that the score needs."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra [train])")

from converters.training.network import LesionNetwork, with_one_head  # noqa: E402  (needs torch)


def test_one_head_is_the_weighted_mean_of_the_named_ones() -> None:
    """Of three classes, the first and the last at weights 1 and 3."""
    torch.manual_seed(0)
    network = LesionNetwork(classes=3).eval()
    with torch.no_grad():
        network.cell_head.bias.copy_(torch.tensor([0.5, 9.0, -1.0]))
        view = torch.randn(1, 1, 64, 64)
        all_heads = network(view)
        lean = with_one_head(network, {0: 1.0, 2: 3.0}).eval()(view)
    expected = (all_heads[:, 0:1] + 3 * all_heads[:, 2:3]) / 4
    torch.testing.assert_close(lean, expected)
