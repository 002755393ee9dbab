"""INSERT … ON CONFLICT, which SQLite and PostgreSQL spell alike and SQLAlchemy keeps apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Table
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert


def upsert(
    connection: Connection,
    table: Table,
    *,
    key: Sequence[str] = (),
    replace: Sequence[str] = (),
    add: Sequence[str] = (),
) -> PostgresInsert | SqliteInsert:
    """An insert that, where the row stands, replaces and adds to some columns; or lets it be.

    `key`: the columns of the constraint (the primary key).
    """
    on_postgres = connection.dialect.name == "postgresql"
    statement = postgresql.insert(table) if on_postgres else sqlite.insert(table)
    columns = [table.c[name] for name in key] or list(table.primary_key.columns)
    changes: dict[str, Any] = {name: statement.excluded[name] for name in replace}
    changes |= {name: table.c[name] + statement.excluded[name] for name in add}
    if not changes:
        return statement.on_conflict_do_nothing(index_elements=columns)
    return statement.on_conflict_do_update(index_elements=columns, set_=changes)
