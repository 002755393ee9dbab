"""`mammoedge simulate-site`, small: real units, a Mosquitto of its own, two services."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")

from runtime.cli.main import main
from tests.conftest import skip_or_fail
from tests.support.brokers import mosquitto_missing


@pytest.mark.slow
def test_a_small_site_loses_nothing_and_says_its_figures(capsys):
    """Five units in two processes, two services that share them."""
    if reason := mosquitto_missing():
        skip_or_fail(reason)
    asked = ["--units", "5", "--exams", "4", "--exams-per-second", "20", "--json"]
    assert main(["simulate-site", *asked, "--services", "2", "--processes", "2"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["flags"], figures["lost"]) == (160, 0)
    assert figures["wire_p95_ms"] > 0
    assert min(figures["memory_mb"]) > 0
