"""Which messages are new: units, their boots, and the numbers that each of their ledgers gave.

A number is known by (unit, ledger, seq). A unit that lost its ledger begins again at 1; which
ledger a boot writes to is what its `status` names (`ledger_id`). Of one that names none it is
judged here: by a birth whose `last_seq` is below what we have, or by a number that we have from an
earlier boot with other content. Where it names one that we know, the same means that the ledger
went back: it was put back from a copy. All rows of a unit are written under its locked row.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, insert, select, update

from runtime.messages.payloads import (
    EventKind,
    EventMessage,
    NumberedMessage,
    StatusMessage,
    UnitState,
)
from runtime.messages.status_reason import StatusReason
from runtime.site.store.site_clock import happened_ms
from runtime.site.store.stream import Stream, save_streams, streams_of
from runtime.site.store.tables import BOOTS, NUMBERS, ROLLBACKS, UNITS
from runtime.site.store.upsert import upsert
from runtime.timing.timestamps import utc_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from runtime.site.store.ingested_message import IngestedMessage

UnitName = tuple[str, str]
BEGAN_ANEW = {StatusReason.LEDGER_ROLLED_BACK.value, StatusReason.LEDGER_REBUILT.value}
"""Reasons of a unit that found out by itself that its ledger is not the one that it left."""


@dataclass(kw_only=True)
class UnitEntry:
    """A unit's row while a batch is entered."""

    unit_id: int
    state: str | None
    state_since_ms: int | None
    boot_id: str | None
    status: str | None
    status_ms: int | None
    health: str | None
    health_ms: int | None
    clock_offset_ms: int | None
    last_heard_ms: int
    duplicates: int
    conflicts: int
    twin_ms: int | None


@dataclass(kw_only=True)
class Boot:
    """One start of a unit's service. `born_ms`: when we heard its birth, None if we did not."""

    boot_no: int
    unit_id: int
    boot_id: str
    ledger: int
    ledger_id: str | None
    born_ms: int | None
    last_ms: int
    is_new: bool = False
    """Whether the message that is entered is the first that we hear of it."""


@dataclass(frozen=True, kw_only=True)
class NewMessage:
    """A numbered message that was not there before."""

    message: NumberedMessage
    unit_id: int
    ledger: int
    at_ms: int
    happened_ms: int
    received_ms: int
    retained: bool


class LockedUnits:
    """The locked units of one batch, with their boots and streams."""

    def __init__(
        self, connection: Connection, ingested_messages: Sequence[IngestedMessage]
    ) -> None:
        self._connection = connection
        self.duplicates = 0
        self.conflicts = 0
        self.implausible = 0
        heard: dict[UnitName, int] = {}
        for ingested in ingested_messages:
            heard[ingested.message.site, ingested.message.unit] = ingested.received_ms
        self.units = _locked_units(connection, heard)
        ids = [book.unit_id for book in self.units.values()]
        self._streams = streams_of(connection, ids)
        self._ledgers: dict[tuple[int, str], int] = {}
        """By unit and name; of one that went back, the number of what it has said since."""
        self._first_ledgers: dict[tuple[int, str], int] = {}
        for unit_id, ledger_id, ledger in connection.execute(
            select(BOOTS.c.unit_id, BOOTS.c.ledger_id, BOOTS.c.ledger)
            .where(BOOTS.c.unit_id.in_(ids), BOOTS.c.ledger_id.is_not(None))
            .distinct()
            .order_by(BOOTS.c.ledger)
        ):
            self._name(unit_id, ledger_id, ledger)
        boot_ids = {ingested.message.boot_id for ingested in ingested_messages}
        self._boots = {
            (row["unit_id"], row["boot_id"]): Boot(**row)
            for row in connection.execute(
                select(BOOTS).where(BOOTS.c.unit_id.in_(ids), BOOTS.c.boot_id.in_(boot_ids))
            ).mappings()
        }

    def _name(self, unit_id: int, ledger_id: str, ledger: int) -> None:
        self._ledgers[unit_id, ledger_id] = ledger
        self._first_ledgers.setdefault((unit_id, ledger_id), ledger)

    def unit(self, ingested: IngestedMessage) -> UnitEntry:
        """The unit that said it."""
        return self.units[ingested.message.site, ingested.message.unit]

    def boot(self, ingested: IngestedMessage) -> Boot:
        """The boot that said it; put on record when it is new."""
        unit, boot_id = self.unit(ingested), ingested.message.boot_id
        known = self._boots.get((unit.unit_id, boot_id))
        if known is not None:
            known.last_ms = max(known.last_ms, ingested.received_ms)
            known.is_new = False
            return known
        streams = [s for (unit_id, _), s in self._streams.items() if unit_id == unit.unit_id]
        newest = max(streams, key=lambda stream: stream.ledger, default=None)
        ledger = newest.ledger if newest else 0
        said = ingested.message
        if newest and isinstance(said, StatusMessage) and said.state is not UnitState.OFFLINE:
            # A ledger never forgets a number that it gave: this one gave fewer, so it is another.
            ledger += said.last_seq < newest.received_seq
        boot_no = self._connection.execute(
            insert(BOOTS)
            .values(
                unit_id=unit.unit_id, boot_id=boot_id, ledger=ledger, last_ms=ingested.received_ms
            )
            .returning(BOOTS.c.boot_no)
        ).scalar_one()
        boot = Boot(
            boot_no=boot_no,
            unit_id=unit.unit_id,
            boot_id=boot_id,
            ledger=ledger,
            ledger_id=None,
            born_ms=None,
            last_ms=ingested.received_ms,
            is_new=True,
        )
        self._boots[unit.unit_id, boot_id] = boot
        return boot

    def ledger_named(self, boot: Boot, said: StatusMessage, received_ms: int) -> None:
        """A birth names the ledger that its numbers count in: one that we know, or a new one.

        One that we know, and which has given fewer numbers than we have, was put back from a copy:
        what it says from now on is new. So it is where the unit has found that out itself.
        """
        ledger_id = said.ledger_id
        if ledger_id is None or boot.ledger_id == ledger_id:
            return
        others = {
            number
            for (unit_id, named), number in self._ledgers.items()
            if unit_id == boot.unit_id and named != ledger_id
        }
        known = self._ledgers.get((boot.unit_id, ledger_id))
        before = boot.ledger if known is None else known
        received = self._streams.get((boot.unit_id, before))
        known_seq = received.received_seq if received is not None else 0
        behind = known is not None and boot.is_new and said.last_seq < known_seq
        if behind or (known is None and BEGAN_ANEW & set(said.reasons)):
            self._went_back(boot, known_seq, said.last_seq, received_ms)
        if known is not None and not behind:
            boot.ledger = known
        elif behind or boot.ledger in others:
            used = {stream.ledger for stream in self._streams_of(boot.unit_id)}
            boot.ledger = 1 + max(used | others | {before})
        boot.ledger_id = ledger_id
        self._name(boot.unit_id, ledger_id, boot.ledger)

    def _went_back(self, boot: Boot, known_seq: int, last_seq: int, at_ms: int) -> None:
        row = {
            "unit_id": boot.unit_id, "at_ms": at_ms, "known_seq": known_seq, "last_seq": last_seq
        }  # fmt: skip
        changing = ("at_ms", "known_seq", "last_seq")
        self._connection.execute(upsert(self._connection, ROLLBACKS, replace=changing), [row])

    def claimed(self, boot: Boot, last_seq: int, *, live: bool) -> None:
        """The unit says which number it gave last. Heard `live`, all that follow it are owed."""
        stream = self._streams.get((boot.unit_id, boot.ledger))
        if not live and stream is None:
            return
        stream = stream or self._stream(boot.unit_id, boot.ledger)
        if not stream.plausible(last_seq):
            return
        stream.claimed_seq = max(stream.claimed_seq, last_seq)
        if live:
            owed_from = 1 if self._is_a_further_ledger(boot) else last_seq + 1
            stream.owed_from = min(stream.owed_from or owed_from, owed_from)

    def _is_a_further_ledger(self, boot: Boot) -> bool:
        """A ledger with a name that follows one that we heard: nothing of it is history to us.

        One that went back has its name from before, and with it what it said up to there.
        """
        first = self._first_ledgers.get((boot.unit_id, boot.ledger_id or ""))
        return boot.ledger_id is not None and boot.ledger > 0 and boot.ledger == first

    # --- numbers -----------------------------------------------------------------------------

    def number(self, ingested_messages: Iterable[IngestedMessage]) -> list[NewMessage]:
        """Puts the numbers of numbered messages on record; those messages that are new."""
        numbered = [a for a in ingested_messages if isinstance(a.message, NumberedMessage)]
        known = self._known(numbered)
        new: list[NewMessage] = []
        rows: list[dict[str, int]] = []
        for ingested in numbered:
            message = ingested.message
            assert isinstance(message, NumberedMessage)  # noqa: S101 - narrows the type
            unit, boot = self.unit(ingested), self.boot(ingested)
            if not self._plausible(boot, message.seq):
                self.implausible += 1
                continue
            at_ms = utc_ms(message.at)
            standing = known.get((unit.unit_id, boot.ledger, message.seq))
            if standing is not None and standing != (boot.boot_no, at_ms):
                if self._is_new_ledger(boot, standing[0], message):
                    if boot.ledger_id is not None:
                        known_seq = self._stream(unit.unit_id, boot.ledger).received_seq
                        before = message.seq - 1
                        self._went_back(boot, known_seq, before, ingested.received_ms)
                    boot.ledger = 1 + max(s.ledger for s in self._streams_of(unit.unit_id))
                    if boot.ledger_id is not None:
                        self._name(unit.unit_id, boot.ledger_id, boot.ledger)
                    standing = None
                elif not _is_expired(message):
                    unit.conflicts += 1
                    self.conflicts += 1
            if standing is not None:
                unit.duplicates += 1
                self.duplicates += 1
                continue
            known[unit.unit_id, boot.ledger, message.seq] = (boot.boot_no, at_ms)
            self._stream(unit.unit_id, boot.ledger).arrived.append((message.seq, ingested.retained))
            rows.append(
                {
                    "unit_id": unit.unit_id,
                    "ledger": boot.ledger,
                    "seq": message.seq,
                    "boot_no": boot.boot_no,
                    "at_ms": at_ms,
                    "received_ms": ingested.received_ms,
                }
            )
            new.append(
                NewMessage(
                    message=message,
                    unit_id=unit.unit_id,
                    ledger=boot.ledger,
                    at_ms=at_ms,
                    happened_ms=happened_ms(
                        at_ms, received_ms=ingested.received_ms, offset_ms=unit.clock_offset_ms
                    ),
                    received_ms=ingested.received_ms,
                    retained=ingested.retained,
                )
            )
        if rows:
            self._connection.execute(insert(NUMBERS), rows)
        return new

    def _known(
        self, numbered: Sequence[IngestedMessage]
    ) -> dict[tuple[int, int, int], tuple[int, int]]:
        """(boot, at) of the numbers of this batch that are on record; only the old can be."""
        asked: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for ingested in numbered:
            assert isinstance(ingested.message, NumberedMessage)  # noqa: S101 - narrows the type
            boot = self.boot(ingested)
            stream = self._streams.get((boot.unit_id, boot.ledger))
            if stream is not None and ingested.message.seq <= stream.received_seq:
                asked[boot.unit_id, boot.ledger].append(ingested.message.seq)
        found: dict[tuple[int, int, int], tuple[int, int]] = {}
        for (unit_id, ledger), seqs in asked.items():
            rows = self._connection.execute(
                select(NUMBERS.c.seq, NUMBERS.c.boot_no, NUMBERS.c.at_ms).where(
                    NUMBERS.c.unit_id == unit_id,
                    NUMBERS.c.ledger == ledger,
                    NUMBERS.c.seq.in_(seqs),
                )
            )
            found |= {(unit_id, ledger, seq): (boot_no, at_ms) for seq, boot_no, at_ms in rows}
        return found

    def _is_new_ledger(self, boot: Boot, standing_boot_no: int, message: NumberedMessage) -> bool:
        """Whether a younger boot gave a number anew that an older one had given."""
        return boot.boot_no > standing_boot_no and not _is_expired(message)

    def _plausible(self, boot: Boot, seq: int) -> bool:
        stream = self._streams.get((boot.unit_id, boot.ledger))
        return stream is None or stream.plausible(seq)

    def _streams_of(self, unit_id: int) -> list[Stream]:
        return [stream for (owner, _), stream in self._streams.items() if owner == unit_id]

    def _stream(self, unit_id: int, ledger: int) -> Stream:
        found = self._streams.get((unit_id, ledger))
        if found is None:
            found = self._streams[unit_id, ledger] = Stream(unit_id=unit_id, ledger=ledger)
        return found

    # --- back into the database --------------------------------------------------------------

    def save(self, now_ms: int) -> None:
        """Writes units, boots and streams as they are now."""
        units = [
            {"b_unit_id": book.unit_id}
            | {name: getattr(book, name) for name in UnitEntry.__annotations__ if name != "unit_id"}
            for book in self.units.values()
        ]
        self._connection.execute(
            update(UNITS).where(UNITS.c.unit_id == bindparam("b_unit_id")), units
        )
        boots = [
            {
                "b_boot_no": boot.boot_no,
                "ledger": boot.ledger,
                "ledger_id": boot.ledger_id,
                "born_ms": boot.born_ms,
                "last_ms": boot.last_ms,
            }
            for boot in self._boots.values()
        ]
        if boots:
            self._connection.execute(
                update(BOOTS).where(BOOTS.c.boot_no == bindparam("b_boot_no")), boots
            )
        save_streams(self._connection, self._streams.values(), now_ms)


def _is_expired(message: NumberedMessage) -> bool:
    """Whether it is said in the place of a row that expired: same number, other words."""
    return isinstance(message, EventMessage) and message.event is EventKind.EXPIRED


def _locked_units(connection: Connection, heard: dict[UnitName, int]) -> dict[UnitName, UnitEntry]:
    """The units' rows, made where they are new; locked in one order: nobody waits in a ring."""
    columns = [UNITS.c.site, UNITS.c.unit, *(UNITS.c[name] for name in UnitEntry.__annotations__)]
    names = {unit for _, unit in heard}
    asked = select(*columns).where(UNITS.c.unit.in_(names)).order_by(UNITS.c.unit_id)
    rows = connection.execute(asked.with_for_update()).mappings().all()
    missing = set(heard) - {(row["site"], row["unit"]) for row in rows}
    if missing:
        new = [
            {
                "site": site,
                "unit": unit,
                "first_heard_ms": heard[site, unit],
                "last_heard_ms": heard[site, unit],
                "duplicates": 0,
                "conflicts": 0,
            }
            for site, unit in sorted(missing)
        ]
        connection.execute(upsert(connection, UNITS, key=("site", "unit")), new)
        rows = connection.execute(asked.with_for_update()).mappings().all()
    found = {}
    for row in rows:
        name = (row["site"], row["unit"])
        if name in heard:
            facts = {column: row[column] for column in UnitEntry.__annotations__}
            found[name] = UnitEntry(**facts)
    return found
