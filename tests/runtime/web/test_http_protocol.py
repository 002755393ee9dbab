"""A real server and peers that never end their request: others are answered at once."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
import threading
import time

import pytest
import uvicorn

from runtime.web.http_protocol import PENDING_MOST, PENDING_PER_ADDRESS, HttpConfig
from tests.support.certificates import Authority
from tests.support.waiting import LONG_S, joined, wait_until

AT_ONCE_S = 8.0
SOON_S = 0.5


async def app(scope, receive, send):
    """Answers with how many bytes the body had, when it has all of them."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    text = str(size).encode()
    headers = [(b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


class Served:
    """The app on a port, with TLS where a folder for its certificate is given."""

    def __init__(self, folder=None, **options):
        self.tls = None
        files = {"certificate_file": None, "key_file": None}
        if folder is not None:
            authority = Authority(folder)
            certificate, key = authority.issue("page", address="127.0.0.1")
            files = {"certificate_file": certificate, "key_file": key}
            self.tls = ssl.create_default_context(cafile=authority.file)
        self.config = HttpConfig(app, **files, **options)
        self.server = uvicorn.Server(self.config)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.thread = threading.Thread(
            target=lambda: asyncio.run(self.server.serve(sockets=[listener]))
        )
        self.thread.start()
        wait_until(lambda: self.server.started, "the server")

    def connect(self, first=b"", *, handshake=True, source="127.0.0.1"):
        """A connection on which these bytes were said."""
        peer = socket.create_connection(("127.0.0.1", self.port), LONG_S, (source, 0))
        if self.tls is not None and handshake:
            peer = self.tls.wrap_socket(peer, server_hostname="127.0.0.1")
        peer.sendall(first)
        return peer

    def ask(self):
        """The status of a whole request, and how long it took, s."""
        begun = time.monotonic()
        with contextlib.closing(self.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")) as peer:
            status = int(peer.recv(100).split()[1])
        return status, time.monotonic() - begun

    def close(self):
        self.server.should_exit = True
        joined(self.thread, "the server's end")


@pytest.fixture(params=["plain", "tls"])
def serve(request, tmp_path):
    """Starts servers with options; they end with the test."""
    servers = []

    def start(**options):
        servers.append(Served(tmp_path if request.param == "tls" else None, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def closes(peer, within_s=AT_ONCE_S):
    """Whether the other side ends the connection in that time."""
    peer.settimeout(within_s)
    try:
        while peer.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nX: "], ids=["silent", "half"])
def test_many_unfinished_requests_keep_nobody_out(serve, first):
    """300 from one address, then a whole request from the same one: answered at once."""
    served = serve()
    with contextlib.ExitStack() as held:
        for number in range(300):
            handshake = number % 2 == 0  # with TLS: half of them never say hello
            peer = served.connect(first if handshake else b"\x16", handshake=handshake)
            held.callback(peer.close)
        status, took_s = served.ask()
        assert (status, took_s < AT_ONCE_S) == (200, True)
        assert len(served.config.pending._pending) <= PENDING_PER_ADDRESS


def test_one_address_does_not_use_up_the_places_of_others(serve):
    """A half request of another address stays open while one address makes hundreds."""
    served = serve()
    with contextlib.ExitStack() as held:
        other = served.connect(b"GET / HTTP/1.1\r\n", source="127.0.0.2")
        held.callback(other.close)
        for _ in range(PENDING_MOST + 20):
            held.callback(served.connect(b"GET").close)
        other.sendall(b"Host: x\r\n\r\n")
        assert b"200" in other.recv(100)


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nX: ",
    ],
    ids=["header", "body", "second request"],
)
def test_a_request_has_one_deadline_however_it_trickles(serve, first):
    """A byte now and then does not keep the connection."""
    served = serve(request_s=SOON_S)
    peer = served.connect(first)
    peer.settimeout(0.1)
    begun, ended = time.monotonic(), False
    while not ended and time.monotonic() - begun < LONG_S:
        try:
            peer.sendall(b"a")
            ended = peer.recv(4096) == b""
        except TimeoutError:
            continue
        except OSError:
            ended = True
    peer.close()
    assert ended
    assert time.monotonic() - begun < AT_ONCE_S


def test_a_handshake_that_never_ends_is_cut_off(tmp_path):
    """A peer that connects to a TLS port and says half a hello."""
    served = Served(tmp_path, request_s=SOON_S)
    try:
        assert closes(served.connect(b"\x16\x03\x01", handshake=False))
    finally:
        served.close()


def test_ordinary_clients_notice_nothing(serve):
    """Several requests on one connection, with bodies, and two in one packet."""
    served = serve(request_s=2.0)
    kind = http.client.HTTPSConnection if served.tls else http.client.HTTPConnection
    options = {"context": served.tls} if served.tls else {}
    client = kind("127.0.0.1", served.port, timeout=LONG_S, **options)
    for size in (0, 10, 300_000):
        client.request("POST", "/", b"x" * size)
        assert client.getresponse().read() == str(size).encode()
    client.close()
    peer = served.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    answers = b""
    while answers.count(b"200 OK") < 2:
        answers += peer.recv(4096)
    peer.close()
