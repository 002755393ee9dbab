"""What a check found: one verdict each, for people and for machines."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runtime.user_input.settings_section import SettingsError


class Grade(StrEnum):
    """How a check went."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One check: what was found, and what to do about it ("" if nothing)."""

    name: str
    grade: Grade
    found: str
    advice: str = ""


def faulty_settings(error: SettingsError) -> Iterator[CheckResult]:
    """Every fault, with the file that it is in."""
    for fault in error.faults:
        yield CheckResult(name="settings", grade=Grade.BAD, found=f"{error.file}: {fault}")


def report(found: Iterable[CheckResult], *, as_json: bool) -> int:
    """Prints verdicts as they come; 0 if none is bad, 2 for bad settings, else 1."""
    worst = 0
    for verdict in found:
        if verdict.grade is Grade.BAD:
            worst = max(worst, 2 if verdict.name == "settings" else 1)
        if as_json:
            print(json.dumps(asdict(verdict)), flush=True)
            continue
        print(f"{verdict.grade.upper():8} {verdict.name:14} {verdict.found}", flush=True)
        if verdict.advice:
            print(f"{'':8} {'':14} -> {verdict.advice}", flush=True)
    if not as_json:
        print("ready" if worst == 0 else "not ready", file=sys.stderr)
    return worst
