"""`mammoedge site export`: the books as CSV or Parquet, read in pieces.

Each piece is a short transaction of its own, by the key where the last one ended: a service that
writes meanwhile never waits for an export, and memory does not grow with the years.
"""

from __future__ import annotations

import csv
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Boolean, Float, Integer, select, tuple_

from runtime.site.config.settings import load_site_settings
from runtime.site.store.store import StoreError
from runtime.site.store.tables import ALARMS, EVENTS, EXAMS, HOURS, IMAGES, UNITS
from runtime.timing.timestamps import utc_text
from runtime.user_input.settings_section import SettingsError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from sqlalchemy import Column, Table

    from runtime.site.store.store import Store

PIECE = 5_000
# Each table, the moment that it is asked by, and the columns that only we need.
EXPORTED: dict[str, tuple[Table, Column[int]]] = {
    "exams": (EXAMS, EXAMS.c.happened_ms),
    "images": (IMAGES, IMAGES.c.happened_ms),
    "events": (EVENTS, EVENTS.c.happened_ms),
    "hours": (HOURS, HOURS.c.hour_ms),
    "alarms": (ALARMS, ALARMS.c.opened_ms),
}
INTERNAL = frozenset({"unit_id", "charted_ms", "open_key", "published_version", "posted_version"})


def columns_of(table: Table) -> list[Column[Any]]:
    """What is exported of a table besides site and unit."""
    own = {"site", "unit"}
    return [c for c in table.columns if c.name not in INTERNAL and c.name not in own]


def pieces(
    store: Store, name: str, *, since_ms: int, until_ms: int
) -> Iterator[list[dict[str, Any]]]:
    """The rows of an exported table between two moments (the second exclusive), in pieces.

    Raises:
        StoreError: the database failed.
    """
    table, moment = EXPORTED[name]
    key = list(table.primary_key.columns)
    chosen = columns_of(table)
    if "unit_id" in table.c:
        asked = select(UNITS.c.site, UNITS.c.unit, *chosen, *(c.label(f"k_{c.name}") for c in key))
        asked = asked.join(UNITS, UNITS.c.unit_id == table.c.unit_id)
    else:
        names = (table.c.site, table.c.unit)
        asked = select(*names, *chosen, *(c.label(f"k_{c.name}") for c in key))
    asked = asked.where(moment >= since_ms, moment < until_ms).order_by(*key).limit(PIECE)
    after: tuple[Any, ...] | None = None
    while True:
        page = asked if after is None else asked.where(tuple_(*key) > after)
        with store.reading() as connection:
            rows = [dict(row) for row in connection.execute(page).mappings()]
        if not rows:
            return
        after = tuple(rows[-1][f"k_{column.name}"] for column in key)
        yield [{n: v for n, v in row.items() if not n.startswith("k_")} for row in rows]
        if len(rows) < PIECE:
            return


def write_csv(stream: IO[str], table: Table, parts: Iterator[list[dict[str, Any]]]) -> int:
    """RFC 4180 with a header line; times as ISO 8601, UTC. How many rows."""
    names = ["site", "unit", *(column.name for column in columns_of(table))]
    writer = csv.writer(stream)
    writer.writerow([name.removesuffix("_ms") if _is_moment(name) else name for name in names])
    count = 0
    for rows in parts:
        writer.writerows([_text(name, row[name]) for name in names] for row in rows)
        count += len(rows)
        _progress(count)
    return count


def write_parquet(path: Path, table: Table, parts: Iterator[list[dict[str, Any]]]) -> int:
    """A row group for each piece; times as timestamps in ms, UTC. How many rows.

    Raises:
        ImportError: the extra [site-parquet] is not installed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [pa.field("site", pa.string()), pa.field("unit", pa.string())]
    fields += [_field(pa, column) for column in columns_of(table)]
    schema = pa.schema(fields)
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in parts:
            renamed = [{_renamed(n): v for n, v in row.items()} for row in rows]
            writer.write_table(pa.Table.from_pylist(renamed, schema=schema))
            count += len(rows)
            _progress(count)
    return count


def export_command(arguments: Namespace) -> int:
    """`mammoedge site export`; 0, or 2 with what is wrong."""
    settings = load_site_settings(arguments.config)
    table, _ = EXPORTED[arguments.table]
    faults: list[str] = []
    since_ms = _day(arguments.since, faults, "--since")
    until_ms = _day(arguments.until, faults, "--until", days_later=1)
    if arguments.format == "parquet" and arguments.output is None:
        faults.append("--format parquet: needs --output")
    if faults:
        raise SettingsError(Path("export"), faults)
    try:
        with settings.store.make_store() as store:
            parts = pieces(
                store,
                arguments.table,
                since_ms=since_ms if since_ms is not None else -(2**62),
                until_ms=until_ms if until_ms is not None else 2**62,
            )
            count = _write(arguments.format, arguments.output, table, parts)
    except StoreError as error:
        raise SettingsError(arguments.config, [f"store.database: {error}"]) from error
    print(f"{count} {arguments.table}", file=sys.stderr)
    return 0


def _write(
    form: str, output: Path | None, table: Table, parts: Iterator[list[dict[str, Any]]]
) -> int:
    if output is None:
        return write_csv(sys.stdout, table, parts)
    with _whole_or_nothing(output) as growing:
        if form == "parquet":
            return write_parquet(growing, table, parts)
        with growing.open("w", encoding="utf-8", newline="") as stream:
            return write_csv(stream, table, parts)


@contextmanager
def _whole_or_nothing(output: Path) -> Iterator[Path]:
    """A file beside `output` that takes its name once it is complete."""
    growing = output.with_name(f"{output.name}.part")
    try:
        yield growing
        growing.replace(output)
    finally:
        growing.unlink(missing_ok=True)


def _progress(count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{count} rows", end="", file=sys.stderr, flush=True)


def _day(text: str | None, faults: list[str], option: str, *, days_later: int = 0) -> int | None:
    if text is None:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        faults.append(f"{option}: a day as YYYY-MM-DD, not {text!r}")
        return None
    return int((day + timedelta(days=days_later)).timestamp() * 1000)


def _is_moment(name: str) -> bool:
    """Whether a column is a point in time, not a span."""
    return name.endswith("_ms") and "_after_" not in name


def _renamed(name: str) -> str:
    return name.removesuffix("_ms") if _is_moment(name) else name


def _text(name: str, value: Any) -> Any:
    return utc_text(value) if _is_moment(name) and value is not None else value


def _field(pa: Any, column: Column[Any]) -> Any:
    if _is_moment(column.name):
        return pa.field(_renamed(column.name), pa.timestamp("ms", tz="UTC"))
    kinds = (
        (Boolean, pa.bool_()),
        (BigInteger, pa.int64()),
        (Integer, pa.int64()),
        (Float, pa.float64()),
    )
    found = [arrow for kind, arrow in kinds if isinstance(column.type, kind)]
    return pa.field(column.name, found[0] if found else pa.string())
