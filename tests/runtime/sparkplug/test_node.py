"""Sparkplug B without a broker: numbers that count right, and bytes from strangers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.messages.payloads import StatusFacts
from runtime.sparkplug.node import NodeCounters, NodeFacts
from runtime.sparkplug.payload import DataType, Metric, asks_for_rebirth, payload
from runtime.sparkplug.protobuf import MalformedError, fields, number_field, varint
from tests.support.builders import exam_flag
from tests.support.unit_under_test import MESSAGE_FACTORY

FACTS = NodeFacts(status=StatusFacts(), last_seq=7, waiting=0)
EXAM = MESSAGE_FACTORY.exam_message(exam_flag(), at_ms=1_795_359_845_678).payload(7)


def seq_of(message: bytes) -> int:
    """The payload's own number."""
    return dict(fields(message))[3]


def command(name="Node Control/Rebirth", *, value=True) -> bytes:
    """An NCMD."""
    metric = Metric(name=name, datatype=DataType.BOOLEAN, value=value, at_ms=1)
    return payload([metric], at_ms=1, seq=None)


def test_numbers_run_from_each_birth_to_255_and_around():
    """The death has none; a birth begins at 0."""
    counters = NodeCounters(300)
    assert counters.bd_seq == 44
    assert 3 not in dict(fields(counters.death(1)))
    assert seq_of(counters.birth(FACTS, 1)) == 0
    assert seq_of(counters.device_birth(None, 1)) == 1
    numbers = [seq_of(counters.flag(EXAM, at_ms=1, historical=False)) for _ in range(300)]
    assert numbers == [n % 256 for n in range(2, 302)]
    assert seq_of(counters.birth(FACTS, 1)) == 0


def test_only_what_changed_is_said():
    """Report by exception: nothing, then the one metric."""
    counters = NodeCounters(0)
    counters.birth(FACTS, 1)
    assert counters.news(FACTS, 2) is None
    said = counters.news(NodeFacts(status=StatusFacts(), last_seq=8, waiting=0), 3)
    assert b"Outbox/Last Seq" in said
    assert b"Status/State" not in said
    assert counters.news(NodeFacts(status=StatusFacts(), last_seq=8, waiting=0), 4) is None


@pytest.mark.parametrize("value", [0, 1, 127, 128, 2**32, 2**64 - 1])
def test_numbers_of_every_size_come_back(value):
    """Varints of one to ten bytes."""
    assert list(fields(number_field(3, value))) == [(3, value)]
    assert len(varint(value)) <= 10


def test_a_rebirth_is_asked_for_by_name_and_true():
    """Not by another metric, and not with false."""
    assert asks_for_rebirth(command())
    assert not asks_for_rebirth(command(value=False))
    assert not asks_for_rebirth(command("Node Control/Reboot"))
    assert not asks_for_rebirth(b"")


@given(st.binary(max_size=200))
def test_bytes_from_strangers_are_a_command_or_an_error(data):
    """Never another exception, never an endless loop."""
    try:
        asks_for_rebirth(data)
    except MalformedError:
        return
