"""Storage Commitment (PS3.4 annex J): a promise that we do not make.

We keep copies for some days. A unit that hears "committed" may delete its images: so the answer is
a failure, in words that name who can make the promise.
"""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

PROCESSING_FAILURE = 0x0110


def commitment_refused(event: Any) -> tuple[Dataset, None]:
    """The answer to every request (evt.EVT_N_ACTION) while no PACS is named in the settings."""
    del event
    response = Dataset()
    response.Status = PROCESSING_FAILURE
    response.ErrorComment = "only copies are kept here: ask the archive to commit"
    return response, None
