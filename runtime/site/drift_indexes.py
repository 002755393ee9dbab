"""The indexes that a `drift` message holds, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.messages import DriftMessage

if TYPE_CHECKING:
    from runtime.site.glance import DriftGlance

SCORE = "score"


def drift_indexes(drift: DriftGlance) -> dict[str, float]:
    """Population stability indexes by name: `score`, and those of the image descriptors."""
    found = {} if drift.psi is None else {SCORE: drift.psi}
    descriptors = DriftMessage.model_validate_json(drift.message).descriptors
    if descriptors is not None:
        found |= {
            name.value: part.psi
            for name, part in descriptors.by_name.items()
            if part.psi is not None
        }
    return found
