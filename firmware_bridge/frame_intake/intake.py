"""Images that come in as frames: the Unix socket between the unit's firmware and us.

The firmware passes pixels as a sealed memfd; `accepted` leaves only after the DICOM
object around them is durable and in the ledger.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar

from firmware_bridge.frame_intake.connection import FrameConnection
from firmware_bridge.frame_intake.frame_ingest import FrameIngest
from firmware_bridge.frame_intake.listening_socket import listen, user_numbers
from firmware_bridge.frame_intake.settings import FrameIntakeSettings
from firmware_bridge.frame_object.frame_file import remove_leftovers
from firmware_bridge.frame_protocol.messages import Refusal, Refused
from firmware_bridge.frame_protocol.packet_socket import FrameSocket, Peer, PeerGoneError, peer_of
from firmware_bridge.frame_protocol.protocol import encode_answer
from runtime.exams.intake_ports import FRAMES
from runtime.ledger.ledger import LedgerError
from runtime.messages.payloads import EventKind
from runtime.timing.token_bucket import TokenBucket

if TYPE_CHECKING:
    from pydantic import BaseModel

    from runtime.exams.intake_ports import IntakePorts

LOGGER = logging.getLogger(__name__)
REPORTS_AT_ONCE = 10
REPORTS_PER_S = 0.1
PEERS_REMEMBERED = 64
ACCEPT_PAUSE_S = 0.1
TAKERS = 4
"""Frames that are written at once; more only wait for the same disk."""
# Back pressure and a peer that fell silent are normal life; a newer connection is a reboot.
NOT_REPORTED = {Refusal.BUSY, Refusal.REPLACED}


class FrameIntake:
    """Listens on the frame socket.

    Args:
        settings: checked already.
    """

    settings_type: ClassVar[type[BaseModel]] = FrameIntakeSettings

    def __init__(self, settings: BaseModel) -> None:
        if not isinstance(settings, FrameIntakeSettings):
            raise TypeError("FrameIntake takes FrameIntakeSettings")
        self.settings = settings
        self._ports: IntakePorts | None = None
        self._listener: socket.socket | None = None
        self._users: frozenset[int] = frozenset()
        self._acceptor: threading.Thread | None = None
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(TAKERS, thread_name_prefix="frames")
        self._hashers = ThreadPoolExecutor(TAKERS, thread_name_prefix="hashers")
        self._lock = threading.Lock()
        self._connections: dict[FrameConnection, threading.Thread] = {}
        self._units: dict[str, FrameConnection] = {}
        self._registration: OrderedDict[int, TokenBucket] = OrderedDict()
        self._reports = TokenBucket(
            capacity=REPORTS_AT_ONCE, per_s=REPORTS_PER_S, monotonic=time.monotonic
        )
        self._unreported = 0

    @property
    def alive(self) -> bool:
        """Whether it still listens."""
        return self._acceptor is not None and self._acceptor.is_alive()

    @property
    def address(self) -> str:
        """`frames:PATH`."""
        return f"frames:{self.settings.socket}"

    def start(self, ports: IntakePorts) -> None:
        """Listens. Raises OSError if somebody else does, or a user is unknown."""
        self._ports = ports
        remove_leftovers(ports.objects.incoming)
        self._users = user_numbers(self.settings.users)
        self._listener = listen(
            self.settings.socket, mode=int(self.settings.mode, 8), group=self.settings.group
        )
        self._acceptor = threading.Thread(
            target=self._accept, args=(self._listener,), name="frames", daemon=True
        )
        self._acceptor.start()

    def stop(self) -> None:
        """Takes no more; frames that were received get their answers, within the time."""
        if self._listener is None or self._acceptor is None:
            return
        self._stop.set()
        # Wakes the accept(2) that waits; close alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.settings.socket.unlink(missing_ok=True)
        with self._lock:
            running = dict(self._connections)
        deadline_s = time.monotonic() + self.settings.drain_timeout_s
        for connection in running:
            connection.hang_up()
        for thread in running.values():
            thread.join(max(0.0, deadline_s - time.monotonic()))
        for pool in (self._pool, self._hashers):
            pool.shutdown(wait=False)
        self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        while not self._stop.is_set():
            try:
                raw, _ = listener.accept()
            except OSError as error:
                # Out of descriptors, say: that passes, and must not end the intake.
                if not self._stop.wait(ACCEPT_PAUSE_S):
                    LOGGER.warning("no connection can be taken: %s", error.strerror)
                continue
            self._welcome(FrameSocket(raw, send_timeout_s=self.settings.send_timeout_s), raw)

    def _welcome(self, peer_socket: FrameSocket, raw: socket.socket) -> None:
        peer = peer_of(raw)
        refused = self._refusal_of(peer)
        if refused is not None:
            self._report(refused)
            try:
                peer_socket.send(encode_answer(refused))
            except PeerGoneError:
                LOGGER.info("a refused peer did not wait for the reason")
            peer_socket.close()
            return
        ports = self._require_ports()
        connection = FrameConnection(
            peer_socket,
            notices=ports.notices,
            feed=ports.feed,
            settings=self.settings,
            pool=self._pool,
            ingest=FrameIngest(
                objects=ports.objects, settings=self.settings, hashers=self._hashers
            ),
            refused=self._report,
            greeted=self._greeted,
        )
        thread = threading.Thread(
            target=self._serve, args=(connection,), name="frames-reader", daemon=True
        )
        with self._lock:
            self._connections[connection] = thread
        thread.start()

    def _refusal_of(self, peer: Peer) -> Refused | None:
        """Why a peer may not come in, before it said anything."""
        if peer.uid not in self._users:
            return Refused(
                id=None, reason=Refusal.NOT_ALLOWED, detail=f"user {peer.uid} is not in the list"
            )
        with self._lock:
            connections = len(self._connections)
        detail = None
        if connections >= self.settings.max_connections:
            detail = f"at most {self.settings.max_connections}"
        elif not self._arrivals_of(peer).take():
            detail = "one process connects too often"
        if detail is None:
            return None
        return Refused(
            id=None,
            reason=Refusal.TOO_MANY_CONNECTIONS,
            detail=detail,
            retry_after_ms=round(1000 / self.settings.connects_per_s),
        )

    def _arrivals_of(self, peer: Peer) -> TokenBucket:
        """Of each process by itself: one that connects in a loop must not keep others out."""
        bucket = self._registration.pop(peer.pid, None) or TokenBucket(
            capacity=self.settings.connects_at_once,
            per_s=self.settings.connects_per_s,
            monotonic=time.monotonic,
        )
        self._registration[peer.pid] = bucket
        while len(self._registration) > PEERS_REMEMBERED:
            self._registration.popitem(last=False)
        return bucket

    def _serve(self, connection: FrameConnection) -> None:
        try:
            connection.serve()
        finally:
            with self._lock:
                del self._connections[connection]
                self._units = {s: c for s, c in self._units.items() if c is not connection}

    def _greeted(self, connection: FrameConnection, serial: str) -> None:
        """A firmware that rebooted says hello again: its old connection is a dead one."""
        with self._lock:
            before = self._units.get(serial)
            self._units[serial] = connection
        if before is not None:
            before.replace()

    def _report(self, refused: Refused) -> None:
        """Within a limit: a peer that talks nonsense in a loop must not fill the outbox."""
        if refused.reason in NOT_REPORTED:
            return
        detail = f"{refused.reason.value}: {refused.detail}" if refused.detail else refused.reason
        with self._lock:
            allowed = self._reports.take()
            before = self._unreported
            self._unreported = 0 if allowed else before + 1
        if not allowed:
            LOGGER.info("not published, too many: %s", detail)
            return
        if before:
            detail = f"{detail} (and {before} more before it)"
        try:
            self._require_ports().events.report(EventKind.FRAME_REFUSED, detail, source=FRAMES)
        except LedgerError as error:
            # A full disk, say; the peer still hears its reason, and the socket stays open.
            LOGGER.error("%s", error)  # noqa: TRY400 - no defect of ours

    def _require_ports(self) -> IntakePorts:
        if self._ports is None:
            raise RuntimeError("the intake was not started")
        return self._ports
