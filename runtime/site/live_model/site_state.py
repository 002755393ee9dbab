"""The state of a site: what a subscriber knows, folded from what it heard.

Pure and deterministic: no clock, no network, no thread. The same arrivals make the same state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.messages.alarm import AlarmMessage
from runtime.messages.payloads import HealthMessage, Message, NumberedMessage, StatusMessage
from runtime.site.live_model.change import Change, ChangeKind
from runtime.site.live_model.known_unit import KnownUnit
from runtime.site.live_model.memory_limits import MemoryLimits
from runtime.site.live_model.unit_json import unit_json
from runtime.site.subscriber.arrival import Arrival, LinkChange
from runtime.site.subscriber.parsing import (
    Cleared,
    CommandHeard,
    Foreign,
    ForeignReason,
    ProbeHeard,
    Said,
    read,
)
from runtime.site.subscriber.topic_parsing import TopicKind
from runtime.timing.timestamps import utc_text

if TYPE_CHECKING:
    from collections.abc import Iterator

ALARMS_KEPT = 200


class SiteState:
    """What is known of the units of one site."""

    def __init__(self, site: str, *, limits: MemoryLimits | None = None) -> None:
        self.site = site
        self.limits = limits or MemoryLimits()
        self.units: dict[str, KnownUnit] = {}
        self.foreign: dict[ForeignReason, int] = {}
        """Messages that were none of ours, by reason."""
        self.alarms: dict[tuple[str, str | None, str], AlarmMessage] = {}
        self.link: LinkChange | None = None

    @property
    def connected(self) -> bool:
        """Whether the state is live."""
        return self.link is not None and self.link.up

    def __iter__(self) -> Iterator[KnownUnit]:
        """The units by name."""
        return iter(self.units[name] for name in sorted(self.units))

    def hear(self, arrival: Arrival) -> tuple[Change, ...]:
        """One message; what it changed."""
        said = read(arrival.topic, arrival.payload, site=self.site)
        return tuple(self._fold(said, arrival))

    def link_changed(self, link: LinkChange) -> tuple[Change, ...]:
        """The connection came or went. Going again and again keeps the time of the first."""
        if self.link is not None and self.link.up == link.up and not link.up:
            return ()
        self.link = link
        kind = ChangeKind.CONNECTED if link.up else ChangeKind.DISCONNECTED
        return (Change(kind=kind, at_ms=link.at_ms, detail=link.reason),)

    def as_json(self) -> dict[str, Any]:
        """The whole state but the rows, for machines."""
        link = self.link
        return {
            "site": self.site,
            "connected": self.connected,
            "since": utc_text(link.at_ms) if link else None,
            "reason": link.reason if link else "",
            "foreign": {reason.value: count for reason, count in sorted(self.foreign.items())},
            "alarms": [
                alarm.model_dump(mode="json", by_alias=True) for alarm in self.alarms.values()
            ],
            "units": [unit_json(unit) for unit in self],
        }

    # --- folding ------------------------------------------------------------------------------

    def _fold(self, said: Said, arrival: Arrival) -> list[Change]:
        at_ms = arrival.at_ms
        if isinstance(said, Foreign):
            return self._foreign(said, at_ms)
        if isinstance(said, AlarmMessage):
            return self._alarm(said, at_ms)
        if isinstance(said, CommandHeard):
            return self._command(said, at_ms)
        # `_site/alarm` says that an alarm is over; on its own topic it only stands no more.
        gone = isinstance(said, Cleared) and said.place.what is TopicKind.STANDING_ALARM
        if gone or isinstance(said, ProbeHeard):
            return []
        name = said.place.unit if isinstance(said, Cleared) else said.unit
        unit = self.units.get(name)
        changes: list[Change] = []
        if unit is None:
            if len(self.units) >= self.limits.units:
                return self._foreign(Foreign(reason=ForeignReason.TOO_MANY_UNITS), at_ms)
            unit = KnownUnit(site=self.site, unit=name, at_ms=at_ms, limits=self.limits)
            self.units[name] = unit
            changes.append(Change(kind=ChangeKind.UNIT_NEW, at_ms=at_ms, unit=name))
        changes += self._of_unit(unit, said, arrival)
        for change in changes:
            if isinstance(change.message, Foreign):
                self._count(change.message.reason)
        return changes

    @staticmethod
    def _of_unit(unit: KnownUnit, said: Message | Cleared, arrival: Arrival) -> list[Change]:
        at_ms, retained = arrival.at_ms, arrival.retained
        if isinstance(said, Cleared):
            return unit.hear_cleared(said.place.exam_key, at_ms)
        if isinstance(said, StatusMessage | HealthMessage):
            return unit.hear_standing(said, retained=retained, at_ms=at_ms)
        if isinstance(said, NumberedMessage):
            return unit.hear_row(said, arrival.payload, retained=retained, at_ms=at_ms)
        raise TypeError(f"{type(said).__name__} has no place in the state")

    def _foreign(self, said: Foreign, at_ms: int) -> list[Change]:
        self._count(said.reason)
        unit = self.units.get(said.unit)
        if unit is not None:
            unit.counts["foreign"] += 1
        return [Change(kind=ChangeKind.FOREIGN, at_ms=at_ms, unit=said.unit, message=said)]

    def _count(self, reason: ForeignReason) -> None:
        self.foreign[reason] = self.foreign.get(reason, 0) + 1

    def _command(self, said: CommandHeard, at_ms: int) -> list[Change]:
        unit = self.units.get(said.place.unit)
        if unit is not None:
            unit.counts["commands"] += 1
        return [
            Change(kind=ChangeKind.COMMAND, at_ms=at_ms, unit=said.place.unit, message=said)
        ]  # fmt: skip

    def _alarm(self, said: AlarmMessage, at_ms: int) -> list[Change]:
        key = (said.alarm, said.unit, str(said.data.get("subject", "")))
        if self.alarms.get(key) == said:
            return []  # what stands is said twice: as it happens, and retained
        self.alarms.pop(key, None)
        self.alarms[key] = said
        while len(self.alarms) > ALARMS_KEPT:
            del self.alarms[next(iter(self.alarms))]
        return [Change(kind=ChangeKind.ALARM, at_ms=at_ms, unit=said.unit or "", message=said)]
