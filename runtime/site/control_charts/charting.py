"""Final exams onto the charts of their units: each once, in the order of their numbers."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select, update

from runtime.site.control_charts.chart_state import ChartState, Measure
from runtime.site.control_charts.control_chart import ChartedExam, ControlChart, Expectation
from runtime.site.store.tables import CHARTS, EXAMS
from runtime.site.store.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, RowMapping

    from runtime.site.store.store import Store

AT_ONCE = 5_000
Model = tuple[str, str, str]
TO_CHART = (
    select(
        EXAMS.c.exam_key,
        EXAMS.c.unit_id,
        EXAMS.c.flag,
        EXAMS.c.model,
        EXAMS.c.model_version,
        EXAMS.c.operating_point,
        EXAMS.c.happened_ms,
    )
    .where(EXAMS.c.final, EXAMS.c.charted_ms.is_(None))
    .order_by(EXAMS.c.unit_id, EXAMS.c.ledger, EXAMS.c.seq)
    .limit(AT_ONCE)
)


def chart_exams(
    store: Store,
    charts: Mapping[Measure, ControlChart],
    expected: Mapping[Model, float],
    *,
    now_ms: int,
) -> int:
    """Charts what is final and not charted yet; how many exams. `expected`: priority rates.

    For the holder of the watch only. Reads, thinks and writes one after the other: while thousands
    of exams are charted the listener must be able to write.

    Raises:
        StoreError: the database failed; the exams are charted the next time.
    """
    with store.reading() as connection:
        rows = connection.execute(TO_CHART).mappings().all()
        if not rows:
            return 0
        units = {row["unit_id"] for row in rows}
        states = {
            (row.unit_id, row.measure): ChartState.model_validate_json(row.state)
            for row in connection.execute(select(CHARTS).where(CHARTS.c.unit_id.in_(units)))
        }
    for unit_id, of_unit in groupby(rows, key=lambda row: int(row["unit_id"])):
        chart_now = states.get((unit_id, Measure.NOT_ASSESSED.value), ChartState())
        named = _named(of_unit, _model_of(chart_now))
        for model, exams in groupby(named, key=itemgetter(0)):
            group = [row for _, row in exams]
            for measure, chart in charts.items():
                before = states.get((unit_id, measure.value), ChartState())
                if _model_of(before) != model:
                    # Another model is another normal: it is learnt from its first exams.
                    before = ChartState(
                        model=model[0],
                        model_version=model[1],
                        operating_point=model[2],
                        since_ms=group[0]["happened_ms"],
                    )
                rate = expected.get(model) if measure is Measure.PRIORITY else None
                states[unit_id, measure.value] = chart.stepped(
                    before,
                    [
                        ChartedExam(
                            flagged=row["flag"] == measure.value, happened_ms=row["happened_ms"]
                        )
                        for row in group
                    ],
                    Expectation(rate=rate) if rate is not None else None,
                )
    with store.writing() as connection:
        _save(connection, rows, states, now_ms)
    return len(rows)


def _save(
    connection: Connection,
    rows: Sequence[RowMapping],
    states: Mapping[tuple[int, str], ChartState],
    now_ms: int,
) -> None:
    connection.execute(
        upsert(connection, CHARTS, replace=("state", "looked_ms")),
        [
            {
                "unit_id": unit_id,
                "measure": measure,
                "state": state.model_dump_json(),
                "looked_ms": now_ms,
            }
            for (unit_id, measure), state in sorted(states.items())
        ],
    )
    connection.execute(
        update(EXAMS)
        .where(EXAMS.c.exam_key == bindparam("b_key"), EXAMS.c.unit_id == bindparam("b_unit"))
        .values(charted_ms=now_ms),
        [{"b_key": row["exam_key"], "b_unit": row["unit_id"]} for row in rows],
    )


def _named(rows: Iterable[RowMapping], model: Model) -> Iterator[tuple[Model, RowMapping]]:
    """Each exam with its model; that of the exam before where nothing of it was judged."""
    for row in rows:
        if row["model"] is not None:
            model = (row["model"], row["model_version"] or "", row["operating_point"] or "")
        yield model, row


def _model_of(state: ChartState) -> Model:
    return (state.model, state.model_version, state.operating_point)
