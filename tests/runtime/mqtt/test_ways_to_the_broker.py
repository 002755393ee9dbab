"""Several addresses, websockets, a proxy, and what answers there and is no broker for us."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager

import pytest
from pydantic import ValidationError

from runtime.cli.broker_check import check_broker
from runtime.cli.check_result import Grade
from runtime.mqtt import connection_loop
from runtime.mqtt.settings import BrokerSettings
from tests.support.brokers import free_port
from tests.support.forwarding_proxy import ForwardingProxy
from tests.support.waiting import wait_until

UNIT = type("Unit", (), {"site": "st-anna", "unit": "mammo-1"})


def checked(**broker):
    """What `check` says of a broker."""
    settings = BrokerSettings(**{"tls": False, "connect_timeout_s": 2.0} | broker)
    whole = type("Settings", (), {"broker": settings, "unit": UNIT})
    return list(check_broker(whole))


@contextmanager
def answering(answer: bytes):
    """A port that says the same to everybody who says something."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.recv(4096)
                peer.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


@pytest.mark.parametrize(
    ("answer", "grade", "words"),
    [
        (b"\x20\x02\x00\x01", Grade.BAD, "MQTT 5 is needed; this broker speaks 3.1.1"),
        (b"\x20\x03\x00\x84\x00", Grade.BAD, "MQTT 5 is needed; this broker speaks 3.1.1"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Grade.BAD, "no MQTT 5"),
        (b"", Grade.WARNING, "closed before any answer"),
        (b"\x20\x03\x00\x87\x00", Grade.WARNING, "refused us: Not authorized"),
    ],
)
def test_what_is_no_broker_for_us_is_said(answer, grade, words):
    """The old protocol, another service on the port, one that expects TLS, one that refuses."""
    with answering(answer) as port:
        (verdict,) = checked(host="127.0.0.1", port=port)
    assert (verdict.grade, words in verdict.found) == (grade, True), verdict.found


def test_a_packet_limit_below_our_messages_is_said(mosquitto):
    """Rows above it are refused and parked one day: the bench should hear of it."""
    broker = mosquitto(lines=("max_packet_size 700",)).start()
    (verdict,) = checked(host="127.0.0.1", port=broker.port)
    assert verdict.grade is Grade.WARNING
    assert "packets of 700 bytes at most" in verdict.found
    assert "max_packet_size" in verdict.advice


def test_check_looks_at_every_address(mosquitto):
    """A dead second way is found before it is needed."""
    broker = mosquitto().start()
    dead = free_port()
    first, second = checked(hosts=(f"127.0.0.1:{broker.port}", f"127.0.0.1:{dead}"))
    assert first.grade is Grade.GOOD
    assert (second.grade, str(dead) in second.found) == (Grade.WARNING, True)


def test_the_second_address_is_used_and_the_first_one_again(mosquitto, unit, monkeypatch):
    """The first broker goes and comes back; every row is at one of them, and the unit returns."""
    monkeypatch.setattr(connection_loop, "FIRST_LOOK_S", 0.2)
    one, two = mosquitto("one", persistence=True).start(), mosquitto("two").start()
    speaker = unit(one.port, hosts=(f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}")).start()
    speaker.say(3)
    wait_until(speaker.all_delivered, what="the first broker has them")
    one.kill()
    speaker.say(3)
    wait_until(speaker.all_delivered, what="the second broker has them")
    assert connected_to(two) == 1
    one.start()
    wait_until(lambda: connected_to(one) == 2, what="back at the first")
    wait_until(lambda: speaker.publisher.connected, what="born there")
    speaker.say(3)
    wait_until(speaker.all_delivered, what="the first broker has the rest")


def connected_to(broker) -> int:
    """How often the unit connected there, by the broker's log."""
    log = (broker.folder / "mosquitto.log").read_text()
    return sum(
        "as mammoedge-" in line and "New client connected" in line for line in log.splitlines()
    )


def test_rows_go_over_websockets(mosquitto, unit):
    """Where only a web port is open."""
    port, plain = free_port(), free_port()
    # Mosquitto 2.0.11 does not start with a listener for websockets alone.
    mosquitto(
        port=plain,
        lines=(f"listener {plain} 127.0.0.1", f"listener {port}", "protocol websockets"),
    ).start()
    speaker = unit(port, transport="websockets").start()
    speaker.say(50)
    wait_until(speaker.all_delivered, what="delivered over websockets")
    (verdict,) = checked(host="127.0.0.1", port=port, transport="websockets")
    assert verdict.grade is Grade.GOOD
    (verdict,) = checked(host="127.0.0.1", port=port)
    assert verdict.grade is not Grade.GOOD


@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_rows_go_through_a_proxy(mosquitto, unit, kind, monkeypatch):
    """HTTP CONNECT and SOCKS 5; with a proxy that is away there is no way around it."""
    broker = mosquitto().start()
    with ForwardingProxy(kind) as proxy:
        speaker = unit(broker.port, proxy=f"{kind}://127.0.0.1:{proxy.port}").start()
        speaker.say(20)
        wait_until(speaker.all_delivered, what="delivered through the proxy")
        assert proxy.asked_for == {("127.0.0.1", broker.port)}
    (verdict,) = checked(
        host="127.0.0.1", port=broker.port, proxy=f"{kind}://127.0.0.1:{proxy.port}"
    )
    assert verdict.grade is Grade.WARNING
    # Only the settings name a proxy.
    monkeypatch.setenv("mqtt_proxy", f"{kind}://127.0.0.1:{proxy.port}")
    (verdict,) = checked(host="127.0.0.1", port=broker.port)
    assert verdict.grade is Grade.GOOD


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "wss://b.example/mqtt"}, 'host = "b.example", transport = "websockets", path'),
        ({"host": "mqtts://b.example"}, 'host = "b.example", tls = true'),
        ({"hosts": ["tcp://b.example:1883"]}, 'host = "b.example", tls = false'),
        ({"host": "b.example/mqtt"}, "without path"),
        ({"host": "a", "hosts": ["b"]}, "host or hosts"),
        ({"hosts": ["b:70000"]}, "no number from 1 to 65535"),
        ({"host": "b", "proxy": "ftp://p"}, "http://[USER@]HOST[:PORT]"),
        ({"host": "b", "proxy": "http://u:secret@p"}, "proxy_password_file"),
        ({"host": "b", "proxy": "http://p", "proxy_password_file": "f"}, "needs a USER"),
        ({"hosts": ["127.0.0.1", "b"], "tls": False, "username": "u"}, "sent in clear"),
    ],
)
def test_a_way_that_cannot_be_meant_is_refused_with_what_to_write(settings, words):
    """A URL is told apart into the keys that say it."""
    with pytest.raises(ValidationError) as refused:
        BrokerSettings(**settings)
    assert words in str(refused.value).split("[type=")[0]
    assert "secret" not in str(refused.value).split("input_value")[0]


def test_addresses_are_read_in_every_form():
    """Names, ports, and IPv6 with and without brackets."""
    settings = BrokerSettings(hosts=["a.example", "b.example:1", "::1", "[::1]:2"], port=99)
    assert [(a.host, a.port) for a in settings.addresses] == [
        ("a.example", 99), ("b.example", 1), ("::1", 99), ("::1", 2),
    ]  # fmt: skip
    assert (settings.host, settings.port) == ("a.example", 99)
    assert str(settings.addresses[3]) == "[::1]:2"


def test_resets_of_a_switch_are_not_taken_for_a_second_unit(unit, mosquitto):
    """Five connections that stood for a while and were cut: each time back within seconds."""
    from runtime.mqtt.publisher_state import BRIEF_S, PublisherState

    now = [0.0]
    state = PublisherState(lambda: now[0])
    for _ in range(5):
        now[0] += 12.0
        state.was_lost(stood_s=11.0)
    assert state.unstable
    assert not state.contended
    for _ in range(3):
        now[0] += 2.0
        state.was_lost(stood_s=BRIEF_S / 2)
    assert state.contended
