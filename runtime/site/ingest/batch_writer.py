"""A batch of postings into the tables, in one transaction; whatever comes twice counts once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select

from runtime.messages.payloads import HealthMessage, NumberedMessage, StatusMessage, UnitState
from runtime.site.ingest.exam_writer import enter_drifts, enter_events, enter_exams, enter_images
from runtime.site.ingest.sequence_numbers import LockedUnits
from runtime.site.store.aggregates import BatchSums
from runtime.site.store.ingested_message import Entered
from runtime.site.store.site_clock import offset_from_birth
from runtime.site.store.tables import FOREIGN, STATES
from runtime.site.store.upsert import upsert
from runtime.timing.timestamps import utc_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from runtime.site.ingest.sequence_numbers import Boot, UnitEntry
    from runtime.site.store.ingested_message import IngestedForeign, IngestedMessage

MOST_FOREIGN_PLACES = 1000
"""Someone who writes to ever new topics must not fill the database with them."""
ELSEWHERE = "(other topics)"


def enter(
    connection: Connection,
    ingested_messages: Sequence[IngestedMessage],
    foreign: Sequence[IngestedForeign] = (),
    *,
    now_ms: int,
) -> Entered:
    """Enters a batch, in the order in which it came. Inside the caller's transaction."""
    _enter_foreign(connection, foreign)
    if not ingested_messages:
        return Entered(foreign=len(foreign))
    units = LockedUnits(connection, ingested_messages)
    states = []
    for ingested in ingested_messages:
        unit, boot = units.unit(ingested), units.boot(ingested)
        if not ingested.retained:
            unit.last_heard_ms = max(unit.last_heard_ms, ingested.received_ms)
        message = ingested.message
        if isinstance(message, StatusMessage):
            units.ledger_named(boot, message, ingested.received_ms)
            # A will has the last number of when it was written.
            live = not ingested.retained and message.state is not UnitState.OFFLINE
            units.claimed(boot, message.last_seq, live=live)
            states += _enter_status(unit, boot, message, ingested)
        elif isinstance(message, HealthMessage):
            units.claimed(boot, message.last_seq, live=not ingested.retained)
            _enter_health(unit, message, ingested)
    if states:
        connection.execute(insert(STATES), states)
    new = units.number(ingested_messages)
    tally = BatchSums()
    enter_exams(connection, new, tally)
    enter_images(connection, new, tally)
    enter_events(connection, new)
    enter_drifts(connection, new)
    tally.save(connection)
    units.save(now_ms)
    standing = sum(not isinstance(a.message, NumberedMessage) for a in ingested_messages)
    return Entered(
        messages=len(new) + standing,
        duplicates=units.duplicates,
        conflicts=units.conflicts,
        foreign=len(foreign) + units.implausible,
    )


def _enter_status(
    unit: UnitEntry, boot: Boot, message: StatusMessage, ingested: IngestedMessage
) -> list[dict[str, object]]:
    """The unit's state; the row of its history if it changed."""
    at_ms, received_ms = utc_ms(message.at), ingested.received_ms
    offline = message.state is UnitState.OFFLINE
    current = unit.boot_id == message.boot_id
    if offline and not current and unit.boot_id is not None:
        return []  # the will of a boot that another has replaced already
    if not offline:
        # A will carries the moment of its connection, so it is never too old.
        if current and unit.status_ms is not None and at_ms < unit.status_ms:
            return []
        if not current and boot.born_ms is not None and not ingested.retained:
            # It was born, another boot took its place, and here it is again.
            unit.twin_ms = received_ms
        if boot.born_ms is None:
            boot.born_ms = received_ms
        if not ingested.retained:
            offset = offset_from_birth(at_ms, received_ms)
            unit.clock_offset_ms = unit.clock_offset_ms if offset is None else offset
        unit.status_ms = at_ms
    unit.boot_id = message.boot_id
    before, unit.status = unit.status, message.encode().decode()
    reasons = " ".join(message.reasons)
    same_reasons = before is not None and StatusMessage.model_validate_json(
        before
    ).reasons == tuple(message.reasons)
    if unit.state == message.state.value and same_reasons:
        return []
    if unit.state != message.state.value:
        unit.state_since_ms = received_ms
    unit.state = message.state.value
    return [
        {
            "unit_id": unit.unit_id,
            "state": message.state.value,
            "reasons": reasons,
            "happened_ms": received_ms,
        }
    ]


def _enter_health(unit: UnitEntry, message: HealthMessage, ingested: IngestedMessage) -> None:
    at_ms = utc_ms(message.at)
    if not ingested.retained:
        unit.clock_offset_ms = ingested.received_ms - at_ms
        unit.health_ms = ingested.received_ms
    elif unit.health_ms is not None:
        return
    unit.health = message.encode().decode()


def _enter_foreign(connection: Connection, foreign: Sequence[IngestedForeign]) -> None:
    if not foreign:
        return
    counts: Counter[tuple[str, str]] = Counter((item.place, item.why) for item in foreign)
    known = connection.scalar(select(func.count()).select_from(FOREIGN)) or 0
    if known + len(counts) > MOST_FOREIGN_PLACES:
        counts = Counter((ELSEWHERE, item.why) for item in foreign)
    times = [item.received_ms for item in foreign]
    rows = [
        {
            "place": place,
            "why": why,
            "messages": count,
            "first_ms": min(times),
            "last_ms": max(times),
        }
        for (place, why), count in sorted(counts.items())
    ]
    connection.execute(upsert(connection, FOREIGN, add=("messages",), replace=("last_ms",)), rows)
