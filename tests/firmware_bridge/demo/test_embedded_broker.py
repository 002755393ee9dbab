"""The demo's broker: MQTT 5, this machine only, gone with its parent."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from firmware_bridge.demo.embedded_broker import EmbeddedBroker
from tests.conftest import module_or_skip
from tests.support.subscriber import Subscriber
from tests.support.waiting import LONG_S, next_line, wait_until

ROOT = "mammoedge/v1/st-anna/mammo-1"


@pytest.fixture(autouse=True, scope="module")
def _rumqttd():
    """The broker itself is a part of the extra [demo]."""
    module_or_skip("iotcore", "extra [demo] is not installed")


def is_up(host, port) -> bool:
    """Whether someone takes connections there."""
    with suppress(OSError), socket.create_connection((host, port), 0.5):
        return True
    return False


@pytest.fixture
def broker():
    """A running broker."""
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def client(broker):
    """A plain MQTT 5 client with a will."""
    made = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="unit", protocol=mqtt.MQTTv5)
    made.will_set(f"{ROOT}/status", b'{"state":"offline"}', 1, retain=True)
    made.connect("127.0.0.1", broker.port, 30, clean_start=True)
    made.loop_start()
    wait_until(made.is_connected, what="connected")
    yield made
    made.disconnect()
    made.loop_stop()


def publish(client, topic, payload, *, retain=False, expiry_s=None) -> None:
    """QoS 1, waits for the PUBACK."""
    properties = Properties(PacketTypes.PUBLISH)
    if expiry_s:
        properties.MessageExpiryInterval = expiry_s
    client.publish(f"{ROOT}/{topic}", payload, 1, retain, properties).wait_for_publish(5)


def test_it_keeps_expires_and_clears_retained_messages(broker, client):
    """What the MQTT contract needs of a broker: retained, message expiry, zero-byte clearing."""
    publish(client, "kept", b"{}", retain=True, expiry_s=100)
    publish(client, "short", b"{}", retain=True, expiry_s=1)
    publish(client, "cleared", b"{}", retain=True)
    publish(client, "cleared", b"", retain=True)
    time.sleep(1.5)
    with Subscriber(broker.port) as late:
        wait_until(lambda: late.topics("kept"), what="the retained message")
        time.sleep(0.1)
        assert [record.topic for record in late.seen()] == ["kept"]
        assert late.topics("kept")[0].properties["MessageExpiryInterval"] < 100


def test_it_publishes_the_will_of_a_client_that_vanished(broker, client):
    """A socket that closes without DISCONNECT."""
    with Subscriber(broker.port) as subscriber:
        client.socket().shutdown(socket.SHUT_RDWR)
        wait_until(lambda: subscriber.statuses() == ["offline"], what="the will")


def test_nobody_else_on_the_network_can_reach_it(broker):
    """It listens on 127.0.0.1 and on no other address of this machine."""
    assert is_up("127.0.0.1", broker.port)
    assert not is_up("127.0.0.2", broker.port)
    with suppress(OSError):
        own = socket.gethostbyname(socket.gethostname())
        assert own.startswith("127.") or not is_up(own, broker.port)


def test_two_at_once_do_not_meet():
    """Each takes a free port; stopping twice is fine."""
    with EmbeddedBroker() as one, EmbeddedBroker() as two:
        assert one.port != two.port
        port = one.port
        one.stop()
        one.stop()
        assert not is_up("127.0.0.1", port)
        assert is_up("127.0.0.1", two.port)


def test_it_ends_with_its_parent():
    """Even when the parent is killed there is no broker left behind."""
    code = (
        "import time; from firmware_bridge.demo.embedded_broker import EmbeddedBroker;"
        "print(EmbeddedBroker().start().port, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    port = int(next_line(parent.stdout, "the port"))
    assert is_up("127.0.0.1", port)
    parent.send_signal(signal.SIGKILL)
    parent.wait(LONG_S)
    wait_until(lambda: not is_up("127.0.0.1", port), what="the broker to end")
