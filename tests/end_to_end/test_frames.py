"""The frame socket from end to end: a compiled C firmware, the real service, a real broker."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import JPEGLosslessSV1

from tests.conftest import ROOT, skip_or_fail
from tests.end_to_end.conftest import (
    STORESCU,
    dcmtk_send,
    exam_messages,
    mammoedge,
    wait_for_final,
)
from tests.firmware_bridge.firmware import Firmware, wait_socket
from tests.support.exams import BRIGHT, write_exam
from tests.support.synthetic import breast_pixels, mammogram_dataset, write
from tests.support.waiting import CHILD_S, wait_until

GCC = Path("/usr/bin/gcc")
CLIENT = ROOT / "firmware_bridge" / "client"
FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-g")
STUDY = "1.2.826.0.1.3680043.8.498.77"
VIEWS = ("RCC", "LCC", "RMLO", "LMLO")
FRAMES_TOML = """\
[intake.frames]
socket = "frames.sock"
connects_at_once = 50
"""


@pytest.fixture(scope="session")
def example(tmp_path_factory) -> Path:
    """The C client's example, compiled as the contract says."""
    if not GCC.exists():
        skip_or_fail("gcc (Debian packages gcc, libc6-dev) is not installed")
    program = tmp_path_factory.mktemp("client") / "example"
    built = subprocess.run(
        [GCC, *FLAGS, CLIENT / "example.c", "-o", program, "-lm"],
        capture_output=True,
        text=True,
        check=False,
        timeout=CHILD_S,
    )
    assert built.returncode == 0, built.stderr
    return program


@pytest.fixture
def playing(story):
    """A broker, a listening subscriber and a unit with a frame socket, all running."""
    story.broker.start()
    unit = story.unit(more_toml=FRAMES_TOML)
    subscriber = story.subscriber()
    unit.start().wait_listening()
    wait_socket(unit.folder / "frames.sock")
    return unit, subscriber


def events(subscriber, kind):
    return [r.body for r in subscriber.topics("event") if r.body["event"] == kind]


def run_example(example, unit, study, light):
    """The firmware's own words, line by line."""
    played = subprocess.run(
        [example, unit.folder / "frames.sock", study, str(light)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert played.returncode == 0, f"{played.stdout}\n{played.stderr}\n{unit.log[-3000:]}"
    assert not played.stderr, "a sanitizer has something to say"
    return played.stdout.splitlines()


@pytest.mark.parametrize(("light", "flag"), [(1000, "none"), (3600, "priority")])
def test_a_c_firmware_sends_an_exam_and_hears_its_flag(example, playing, light, flag):
    """Four frames are accepted; the flag that comes back is the one that the site hears."""
    unit, subscriber = playing
    lines = run_example(example, unit, STUDY, light)
    accepted = {line.split()[1] for line in lines if line.startswith("accepted")}
    assert accepted == set(VIEWS)
    views = [line.split() for line in lines if line.startswith("view")]
    judged = {(f"{v.lower()}", "judged", f"{STUDY}.{n}") for n, v in enumerate(VIEWS, start=1)}
    assert {tuple(view[1:]) for view in views} == judged
    final = wait_for_final(subscriber, STUDY, unit)
    assert final["flag"] == flag
    assert final["completed_by"] == "exam_closed"
    said = f"flag {flag} revision {final['revision']} score {final['score']:.6f}"
    assert lines[-1] == said
    assert len(events(subscriber, "exposure")) == 4
    assert events(subscriber, "detector")[0]["data"] == {"temperature_c": 31.5, "state": "ready"}
    assert unit.stop() == 0


def test_a_c_store_of_a_frame_is_its_twin(example, playing, tmp_path):
    """The unit's archive copy is listed, and changes nothing: no conflict, no new revision."""
    unit, subscriber = playing
    run_example(example, unit, STUDY, 1000)
    final = wait_for_final(subscriber, STUDY, unit)
    pixels = breast_pixels(rows=512, columns=416, laterality="R", view="CC", seed=1)
    twin = mammogram_dataset(
        laterality="R", view="CC", pixels=pixels, study_uid=STUDY, sop_uid=f"{STUDY}.1"
    )
    stranger = mammogram_dataset(
        laterality="R", view="CC", pixels=pixels, study_uid=f"{STUDY}.9", sop_uid=f"{STUDY}.2"
    )
    files = [write(twin, tmp_path / "a.dcm"), write(stranger, tmp_path / "b.dcm")]
    dcmtk_send(STORESCU, unit, files)
    # The second one has a frame's UID in another exam: that is a conflict, and comes behind.
    wait_until(lambda: events(subscriber, "image_conflict"), "the conflict")
    (conflict,) = events(subscriber, "image_conflict")
    assert conflict["image_key"] == unit.message_factory().image_key(f"{STUDY}.2")
    assert exam_messages(subscriber, STUDY, unit)[-1].body == final
    assert unit.stop() == 0


def test_a_flag_survives_a_reboot_of_firmware_and_service(playing):
    """Frames are handed over, both sides killed: the flag comes after the restart."""
    unit, subscriber = playing
    path = unit.folder / "frames.sock"
    with Firmware(path) as firmware:
        firmware.begin("frames", "outcomes", study=STUDY)
        for number, view in enumerate(VIEWS):
            pixels = breast_pixels(
                rows=512, columns=416, laterality=view[0], view=view[1:], seed=number
            )
            answer = firmware.send_frame(
                pixels,
                study=STUDY,
                sop=f"{STUDY}.{number}",
                laterality=view[0],
                view=view[1:],
            )
            assert answer["receipt"] == "stored"
    unit.kill()
    unit.start().wait_listening()
    wait_socket(path)
    with Firmware(path) as firmware:
        firmware.begin("frames", "outcomes", study=STUDY)
        again = firmware.send_frame(
            breast_pixels(rows=512, columns=416, laterality="R", view="CC", seed=0),
            study=STUDY,
            sop=f"{STUDY}.0",
        )
        assert again["receipt"] == "known"
        firmware.ask("exam_closed", study_instance_uid=STUDY)
        flag = firmware.hear_until(type="exam_flag", final=True)
    final = wait_for_final(subscriber, STUDY, unit)
    with Firmware(path) as firmware:
        firmware.hello("frames", "outcomes")
        flag = firmware.hear_until(type="exam_flag")
        assert (flag["revision"], flag["flag"]) == (final["revision"], final["flag"])
        heard = [m for m in firmware.heard if m["type"] == "view_outcome"]
        assert {m["sop_instance_uid"] for m in heard} == {f"{STUDY}.{n}" for n in range(4)}
        firmware.say("acknowledged", seq=flag["seq"])
        firmware.ask("heartbeat")
    with Firmware(path) as firmware:
        firmware.hello("frames", "outcomes")
        firmware.hear_until(type="status")
        firmware.ask("heartbeat")
        assert {m["type"] for m in firmware.heard} <= {"accepted", "status", "heartbeat"}
    assert unit.stop() == 0


def test_a_firmware_that_dies_with_frames_on_their_way_loses_none(example, playing):
    """Killed between hand-over and answer: every frame that left its hands has its outcome."""
    unit, subscriber = playing
    firmware = Firmware(unit.folder / "frames.sock").begin(study=STUDY)
    pixels = np.full((512, 416), 300)
    for number in range(4):
        firmware.say_frame(pixels, study=STUDY, sop=f"{STUDY}.{number}")
    firmware.say("exam_closed", study_instance_uid=STUDY)
    firmware.close()
    final = wait_for_final(subscriber, STUDY, unit)
    assert len(final["views"]) == 4
    assert run_example(example, unit, f"{STUDY}.5", 1000)[-1].startswith("flag")
    assert unit.stop() == 0


def test_a_rejected_frame_is_superseded_by_its_retake(playing):
    """A bright image is rejected and taken again, dark: the exam's flag rests on the retake."""
    unit, subscriber = playing
    with Firmware(unit.folder / "frames.sock") as firmware:
        firmware.begin("frames", study=STUDY)

        def shoot(number, view, light):
            pixels = breast_pixels(
                rows=512, columns=416, laterality=view[0], view=view[1:], seed=number
            )
            where = {"laterality": view[0], "view": view[1:], "sop": f"{STUDY}.{number}"}
            return firmware.send_frame((pixels * light).astype(np.uint16), study=STUDY, **where)

        assert shoot(0, "RCC", 1.0)["type"] == "accepted"
        rejected = {"sop_instance_uid": f"{STUDY}.0", "reason": "motion"}
        firmware.ask("repeat", study_instance_uid=STUDY, **rejected)
        for number, view in enumerate(VIEWS, start=1):
            assert shoot(number, view, 0.5)["type"] == "accepted"
        firmware.ask("exam_closed", study_instance_uid=STUDY)
    final = wait_for_final(subscriber, STUDY, unit)
    assert (final["flag"], final["completed_by"]) == ("none", "exam_closed")
    roles = {view["image_key"]: view["role"] for view in final["views"]}
    assert len(roles) == 5
    assert roles[unit.message_factory().image_key(f"{STUDY}.0")] == "superseded"
    assert len(events(subscriber, "repeat")) == 1
    assert unit.stop() == 0


def test_simulated_units_by_frame_socket_lose_nothing(playing):
    """Retakes, faults, special views, reboots: each exam's final flag is at site and unit."""
    unit, subscriber = playing
    done = mammoedge(
        *("simulate-unit", "--to", f"frames:{unit.folder / 'frames.sock'}", "--json"),
        *("--units", 3, "--exams", 3, "--exams-per-hour", 0, "--scale", 0.15, "--seed", 5),
        *("--retakes", 0.3, "--faults", 0.5, "--magnifications", 0.2, "--reboots", 0.2),
        *("--implants", 0.2, "--wait-flags", 120),
    )
    assert done.returncode == 0, done.stderr
    *played, total = [json.loads(line) for line in done.stdout.splitlines()]
    counted = total["total"]
    assert (counted["exams"], counted["flags"], counted["lost"]) == (9, 9, 0)
    assert min(counted["retakes"], counted["faults"], counted["reboots"]) > 0
    for exam in played:
        images = len(exam["sop_instance_uids"])
        flag = wait_for_final(subscriber, exam["study_instance_uid"], unit, images=images)
        # Whichever comes first: the worker may be done with the last view before the unit is.
        assert flag["completed_by"] in {"exam_closed", "expected_views"}
        assert len(flag["views"]) == images
        superseded = [view for view in flag["views"] if view["role"] == "superseded"]
        assert len(superseded) == exam.get("retakes", 0)
    codes = [event["data"]["code"] for event in events(subscriber, "fault")]
    assert codes.count("link_lost") == counted["faults"]
    assert codes.count("restarted") == counted["reboots"]
    assert unit.stop() == 0


def test_a_folder_of_exams_is_played_by_frame_socket(playing, tmp_path):
    """Compressed files of one's own instead of phantoms: decoded, handed over, judged."""
    unit, subscriber = playing
    write_exam(tmp_path / "exam", 3, light=BRIGHT, transfer_syntax=JPEGLosslessSV1)
    done = mammoedge(
        *("simulate-unit", "--to", f"frames:{unit.folder / 'frames.sock'}", "--json"),
        *("--from", tmp_path / "exam", "--exams", 1, "--exams-per-hour", 0),
        *("--retakes", 0, "--magnifications", 0, "--implants", 0, "--faults", 0, "--reboots", 0),
    )
    assert done.returncode == 0, done.stderr
    exam, total = [json.loads(line) for line in done.stdout.splitlines()]
    assert total["total"]["flags"] == 1
    final = wait_for_final(subscriber, exam["study_instance_uid"], unit)
    assert (final["flag"], len(final["views"])) == ("priority", 4)
    assert unit.stop() == 0


def test_a_simulated_unit_without_a_socket_says_what_is_wrong(tmp_path):
    """No socket at that path: exit code 2, one line with what to look at."""
    done = mammoedge("simulate-unit", "--to", f"frames:{tmp_path}/no.sock", "--vendor", "ge")
    assert done.returncode == 2
    assert "intake.frames" in done.stderr
