"""The site's tables: the same in SQLite and PostgreSQL.

Every time is milliseconds since the epoch, UTC. `at_ms` is the unit's own clock; `happened_ms` is
that moment on the site's clock, `received_ms` when it came here.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = 1
CODE_LENGTH = 64
"""Characters of the longest code on the wire (`runtime.messages.vocabulary`)."""

METADATA = MetaData()
# SQLite numbers rows by itself only for a primary key that is called INTEGER.
_ROW_ID = BigInteger().with_variant(Integer, "sqlite")


def _unit_column(*, primary_key: bool = True) -> Column[int]:
    return Column(
        "unit_id",
        _ROW_ID,
        ForeignKey("units.unit_id"),
        primary_key=primary_key,
        autoincrement=False,
    )


NOTES = Table(
    "notes",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

UNITS = Table(
    "units",
    METADATA,
    Column("unit_id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("site", String(64), nullable=False),
    Column("unit", String(64), nullable=False),
    Column("first_heard_ms", BigInteger, nullable=False),
    Column("last_heard_ms", BigInteger, nullable=False),
    Column("state", String(CODE_LENGTH)),
    Column("state_since_ms", BigInteger),
    Column("boot_id", String(128)),
    # The newest payloads as they were said.
    Column("status", Text),
    Column("status_ms", BigInteger),
    Column("health", Text),
    Column("health_ms", BigInteger),
    # Site's clock minus the unit's, from the newest live `health`.
    Column("clock_offset_ms", BigInteger),
    Column("duplicates", BigInteger, nullable=False, default=0),
    Column("conflicts", BigInteger, nullable=False, default=0),
    # A boot that another had replaced spoke again: two machines under one name.
    Column("twin_ms", BigInteger),
    UniqueConstraint("site", "unit"),
)

BOOTS = Table(
    "boots",
    METADATA,
    Column("boot_no", _ROW_ID, primary_key=True, autoincrement=True),
    _unit_column(primary_key=False),
    Column("boot_id", String(128), nullable=False),
    # Which ledger its numbers belong to: 0, and one more each time that a unit begins a new one.
    Column("ledger", Integer, nullable=False),
    # As the unit names it, where it does.
    Column("ledger_id", String(128)),
    Column("born_ms", BigInteger),
    Column("last_ms", BigInteger, nullable=False),
    UniqueConstraint("unit_id", "boot_id"),
)

# The last time that a unit's ledger was an older one than we had heard, or was made anew.
ROLLBACKS = Table(
    "rollbacks",
    METADATA,
    _unit_column(),
    Column("at_ms", BigInteger, nullable=False),
    # The highest number that we had; and the one from which the unit counts on.
    Column("known_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)

STREAMS = Table(
    "streams",
    METADATA,
    _unit_column(),
    Column("ledger", Integer, primary_key=True, autoincrement=False),
    # Where we began to listen; earlier numbers are history, not gaps.
    Column("first_seq", BigInteger, nullable=False),
    # Everything from `first_seq` to here is stored, or was given up and counted in `lost`.
    Column("settled_seq", BigInteger, nullable=False),
    # The highest number that we have; and that the unit says it gave.
    Column("received_seq", BigInteger, nullable=False),
    Column("claimed_seq", BigInteger, nullable=False),
    # Between `settled_seq` and `received_seq`, not stored.
    Column("missing", BigInteger, nullable=False, default=0),
    Column("lost", BigInteger, nullable=False, default=0),
    Column("lost_ms", BigInteger),
    Column("gap_since_ms", BigInteger),
    Column("replay_asked_ms", BigInteger),
    Column("replays_asked", Integer, nullable=False, default=0),
)

NUMBERS = Table(
    "numbers",
    METADATA,
    _unit_column(),
    Column("ledger", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("boot_no", _ROW_ID, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False, index=True),
)

EXAMS = Table(
    "exams",
    METADATA,
    # The key first: it finds the rows of a batch of many units with one index.
    Column("exam_key", String(32), primary_key=True),
    _unit_column(),
    Column("ledger", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("completed_by", String(CODE_LENGTH)),
    Column("flag", String(16), nullable=False),
    Column("score", Float),
    Column("reasons", Text, nullable=False),
    Column("model", String(128)),
    Column("model_version", String(128)),
    Column("operating_point", String(128)),
    Column("threshold", Float),
    Column("precision", String(128)),
    Column("device", String(128)),
    # Of the first revision that we heard: the hour that the exam is counted in.
    Column("happened_ms", BigInteger, nullable=False),
    Column("decided_ms", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    # When the control charts counted it: each exam once, the first time that it is final.
    Column("charted_ms", BigInteger),
    Index("exams_of_unit", "unit_id", "happened_ms"),
    Index("exams_by_time", "happened_ms"),
)
_TO_CHART = EXAMS.c.final & EXAMS.c.charted_ms.is_(None)
Index(
    "exams_to_chart",
    EXAMS.c.unit_id,
    EXAMS.c.ledger,
    EXAMS.c.seq,
    sqlite_where=_TO_CHART,
    postgresql_where=_TO_CHART,
)

IMAGES = Table(
    "images",
    METADATA,
    Column("image_key", String(32), primary_key=True),
    _unit_column(),
    Column("exam_key", String(32), nullable=False),
    Column("ledger", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("view", String(16), nullable=False),
    Column("role", String(CODE_LENGTH), nullable=False),
    Column("outcome", String(CODE_LENGTH), nullable=False),
    Column("reasons", Text, nullable=False),
    Column("score", Float),
    Column("model", String(128)),
    Column("model_version", String(128)),
    # Durable at the unit to judged, by the unit's clock; judged to here, by the site's.
    Column("judged_after_ms", BigInteger, nullable=False),
    Column("heard_after_ms", BigInteger, nullable=False),
    Column("happened_ms", BigInteger, nullable=False, index=True),
    Index("images_of_exam", "exam_key"),
)

EVENTS = Table(
    "events",
    METADATA,
    _unit_column(),
    Column("ledger", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("event", String(CODE_LENGTH), nullable=False),
    Column("detail", Text, nullable=False),
    Column("exam_key", String(32)),
    Column("image_key", String(32)),
    Column("data", Text, nullable=False),
    Column("happened_ms", BigInteger, nullable=False, index=True),
    Index("events_of_unit", "unit_id", "happened_ms"),
)

DRIFTS = Table(
    "drifts",
    METADATA,
    _unit_column(),
    Column("day", String(10), primary_key=True),
    Column("model", String(128), primary_key=True),
    Column("model_version", String(128), primary_key=True),
    Column("images", Integer, nullable=False),
    Column("exams", Integer, nullable=False),
    Column("psi", Float),
    # The whole message: histogram, reasons, image descriptors.
    Column("said", Text, nullable=False),
    Column("happened_ms", BigInteger, nullable=False, index=True),
)

STATES = Table(
    "states",
    METADATA,
    Column("state_no", _ROW_ID, primary_key=True, autoincrement=True),
    _unit_column(primary_key=False),
    Column("state", String(CODE_LENGTH), nullable=False),
    Column("reasons", Text, nullable=False),
    Column("happened_ms", BigInteger, nullable=False, index=True),
    Index("states_of_unit", "unit_id", "happened_ms"),
)

HOURS = Table(
    "hours",
    METADATA,
    _unit_column(),
    Column("hour_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("model", String(128), primary_key=True),
    Column("model_version", String(128), primary_key=True),
    Column("operating_point", String(128), primary_key=True),
    Column("priority", Integer, nullable=False),
    Column("none", Integer, nullable=False),
    Column("not_assessed", Integer, nullable=False),
    Index("hours_by_time", "hour_ms"),
)

REASONS = Table(
    "reasons",
    METADATA,
    _unit_column(),
    Column("day_ms", BigInteger, primary_key=True, autoincrement=False),
    # "" counts all images; the others those that were not assessed for that reason.
    Column("reason", String(CODE_LENGTH), primary_key=True),
    Column("images", Integer, nullable=False),
    Index("reasons_by_time", "day_ms"),
)

LATENCIES = Table(
    "latencies",
    METADATA,
    _unit_column(),
    Column("day_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("stretch", String(8), primary_key=True),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("images", Integer, nullable=False),
    Index("latencies_by_time", "day_ms"),
)

CHARTS = Table(
    "charts",
    METADATA,
    _unit_column(),
    Column("measure", String(32), primary_key=True),
    # The state of the chart after its last exam, as JSON.
    Column("state", Text, nullable=False),
    Column("looked_ms", BigInteger, nullable=False),
)

ALARMS = Table(
    "alarms",
    METADATA,
    Column("alarm_no", _ROW_ID, primary_key=True, autoincrement=True),
    Column("site", String(64), nullable=False),
    # "" where it is about the site's service itself.
    Column("unit", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("subject", String(128), nullable=False),
    # kind, unit and subject while it is open, then null: one open alarm of each.
    Column("open_key", String(320), unique=True),
    Column("severity", String(16), nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("closed_ms", BigInteger),
    Column("saw", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("data", Text, nullable=False),
    # What is still to be told: the webhook and MQTT each count up to `version`.
    Column("version", Integer, nullable=False, default=1),
    Column("published_version", Integer, nullable=False, default=0),
    Column("posted_version", Integer, nullable=False, default=0),
    Index("alarms_by_time", "opened_ms"),
)

FOREIGN = Table(
    "foreign_messages",
    METADATA,
    Column("place", String(160), primary_key=True),
    Column("why", String(64), primary_key=True),
    Column("messages", BigInteger, nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
)

SERVICES = Table(
    "services",
    METADATA,
    Column("service", String(128), primary_key=True),
    Column("started_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("said", Text, nullable=False),
)

LEASES = Table(
    "leases",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)
