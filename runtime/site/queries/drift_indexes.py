"""The indexes that a unit's drift comes to, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.messages.payloads import DriftMessage
from runtime.site.control_charts.drift_verdict import drift_verdict

if TYPE_CHECKING:
    from runtime.site.queries.fleet_summary import DriftSummary


def drift_indexes(drift: DriftSummary) -> dict[str, float]:
    """Population stability indexes by name: `score`, and those of the image descriptors."""
    message = DriftMessage.model_validate_json(drift.message)
    return {index.name: index.psi for index in drift_verdict(message, None).indexes}
