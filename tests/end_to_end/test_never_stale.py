"""After every fault the site's picture is the unit's ledger: nothing lost, doubled or stale."""

from __future__ import annotations

import pytest

from tests.brokers import mosquitto_missing
from tests.conftest import skip_or_fail
from tests.wire_faults import FAULTS, faketime_missing, play


@pytest.mark.parametrize("fault", FAULTS)
def test_the_picture_equals_the_ledger_after(fault, tmp_path):
    """Row by row, and each exam's flag; what expired says so under its number."""
    if reason := mosquitto_missing() or faketime_missing():
        skip_or_fail(reason)
    proof = play(fault, tmp_path)
    assert proof.holds, proof
    assert proof.rows >= 8
