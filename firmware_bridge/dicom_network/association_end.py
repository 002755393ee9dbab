"""The end of an association that we asked for: in order, or by force, and soon in any case."""

from __future__ import annotations

import logging
import threading
from typing import Any

LOGGER = logging.getLogger(__name__)
RELEASE_TIMEOUT_S = 10.0
"""A release is one small PDU each way."""


def end_association(assoc: Any, timeout_s: float = RELEASE_TIMEOUT_S) -> None:
    """Releases it; aborts it if that has no end in this time.

    pynetdicom's `release` waits without a bound for the association's own thread to pause, and
    that thread may have ended in between, or wait for the caller (3.0.4, association.py). So it
    runs beside us: what hangs in it is set free by the abort, or stays behind as a daemon.
    """
    releasing = threading.Thread(target=assoc.release, name="release", daemon=True)
    releasing.start()
    releasing.join(timeout_s)
    if releasing.is_alive():
        LOGGER.warning("no release within %g s: the association is aborted", timeout_s)
        # It waits for the peer to close the connection (PS3.8 9.2, state 13), and we do not.
        threading.Thread(target=assoc.abort, name="abort", daemon=True).start()
