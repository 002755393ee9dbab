"""The firmware's side of the frame socket, for simulated units.

It says, waits for answers, keeps the heartbeat, and acknowledges what it hears.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import mmap
import os
import select
import socket
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from firmware_bridge.frame_object.frame_pixels import SEALS_NEEDED
from firmware_bridge.frame_protocol.cbor import CborError, CborLimits, decode, encode
from firmware_bridge.frame_protocol.messages import (
    MAX_MESSAGE_BYTES,
    VERSION,
    Accepted,
    Acknowledged,
    Answer,
    BridgeHeartbeat,
    Heartbeat,
    Refused,
)
from firmware_bridge.sender.storage_scu import PeerUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from firmware_bridge.frame_protocol.messages import Hello, Said

ANSWERS: TypeAdapter[Answer] = TypeAdapter(Answer)
SILENT_HEARTBEATS = 3
OUTCOMES = ("view_outcome", "exam_flag")
ACKNOWLEDGED_AT_ONCE = 16
"""Half of what the bridge has on its way without one; each costs it a commit."""
LIMITS = CborLimits(depth=8, items=16384)


class FrameClient:
    """One connection; it has said hello when the constructor returns.

    Args:
        path: of the socket.
        hello: who we are. Its `id` is not used: this object numbers what is said.
        heard: called with each outcome and each flag, in the order of `seq`, on our thread.
        answer_timeout_s: for one answer.

    Raises:
        PeerUnreachableError: from every method: nobody answers, or we are not let in.
    """

    def __init__(
        self,
        path: Path,
        *,
        hello: Hello,
        heard: Callable[[dict[str, Any]], None],
        answer_timeout_s: float = 60.0,
    ) -> None:
        self._heard = heard
        self._answer_timeout_s = answer_timeout_s
        self._lock = threading.Lock()
        self._last_id = 0
        self._waiting: dict[int, Future[Accepted | Refused]] = {}
        self._heartbeat_s = 5.0
        self._unacknowledged = 0
        self._gone = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.settimeout(answer_timeout_s)
            self._socket.connect(os.fspath(path))
        except OSError as error:
            self._socket.close()
            raise PeerUnreachableError(f"{path}: {error.strerror or error}") from error
        self._listener = threading.Thread(target=self._listen, name="frame-client", daemon=True)
        self._listener.start()
        try:
            answer = self.ask(hello)
        except PeerUnreachableError:
            self.close()
            raise
        if isinstance(answer, Refused):
            self.close()
            raise PeerUnreachableError(f"{answer.reason.value}: {answer.detail}")
        self._heartbeat_s = (answer.heartbeat_ms or 5000) / 1000

    @property
    def alive(self) -> bool:
        """Whether more can be said."""
        return not self._gone.is_set()

    def ask(self, message: Said, descriptor: int | None = None) -> Accepted | Refused:
        """Says something and waits for its answer."""
        answer: Future[Accepted | Refused] = Future()
        self._say(message, descriptor, answer)
        try:
            return answer.result(self._answer_timeout_s)
        except TimeoutError as error:
            raise PeerUnreachableError("no answer") from error

    def say(self, message: Said, descriptor: int | None = None) -> None:
        """Says something; nobody waits for the answer."""
        self._say(message, descriptor, None)

    def close(self) -> None:
        """Ends the connection at once, as the kernel does for a firmware that died."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._listener.join()
        self._socket.close()

    def _say(
        self, message: Said, descriptor: int | None, answer: Future[Accepted | Refused] | None
    ) -> None:
        rights = [] if descriptor is None else [array.array("i", [descriptor])]
        with self._lock:
            if self._gone.is_set():
                raise PeerUnreachableError("the connection has ended")
            self._last_id += 1
            if answer is not None:
                self._waiting[self._last_id] = answer
            fields = message.model_dump(mode="json", exclude_none=True) | {"id": self._last_id}
            try:
                self._socket.sendmsg(
                    [encode(fields)],
                    [(socket.SOL_SOCKET, socket.SCM_RIGHTS, item) for item in rights],
                    socket.MSG_NOSIGNAL,
                )
            except OSError as error:
                self._waiting.pop(self._last_id, None)
                raise PeerUnreachableError(error.strerror or "cannot be sent") from error

    # --- hearing ---------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Until the connection ends, or the bridge has been silent for too long."""
        watch = select.poll()
        watch.register(self._socket, select.POLLIN)
        last_heard_s = time.monotonic()
        try:
            while time.monotonic() - last_heard_s < SILENT_HEARTBEATS * self._heartbeat_s:
                if not watch.poll(self._heartbeat_s * 1000):
                    self.say(Heartbeat(type="heartbeat", version=VERSION, id=0))
                    continue
                data = self._socket.recv(MAX_MESSAGE_BYTES)
                if not data:
                    break
                last_heard_s = time.monotonic()
                fields = decode(data, LIMITS)
                if fields.get("type") in OUTCOMES:
                    self._hear(fields, more_waits=bool(watch.poll(0)))
                else:
                    self._take_answer(fields)
        except (OSError, CborError, ValidationError, PeerUnreachableError):
            pass  # whoever waits for an answer hears of it below
        finally:
            self._end()

    def _hear(self, fields: dict[str, Any], *, more_waits: bool) -> None:
        """Acknowledges several together, but never later than the bridge runs dry."""
        self._heard(fields)
        self._unacknowledged += 1
        if not more_waits or self._unacknowledged >= ACKNOWLEDGED_AT_ONCE:
            self._unacknowledged = 0
            self.say(Acknowledged(type="acknowledged", version=VERSION, id=0, seq=fields["seq"]))

    def _take_answer(self, fields: dict[str, Any]) -> None:
        """An answer goes to whoever waits for it; `status` and what is unknown to nobody."""
        if fields.get("type") not in ("accepted", "refused", "heartbeat"):
            return
        answer = ANSWERS.validate_python(fields, strict=False)
        if isinstance(answer, BridgeHeartbeat):
            if answer.id == 0:  # its own: it wants to hear of us as often
                self.say(Heartbeat(type="heartbeat", version=VERSION, id=0))
        elif answer.id is None:
            self._answer_all(answer)
        else:
            with self._lock:
                waiting = self._waiting.pop(answer.id, None)
            if waiting is not None:
                waiting.set_result(answer)

    def _answer_all(self, refused: Accepted | Refused) -> None:
        """A refusal of no message in particular: the connection ends."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            answer.set_result(refused)

    def _end(self) -> None:
        with self._lock:
            self._gone.set()
            waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            answer.set_exception(PeerUnreachableError("the connection ended before the answer"))


def sealed_memory(content: bytes) -> int:
    """A memfd with that content that nobody can change any more; its descriptor, to be closed."""
    descriptor = os.memfd_create("simulated-frame", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.truncate(descriptor, len(content))
        with mmap.mmap(descriptor, len(content)) as mapping:
            mapping[:] = content
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS_NEEDED | fcntl.F_SEAL_SEAL)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
