"""The parts of a running unit, as the wiring made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.histogram import ScoreHistogram
    from models.package import Package
    from runtime.console.console import Console
    from runtime.exams.acknowledgement import AcknowledgementDesk
    from runtime.exams.clock_jump import ClockDesk
    from runtime.exams.exam_service import ExamDesk
    from runtime.exams.intake_ports import Intake
    from runtime.exams.spooler import Reception
    from runtime.image.outcome import ModelRef
    from runtime.ledger.ledger import Ledger
    from runtime.mqtt.publisher import Publisher
    from runtime.sparkplug.edge_node import EdgeNode
    from runtime.worker.supervisor import Supervisor


@dataclass(frozen=True, kw_only=True)
class Machinery:
    """What the wiring made, in the order in which it is started."""

    ledger: Ledger
    desk: ExamDesk
    supervisor: Supervisor
    reception: Reception
    publisher: Publisher
    intakes: tuple[Intake, ...]
    package: Package
    model: ModelRef
    reference: ScoreHistogram
    acknowledgement: AcknowledgementDesk
    console: Console | None
    clock_desk: ClockDesk
    edge_node: EdgeNode | None
