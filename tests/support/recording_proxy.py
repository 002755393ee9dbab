"""A wire tap: passes TCP on to a port of this machine and keeps every byte of both directions."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self

from tests.support.waiting import LONG_S


class RecordingProxy:
    """Listens on `port`; `recorded` is what went through, in pieces as they came."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._pieces: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []

    @property
    def recorded(self) -> bytes:
        """Everything so far, both directions."""
        return b"".join(self._pieces)

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with suppress(OSError):
                far = socket.create_connection(("127.0.0.1", self._target_port), LONG_S)
                far.settimeout(None)
                for pair in ((near, far), (far, near)):
                    self._open.append(pair[0])
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                self._pieces.append(piece)
                sink.sendall(piece)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def cut(self) -> None:
        """Ends every connection without a word, and takes no new one."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self._open:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()

    def __exit__(self, *_exc: object) -> None:
        self.cut()
