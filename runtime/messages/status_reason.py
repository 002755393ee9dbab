"""Why a unit cannot wholly be relied on: the reasons of `status`, and the console's codes."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class StatusReason(StrEnum):
    """What is not well, as `status.reasons` says it. A reader takes reasons that it does not know.

    `code` is what the console shows, to be read out on the telephone; docs/troubleshooting.md has
    the list for engineers. The last four are the console's alone: the site sees them by itself, or
    elsewhere in `status` and `health`.
    """

    code: str

    STARTING = "starting", "S1"
    WORKER_NOT_READY = "worker_not_ready", "W1"
    BACKLOG_FULL = "backlog_full", "W4"
    DISK_LOW = "disk_low", "D1"
    STORAGE_FAILED = "storage_failed", "D2"
    FILES_SET_ASIDE = "files_set_aside", "D3"
    LEDGER_FAILED = "ledger_failed", "L1"
    LEDGER_ROLLED_BACK = "ledger_rolled_back", "L2"
    LEDGER_REBUILT = "ledger_rebuilt", "L3"
    ROWS_PARKED = "rows_parked", "B2"
    NAME_TAKEN = "name_taken", "B3"
    CONNECTION_UNSTABLE = "connection_unstable", "B4"
    CERTIFICATE_ENDS_SOON = "certificate_ends_soon", "B5"
    CLOCK_JUMPED = "clock_jumped", "C1"
    WORKER_RESTARTS = "worker_restarts", "W2"
    DEVICE_FALLBACK = "device_fallback", "W3"
    BROKER_AWAY = "broker_away", "B1"
    UNSIGNED_PACKAGE = "unsigned_package", "M1"

    def __new__(cls, reason: str, code: str) -> Self:
        """The value is the reason."""
        member = str.__new__(cls, reason)
        member._value_ = reason
        member.code = code
        return member


BY_REASON = {reason.value: reason for reason in StatusReason}
