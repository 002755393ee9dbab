"""Who asks over an association that has just ended is told soon, not when its patience is over."""

from __future__ import annotations

import time
from queue import Queue
from types import SimpleNamespace

import pytest
from pynetdicom.dimse import DIMSEServiceProvider

from firmware_bridge.dicom_network.reactor_pause import answer_or_end


class Provider(DIMSEServiceProvider):
    """pynetdicom's own, without an association behind it."""

    dimse_timeout = 60.0

    def __init__(self) -> None:
        self.msg_queue = Queue()


def association(*, alive: bool = True, state: str = "Sta6"):
    dul = SimpleNamespace(
        is_alive=lambda: alive, state_machine=SimpleNamespace(current_state=state)
    )
    return SimpleNamespace(dimse=Provider(), dul=dul)


@pytest.mark.parametrize("ended", [{"alive": False}, {"state": "Sta1"}])
def test_a_broken_connection_whose_word_was_taken_ends_the_wait(ended):
    """The association's thread took (None, None) out of the queue; nothing else will come."""
    began_s = time.monotonic()
    assert answer_or_end(association(**ended))(block=True) == (None, None)
    assert time.monotonic() - began_s < 30


def test_an_answer_is_given_as_it_comes():
    """Also the last one of a connection that has ended meanwhile."""
    assoc = association(alive=False)
    assoc.dimse.msg_queue.put((1, "answer"))
    assert answer_or_end(assoc)(block=True) == (1, "answer")
    assert answer_or_end(assoc)(block=False) == (None, None)


def test_patience_is_that_of_the_association():
    """A peer that is there and says nothing is waited for as long as was said."""
    assoc = association()
    assoc.dimse.dimse_timeout = 0.6
    began_s = time.monotonic()
    assert answer_or_end(assoc)(block=True) == (None, None)
    assert time.monotonic() - began_s >= 0.6
