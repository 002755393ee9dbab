"""What a unit says of itself: to the site as `status` and `health`, and to the console."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from runtime.messages.payloads import HealthFacts, ModelPart, OperatingPointPart, StatusFacts
from runtime.messages.status_reason import StatusReason
from runtime.system.process_memory import MEGABYTE, peak_resident_mb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.ledger.outbox import Backlog
    from runtime.unit.composition import UnitComponents


RENEWAL_SAID_MS = 24 * 60 * 60 * 1000
"""So long a unit says that its ledger began anew: until somebody is there who looks after it."""


def degraded_reasons(
    parts: UnitComponents,
    backlog: Backlog,
    *,
    now_ms: int,
    disk_low: bool,
    certificate_ends_soon: bool = False,
) -> tuple[StatusReason, ...]:
    """Why the unit cannot be wholly relied on; () if it can."""
    state = parts.supervisor.state
    fault, renewal = parts.ledger.fault, parts.ledger.renewal
    failing = None if fault is None else fault.reason
    renewed = None
    if renewal is not None and now_ms - renewal.at_ms < RENEWAL_SAID_MS:
        renewed = renewal.reason
    reasons = (
        (StatusReason.LEDGER_FAILED, failing is StatusReason.LEDGER_FAILED),
        (StatusReason.STORAGE_FAILED, failing is StatusReason.STORAGE_FAILED),
        (StatusReason.LEDGER_ROLLED_BACK, renewed is StatusReason.LEDGER_ROLLED_BACK),
        (StatusReason.LEDGER_REBUILT, renewed is StatusReason.LEDGER_REBUILT),
        (StatusReason.WORKER_NOT_READY, state.ready is None and bool(state.faults)),
        # While nothing can be recorded the worker is started again and again.
        (StatusReason.STARTING, state.ready is None and not state.faults and fault is None),
        (StatusReason.DISK_LOW, disk_low),
        (StatusReason.FILES_SET_ASIDE, parts.spooler.files_set_aside),
        (StatusReason.BACKLOG_FULL, parts.spooler.backlog_is_full),
        (StatusReason.ROWS_PARKED, bool(backlog.parked)),
        (StatusReason.CLOCK_JUMPED, parts.clock_jump.unsettled),
        (StatusReason.CERTIFICATE_ENDS_SOON, certificate_ends_soon),
    )
    return tuple(reason for reason, holds in reasons if holds) + parts.publisher.faults


def status_facts(
    parts: UnitComponents, reasons: tuple[StatusReason, ...], requested_devices: Sequence[str]
) -> StatusFacts:
    """Versions, model, devices and intakes, as of now."""
    ready = parts.supervisor.state.ready
    execution = ready.execution if ready else None
    return StatusFacts(
        reasons=reasons,
        versions={"mammoedge": version("mammoedge"), **(ready.versions if ready else {})},
        model=ModelPart(name=parts.model.name, version=parts.model.version),
        operating_point=OperatingPointPart(
            name=parts.model.operating_point, threshold=parts.model.threshold
        ),
        precision=parts.model.precision,
        executed_precision=execution.executed_precision if execution else None,
        requested_device=",".join(requested_devices),
        actual_device=execution.actual_device if execution else None,
        unsigned_package=not parts.package.trusted,
        fallback_reason=execution.fallback_reason[:512] if execution else "",
        intakes=tuple(intake.address for intake in parts.intakes),
    )


def health_facts(parts: UnitComponents, uptime_s: float) -> HealthFacts:
    """Latencies, queue, memory and disk, as of now."""
    worker = parts.supervisor.state
    return HealthFacts(
        stages=parts.supervisor.latencies.summary(),
        queue_depth=parts.ledger.jobs_open,
        memory_mb={"control": peak_resident_mb(), "worker": worker.memory_mb},
        disk_free_mb=free_mb(parts),
        worker_restarts=max(0, worker.starts - 1),
        uptime_s=uptime_s,
    )


def free_mb(parts: UnitComponents) -> float:
    """What the disk has left above its reserve, MB."""
    return max(0.0, parts.spooler.free_bytes() / MEGABYTE)
