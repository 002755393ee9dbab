"""The heads that ship are means of those that training had."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra [train])")

from converters.training.networks.network import LesionNetwork, with_heads  # noqa: E402  (needs torch)


def test_each_head_is_the_weighted_mean_of_the_named_ones() -> None:
    """Of three classes, the first and the last at weights 1 and 3."""
    torch.manual_seed(0)
    network = LesionNetwork(classes=3).eval()
    with torch.no_grad():
        network.cell_head.bias.copy_(torch.tensor([0.5, 9.0, -1.0]))
        view = torch.randn(1, 1, 64, 64)
        all_heads = network(view)
        lean = with_heads(network, [{1: 2.0}, {0: 1.0, 2: 3.0}]).eval()(view)
    mean = (all_heads[:, 0:1] + 3 * all_heads[:, 2:3]) / 4
    expected = torch.cat([all_heads[:, 1:2], mean], dim=1)
    torch.testing.assert_close(lean, expected)
