"""A proxy on a free loopback port: HTTP CONNECT (RFC 9110, 9.3.6) or SOCKS 5 (RFC 1928)."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class ForwardingProxy:
    """Forwards to whatever it is asked for, and remembers that."""

    def __init__(self, kind: str) -> None:
        self._handshake = self._http if kind == "http" else self._socks
        self.asked_for: set[tuple[str, int]] = set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with suppress(OSError):
            address = self._handshake(client)
            self.asked_for.add(address)
            server = socket.create_connection(address, timeout=10)
            self._sockets.append(server)
            threading.Thread(target=_pump, args=(server, client), daemon=True).start()
            _pump(client, server)

    @staticmethod
    def _http(client: socket.socket) -> tuple[str, int]:
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(1)
        method, target, _ = request.split(b"\r\n")[0].decode().split()
        assert method == "CONNECT"
        host, _, port = target.rpartition(":")
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        return host, int(port)

    @staticmethod
    def _socks(client: socket.socket) -> tuple[str, int]:
        _, methods = client.recv(2)
        client.recv(methods)
        client.sendall(b"\x05\x00")
        *_, kind = client.recv(4)
        if kind == 1:
            host = socket.inet_ntoa(client.recv(4))
        else:
            host = client.recv(client.recv(1)[0]).decode()
        port = int.from_bytes(client.recv(2), "big")
        client.sendall(b"\x05\x00\x00\x01" + bytes(6))
        return host, port


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
