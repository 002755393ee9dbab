"""Times as they are said: UTC with milliseconds, or the unit's own clock as DICOM wrote it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def utc_text(at_ms: int) -> str:
    """Milliseconds since the epoch -> `2026-11-22T15:04:05.678Z`."""
    moment = datetime.fromtimestamp(at_ms // 1000, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def utc_ms(text: str) -> int:
    """`2026-11-22T15:04:05.678Z` -> milliseconds since the epoch.

    Raises:
        ValueError: there is no such moment, or it has no zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    # Of whole numbers, never of a float: 0.678 s is no binary fraction.
    return (moment - EPOCH) // MILLISECOND


def local_text(dicom_time: str) -> str | None:
    """`YYYYMMDDHHMMSS…` or `YYYYMMDD` -> ISO 8601 without zone; None where it is no time."""
    match = re.fullmatch(r"(\d{8})(\d{6})?(\.\d*)?", dicom_time.strip())
    if match is None:
        return None
    try:
        moment = datetime.strptime(match[1] + (match[2] or "000000"), "%Y%m%d%H%M%S")  # noqa: DTZ007 - DICOM gives local time
    except ValueError:
        return None
    return moment.isoformat() if match[2] else moment.date().isoformat()
