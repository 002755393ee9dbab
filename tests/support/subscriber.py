"""An independent subscriber: paho and JSON, nothing of ours. It proves that it missed nothing."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import Self

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.support.waiting import LONG_S


@dataclass(frozen=True)
class Record:
    """One message as it arrived."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: dict
    at_s: float

    @property
    def body(self) -> dict:
        """The payload as JSON; {} for an empty one."""
        return json.loads(self.payload) if self.payload else {}


class Subscriber:
    """Records everything below `mammoedge/v1/{site}/{unit}/` in order of arrival."""

    def __init__(
        self,
        port: int,
        *,
        site: str = "st-anna",
        unit: str = "mammo-1",
        host: str = "127.0.0.1",
        session_s: int = 3600,
        name: str = "independent-subscriber",
    ) -> None:
        self.root = f"mammoedge/v1/{site}/{unit}"
        self.records: list[Record] = []
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5
        )
        self._client.reconnect_delay_set(0.05, 0.2)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._on_message
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = session_s
        self._client.connect(host, port, 30, clean_start=False, properties=properties)
        self._client.loop_start()
        assert self._ready.wait(LONG_S), "the subscriber could not subscribe"

    def _on_connect(self, client, _userdata, _flags, _reason, _properties) -> None:
        # After each connect: a broker that was killed may not remember the session.
        client.subscribe(f"{self.root}/#", 1)

    def _on_message(self, _client, _userdata, message) -> None:
        record = Record(
            message.topic.removeprefix(f"{self.root}/"),
            message.payload,
            message.qos,
            message.retain,
            message.properties.json(),
            time.time(),
        )
        if record.topic.startswith("command/"):
            return  # what is asked of the unit is not what it says
        with self._lock:
            self.records.append(record)

    def seen(self) -> list[Record]:
        """Everything so far."""
        with self._lock:
            return list(self.records)

    def forget(self) -> None:
        """Starts with an empty record."""
        with self._lock:
            self.records.clear()

    def topics(self, topic: str) -> list[Record]:
        """What came on one topic."""
        return [record for record in self.seen() if record.topic == topic]

    def statuses(self) -> list[str]:
        """The states that the unit went through, as heard."""
        return [record.body["state"] for record in self.topics("status")]

    def numbered(self) -> list[tuple[int, Record]]:
        """(seq, record) of every numbered message in order of arrival, doubles included."""
        pairs = ((record.body.get("seq"), record) for record in self.seen())
        return [(seq, record) for seq, record in pairs if seq is not None]

    def once(self) -> dict[int, Record]:
        """First arrival of each number: QoS 1 may deliver twice."""
        first: dict[int, Record] = {}
        for seq, record in self.numbered():
            first.setdefault(seq, record)
        return first

    def gaps(self, up_to: int, first: int = 1) -> list[int]:
        """Numbers that have not come."""
        have = self.once()
        return [seq for seq in range(first, up_to + 1) if seq not in have]

    def command(self, name: str, payload: bytes | str | dict) -> None:
        """Says something to the unit, as it stands."""
        if isinstance(payload, dict):
            payload = json.dumps(payload)
        self._client.publish(f"{self.root}/command/{name}", payload, 1).wait_for_publish(LONG_S)

    def ask_for_replay(self, from_seq: int) -> None:
        """What a subscriber does that sees a gap."""
        self.command("replay", {"from_seq": from_seq})

    def close(self) -> None:
        """Leaves; the session stays for its expiry."""
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
