"""A unit at the door, from its procedure step to the flag: simulated units and the doctor too."""

from __future__ import annotations

import json

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from benches.soak import AT_REST_S, GOAL_GROWTH, soak
from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.sender.mpps_scu import MppsScu, write_rejection_note
from firmware_bridge.simulated_exams.exam_source import Taken
from firmware_bridge.simulated_exams.reissue import ReissuedIdentity
from tests.end_to_end.conftest import (
    STORESCU,
    dcmtk_send,
    exam_messages,
    mammoedge,
    wait_for_final,
)
from tests.support.certificates import Authority
from tests.support.exams import BRIGHT, DARK, write_exam
from tests.support.waiting import wait_until


def identity_of(path) -> ReissuedIdentity:
    """What the images of a written exam say."""
    from datetime import datetime

    ds = dcmread(path, stop_before_pixels=True)
    return ReissuedIdentity(
        study_instance_uid=str(ds.StudyInstanceUID),
        series_instance_uid=str(ds.SeriesInstanceUID),
        patient_id="P",
        acquired_at=datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001 - DICOM has local time
    )


def taken(path) -> Taken:
    """A written image as the unit that took it knows it."""
    ds = dcmread(path, stop_before_pixels=True)
    return Taken(
        path=path, sop_class_uid=str(ds.SOPClassUID), sop_instance_uid=str(ds.SOPInstanceUID)
    )


def test_a_procedure_step_closes_a_two_view_exam_at_once(story):
    """No time-out is waited for: COMPLETED, the listed images are in, the flag is final."""
    story.broker.start()
    unit = story.unit(idle_timeout_s=600).start().wait_listening()
    subscriber = story.subscriber()
    exam = write_exam(story.folder / "exam", 11, views=("LCC", "LMLO"))
    identity = identity_of(exam.files["LCC"])
    steps = MppsScu(Destination.parse(unit.address), calling_ae_title="MAMMO1")
    step_uid = generate_uid()
    assert steps.begin(step_uid, identity) == 0x0000
    dcmtk_send(STORESCU, unit, [exam.files["LCC"]])
    # The end is said before the last image is sent: it is waited for.
    assert steps.end(step_uid, identity, [taken(path) for path in exam.files.values()]) == 0x0000
    dcmtk_send(STORESCU, unit, [exam.files["LMLO"]])
    flag = wait_for_final(subscriber, exam.study_uid, unit)
    assert (flag["completed_by"], flag["flag"]) == ("mpps", "not_assessed")
    assert flag["missing_views"] == ["rcc", "rmlo"]
    finals = [r for r in exam_messages(subscriber, exam.study_uid, unit) if r.body["final"]]
    assert len(finals) == 1


def test_a_procedure_step_survives_a_power_cut(story):
    """Begun before kill -9, ended after it: the unit's word was in the ledger."""
    story.broker.start()
    unit = story.unit(idle_timeout_s=600).start().wait_listening()
    subscriber = story.subscriber()
    exam = write_exam(story.folder / "exam", 12, views=("LCC",))
    identity = identity_of(exam.files["LCC"])
    steps = MppsScu(Destination.parse(unit.address), calling_ae_title="MAMMO1")
    step_uid = generate_uid()
    assert steps.begin(step_uid, identity) == 0x0000
    unit.kill()
    unit.start().wait_listening()
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    assert steps.begin(step_uid, identity) == 0x0111
    assert steps.end(step_uid, identity, []) == 0x0000
    assert wait_for_final(subscriber, exam.study_uid, unit)["completed_by"] == "mpps"
    assert steps.end(step_uid, identity, []) == 0x0110


def test_a_rejection_note_takes_an_image_back(story):
    """Bright and rejected, dark and retaken: `priority` becomes `none`, both are on record."""
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    exam = write_exam(story.folder / "exam", 13, light=DARK)
    first = write_exam(story.folder / "first", 13, views=("RCC",), light=BRIGHT).files["RCC"]
    ds = dcmread(first)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.13"
    ds.save_as(first)
    dcmtk_send(STORESCU, unit, [first, *exam.files.values()])
    before = wait_for_final(subscriber, exam.study_uid, unit)
    note = write_rejection_note(
        taken(first), identity_of(first), path=story.folder / "note.dcm", new_uid=generate_uid
    )
    dcmtk_send(STORESCU, unit, [note], "-R")
    wait_until(
        lambda: (
            exam_messages(subscriber, exam.study_uid, unit)[-1].body["revision"]
            > before["revision"]
        ),
        "a later revision",
    )
    after = exam_messages(subscriber, exam.study_uid, unit)[-1].body
    assert (before["flag"], after["flag"], after["final"]) == ("priority", "none", True)
    assert [view["role"] for view in after["views"]].count("superseded") == 1
    events = [r.body["event"] for r in subscriber.once().values() if r.topic == "event"]
    assert events.count("repeat") == 1


def test_simulated_units_lose_nothing(story):
    """Three units with retakes, faults and magnification views: a final flag for every exam."""
    story.broker.start()
    unit = story.unit(idle_timeout_s=600).start().wait_listening()
    subscriber = story.subscriber()
    done = mammoedge(
        *("simulate-unit", "--to", unit.address, "--units", 3, "--exams", 3, "--json"),
        *("--exams-per-hour", 0, "--scale", 0.2, "--retakes", 0.3, "--faults", 0.5),
        *("--magnifications", 0.2, "--reboots", 0, "--seed", 5),
    )
    assert done.returncode == 0, done.stderr
    *played, total = [json.loads(line) for line in done.stdout.splitlines()]
    assert total["total"]["exams"] == 9
    assert total["total"]["retakes"] > 0
    assert total["total"]["faults"] > 0
    for exam in played:
        images = len(exam["sop_instance_uids"])
        flag = wait_for_final(subscriber, exam["study_instance_uid"], unit, images=images)
        assert len(flag["views"]) == images
        superseded = [view for view in flag["views"] if view["role"] == "superseded"]
        assert len(superseded) == exam.get("retakes", 0)
    assert "no patient" in done.stderr.lower()
    assert "3 exams at each of 3 units, as fast as the receiver takes them" in done.stderr


def test_a_simulated_unit_without_a_receiver_says_what_is_wrong(tmp_path):
    """No address, no exams in the folder: exit code 2, one line."""
    for arguments in (("--to", "nonsense"), ("--to", "A@127.0.0.1:1", "--from", tmp_path)):
        done = mammoedge("simulate-unit", *arguments, "--vendor", "ge", "--scale", 0.05)
        assert done.returncode == 2
        assert done.stderr.startswith("mammoedge simulate-unit: ")


def test_the_doctor_sees_a_healthy_unit(story):
    """Echo, contexts, a phantom exam there, its judged flag back: good in every step, code 0."""
    story.broker.start()
    unit = story.unit().start().wait_listening()
    unit.wait_log("worker ready")
    done = mammoedge("doctor", "unit", "--config", unit.config, "--json", "--timeout-s", 60)
    verdicts = {v["name"]: v for v in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, done.stdout
    assert {v["grade"] for v in verdicts.values()} == {"good"}, done.stdout
    assert "96 of 96" in verdicts["contexts"]["found"]
    assert "4 of 4 views stored" in verdicts["phantom exam"]["found"]
    assert "brightness 1.0.0" in verdicts["flag"]["found"]
    assert "not_assessed" not in verdicts["flag"]["found"]


def test_the_doctor_examines_a_door_that_takes_tls_alone(story):
    """With the unit's own certificate from its settings: TLS 1.3, and the phantom goes through."""
    authority = Authority(story.folder, rsa_bits=2048)
    certificate, key = authority.issue("edge", address="127.0.0.1")
    story.broker.start()
    unit = story.unit()
    with unit.config.open("a") as config:
        config.write(
            f'[intake.dicom.tls]\ncertificate_file = "{certificate}"\n'
            f'key_file = "{key}"\nca_file = "{authority.file}"\n'
        )
    unit.start().wait_listening()
    unit.wait_log("worker ready")
    done = mammoedge("doctor", "unit", "--config", unit.config, "--json", "--timeout-s", 60)
    verdicts = {v["name"]: v for v in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, done.stdout
    assert "TLSv1.3" in verdicts["connection"]["found"]
    assert "4 of 4 views stored" in verdicts["phantom exam"]["found"]


def test_the_doctor_says_where_it_fails(story):
    """No service: the connection is bad; no broker: no flag comes back; faulty settings: code 2."""
    unit = story.unit()
    down = mammoedge("doctor", "unit", "--config", unit.config)
    assert down.returncode == 1
    assert "BAD      connection" in down.stdout
    assert "echo" not in down.stdout
    unit.start().wait_listening()
    mute = mammoedge("doctor", "unit", "--config", unit.config, "--json")
    grades = {v["name"]: v["grade"] for v in map(json.loads, mute.stdout.splitlines())}
    assert mute.returncode == 1
    assert (grades["phantom exam"], grades["broker"]) == ("good", "bad")
    (story.folder / "bad.toml").write_text("[unit]\n")
    bad = mammoedge("doctor", "unit", "--config", story.folder / "bad.toml")
    assert bad.returncode == 2
    assert f"settings       {story.folder / 'bad.toml'}: unit.site: is missing" in bad.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_exams_in_a_row_do_not_make_the_service_grow(tmp_path):
    """300 exams of ten units at once: nothing lost, none starved, memory and files steady.

    The bench does the same with 1,000 (`python -m benches.soak`).
    """
    report = soak(tmp_path, exams=300, units=10, warm_up=200, rest_s=AT_REST_S)
    assert report["images_without_outcome"] == 0
    assert (report["total"]["lost"], report["total"]["refused"]) == (0, 0)
    assert len(report["units_done_s"]) == 10
    # All play the same number of exams: one that was starved would end long after the others.
    assert min(report["units_done_s"]) > 0.5 * max(report["units_done_s"])
    for found in report["growth"].values():
        assert found["memory"] <= GOAL_GROWTH, report["growth"]
        assert found["files"] <= GOAL_GROWTH, report["growth"]
