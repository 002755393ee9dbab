"""Every topic of the MQTT contract: who says what there, how surely, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from runtime.messages.alarm import AlarmMessage
from runtime.messages.commands import Probe, Rebirth, Replay
from runtime.messages.payloads import PAYLOAD_TYPES
from runtime.messages.topics import ROOT, SITE_SERVICE, Topics
from runtime.mqtt_contract import examples
from runtime.publishing.message_factory import DAY_S, FOREVER_S

if TYPE_CHECKING:
    from pydantic import BaseModel

PLACES = Topics(site="{site}", unit="{unit}")


class ChannelSpeaker(StrEnum):
    """Who says it."""

    UNIT = "unit"
    SITE = "site"


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A topic. `expiry_s`: MQTT message expiry, None where there is none.

    `clearable`: when it expires, the unit clears it with a retained message of no bytes.
    """

    name: str
    address: str
    speaker: ChannelSpeaker
    payload: type[BaseModel]
    examples: tuple[BaseModel, ...]
    summary: str
    qos: int = 1
    retain: bool = False
    expiry_s: int | None = None
    clearable: bool = False


STATUS, EXAM, VIEW, EVENT, DRIFT, HEALTH = PAYLOAD_TYPES

CHANNELS: tuple[Channel, ...] = (
    Channel(
        name="status",
        address=PLACES.status,
        speaker=ChannelSpeaker.UNIT,
        payload=STATUS,
        examples=(examples.STATUS, examples.WILL),
        summary="Birth, change of state, clean stop, and (as the will) death. Said again after"
        " every connect. `offline` after `online` means that nothing else here is of now.",
        retain=True,
    ),
    Channel(
        name="exam",
        address=PLACES.exam("{exam_key}"),
        speaker=ChannelSpeaker.UNIT,
        payload=EXAM,
        examples=(examples.EXAM, examples.EXAM_NOT_ASSESSED),
        summary="The flag of an exam. A higher `revision` replaces a lower one, whichever comes"
        " first; `final`: no more is expected. The expiry is the unit's setting (24 h).",
        retain=True,
        expiry_s=DAY_S,
        clearable=True,
    ),
    Channel(
        name="view",
        address=PLACES.view("{exam_key}", "{view}"),
        speaker=ChannelSpeaker.UNIT,
        payload=VIEW,
        examples=(examples.VIEW,),
        summary="The outcome of one image, as soon as there is one. Retakes of a view share its"
        " topic: tell them apart by `image_key`.",
        expiry_s=DAY_S,
    ),
    Channel(
        name="event",
        address=PLACES.event,
        speaker=ChannelSpeaker.UNIT,
        payload=EVENT,
        examples=(examples.EVENT, examples.EXPIRED),
        summary="Something that happened. A row that expired before it could be said comes as"
        " `expired` under its own number.",
        expiry_s=7 * DAY_S,
    ),
    Channel(
        name="drift",
        address=PLACES.drift,
        speaker=ChannelSpeaker.UNIT,
        payload=DRIFT,
        examples=(examples.DRIFT,),
        summary="Once a day: the scores against the model's reference.",
        retain=True,
        expiry_s=FOREVER_S,
    ),
    Channel(
        name="health",
        address=PLACES.health,
        speaker=ChannelSpeaker.UNIT,
        payload=HEALTH,
        examples=(examples.HEALTH,),
        summary="Figures of the running service, every 30 s; one that is lost is soon replaced.",
        qos=0,
        retain=True,
    ),
    Channel(
        name="replay",
        address=PLACES.replay,
        speaker=ChannelSpeaker.SITE,
        payload=Replay,
        examples=(examples.REPLAY,),
        summary="Asks the unit to publish again everything from a number on; what is new goes"
        " first. At most 5 commands at once and one in 10 s after that; further ones are refused"
        " and counted in `health`.",
    ),
    Channel(
        name="rebirth",
        address=PLACES.rebirth,
        speaker=ChannelSpeaker.SITE,
        payload=Rebirth,
        examples=(examples.REBIRTH,),
        summary="Asks the unit to say `status` again.",
    ),
    Channel(
        name="probe",
        address=PLACES.probe,
        speaker=ChannelSpeaker.UNIT,
        payload=Probe,
        examples=(Probe(through_seq=4711, ledger_id="5f1d3c0a9b7e2468"),),
        summary="The unit's own mark, for itself: where it is missing after a connect, the broker"
        " has forgotten, and the unit puts back the flags that still hold. Nobody else writes it.",
        retain=True,
    ),
    Channel(
        name="alarm",
        address=f"{ROOT}/{{site}}/{SITE_SERVICE}/alarm",
        speaker=ChannelSpeaker.SITE,
        payload=AlarmMessage,
        examples=(examples.ALARM,),
        summary="Alarms of the site's own service, as they are raised and cleared.",
    ),
    Channel(
        name="standing",
        address=f"{ROOT}/{{site}}/{SITE_SERVICE}/alarm/{{alarm_key}}",
        speaker=ChannelSpeaker.SITE,
        payload=AlarmMessage,
        examples=(examples.ALARM,),
        summary="The same alarm for as long as it stands, for whoever subscribes later.",
        retain=True,
        clearable=True,
    ),
)
