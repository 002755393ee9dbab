"""What the extras bring may be missing on a workplace, and never on CI."""

from __future__ import annotations

import pytest

from tests.conftest import module_or_skip


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_a_missing_module_is_a_failure_on_ci(monkeypatch, ci, outcome):
    """A skip that nobody sees would be a test that nobody runs."""
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="not installed"):
        module_or_skip("no_such_module", "extra [demo] is not installed")
