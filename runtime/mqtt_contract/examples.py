"""The examples of the document: messages made of the types themselves."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from models.descriptor_reference import Descriptor
from runtime.exam_rules.exam_flag import Completion, Role
from runtime.image.outcome import Flag
from runtime.image.reasons import Reason, Remark
from runtime.messages.alarm import AlarmMessage, AlarmState, Severity
from runtime.messages.commands import Rebirth, Replay
from runtime.messages.payloads import (
    BaselineSource,
    DescriptorDriftPart,
    DescriptorPart,
    DriftMessage,
    EventKind,
    EventMessage,
    ExamMessage,
    HealthMessage,
    JudgedBy,
    Latency,
    ModelPart,
    OperatingPointPart,
    OutboxFacts,
    OutcomeWord,
    StatusMessage,
    UnitState,
    ViewEntry,
    ViewMessage,
)

EXAM_KEY = "0f3c9d7a5b21e8864c0d9f1e2a3b4c5d"
IMAGE_KEYS = ("7b1e0c55d2f94a0f8a3c6e21b9d84f10", "c4a9e2d07f1b43568e6d5a0b3c2f1e97")
ENVELOPE: dict[str, Any] = {
    "site": "st-anna",
    "unit": "mammo-1",
    "boot_id": "20261122T060102Z-4f1c",
    "at": "2026-11-22T15:04:05.678Z",
}
JUDGED_BY = JudgedBy(
    model=ModelPart(name="reference", version="0.1.0"),
    operating_point=OperatingPointPart(name="balanced", threshold=0.62),
    precision="int8",
    executed_precision="int8",
    requested_device="NPU",
    actual_device="CPU",
)
JUDGED = dict(JUDGED_BY)
SCORE = 0.734

STATUS = StatusMessage(
    **ENVELOPE,
    **JUDGED,
    last_seq=4711,
    state=UnitState.DEGRADED,
    ledger_id="5f1d3c0a9b7e2468",
    reasons=("disk_low",),
    versions={"mammoedge": "0.1.0", "openvino": "2026.4"},
    fallback_reason="NPU: not there",
    intakes=("UNIT@0.0.0.0:11112",),
)
WILL = STATUS.model_copy(
    update={
        "state": UnitState.OFFLINE,
        "executed_precision": None,
        "actual_device": None,
        "will": True,
        "connected_at": ENVELOPE["at"],
    }
)
EXAM = ExamMessage(
    **ENVELOPE,
    **JUDGED,
    seq=4710,
    exam_key=EXAM_KEY,
    revision=2,
    final=True,
    completed_by=Completion.EXPECTED_VIEWS,
    flag=Flag.PRIORITY,
    score=SCORE,
    reasons=(),
    missing_views=(),
    views=(
        ViewEntry(
            image_key=IMAGE_KEYS[0],
            view="rcc",
            role=Role.EXPECTED,
            outcome=OutcomeWord.JUDGED,
            score=SCORE,
            flag=Flag.PRIORITY,
        ),
        ViewEntry(
            image_key=IMAGE_KEYS[1],
            view="lmlo",
            role=Role.ADDITIONAL,
            outcome=OutcomeWord.NOT_ASSESSED,
            reasons=(Reason.IMPLANT,),
            flag=Flag.NOT_ASSESSED,
        ),
    ),
)
EXAM_NOT_ASSESSED = ExamMessage(
    **ENVELOPE,
    seq=4711,
    exam_key=EXAM_KEY,
    revision=1,
    final=False,
    completed_by=None,
    flag=Flag.NOT_ASSESSED,
    score=None,
    reasons=(Reason.AWAITING_VIEWS,),
    missing_views=("lcc", "rmlo", "lmlo"),
    views=(),
)
VIEW = ViewMessage(
    **ENVELOPE,
    **JUDGED,
    seq=4709,
    exam_key=EXAM_KEY,
    image_key=IMAGE_KEYS[0],
    view="rcc",
    laterality="R",
    role=Role.EXPECTED,
    acquired_at="2026-11-22T16:03:58",
    received_at="2026-11-22T15:04:05.402Z",
    outcome=OutcomeWord.JUDGED,
    reasons=(),
    remarks=(Remark.PARTIAL_VIEW_UNKNOWN,),
    score=SCORE,
    flag=Flag.PRIORITY,
    stage_ms={"decode": 51.2, "prepare": 11.0, "infer": 13.4, "total": 80.1},
)
EVENT = EventMessage(
    **ENVELOPE,
    seq=4708,
    event=EventKind.EXPOSURE,
    exam_key=EXAM_KEY,
    data={"kvp": 28.0, "mas": 63.0},
)
EXPIRED = EventMessage(
    **ENVELOPE,
    seq=4502,
    event=EventKind.EXPIRED,
    exam_key=EXAM_KEY,
    data={"kind": "exam", "row_at": "2026-11-21T14:00:00.000Z"},
)
DRIFT = DriftMessage(
    **ENVELOPE,
    seq=4700,
    model=ModelPart(name="reference", version="0.1.0"),
    day="2026-11-21",
    images=212,
    exams=53,
    histogram=(120, 51, 22, 12, 7),
    psi=0.043,
    priority_rate=0.113,
    not_assessed_rate={Reason.IMPLANT: 0.014},
    descriptors=DescriptorDriftPart(
        baseline=BaselineSource.PACKAGE,
        baseline_images=400,
        baseline_needed=200,
        images=209,
        by_name={
            Descriptor.BRIGHTNESS: DescriptorPart(
                edges=(0.25, 0.5),
                labels=None,
                counts=(40, 120, 49),
                expected=(90, 220, 90),
                psi=0.02,
            ),
            Descriptor.PIXEL_SPACING: DescriptorPart(
                edges=None, labels=("0.07", "0.085"), counts=(200, 9), expected=(400, 0), psi=0.31
            ),
        },
    ),
)
HEALTH = HealthMessage(
    **ENVELOPE,
    last_seq=4711,
    stages={"infer": Latency(p50_ms=13.4, p95_ms=22.8, count=256)},
    queue_depth=1,
    memory_mb={"control": 92.5, "worker": 337.0},
    temperature_c=None,
    disk_free_mb=181_204.0,
    worker_restarts=0,
    uptime_s=32_583.0,
    outbox=OutboxFacts(waiting=0, oldest_s=None, parked=0, commands_refused=0),
)
ALARM = AlarmMessage(
    site="st-anna",
    unit="mammo-1",
    boot_id="site-20261120",
    at="2026-11-22T15:09:12.000Z",
    alarm="unit_silent",
    state=AlarmState.RAISED,
    severity=Severity.CRITICAL,
    since="2026-11-22T15:04:05.678Z",
    saw="no word for 306 s; last: online",
    advice="look at the unit's power and network",
    data={"silent_s": 306.3},
)
REPLAY = Replay(from_seq=4502)
REBIRTH = Rebirth()


def as_said(message: BaseModel) -> dict[str, Any]:
    """The example as a subscriber reads it."""
    encode = getattr(message, "encode", None)
    body: dict[str, Any] = json.loads(encode() if encode else message.model_dump_json())
    return body
