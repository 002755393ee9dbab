"""Exams, images, events and drift of new messages: what stands in the tables for each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from runtime.messages.payloads import DriftMessage, EventMessage, ExamMessage, JudgedBy, ViewMessage
from runtime.site.store.aggregates import UNIT_STRETCH, WIRE_STRETCH
from runtime.site.store.tables import DRIFTS, EVENTS, EXAMS, IMAGES
from runtime.site.store.upsert import upsert
from runtime.timing.timestamps import utc_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Table

    from runtime.site.ingest.sequence_numbers import NewMessage
    from runtime.site.store.aggregates import BatchSums

Row = dict[str, Any]

KEPT = frozenset({"charted_ms"})
"""Columns of somebody else: no message writes them."""


def enter_exams(connection: Connection, new: Sequence[NewMessage], tally: BatchSums) -> None:
    """The newest revision of each exam; an exam is counted in the hour we first heard of."""
    exams = [n for n in new if isinstance(n.message, ExamMessage)]
    standing = _standing(connection, EXAMS, "exam_key", [_key(n, "exam_key") for n in exams])
    changed: dict[tuple[str, int], Row] = {}
    for entry in exams:
        message = entry.message
        assert isinstance(message, ExamMessage)  # noqa: S101 - narrows the type
        key = (message.exam_key, entry.unit_id)
        before = changed.get(key) or standing.get(key)
        row = _exam_row(entry, message)
        if before is not None:
            if (before["ledger"], before["revision"]) >= (row["ledger"], row["revision"]):
                continue
            row["happened_ms"] = before["happened_ms"]
            _count_exam(tally, before, times=-1)
        _count_exam(tally, row, times=1)
        changed[key] = row
    _write(connection, EXAMS, changed)


def enter_images(connection: Connection, new: Sequence[NewMessage], tally: BatchSums) -> None:
    """The newest outcome of each image; its latencies are those of the first."""
    images = [n for n in new if isinstance(n.message, ViewMessage)]
    standing = _standing(connection, IMAGES, "image_key", [_key(n, "image_key") for n in images])
    changed: dict[tuple[str, int], Row] = {}
    for entry in images:
        message = entry.message
        assert isinstance(message, ViewMessage)  # noqa: S101 - narrows the type
        key = (message.image_key, entry.unit_id)
        before = changed.get(key) or standing.get(key)
        row = _image_row(entry, message)
        if before is not None:
            if (before["ledger"], before["seq"]) >= (row["ledger"], row["seq"]):
                continue
            kept = ("happened_ms", "judged_after_ms", "heard_after_ms")
            row |= {name: before[name] for name in kept}
            reasons = before["reasons"].split()
            tally.image(entry.unit_id, before["happened_ms"], reasons, times=-1)
        else:
            took_ms, heard_ms = row["judged_after_ms"], row["heard_after_ms"]
            tally.latency(entry.unit_id, entry.happened_ms, UNIT_STRETCH, took_ms)
            tally.latency(entry.unit_id, entry.happened_ms, WIRE_STRETCH, heard_ms)
        tally.image(entry.unit_id, row["happened_ms"], row["reasons"].split(), times=1)
        changed[key] = row
    _write(connection, IMAGES, changed)


def enter_events(connection: Connection, new: Sequence[NewMessage]) -> None:
    """Every event."""
    rows = [
        {
            "unit_id": entry.unit_id,
            "ledger": entry.ledger,
            "seq": entry.message.seq,
            "event": entry.message.event.value,
            "detail": entry.message.detail,
            "exam_key": entry.message.exam_key,
            "image_key": entry.message.image_key,
            "data": json.dumps(entry.message.data),
            "happened_ms": entry.happened_ms,
        }
        for entry in new
        if isinstance(entry.message, EventMessage)
    ]
    if rows:
        connection.execute(insert(EVENTS), rows)


def enter_drifts(connection: Connection, new: Sequence[NewMessage]) -> None:
    """A unit's drift of a day and model; said again it replaces what stood."""
    rows = {}
    for entry in new:
        message = entry.message
        if isinstance(message, DriftMessage):
            row = {
                "unit_id": entry.unit_id,
                "day": message.day,
                "model": message.model.name,
                "model_version": message.model.version,
                "images": message.images,
                "exams": message.exams,
                "psi": message.psi,
                "said": message.encode().decode(),
                "happened_ms": entry.happened_ms,
            }
            rows[tuple(row[column.name] for column in DRIFTS.primary_key)] = row
    _write(connection, DRIFTS, rows)


def _standing(
    connection: Connection, table: Table, column: str, keys: Sequence[str]
) -> dict[tuple[str, int], Row]:
    """The rows that are there, by (key, unit)."""
    if not keys:
        return {}
    rows = connection.execute(select(table).where(table.c[column].in_(set(keys)))).mappings()
    return {(row[column], row["unit_id"]): dict(row) for row in rows}


def _key(entry: NewMessage, name: str) -> str:
    return str(getattr(entry.message, name))


def _count_exam(tally: BatchSums, row: Row, *, times: int) -> None:
    judged_by = (row["model"], row["model_version"], row["operating_point"])
    tally.exam(row["unit_id"], row["happened_ms"], judged_by, row["flag"], times=times)


def _write(connection: Connection, table: Table, rows: dict[Any, Row]) -> None:
    """Inserts or replaces, in the order of the keys, so that two services cannot wait in a ring."""
    if not rows:
        return
    ordered = [{n: v for n, v in rows[k].items() if n not in KEPT} for k in sorted(rows)]
    key = {column.name for column in table.primary_key}
    others = [name for name in ordered[0] if name not in key]
    connection.execute(upsert(connection, table, replace=others), ordered)


def _judged_by(message: JudgedBy) -> Row:
    return {
        "model": message.model.name if message.model else None,
        "model_version": message.model.version if message.model else None,
    }


def _exam_row(entry: NewMessage, message: ExamMessage) -> Row:
    point = message.operating_point
    return {
        "exam_key": message.exam_key,
        "unit_id": entry.unit_id,
        "ledger": entry.ledger,
        "seq": message.seq,
        "revision": message.revision,
        "final": message.final,
        "completed_by": message.completed_by.value if message.completed_by else None,
        "flag": message.flag.value,
        "score": message.score,
        "reasons": " ".join(reason.value for reason in message.reasons),
        **_judged_by(message),
        "operating_point": point.name if point else None,
        "threshold": point.threshold if point else None,
        "precision": message.executed_precision or message.precision,
        "device": message.actual_device,
        "happened_ms": entry.happened_ms,
        "decided_ms": entry.happened_ms,
        "received_ms": entry.received_ms,
    }


def _image_row(entry: NewMessage, message: ViewMessage) -> Row:
    return {
        "image_key": message.image_key,
        "unit_id": entry.unit_id,
        "exam_key": message.exam_key,
        "ledger": entry.ledger,
        "seq": message.seq,
        "view": message.view,
        "role": message.role.value,
        "outcome": message.outcome.value,
        "reasons": " ".join(reason.value for reason in message.reasons),
        "score": message.score,
        **_judged_by(message),
        "judged_after_ms": max(0, entry.at_ms - utc_ms(message.received_at)),
        "heard_after_ms": entry.received_ms - entry.happened_ms,
        "happened_ms": entry.happened_ms,
    }
