"""The frame socket, real: what a firmware may do, what it may not, and what it hears."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import socket
import stat
from pathlib import Path

import cbor2
import numpy as np
import pytest
from pydicom import dcmread

from firmware_bridge.frame_intake.intake import FrameIntake
from runtime.exam_rules.exam_flag import Completion
from runtime.exam_rules.state_machine import Exam
from runtime.image.reasons import Reason
from runtime.ledger.ledger import LedgerError
from tests.firmware_bridge.firmware import PIXELS, STUDY, Firmware, frame_fields, memfd
from tests.support.builders import exam_flag
from tests.support.unit_under_test import MESSAGE_FACTORY, now_ms
from tests.support.waiting import wait_until


@pytest.fixture
def door(open_socket):
    return open_socket()


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


# --- frames --------------------------------------------------------------------------------------


def test_a_frame_becomes_a_dicom_object(door):
    """Pixels, view and identity of a frame are in the object that the receiver made durable."""
    with Firmware(door.path) as firmware:
        firmware.begin()
        assert firmware.send_frame(PIXELS)["receipt"] == "stored"
    ((path, source, peer),) = door.receiver.stored
    image = dcmread(path)
    assert (image.pixel_array == PIXELS).all()
    assert (source, peer) == ("frames", "SN-1")
    assert image.StudyInstanceUID == STUDY
    assert (image.ImageLaterality, image.ViewPosition) == ("R", "CC")


def test_the_same_frame_makes_the_same_bytes(door):
    """A firmware that sends a frame again after a reboot does not contradict itself."""
    for _ in range(2):
        with Firmware(door.path) as firmware:
            firmware.begin()
            firmware.send_frame(PIXELS)
    first, second = (path.read_bytes() for path, _, _ in door.receiver.stored)
    assert first == second


def test_several_frames_are_in_flight(door):
    """Four frames are handed over before the first answer; each gets one."""
    with Firmware(door.path) as firmware:
        firmware.begin()
        numbers = {firmware.say_frame(PIXELS, sop=f"{STUDY}.{n}") for n in range(4)}
        answers = [firmware.hear() for _ in numbers]
    assert {answer["id"] for answer in answers} == numbers
    assert {answer["type"] for answer in answers} == {"accepted"}


def test_too_many_frames_are_told_when_to_come_again(open_socket):
    """Above the limit a frame is refused as busy, with a time; the connection goes on."""
    door = open_socket(max_in_flight=1, retry_after_ms=70)
    door.receiver.delay_s = 0.5
    with Firmware(door.path) as firmware:
        firmware.begin()
        first = firmware.say_frame(PIXELS)
        refused = firmware.answer(firmware.say_frame(PIXELS, sop=f"{STUDY}.2"))
        assert (refused["reason"], refused["retry_after_ms"]) == ("busy", 70)
        assert firmware.answer(first)["type"] == "accepted"
        door.receiver.delay_s = 0
        assert firmware.send_frame(PIXELS, sop=f"{STUDY}.2")["type"] == "accepted"
    assert not door.receiver.reports, "back pressure is no event"


def test_a_full_disk_is_busy_too(door):
    """Out of room: refused with a time, nothing kept."""
    door.receiver.room = False
    with Firmware(door.path) as firmware:
        firmware.begin()
        refused = firmware.send_frame(PIXELS)
    assert refused["reason"] == "busy"
    assert refused["retry_after_ms"] > 0
    assert not list(door.receiver.incoming.iterdir())


def test_a_ledger_that_cannot_be_written_is_busy_and_the_door_stays_open(door):
    """Neither the frame nor the report of a refusal gets through; the connection goes on."""
    fault = LedgerError(Path("ledger.db"), "database or disk is full")
    door.receiver.fault_of_room = door.receiver.fault_of_report = fault
    with Firmware(door.path) as firmware:
        firmware.begin()
        assert firmware.send_frame(PIXELS)["reason"] == "busy"
        firmware.say_bytes(b"nonsense")
        assert firmware.hear()["reason"] == "malformed"
        door.receiver.fault_of_room = door.receiver.fault_of_report = None
        assert firmware.send_frame(PIXELS)["type"] == "accepted"
    assert door.intake.alive


def test_what_the_receiver_refuses_the_firmware_hears(door):
    """The reason is the receiver's."""
    door.receiver.refuse = Reason.UNREADABLE
    with Firmware(door.path) as firmware:
        firmware.begin()
        assert firmware.send_frame(PIXELS)["reason"] == "unreadable"


def test_exam_closed_waits_for_the_frames_before_it(door):
    """The exam is closed behind its frames, not before them."""
    door.receiver.delay_s = 0.3
    with Firmware(door.path) as firmware:
        firmware.begin()
        frame = firmware.say_frame(PIXELS)
        closed = firmware.say("exam_closed", study_instance_uid=STUDY)
        assert [firmware.hear()["id"], firmware.hear()["id"]] == [frame, closed]
    assert door.receiver.closed == [(STUDY, Completion.EXAM_CLOSED)]


def test_a_stop_lets_frames_finish(open_socket):
    """A frame that was handed over before the stop is stored and answered."""
    door = open_socket(drain_timeout_s=20)
    door.receiver.delay_s = 0.3
    with Firmware(door.path) as firmware:
        firmware.begin()
        number = firmware.say_frame(PIXELS)
        firmware.ask("heartbeat")
        door.intake.stop()
        assert firmware.answer(number)["type"] == "accepted"
    assert len(door.receiver.stored) == 1
    open_socket.forget()


# --- bad input -----------------------------------------------------------------------------------

GROW, SHRINK, WRITE = fcntl.F_SEAL_GROW, fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_WRITE


def short_memfd():
    return memfd(PIXELS.tobytes()[:-2])


def long_memfd():
    return memfd(PIXELS.tobytes() + b"\0\0")


def a_pipe():
    reader, writer = os.pipe()
    os.close(writer)
    return reader


BAD_MEMORY = {
    "unsealed": (lambda: memfd(PIXELS.tobytes(), seals=0), "unsealed"),
    "may shrink": (lambda: memfd(PIXELS.tobytes(), seals=GROW | WRITE), "unsealed"),
    "may grow": (lambda: memfd(PIXELS.tobytes(), seals=SHRINK | WRITE), "unsealed"),
    "may be written": (lambda: memfd(PIXELS.tobytes(), seals=GROW | SHRINK), "unsealed"),
    "short": (short_memfd, "size_mismatch"),
    "long": (long_memfd, "size_mismatch"),
    "empty": (lambda: memfd(b""), "size_mismatch"),
    "a pipe": (a_pipe, "unsealed"),
    "a file": (lambda: os.open("/proc/self/exe", os.O_RDONLY), "unsealed"),
    "a folder": (lambda: os.open("/", os.O_RDONLY), "unsealed"),
    "a path only": (lambda: os.open("/", os.O_PATH), "unsealed"),
}


@pytest.mark.parametrize("name", BAD_MEMORY)
def test_bad_memory_is_refused(door, name):
    """What is not a sealed memfd of the right size is refused; the next frame is taken."""
    make, reason = BAD_MEMORY[name]
    descriptor = make()
    with Firmware(door.path) as firmware:
        firmware.begin()
        refused = firmware.ask("frame", descriptor, **frame_fields(PIXELS))
        assert (refused["type"], refused["reason"]) == ("refused", reason)
        assert firmware.send_frame(PIXELS)["type"] == "accepted"
    os.close(descriptor)
    assert [report[0] for report in door.receiver.reports] == ["frame_refused"]


def bomb(depth=60_000):
    return b"\x81" * depth + b"\x00"


BAD_PACKETS = {
    "64 KiB of garbage": (np.random.default_rng(1).bytes(1 << 16), "malformed"),
    "more than 64 KiB": (b"\xa1" + b"a" * (1 << 16), "too_large"),
    "an empty packet": (b"", "malformed"),
    "nested 60,000 deep": (bomb(), "malformed"),
    "an array of 2**60": (b"\xa1\x61a\x9b\x10" + b"\0" * 7, "malformed"),
    "a map of 2**60": (b"\xbb\x10" + b"\0" * 7, "malformed"),
    "text of 2**60": (b"\xa1\x7b\x10" + b"\0" * 7, "malformed"),
    "a hundred thousand items": (b"\xa1\x61a\x99\xff\xff" + b"\0" * 65_000, "malformed"),
    "indefinite": (b"\xbf\xff", "malformed"),
    "a tag": (b"\xa1\x61a\xc1\x00", "malformed"),
    "two messages in one": (cbor2.dumps({}) * 2, "malformed"),
    "a key twice": (b"\xa2\x61a\x00\x61a\x00", "malformed"),
    "no map": (b"\x80", "malformed"),
    "wrong version": (cbor2.dumps({"type": "hello", "version": 2, "id": 7}), "version"),
    "no version": (cbor2.dumps({"type": "hello", "id": 7}), "version"),
    "unknown type": (cbor2.dumps({"type": "goodbye", "version": 1, "id": 7}), "unknown_type"),
    "a list for a type": (cbor2.dumps({"type": [], "version": 1, "id": 7}), "unknown_type"),
    "no id": (cbor2.dumps({"type": "heartbeat", "version": 1}), "invalid"),
}


@pytest.mark.parametrize("name", BAD_PACKETS)
def test_a_bad_packet_is_refused(door, name):
    """Refused with a reason, published; the connection survives."""
    data, reason = BAD_PACKETS[name]
    with Firmware(door.path) as firmware:
        firmware.begin()
        firmware.say_bytes(data)
        refused = firmware.hear()
        assert (refused["type"], refused["reason"]) == ("refused", reason)
        assert firmware.send_frame(PIXELS)["type"] == "accepted"
    ((event, detail, source),) = door.receiver.reports
    assert (event, source) == ("frame_refused", "frames")
    assert detail.startswith(reason)


def test_frames_before_hello_are_refused(door):
    """Hello comes first; the firmware may still say it."""
    with Firmware(door.path) as firmware:
        assert firmware.send_frame(PIXELS)["reason"] == "out_of_order"
        assert firmware.hello()["type"] == "accepted"
        assert firmware.send_frame(PIXELS)["reason"] == "out_of_order", "the exam is not open"


def test_a_second_hello_is_out_of_order(door):
    """Who the firmware is does not change within a connection."""
    with Firmware(door.path) as firmware:
        firmware.begin()
        assert firmware.hello()["reason"] == "out_of_order"


@pytest.mark.parametrize("count", [0, 2, 4, 9])
def test_a_frame_needs_one_descriptor(door, count):
    """None, or several: refused, and none of them stays open with us."""
    before = open_files()
    with Firmware(door.path) as firmware:
        firmware.begin()
        descriptors = [memfd(PIXELS.tobytes()) for _ in range(count)]
        refused = firmware.ask("frame", *descriptors, **frame_fields(PIXELS)) if count < 9 else None
        if refused is None:
            firmware.say("frame", *descriptors, **frame_fields(PIXELS))
            refused = firmware.hear()
        assert refused["reason"] == ("descriptors" if count < 5 else "too_large")
        for descriptor in descriptors:
            os.close(descriptor)
    wait_until(lambda: open_files() <= before, "as many open files as before")


def test_descriptors_with_other_messages_are_refused_and_closed(door):
    """A heartbeat with a descriptor a hundred times: we keep none."""
    descriptor = memfd(b"x")
    with Firmware(door.path) as firmware:
        firmware.begin()
        firmware.ask("heartbeat")
        before = open_files()
        for _ in range(100):
            assert firmware.ask("heartbeat", descriptor)["reason"] == "descriptors"
        wait_until(lambda: open_files() <= before, "as many open files as before")
    os.close(descriptor)


BAD_FRAMES = {
    "rows": 0,
    "columns": 65536,
    "bits_stored": 17,
    "laterality": "B",
    "view": "XX",
    "sop_instance_uid": "../../etc/passwd",
    "study_instance_uid": 5,
    "acquired_at": "20261399000000",
    "pixel_spacing_mm": [0.1],
    "window": None,
    "intent": "for_processing",
    "patient_name": "Doe^Jane",
    "technique": {"kvp": float("nan")},
}


@pytest.mark.parametrize("field", BAD_FRAMES)
def test_a_field_that_does_not_hold_is_named(door, field):
    """The refusal names the field; neither it nor the event repeats what was given."""
    with Firmware(door.path) as firmware:
        firmware.begin()
        descriptor = memfd(PIXELS.tobytes())
        refused = firmware.ask(
            "frame", descriptor, **(frame_fields(PIXELS) | {field: BAD_FRAMES[field]})
        )
        os.close(descriptor)
    assert refused["reason"] == "invalid"
    # A key that is not ours is the peer's own word; window and intent do not fit each other.
    others = {"patient_name": "extra_forbidden", "window": "value_error", "intent": "value_error"}
    assert others.get(field, field) in refused["detail"]
    assert "Jane" not in str(door.receiver.reports) + str(refused)


def test_a_peer_of_another_user_is_refused(open_socket):
    """Who is not in the list hears why, is cut off, and is published."""
    door = open_socket(users=["4711"])
    with Firmware(door.path) as firmware:
        refused = firmware.hear()
        assert refused["reason"] == "not_allowed"
        firmware.wait_closed()
    assert door.receiver.reports[0][0] == "frame_refused"


def test_users_may_be_named(open_socket):
    """A name of the password file stands for its number; an unknown one fails the start."""
    name = pwd.getpwuid(os.geteuid()).pw_name
    with Firmware(open_socket(users=[name]).path) as firmware:
        assert firmware.hello()["type"] == "accepted"
    with pytest.raises(OSError, match="no such user"):
        open_socket(users=["nobody-of-that-name"])


def test_the_socket_is_for_user_and_group(door):
    """Mode 0660."""
    assert stat.S_IMODE(door.path.stat().st_mode) == 0o660


def test_a_peer_that_stops_reading_is_cut_off(open_socket):
    """It costs itself its connection; another one is served meanwhile."""
    door = open_socket(send_timeout_s=0.3, max_connections=3)
    with Firmware(door.path) as deaf, Firmware(door.path) as other:
        deaf.hello()
        other.begin(serial="OTHER")
        with pytest.raises((TimeoutError, ConnectionError)):
            deaf.say_for_ever("heartbeat")
        assert other.send_frame(PIXELS)["type"] == "accepted"
        deaf.wait_closed()


def test_a_peer_that_connects_too_often_is_refused(open_socket):
    """After a few at once it hears when to come again; who is connected does not notice."""
    door = open_socket(connects_at_once=3, connects_per_s=0.001)
    with Firmware(door.path) as steady:
        steady.begin()
        reasons = []
        for _ in range(10):
            with Firmware(door.path) as flapping:
                with contextlib.suppress(BrokenPipeError):  # refused already
                    flapping.say("heartbeat")
                reasons.append(flapping.hear()["reason"])
        assert reasons == ["out_of_order"] * 2 + ["too_many_connections"] * 8
        assert steady.send_frame(PIXELS)["type"] == "accepted"


def test_a_peer_that_dies_in_the_middle_loses_nothing_it_handed_over(door):
    """The memory is ours from the message on: the frame is stored, its unit comes again."""
    door.receiver.delay_s = 0.2
    with Firmware(door.path) as firmware:
        firmware.begin()
        firmware.say_frame(PIXELS)
        firmware.say_bytes(b"\xa9\x64type")
    wait_until(lambda: len(door.receiver.stored) == 1, "the image is stored")


def test_silence_ends_a_connection(open_socket):
    """We say heartbeats; a firmware that says nothing for three of them is sent away."""
    door = open_socket(heartbeat_s=0.05)
    with Firmware(door.path) as firmware:
        firmware.hello()
        assert firmware.hear()["reason"] == "silent"
        firmware.wait_closed()
        assert [m for m in firmware.heard if m["type"] == "heartbeat"], "we never said anything"


def test_a_heartbeat_is_answered(door):
    """Both ways."""
    with Firmware(door.path) as firmware:
        firmware.hello()
        assert firmware.ask("heartbeat")["type"] == "heartbeat"


def test_a_second_service_does_not_take_the_socket(door, receiver):
    """A socket that answers stays with its owner; a dead one is taken over."""
    with pytest.raises(OSError, match="in use"):
        FrameIntake(door.intake.settings).start(receiver.ports)


def test_a_dead_socket_is_taken_over(open_socket, tmp_path):
    """After a kill the file is still there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(tmp_path / "frames.sock"))
    with Firmware(open_socket().path) as firmware:
        assert firmware.hello()["type"] == "accepted"


# --- events and outcomes -------------------------------------------------------------------------


def test_unit_events_go_to_the_ledger(door):
    """Exposure, fault and detector are accepted once they are rows of the outbox."""
    exam = {"study_instance_uid": STUDY}
    with Firmware(door.path) as firmware:
        firmware.begin()
        technique = {"kvp": 28.0, "mas": 63.0, "target": "TUNGSTEN", "thickness_mm": 51.0}
        said = [
            firmware.ask("exposure", **exam, laterality="R", view="CC", technique=technique),
            firmware.ask("fault", code="generator_overheated"),
            firmware.ask("detector", temperature_c=31.5),
        ]
    assert {answer["type"] for answer in said} == {"accepted"}
    rows = [row for row in door.ledger.waiting(100) if row.kind == "event"]
    events = [json.loads(row.payload) for row in rows]
    assert [event["event"] for event in events] == ["exposure", "fault", "detector"]
    assert events[0]["data"]["kvp"] == 28.0
    assert events[0]["exam_key"] == MESSAGE_FACTORY.exam_key(STUDY)
    assert events[2]["data"] == {"temperature_c": 31.5}


def test_a_repeat_rejects_the_image(door):
    """With the reason; the receiver says the event, and lets the retake supersede the image."""
    with Firmware(door.path) as firmware:
        firmware.begin()
        said = {"study_instance_uid": STUDY, "sop_instance_uid": f"{STUDY}.1", "reason": "motion"}
        assert firmware.ask("repeat", **said)["type"] == "accepted"
    assert door.receiver.rejected == [(STUDY, f"{STUDY}.1", "motion")]


def say_flag(ledger, study=STUDY, revision=1):
    """What the exam service does: a flag as a row of the outbox, and its exam."""
    flag = exam_flag(revision=revision, study_instance_uid=study)

    def work(tx):
        tx.save_exam(Exam(study_instance_uid=study, revision=revision), flag)
        return tx.enqueue(MESSAGE_FACTORY.exam_message(flag, at_ms=now_ms()), now_ms())

    return ledger.transact(work)


def test_flags_go_back_with_the_units_own_identity(door):
    """Same fields as on MQTT, and the Study Instance UID that the firmware knows."""
    with Firmware(door.path) as firmware:
        firmware.begin("frames", "outcomes")
        seq = say_flag(door.ledger)
        flag = firmware.hear_until(type="exam_flag")
        assert (flag["seq"], flag["id"]) == (seq, seq)
        assert flag["study_instance_uid"] == STUDY
        assert flag["schema"] == "mammoedge.exam/1"
        assert [m["state"] for m in firmware.heard if m["type"] == "status"] == ["online"]


def test_flags_are_kept_while_the_firmware_reboots(door):
    """What it did not acknowledge it hears again, and what was said meanwhile; then no more."""
    studies = [f"{STUDY}.{n}" for n in range(3)]
    with Firmware(door.path) as firmware:
        firmware.hello("outcomes")
        first = say_flag(door.ledger, studies[0])
        second = say_flag(door.ledger, studies[1])
        firmware.hear_until(seq=first)
        firmware.hear_until(seq=second)
        firmware.say("acknowledged", seq=first)
        firmware.ask("heartbeat")
    third = say_flag(door.ledger, studies[2])
    with Firmware(door.path) as firmware:
        firmware.hello("outcomes")
        assert firmware.hear_until(type="exam_flag")["seq"] == second
        assert firmware.hear_until(type="exam_flag")["seq"] == third
        firmware.say("acknowledged", seq=third)
        firmware.ask("heartbeat")
    with Firmware(door.path) as firmware:
        firmware.hello("outcomes")
        firmware.hear_until(type="status")
        firmware.ask("heartbeat")
        assert not [m for m in firmware.heard if m["type"] == "exam_flag"]


def test_only_the_current_revision_is_kept(door):
    """A flag that was superseded during the reboot is not said any more."""
    with Firmware(door.path) as firmware:
        firmware.hello("outcomes")
    say_flag(door.ledger, revision=1)
    say_flag(door.ledger, revision=2)
    with Firmware(door.path) as firmware:
        firmware.hello("outcomes")
        assert firmware.hear_until(type="exam_flag")["revision"] == 2


def test_more_flags_than_the_window_wait_for_acknowledgement(door):
    """At most 32 are on their way; the acknowledgement lets the next ones go."""
    with Firmware(door.path) as firmware:
        firmware.hello("outcomes")
        seqs = [say_flag(door.ledger, f"{STUDY}.{n}") for n in range(40)]
        flags = [firmware.hear_until(type="exam_flag")["seq"] for _ in range(32)]
        firmware.ask("heartbeat")
        assert [m for m in firmware.heard if m["type"] == "exam_flag"][-1]["seq"] == flags[-1]
        firmware.say("acknowledged", seq=flags[-1])
        flags += [firmware.hear_until(type="exam_flag")["seq"] for _ in range(8)]
    assert flags == seqs


def test_what_was_never_said_cannot_be_acknowledged(door):
    """An acknowledgement from the future is refused: it would lose flags."""
    with Firmware(door.path) as firmware:
        firmware.hello("outcomes")
        firmware.say("acknowledged", seq=10**9)
        assert firmware.hear_until(type="refused")["reason"] == "out_of_order"
        say_flag(door.ledger)
        firmware.hear_until(type="exam_flag")


def test_a_newer_connection_of_the_unit_takes_over(door):
    """A firmware that rebooted says hello again; its old connection ends and says why."""
    with Firmware(door.path) as old, Firmware(door.path) as new:
        old.hello("outcomes")
        new.hello("outcomes")
        assert old.hear_until(type="refused")["reason"] == "replaced"
        old.wait_closed()
        say_flag(door.ledger)
        new.hear_until(type="exam_flag")


def test_whoever_does_not_listen_hears_no_flags(door):
    """Without the capability there is nothing to acknowledge."""
    with Firmware(door.path) as firmware:
        firmware.begin("frames")
        say_flag(door.ledger)
        firmware.ask("heartbeat")
        assert {m["type"] for m in firmware.heard} <= {"accepted", "heartbeat"}
