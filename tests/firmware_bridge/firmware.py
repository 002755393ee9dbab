"""A unit's firmware for tests: plain sockets and cbor2, nothing of ours."""

from __future__ import annotations

import array
import contextlib
import fcntl
import mmap
import os
import socket
import time
from collections.abc import Callable
from typing import Self

import cbor2
import numpy as np

from tests.support.waiting import LONG_S, did_not_come, wait_until

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
STUDY = "1.2.826.0.1.3680043.8.498.1"
PIXELS = (np.arange(64 * 48, dtype=np.uint16) % 4096).reshape(64, 48)


def memfd(content: bytes, *, seals: int = SEALS) -> int:
    """A memfd with that content, sealed."""
    descriptor = os.memfd_create("frame", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.truncate(descriptor, len(content))
    if content:
        with mmap.mmap(descriptor, len(content)) as mapping:
            mapping[:] = content
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def frame_fields(
    pixels: np.ndarray, *, sop: str = f"{STUDY}.1", study: str = STUDY, **more
) -> dict:
    """The fields of a `frame` message for these pixels."""
    rows, columns = pixels.shape
    return {
        "study_instance_uid": study,
        "sop_instance_uid": sop,
        "laterality": "R",
        "view": "CC",
        "intent": "for_presentation",
        "rows": rows,
        "columns": columns,
        "bits_stored": 12,
        "window": {"center": 2048.0, "width": 4096.0},
        "pixel_spacing_mm": [0.1, 0.1],
        "acquired_at": "20261122160358",
    } | more


class Firmware:
    """One connection. Closed as a context."""

    def __init__(self, path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(LONG_S)
        self._socket.connect(os.fspath(path))
        self._id = 0
        self.heard: list[dict] = []

    def say_bytes(self, data: bytes, *descriptors: int) -> None:
        """A packet as it stands."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self._socket.sendmsg([data], rights if descriptors else [])

    def say(self, kind: str, *descriptors: int, **fields) -> int:
        """A message; its id."""
        self._id += 1
        message = {"type": kind, "version": 1, "id": self._id} | fields
        self.say_bytes(cbor2.dumps(message), *descriptors)
        return self._id

    def say_for_ever(self, kind: str) -> None:
        """Says it until an error ends it."""
        deadline_s = time.monotonic() + LONG_S
        while time.monotonic() < deadline_s:
            self.say(kind)
        raise AssertionError(did_not_come("an end of our talking", LONG_S))

    def _hear(self, holds: Callable[[dict], object], what: str) -> dict:
        """The next message for which it holds. EOFError at the end.

        The others, and every heartbeat of the bridge's own, stay in `heard`.
        """
        deadline_s = time.monotonic() + LONG_S
        while time.monotonic() < deadline_s:
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                break
            if not data:
                raise EOFError
            message = cbor2.loads(data)
            self.heard.append(message)
            if (message["type"] != "heartbeat" or message["id"]) and holds(message):
                return message
        raise AssertionError(did_not_come(what, LONG_S))

    def hear(self) -> dict:
        """The next message of the bridge, heartbeats left out. EOFError at the end."""
        return self._hear(lambda _message: True, "a message")

    def hear_until(self, **wanted) -> dict:
        """The next message that has these fields; the others stay in `heard`."""
        return self._hear(
            lambda message: all(message.get(name) == value for name, value in wanted.items()),
            f"a message with {wanted}",
        )

    def answer(self, number: int) -> dict:
        """The answer to a message of ours."""
        kinds = {"accepted", "refused", "heartbeat"}
        return self._hear(
            lambda message: message["id"] == number and message["type"] in kinds,
            f"the answer to {number}",
        )

    def ask(self, kind: str, *descriptors: int, **fields) -> dict:
        """Says something; the answer."""
        return self.answer(self.say(kind, *descriptors, **fields))

    def hello(self, *capabilities: str, serial: str = "SN-1", **more) -> dict:
        """Says hello; the answer."""
        return self.ask("hello", serial=serial, capabilities=list(capabilities), **more)

    def begin(self, *capabilities: str, study: str = STUDY, **more) -> Self:
        """Hello and an opened exam."""
        assert self.hello(*capabilities, **more)["type"] == "accepted"
        assert self.ask("exam_opened", study_instance_uid=study)["type"] == "accepted"
        return self

    def say_frame(self, pixels: np.ndarray, **more) -> int:
        """Hands a frame over; the id of the message."""
        descriptor = memfd(pixels.astype("<u2").tobytes())
        try:
            return self.say("frame", descriptor, **frame_fields(pixels, **more))
        finally:
            os.close(descriptor)

    def send_frame(self, pixels: np.ndarray, **more) -> dict:
        """Hands a frame over; the answer."""
        return self.answer(self.say_frame(pixels, **more))

    def wait_closed(self) -> None:
        """Returns when the bridge has ended the connection."""
        with contextlib.suppress(EOFError, ConnectionError):
            self._hear(lambda _message: False, "the end of the connection")

    def close(self) -> None:
        """Without a word, as a firmware that dies."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def wait_socket(path) -> None:
    """Returns when somebody listens there."""

    def listens() -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            return probe.connect_ex(os.fspath(path)) == 0

    wait_until(listens, f"somebody listens at {path}")
