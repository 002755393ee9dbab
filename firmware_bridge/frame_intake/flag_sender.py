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

    from runtime.exams.intake_ports import Feed, FeedEntry
    from runtime.messages.payloads import StatusFacts

WINDOW = 32
"""Messages that may be on their way without an acknowledgement."""
TYPES = {Kind.VIEW: "view_outcome", Kind.EXAM: "exam_flag"}


class FlagSender:
    """What a listener hears. Thread-safe.

    Args:
        feed: what there is to hear.
        listener: its name, by which the ledger remembers what it has acknowledged.
        send: sends one message, or raises.
    """

    def __init__(self, *, feed: Feed, listener: str, send: Callable[[bytes], None]) -> None:
        self._feed = feed
        self._listener = listener
        self._send = send
        self._lock = threading.Lock()
        self._unacknowledged: deque[int] = deque()
        self._said_up_to = feed.open_listener(listener)
        self._status: StatusFacts | None = None

    def deliver(self) -> None:
        """Says what is new, as far as the window goes."""
        with self._lock:
            while (room := WINDOW - len(self._unacknowledged)) > 0:
                entries, looked_at = self._feed.after(self._said_up_to, room)
                for entry in entries:
                    self._unacknowledged.append(entry.seq)
                    self._said_up_to = entry.seq
                    self._send(encode(_fields(entry)))
                if looked_at == self._said_up_to and not entries:
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
            self._feed.acknowledge(self._listener, seq)
            self.deliver()
        return True

    def say_status(self) -> None:
        """The unit's status, if it is another one than was said last. It needs no acknowledgement.

        A status is true until the next one; whoever was away hears the present one at once.
        """
        facts, said = self._feed.status()
        with self._lock:
            if facts == self._status:
                return
            self._status = facts
            self._send(encode({"type": "status", "version": VERSION, "id": 0, **said}))


def _fields(entry: FeedEntry) -> dict[str, Any]:
    """The fields of MQTT, and the identity that the firmware gave."""
    uids = entry.sop_instance_uids
    fields = {
        "type": TYPES[entry.kind],
        "version": VERSION,
        "id": entry.seq,
        "study_instance_uid": entry.study_instance_uid,
        **entry.fields,
    }
    if entry.kind is Kind.VIEW:
        fields["sop_instance_uid"] = uids.get(entry.fields["image_key"])
    else:
        fields["views"] = [
            {**view, "sop_instance_uid": uids.get(view["image_key"])}
            for view in entry.fields["views"]
        ]
    return fields
