"""Brokers, units and subscribers for tests of the wire."""

from __future__ import annotations

import pytest

from tests.conftest import module_or_skip, skip_or_fail
from tests.support.brokers import Mosquitto, mosquitto_missing
from tests.support.subscriber import Subscriber
from tests.support.unit_under_test import Unit


@pytest.fixture
def mosquitto(tmp_path):
    """A factory of Mosquittos; all of them are killed at the end."""
    if reason := mosquitto_missing():
        skip_or_fail(reason)
    made = []

    def make(name="broker", **options):
        made.append(Mosquitto(tmp_path / name, **options))
        return made[-1]

    yield make
    for broker in made:
        broker.kill()


@pytest.fixture(params=["mosquitto", "embedded"])
def broker(request, mosquitto):
    """A running broker: once Debian's Mosquitto, once the embedded one."""
    if request.param == "mosquitto":
        yield mosquitto().start()
        return
    module_or_skip("iotcore", "extra [demo] is not installed")
    from firmware_bridge.demo.embedded_broker import EmbeddedBroker

    with EmbeddedBroker() as embedded:
        yield embedded


@pytest.fixture
def unit(tmp_path):
    """A factory of units; all of them are stopped at the end."""
    made = []

    def make(port, **settings):
        made.append(Unit(tmp_path / f"unit{len(made)}", port, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def subscribe():
    """A factory of subscribers."""
    made = []

    def make(port, **options):
        made.append(Subscriber(port, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
