"""Who asks over an association that has just ended is told at once."""

from __future__ import annotations

import threading
from queue import Queue
from types import SimpleNamespace

from firmware_bridge.dicom_network.reactor_pause import ReactorPause
from tests.support.waiting import joined


class EndedAssociation(threading.Thread):
    """A thread of an association that took the word of the end out of the queue, and ended."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.dimse = SimpleNamespace(msg_queue=Queue())
        self.pause = ReactorPause(self)
        self.go = threading.Event()

    def run(self) -> None:
        self.pause.wait(5)
        self.go.wait(60)
        self.dimse.msg_queue.get_nowait()


def test_an_association_that_ends_before_the_question_answers_with_nothing():
    """The connection broke, the thread took (None, None) and is gone: the asker gets its own."""
    assoc = EndedAssociation()
    assoc.dimse.msg_queue.put((None, None))
    assoc.start()
    assoc.go.set()
    joined(assoc, "the association's thread")
    assoc.pause.clear()
    assert assoc.dimse.msg_queue.get(timeout=1) == (None, None)


def test_an_association_that_ends_while_one_waits_for_its_pause_answers_with_nothing():
    """It never rests again: whoever waits for that does not wait for an answer as well."""
    assoc = EndedAssociation()
    assoc.dimse.msg_queue.put((None, None))
    assoc.start()
    threading.Timer(0.3, assoc.go.set).start()
    assoc.pause.clear()
    joined(assoc, "the association's thread")
    assert assoc.dimse.msg_queue.get(timeout=1) == (None, None)
