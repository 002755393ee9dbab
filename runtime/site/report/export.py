"""`mammoedge site export`: the store's rows as CSV or Parquet."""

from __future__ import annotations

import csv
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from runtime.site.config.settings import load_site_settings
from runtime.site.queries.exported_rows import ExportedColumn, columns_of, pieces
from runtime.site.store.store import StoreError
from runtime.timing.timestamps import utc_text
from runtime.user_input.settings_section import SettingsError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator


def write_csv(stream: IO[str], name: str, parts: Iterator[list[dict[str, Any]]]) -> int:
    """RFC 4180 with a header line; times as ISO 8601, UTC. How many rows."""
    columns = columns_of(name)
    writer = csv.writer(stream)
    writer.writerow(["site", "unit", *(column.title for column in columns)])
    count = 0
    for rows in parts:
        writer.writerows(
            [row["site"], row["unit"], *(_text(column, row[column.name]) for column in columns)]
            for row in rows
        )
        count += len(rows)
        _progress(count)
    return count


def write_parquet(path: Path, name: str, parts: Iterator[list[dict[str, Any]]]) -> int:
    """A row group for each piece; times as timestamps in ms, UTC. How many rows.

    Raises:
        ImportError: the extra [site-parquet] is not installed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [pa.field("site", pa.string()), pa.field("unit", pa.string())]
    columns = columns_of(name)
    fields += [_field(pa, column) for column in columns]
    titles = {column.name: column.title for column in columns}
    schema = pa.schema(fields)
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in parts:
            renamed = [{titles.get(n, n): v for n, v in row.items()} for row in rows]
            writer.write_table(pa.Table.from_pylist(renamed, schema=schema))
            count += len(rows)
            _progress(count)
    return count


def export_command(arguments: Namespace) -> int:
    """`mammoedge site export`; 0, or 2 with what is wrong."""
    settings = load_site_settings(arguments.config)
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
            count = _write(arguments.format, arguments.output, arguments.table, parts)
    except StoreError as error:
        raise SettingsError(arguments.config, [f"store.database: {error}"]) from error
    print(f"{count} {arguments.table}", file=sys.stderr)
    return 0


def _write(form: str, output: Path | None, name: str, parts: Iterator[list[dict[str, Any]]]) -> int:
    if output is None:
        return write_csv(sys.stdout, name, parts)
    with _whole_or_nothing(output) as growing:
        if form == "parquet":
            return write_parquet(growing, name, parts)
        with growing.open("w", encoding="utf-8", newline="") as stream:
            return write_csv(stream, name, parts)


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


def _text(column: ExportedColumn, value: Any) -> Any:
    return utc_text(value) if column.is_moment and value is not None else value


def _field(pa: Any, column: ExportedColumn) -> Any:
    if column.is_moment:
        return pa.field(column.title, pa.timestamp("ms", tz="UTC"))
    arrow = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    return pa.field(column.name, arrow.get(column.kind, pa.string()))
