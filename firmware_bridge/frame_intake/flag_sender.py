"""Flags and states back to one firmware: in order, until each is acknowledged."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from firmware_bridge.frame_protocol.cbor import encode
from firmware_bridge.frame_protocol.messages import VERSION
from runtime.messages.payloads import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.exams.modality_feed import Saying, UnitDesk
    from runtime.messages.payloads import StatusFacts

WINDOW = 32
"""Messages that may be on their way without an acknowledgement."""
TYPES = {Kind.VIEW: "view_outcome", Kind.EXAM: "exam_flag"}


class FrameOutlet:
    """What a listener hears. Thread-safe.

    Args:
        desk: what there is to hear.
        listener: its name, by which the ledger remembers what it has acknowledged.
        send: sends one message, or raises.
    """

    def __init__(self, *, desk: UnitDesk, listener: str, send: Callable[[bytes], None]) -> None:
        self._desk = desk
        self._listener = listener
        self._send = send
        self._lock = threading.Lock()
        self._unacknowledged: deque[int] = deque()
        self._said_up_to = desk.open_listener(listener)
        self._status: StatusFacts | None = None

    def deliver(self) -> None:
        """Says what is new, as far as the window goes."""
        with self._lock:
            while (room := WINDOW - len(self._unacknowledged)) > 0:
                sayings, looked_at = self._desk.after(self._said_up_to, room)
                for saying in sayings:
                    self._unacknowledged.append(saying.seq)
                    self._said_up_to = saying.seq
                    self._send(encode(_fields(saying)))
                if looked_at == self._said_up_to and not sayings:
                    return
                self._said_up_to = looked_at

    def acknowledged(self, seq: int) -> bool:
        """Everything up to `seq` is safe with the firmware; False: that was never said."""
        with self._lock:
            if seq > self._said_up_to:
                return False
            news = False
            while self._unacknowledged and self._unacknowledged[0] <= seq:
                self._unacknowledged.popleft()
                news = True
        if news:
            self._desk.acknowledge(self._listener, seq)
            self.deliver()
        return True

    def say_status(self) -> None:
        """The unit's status, if it is another one than was said last. It needs no acknowledgement.

        A status is true until the next one; whoever was away hears the present one at once.
        """
        facts, said = self._desk.status()
        with self._lock:
            if facts == self._status:
                return
            self._status = facts
            self._send(encode({"type": "status", "version": VERSION, "id": 0, **said}))


def _fields(saying: Saying) -> dict[str, Any]:
    """The fields of MQTT, and the identity that the firmware gave."""
    uids = saying.sop_instance_uids
    fields = {
        "type": TYPES[saying.kind],
        "version": VERSION,
        "id": saying.seq,
        "study_instance_uid": saying.study_instance_uid,
        **saying.fields,
    }
    if saying.kind is Kind.VIEW:
        fields["sop_instance_uid"] = uids.get(saying.fields["image_key"])
    else:
        fields["views"] = [
            {**view, "sop_instance_uid": uids.get(view["image_key"])}
            for view in saying.fields["views"]
        ]
    return fields
