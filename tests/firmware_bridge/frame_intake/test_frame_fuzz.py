"""The frame socket under fire: seeded nonsense with and without descriptors.

MAMMOEDGE_FUZZ_S says for how long (CI: 60). What was found is kept as named cases in
test_frame_intake.py: "a list for a type" ended a connection's thread, "an empty packet" looked like
a peer that had gone.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time

import cbor2
import numpy as np

from firmware_bridge.frame_intake.intake import FrameIntake
from firmware_bridge.frame_intake.settings import FrameIntakeSettings
from runtime.exams.modality_feed import ModalityFeed
from runtime.ledger.ledger import Ledger
from runtime.messages.payloads import StatusFacts
from tests.firmware_bridge.firmware import STUDY, Firmware, frame_fields, memfd
from tests.firmware_bridge.frame_intake.test_frame_intake import open_files
from tests.support.unit_under_test import MESSAGE_FACTORY, now_ms
from tests.support.waiting import wait_until

SEED = 5
PIXELS = np.full((8, 8), 7, np.uint16)
MESSAGES_A_BATCH = 60
GOOD = [
    {"type": "exam_opened", "study_instance_uid": STUDY},
    {"type": "exposure", "study_instance_uid": STUDY, "laterality": "R", "view": "CC"},
    {"type": "frame"} | frame_fields(PIXELS),
    {"type": "repeat", "study_instance_uid": STUDY, "sop_instance_uid": "1.2", "reason": "motion"},
    {"type": "fault", "code": "overheated"},
    {"type": "detector", "temperature_c": 30.5},
    {"type": "heartbeat"},
    {"type": "acknowledged", "seq": 1},
    {"type": "exam_closed", "study_instance_uid": STUDY},
]
VALUES = [None, True, -1, 0, 2**63, 0.5, float("nan"), "", "x" * 5000, "\0", [], {}, [[[[[]]]]]]


def nonsense(draw: random.Random) -> bytes:
    """A message that is nearly good, or not at all."""
    if draw.random() < 0.1:
        return draw.randbytes(draw.choice([0, 1, 10, 1000, 65_536]))
    fields = {"version": 1, "id": draw.randrange(100)} | draw.choice(GOOD)
    for _ in range(draw.randrange(3)):
        fields[draw.choice([*fields, "extra"])] = draw.choice(VALUES)
    data = bytearray(cbor2.dumps(fields))
    if draw.random() < 0.3:
        data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data[: draw.choice([len(data)] * 9 + [len(data) // 2])])


def descriptors(draw: random.Random) -> list[int]:
    """None, a good one, a bad one, or several."""
    seals = draw.choice([0, 4, 14, 15])
    sizes = draw.choice([[], [], [128], [128], [127], [0], [128, 128]])
    return [memfd(b"\1" * size, seals=seals) for size in sizes]


def talk_nonsense(path, draw: random.Random) -> None:
    """One connection's worth; it may end whenever it likes."""
    with Firmware(path) as firmware, contextlib.suppress(ConnectionError, EOFError):
        if draw.random() < 0.9:
            firmware.hello(
                *draw.choice([[], ["frames", "outcomes"]]), serial=f"S{draw.randrange(3)}"
            )
        for _ in range(MESSAGES_A_BATCH):
            passed = descriptors(draw)
            try:
                firmware.say_bytes(nonsense(draw), *passed)
            finally:
                for descriptor in passed:
                    os.close(descriptor)
        if draw.random() < 0.7:
            firmware.answer(firmware.say("heartbeat"))


def test_nonsense_does_no_harm(receiver, tmp_path):
    """Whatever is said: the next firmware is served, no file and no thread is left behind."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        receiver.feed = ModalityFeed(
            ledger=ledger,
            message_factory=MESSAGE_FACTORY,
            status_provider=StatusFacts,
            clock_ms=now_ms,
        )
        intake = FrameIntake(
            FrameIntakeSettings(
                socket=tmp_path / "f.sock", connects_at_once=10**6, connects_per_s=10**6
            )
        )
        intake.start(receiver.ports)
        draw = random.Random(SEED)
        deadline_s = time.monotonic() + float(os.environ.get("MAMMOEDGE_FUZZ_S", "3"))
        rounds, files, threads = 0, 0, 0
        while rounds < 2 or time.monotonic() < deadline_s:
            talk_nonsense(intake.settings.socket, draw)
            with Firmware(intake.settings.socket) as good:
                good.begin(serial="GOOD")
                answer = good.send_frame(PIXELS, sop=f"{STUDY}.{rounds}")
                assert answer["type"] == "accepted", f"seed {SEED}, round {rounds}: {answer}"
            wait_until(lambda: not intake._connections, "the connection is gone")
            rounds += 1
            if rounds == 2:  # pools are warm
                files, threads = open_files(), threading.active_count()
        intake.stop()
        # A worker of a pool may start late: a leak would be one for each round or message.
        assert open_files() <= files + 2
        assert threading.active_count() <= threads + 12
        assert not list(receiver.incoming.iterdir())
