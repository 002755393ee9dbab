"""A unit's line in `watch`: what is shown of a unit, as text. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.image.outcome import Flag
from runtime.messages.payloads import OtherCode, UnitState
from runtime.site.terminal.lines import printable

if TYPE_CHECKING:
    from runtime.site.live_model.known_unit import KnownUnit
    from runtime.site.live_model.site_state import SiteState

SILENT_AFTER_MS = 90_000
"""Three times the interval of `health`."""
SKEW_SHOWN_MS = 2_000
COLUMNS = (
    "unit", "state", "priority", "none", "not assessed", "latency ms", "waiting", "behind",
    "missing", "heard", "trouble",
)  # fmt: skip
WIDTH_TROUBLE = 48


@dataclass(frozen=True, kw_only=True)
class UnitRow:
    """One row of the table. `grave`: somebody should look."""

    unit: str
    cells: tuple[str, ...]
    grave: bool


def unit_lines(site_state: SiteState, now_ms: int) -> tuple[UnitRow, ...]:
    """All units; those with trouble first, then by name."""
    lines = [unit_line(unit, now_ms) for unit in site_state]
    return tuple(sorted(lines, key=lambda line: (not line.grave, line.unit)))


def unit_line(unit: KnownUnit, now_ms: int) -> UnitRow:
    """One unit's row, in the order of `COLUMNS`."""
    flags, latency, book = unit.flags, unit.latency_ms, unit.book
    missing = book.missing + book.forgotten_missing
    troubles = list(_troubles(unit, now_ms))
    cells = (
        printable(unit.unit, 24),
        unit.state.value.upper() if unit.state is UnitState.OFFLINE else str(unit.state or "?"),
        *(str(flags.get(flag, 0)) for flag in (Flag.PRIORITY, Flag.NONE, Flag.NOT_ASSESSED)),
        f"{latency['p50']:.0f}/{latency['p95']:.0f}" if latency else "-",
        "?" if unit.waiting is None else str(unit.waiting),
        str(book.behind),
        str(missing),
        _ago(unit.last_heard_ms, now_ms),
        printable(", ".join(troubles), WIDTH_TROUBLE),
    )
    return UnitRow(unit=unit.unit, cells=cells, grave=bool(troubles))


def _troubles(unit: KnownUnit, now_ms: int) -> list[str]:
    counts, skew = unit.counts, unit.skew_ms
    silent = unit.last_heard_ms is not None and now_ms - unit.last_heard_ms > SILENT_AFTER_MS
    found = [
        ("offline", unit.state is UnitState.OFFLINE),
        ("silent", silent and unit.state is not UnitState.OFFLINE),
        ("state not known here", isinstance(unit.state, OtherCode)),
        *((reason, True) for reason in (unit.status.reasons if unit.status else ())),
        ("numbers missing", bool(unit.book.missing)),
        ("two units of this name", bool(counts["two_units"])),
        ("conflicts", bool(counts["conflicts"])),
        ("ledger rolled back", bool(counts["rollbacks"])),
        ("counts anew", bool(counts["seq_restarts"])),
        (f"clock off by {_seconds(skew or 0)}", skew is not None and abs(skew) > SKEW_SHOWN_MS),
        ("foreign messages", bool(counts["foreign"])),
    ]
    return [name for name, holds in found if holds]


def _ago(at_ms: int | None, now_ms: int) -> str:
    if at_ms is None:
        return "-"
    return _seconds(max(0, now_ms - at_ms))


def _seconds(ms: float) -> str:
    seconds = abs(ms) / 1000
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
