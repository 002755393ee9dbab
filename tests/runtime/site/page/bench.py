"""A fleet page on a real store, into which units speak by hand: no broker, no service."""

from __future__ import annotations

import json
import random
import time

from sqlalchemy import insert, select

from models.descriptor_reference import Descriptor
from runtime.image.outcome import Flag
from runtime.image.reasons import Reason
from runtime.messages.payloads import BaselineSource, DescriptorDriftPart, DescriptorPart
from runtime.site.config.page_settings import PageSettings
from runtime.site.control_charts.chart_state import ChartState
from runtime.site.ingest.batch_writer import enter
from runtime.site.page.fleet_page import FleetPage
from runtime.site.queries.fleet import Fleet
from runtime.site.store.ingested_message import IngestedForeign
from runtime.site.store.site_clock import DAY_MS
from runtime.site.store.store import Store
from runtime.site.store.tables import ALARMS, CHARTS, SERVICES, UNITS
from runtime.site.store.upsert import upsert
from tests.support.site_units import SaidUnit

SITE = "st-anna"
MINUTE_MS = 60_000
SILENT_AFTER_S = 3600


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


class FleetBench:
    """Everything that the site's service wires around its page; what it heard is put in by hand."""

    def __init__(self, folder, **settings) -> None:
        self.folder = folder
        self.store = Store(f"sqlite:///{folder}/site.db").open()
        self.settings = PageSettings(**({"port": 0} | settings))
        self.ahead_ms = 0
        fleet = Fleet(self.store, silent_after_s=SILENT_AFTER_S)
        self.page = FleetPage(self.settings, store=self.store, fleet=fleet, clock_ms=self.clock_ms)
        self._units: dict[str, SaidUnit] = {}
        self._studies = 0
        self.listen()

    def clock_ms(self) -> int:
        """The wall's, moved by hand."""
        return now_ms() + self.ahead_ms

    @property
    def url(self) -> str:
        """Where the page is."""
        return self.page.address

    def unit(self, name, site=SITE) -> SaidUnit:
        """A unit's mouth."""
        key = f"{site}/{name}"
        if key not in self._units:
            self._units[key] = SaidUnit(name, site=site)
        return self._units[key]

    def hear(self, *arrivals) -> None:
        """What the broker brought."""
        with self.store.writing() as connection:
            enter(connection, arrivals, now_ms=self.clock_ms())
        self.page.poke()

    def hear_foreign(self, place, why) -> None:
        """Something on our topics that is none of our messages."""
        stranger = IngestedForeign(place=place, why=why, received_ms=self.clock_ms())
        with self.store.writing() as connection:
            enter(connection, (), (stranger,), now_ms=self.clock_ms())

    def listen(self, *, ago_ms=-3_600_000) -> None:
        """A site service says that it listens; for an hour, so that no test is too slow for it."""
        at_ms = self.clock_ms() - ago_ms
        row = {"service": "site-1", "started_ms": at_ms, "seen_ms": at_ms, "said": "{}"}
        with self.store.writing() as connection:
            connection.execute(upsert(connection, SERVICES, replace=("seen_ms", "said")), [row])
        self.page.poke()

    def born(self, name, *, site=SITE, waiting=0, oldest_s=None, **status) -> SaidUnit:
        """A unit says `status` and `health`, now."""
        unit, at_ms = self.unit(name, site), self.clock_ms() - 100
        self.hear(
            unit.status(at_ms=at_ms, **status),
            unit.health(at_ms=at_ms, waiting=waiting, oldest_s=oldest_s),
        )
        return unit

    def exams(self, name, *, priority=0, none=0, not_assessed=0, at_ms=None, site=SITE) -> None:
        """Final exams, one image each."""
        unit, at_ms = self.unit(name, site), at_ms or self.clock_ms() - 100
        flags = [Flag.PRIORITY] * priority + [Flag.NONE] * none + [Flag.NOT_ASSESSED] * not_assessed
        arrivals = []
        for flag in flags:
            self._studies += 1
            reasons = (Reason.IMPLANT,) if flag is Flag.NOT_ASSESSED else ()
            study = self._studies
            arrivals.append(unit.view(study, study=study, reasons=reasons, at_ms=at_ms))
            arrivals.append(unit.exam(study, flag=flag, at_ms=at_ms))
        self.hear(*arrivals)

    def days(self, name, *, days=30, exams=24, seed=1) -> None:
        """A unit's past: exams with chance in them, and a drift each morning."""
        draw, today = random.Random(seed), self.clock_ms()
        unit = self.unit(name)
        for ago in range(days, 0, -1):
            at_ms = today - ago * DAY_MS
            priority = sum(draw.random() < 0.08 for _ in range(exams))
            not_assessed = sum(draw.random() < 0.03 for _ in range(exams))
            none = exams - priority - not_assessed
            self.exams(name, priority=priority, none=none, not_assessed=not_assessed, at_ms=at_ms)
            day = time.strftime("%Y-%m-%d", time.gmtime(at_ms / 1000))
            self.hear(drift_of(unit, day, draw, at_ms=at_ms + MINUTE_MS))

    def chart(self, name, measure, rate, *, site=SITE, exams=500) -> None:
        """The unit's chart has learnt what is normal."""
        state = ChartState(baseline_rate=rate, baseline_exams=exams, model="test")
        row = {"measure": measure, "state": state.model_dump_json(), "looked_ms": self.clock_ms()}
        with self.store.writing() as connection:
            unit_id = connection.scalar(
                select(UNITS.c.unit_id).where(UNITS.c.site == site, UNITS.c.unit == name)
            )
            row["unit_id"] = unit_id
            connection.execute(upsert(connection, CHARTS, replace=("state", "looked_ms")), [row])

    def alarm(
        self, name, kind, *, severity="warning", saw="", site=SITE, subject="", **data
    ) -> None:
        """An alarm stands."""
        at_ms = self.clock_ms() - 5 * MINUTE_MS
        row = {
            "site": site, "unit": name, "kind": kind, "subject": subject, "severity": severity,
            "open_key": f"{kind}/{name}", "since_ms": at_ms, "opened_ms": at_ms,
            "changed_ms": at_ms, "closed_ms": None, "saw": saw, "advice": "",
            "data": json.dumps(data),
        }  # fmt: skip
        with self.store.writing() as connection:
            connection.execute(insert(ALARMS), [row])
        self.page.poke()

    def close(self) -> None:
        """Stops in order."""
        self.page.stop()
        self.store.close()


def drift_of(unit, day, draw, *, at_ms):
    """A day's drift with descriptors, as a unit says it."""
    parts = {
        name: DescriptorPart(
            edges=(0.1,), labels=None, counts=(60, 36), expected=(200, 200),
            psi=round(draw.uniform(0.01, 0.15), 3),
        )
        for name in Descriptor
    }  # fmt: skip
    said = unit.message_factory.drift_message(
        at_ms=at_ms, model=unit.model, day=day, images=96, exams=24, histogram=(96,) + (0,) * 19,
        psi=round(draw.uniform(0.01, 0.2), 3), priority_rate=0.08, not_assessed_rate={},
        descriptors=DescriptorDriftPart(
            baseline=BaselineSource.UNIT, baseline_images=400, baseline_needed=400, images=96,
            by_name=parts,
        ),
    )  # fmt: skip
    return unit._numbered(said, at_ms)
