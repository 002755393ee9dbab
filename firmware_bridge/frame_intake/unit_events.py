"""What the firmware tells of the unit, as the events that go to the site."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from firmware_bridge.frame_protocol.messages import Detector, Exposure, Fault
from runtime.exams.intake_ports import ModalityEvent
from runtime.messages.payloads import EventKind

if TYPE_CHECKING:
    from collections.abc import Mapping

Telling: TypeAlias = Exposure | Fault | Detector


def event_of(message: Telling) -> ModalityEvent:
    """The event. Codes and figures only: nothing in it was free text."""
    match message:
        case Exposure():
            return ModalityEvent(
                kind=EventKind.EXPOSURE,
                study_instance_uid=message.study_instance_uid,
                data=_present(
                    {
                        "laterality": message.laterality.value,
                        "view": message.view.value,
                        **message.technique.model_dump(),
                        "detector_state": message.detector_state,
                        "detector_temperature_c": message.detector_temperature_c,
                    }
                ),
            )
        case Fault():
            return ModalityEvent(
                kind=EventKind.FAULT, data={"code": message.code, "severity": message.severity}
            )
        case Detector():
            return ModalityEvent(
                kind=EventKind.DETECTOR,
                data=_present({"temperature_c": message.temperature_c, "state": message.state}),
            )


def _present(data: Mapping[str, str | float | None]) -> dict[str, str | float | bool]:
    return {name: value for name, value in data.items() if value is not None}
