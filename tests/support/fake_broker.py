"""Servers that play a broker: enough of MQTT 5 to hold back, refuse, drop and talk nonsense."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress


class RudeServer:
    """Answers every connection with the same bytes."""

    def __init__(self, port, answer) -> None:
        self.connects = 0
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", port))
        self._peers: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.connects += 1
            self._peers.append(peer)
            with suppress(OSError):  # the test may have ended in between
                peer.sendall(self._answer)

    def __enter__(self):
        return self

    def __exit__(self, *_exc) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self._peers:
            peer.close()


class FakeBroker:
    """Enough of MQTT 5 to hold back PUBACKs, name limits and drop connections."""

    def __init__(self, port, *, receive_maximum=None, maximum_packet=None) -> None:
        self.acknowledge = True
        self.connects = 0
        self.publishes: list[tuple[int, bytes]] = []
        self.retained: dict[int, bool] = {}
        """Row number -> whether it came with the retain flag, the last time."""
        properties = b""
        if receive_maximum is not None:
            properties += b"\x21" + receive_maximum.to_bytes(2, "big")
        if maximum_packet is not None:
            properties += b"\x27" + maximum_packet.to_bytes(4, "big")
        body = b"\x00\x00" + bytes([len(properties)]) + properties
        self._connack = b"\x20" + bytes([len(body)]) + body
        self._open: list[int] = []
        self._peer: socket.socket | None = None
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._serve, daemon=True).start()

    def rows(self) -> list[int]:
        """Numbers of the rows in order of arrival."""
        bodies = [json.loads(payload) for _, payload in list(self.publishes) if payload]
        return [body["seq"] for body in bodies if "seq" in body]

    def acknowledge_all(self) -> None:
        """PUBACK for everything that waits for it."""
        waiting, self._open = self._open, []
        for mid in waiting:
            self._peer.sendall(b"\x40\x02" + mid.to_bytes(2, "big"))

    def take_over(self) -> None:
        """Says that another connection has the client id now (MQTT 5, 3.1.4), and closes."""
        self._peer.sendall(b"\xe0\x02\x8e\x00")
        self.drop()

    def drop(self) -> None:
        """Ends the connection."""
        self._peer.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.connects += 1
            self._peer, self._open = peer, []
            try:
                self._talk(peer.makefile("rb"))
            except OSError:
                continue

    def _talk(self, stream) -> None:
        while header := stream.read(1):
            length, shift = 0, 0
            while True:
                byte = stream.read(1)[0]
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            self._answer(header[0], stream.read(length))

    def _answer(self, first, body) -> None:
        kind, qos = first >> 4, first >> 1 & 3
        if kind == 1:
            self._peer.sendall(self._connack)
        elif kind == 8:
            self._peer.sendall(b"\x90\x05" + body[:2] + b"\x00\x01\x01")
        elif kind == 12:
            self._peer.sendall(b"\xd0\x00")
        elif kind == 3 and qos == 1:
            size = int.from_bytes(body[:2], "big")
            rest = body[2 + size :]
            mid, properties = int.from_bytes(rest[:2], "big"), rest[2]
            self._open.append(mid)
            payload = rest[3 + properties :]
            if payload and "seq" in json.loads(payload):
                self.retained[json.loads(payload)["seq"]] = bool(first & 1)
            self.publishes.append((mid, payload))
            if self.acknowledge:
                self.acknowledge_all()

    def __enter__(self):
        return self

    def __exit__(self, *_exc) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._peer is not None:
            self._peer.close()
