"""The parts of a running unit, as the wiring made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.histogram import ScoreHistogram
    from models.package import Package
    from runtime.acknowledgement import AcknowledgementDesk
    from runtime.clock_desk import ClockDesk
    from runtime.console.console import Console
    from runtime.exam_desk import ExamDesk
    from runtime.intake import Intake
    from runtime.ledger import Ledger
    from runtime.outcome import ModelRef
    from runtime.publisher import Publisher
    from runtime.reception import Reception
    from runtime.sparkplug.edge_node import EdgeNode
    from runtime.supervisor import Supervisor


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
