"""Units that only speak: real ledgers, real outboxes, real publishers; no images, no workers.

One process plays some hundred units. It is told what to do on standard input, a JSON object a
line, and answers on standard output: `{"exams": 5, "per_second": 2.0}` says that many exams of each
unit (0: as fast as it goes), and is answered once the broker has everything.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.exam_rules.exam_flag import Completion, ExamFlag, ExamImage, Role
from runtime.image.outcome import Execution, Flag, ModelRef, ViewResult
from runtime.ledger.ledger import Ledger
from runtime.messages.payloads import HealthFacts, ModelPart, OperatingPointPart, StatusFacts
from runtime.mqtt.publisher import Publisher
from runtime.mqtt.settings import BrokerSettings
from runtime.publishing.message_factory import MessageFactory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from runtime.ledger.transaction import LedgerTransaction

VIEWS = ("RCC", "LCC", "RMLO", "LMLO")
PRIORITY_RATE = 0.1
MODEL = ModelRef(
    name="simulated",
    version="1.0.0",
    package_sha256="0" * 64,
    operating_point="balanced",
    threshold=0.5,
    precision="int8",
)
EXECUTION = Execution(requested_device="CPU", actual_device="CPU", executed_precision="int8")
STATUS = StatusFacts(
    model=ModelPart(name=MODEL.name, version=MODEL.version),
    operating_point=OperatingPointPart(name=MODEL.operating_point, threshold=MODEL.threshold),
    precision="int8",
    requested_device="CPU",
    actual_device="CPU",
    versions={"mammoedge": "simulated"},
)
JUDGING_MS = 80
CONNECT_S = 300.0


def now_ms() -> int:
    """The wall clock: ms since the epoch, UTC."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, kw_only=True)
class SimulatedSite:
    """Where simulated units speak."""

    site: str
    host: str
    port: int


class SimulatedPublisher:
    """One unit: a ledger in a folder of its own, and a publisher."""

    def __init__(
        self, name: str, site: SimulatedSite, folder: Path, randomness: Random, boot_id: str
    ) -> None:
        folder.mkdir()
        self.name = name
        self.ledger = Ledger(folder / "ledger.db")
        self._message_factory = MessageFactory(
            site=site.site, unit=name, boot_id=boot_id, site_key=bytes(32)
        )
        self._randomness = randomness
        self._boot_id = boot_id
        self._exams = 0
        self.publisher = Publisher(
            ledger=self.ledger,
            message_factory=self._message_factory,
            settings=BrokerSettings(host=site.host, port=site.port, tls=False, keepalive_s=60),
            clock_ms=now_ms,
            randomness=randomness,
            status_provider=lambda: STATUS,
            health_provider=HealthFacts,
        )

    def say_exam(self) -> None:
        """Four judged views, each with what the exam comes to by then: one transaction each."""
        self._exams += 1
        study = f"2.25.{abs(hash((self.name, self._boot_id)))}.{self._exams}"
        judged: list[ExamImage] = []
        for view in VIEWS:
            high = self._randomness.random() < PRIORITY_RATE / len(VIEWS)
            score = self._randomness.uniform(0.5, 1.0) if high else self._randomness.random() / 2
            result = ViewResult(
                score=score,
                flag=Flag.PRIORITY if high else Flag.NONE,
                model=MODEL,
                execution=EXECUTION,
            )
            judged.append(
                ExamImage(
                    image_id=len(judged) + 1,
                    sop_instance_uid=f"{study}.{len(judged)}",
                    view_code=view,
                    role=Role.EXPECTED,
                    outcome=result,
                    received_at_ms=now_ms() - JUDGING_MS,
                )
            )
            self._say(study, tuple(judged))

    def _say(self, study: str, judged: Sequence[ExamImage]) -> None:
        at_ms = now_ms()
        final = len(judged) == len(VIEWS)
        results = [image.outcome for image in judged if isinstance(image.outcome, ViewResult)]
        priority = any(result.flag is Flag.PRIORITY for result in results)
        none = Flag.NONE if final else Flag.NOT_ASSESSED
        flag = ExamFlag(
            study_instance_uid=study,
            revision=len(judged),
            final=final,
            completed_by=Completion.EXPECTED_VIEWS if final else None,
            flag=Flag.PRIORITY if priority else none,
            score=max(result.score for result in results),
            reasons=(),
            missing_views=VIEWS[len(judged) :],
            images=tuple(judged),
            decided_at_ms=at_ms,
            model=MODEL,
            execution=EXECUTION,
        )

        def work(transaction: LedgerTransaction) -> None:
            view = self._message_factory.view_message(
                judged[-1], study_instance_uid=study, at_ms=at_ms, stage_ms={"total": JUDGING_MS}
            )
            transaction.enqueue(view, at_ms)
            transaction.enqueue(self._message_factory.exam_message(flag, at_ms=at_ms), at_ms)

        self.ledger.transact(work)

    def delivered(self) -> bool:
        """Whether the broker has everything."""
        return self.ledger.backlog().waiting == 0

    def close(self) -> None:
        """Says goodbye."""
        self.publisher.stop()
        self.ledger.close()


def say_exams(units: Sequence[SimulatedPublisher], exams: int, per_second: float) -> float:
    """Says that many exams of each unit in turns; seconds until the broker has everything."""
    began_s = time.monotonic()
    said = 0
    for _ in range(exams):
        for unit in units:
            if per_second > 0:
                ahead_s = began_s + said / per_second - time.monotonic()
                if ahead_s > 0:
                    time.sleep(ahead_s)
            unit.say_exam()
            said += 1
    for unit in units:
        while not unit.delivered():
            time.sleep(0.05)
    return time.monotonic() - began_s


def _answer(**said: object) -> None:
    print(json.dumps(said), flush=True)


def main() -> int:
    """`python -m runtime.site.simulation.simulated_units SITE HOST PORT FIRST COUNT FOLDER`."""
    site, host, port, first, count, folder = sys.argv[1:]
    place = SimulatedSite(site=site, host=host, port=int(port))
    boot_id = f"simulated-{now_ms()}"
    with tempfile.TemporaryDirectory(dir=folder) as own:
        units = []
        for number in range(int(first), int(first) + int(count)):
            name = f"unit-{number:04d}"
            seeded = random.Random(number)  # noqa: S311 - seeded, so that a run can be repeated
            units.append(SimulatedPublisher(name, place, Path(own) / name, seeded, boot_id))
        for unit in units:
            unit.publisher.start()
        up = all(unit.publisher.wait_connected(CONNECT_S) for unit in units)
        _answer(connected=up, problem="" if up else units[0].publisher.problem)
        for line in sys.stdin if up else ():
            asked = json.loads(line)
            seconds = say_exams(units, asked["exams"], asked["per_second"])
            _answer(seconds=seconds, last_seq={unit.name: unit.ledger.last_seq() for unit in units})
        for unit in units:
            unit.close()
    return 0 if up else 1


if __name__ == "__main__":
    sys.exit(main())
