"""The edge node's life as Sparkplug B tells it: topics, numbers, metrics. Pure; time is handed in.

The node is the unit; its one device, `triage`, has the last flag as its metrics.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runtime.sparkplug.payload import REBIRTH, DataType, Metric, Value, payload
from runtime.timing.timestamps import utc_ms

if TYPE_CHECKING:
    from runtime.messages.payloads import StatusFacts

NAMESPACE = "spBv1.0"
DEVICE = "triage"
BD_SEQ = "bdSeq"
SEQ_MODULUS = 256

# Metric -> field of the exam message, and its type.
FLAG_METRICS = {
    "Exam/Key": ("exam_key", DataType.STRING),
    "Exam/Flag": ("flag", DataType.STRING),
    "Exam/Revision": ("revision", DataType.INT64),
    "Exam/Final": ("final", DataType.BOOLEAN),
    "Exam/Score": ("score", DataType.DOUBLE),
    "Exam/Reasons": ("reasons", DataType.STRING),
    "Exam/Seq": ("seq", DataType.UINT64),
}


@dataclass(frozen=True, kw_only=True)
class NodeTopics:
    """The topics of one edge node (4.1)."""

    group: str
    node: str

    def of(self, kind: str) -> str:
        """`NBIRTH`, `NDEATH`, `NDATA`, `NCMD`."""
        return f"{NAMESPACE}/{self.group}/{kind}/{self.node}"

    def of_device(self, kind: str) -> str:
        """`DBIRTH`, `DDATA`, `DDEATH`."""
        return f"{self.of(kind)}/{DEVICE}"


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """What the node says of itself."""

    status: StatusFacts
    last_seq: int
    waiting: int


class NodeCounters:
    """The numbers of one connection: `bd_seq` is that of its death, `seq` counts from the birth."""

    def __init__(self, bd_seq: int) -> None:
        self.bd_seq = bd_seq % SEQ_MODULUS
        self._seq = 0
        self._said: dict[str, Value] = {}

    def death(self, at_ms: int) -> bytes:
        """The will, and what is said before a clean end (6.4.20)."""
        return payload([self._bd_metric(at_ms)], at_ms=at_ms, seq=None)

    def birth(self, facts: NodeFacts, at_ms: int) -> bytes:
        """All metrics of the node with their types; `seq` begins again (6.4.7)."""
        self._seq = 0
        metrics = _node_metrics(facts, at_ms)
        self._said = {metric.name: metric.value for metric in metrics}
        rebirth = Metric(name=REBIRTH, datatype=DataType.BOOLEAN, value=False, at_ms=at_ms)
        return payload([self._bd_metric(at_ms), rebirth, *metrics], at_ms=at_ms, seq=self._next())

    def device_birth(self, exam: bytes | None, at_ms: int) -> bytes:
        """The device's metrics; null where no flag was given yet (6.4.15)."""
        return payload(_flag_metrics(exam, at_ms), at_ms=at_ms, seq=self._next())

    def flag(self, exam: bytes, *, at_ms: int, historical: bool) -> bytes:
        """A flag: the exam message's payload as DDATA."""
        metrics = _flag_metrics(exam, at_ms, historical=historical)
        return payload(metrics, at_ms=at_ms, seq=self._next())

    def news(self, facts: NodeFacts, at_ms: int) -> bytes | None:
        """What changed of the node since it was said last (report by exception); None: nothing."""
        changed = [m for m in _node_metrics(facts, at_ms) if self._said.get(m.name) != m.value]
        if not changed:
            return None
        self._said |= {metric.name: metric.value for metric in changed}
        return payload(changed, at_ms=at_ms, seq=self._next())

    def _bd_metric(self, at_ms: int) -> Metric:
        return Metric(name=BD_SEQ, datatype=DataType.INT64, value=self.bd_seq, at_ms=at_ms)

    def _next(self) -> int:
        seq = self._seq
        self._seq = (seq + 1) % SEQ_MODULUS
        return seq


def _node_metrics(facts: NodeFacts, at_ms: int) -> list[Metric]:
    status = facts.status
    values: dict[str, tuple[DataType, Value]] = {
        "Status/State": (DataType.STRING, "degraded" if status.reasons else "online"),
        "Status/Reasons": (DataType.STRING, ",".join(status.reasons)),
        "Properties/Version": (DataType.STRING, status.versions.get("mammoedge", "")),
        "Properties/Model": (
            DataType.STRING,
            f"{status.model.name}-{status.model.version}" if status.model else None,
        ),
        "Properties/Device": (DataType.STRING, status.actual_device),
        "Outbox/Waiting": (DataType.UINT64, facts.waiting),
        "Outbox/Last Seq": (DataType.UINT64, facts.last_seq),
    }
    return [
        Metric(name=name, datatype=datatype, value=value, at_ms=at_ms)
        for name, (datatype, value) in values.items()
    ]


def _flag_metrics(exam: bytes | None, at_ms: int, *, historical: bool = False) -> list[Metric]:
    body: dict[str, Any] = json.loads(exam) if exam else {}
    decided_ms = utc_ms(body["at"]) if body else at_ms
    return [
        Metric(
            name=name,
            datatype=datatype,
            value=_flat(body.get(field)),
            at_ms=decided_ms,
            historical=historical,
        )
        for name, (field, datatype) in FLAG_METRICS.items()
    ]


def _flat(value: Any) -> Value:
    return ",".join(value) if isinstance(value, list) else value
