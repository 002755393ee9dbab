"""From exposure to flag, with real programs on both sides."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from pydicom import dcmread

from tests.end_to_end.conftest import (
    DCMSEND,
    STORESCU,
    dcmtk_send,
    exam_messages,
    wait_for_final,
)
from tests.support.exams import BRIGHT, VIEWS, write_exam
from tests.support.units import ROOT
from tests.support.waiting import CHILD_S, wait_until


def test_four_views_at_once_from_dcmtks_storescu(story, capsys):
    """Four view messages, one final exam flag, nothing twice, `seq` without a gap."""
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    exam = write_exam(story.folder / "exam", 1)
    said = dcmtk_send(STORESCU, unit, list(exam.files.values()))
    with capsys.disabled():
        print("\n" + said.splitlines()[0])
    flag = wait_for_final(subscriber, exam.study_uid, unit)
    assert (flag["flag"], flag["completed_by"], flag["missing_views"]) == (
        "none",
        "expected_views",
        [],
    )
    views = [r.body for r in subscriber.once().values() if "/view/" in r.topic]
    assert sorted(view["view"] for view in views) == sorted(view.lower() for view in VIEWS)
    finals = [r for r in exam_messages(subscriber, exam.study_uid, unit) if r.body["final"]]
    assert len(finals) == 1
    assert len(subscriber.numbered()) == len(subscriber.once())
    assert subscriber.gaps(max(subscriber.once()), first=min(subscriber.once())) == []


def test_every_flag_says_what_produced_it(story):
    """Model, operating point, precision and devices stand in every message."""
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    exam = write_exam(story.folder / "exam", 2, light=BRIGHT)
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    flag = wait_for_final(subscriber, exam.study_uid, unit)
    assert flag["flag"] == "priority"
    assert flag["model"] == {"name": "brightness", "version": "1.0.0"}
    assert flag["operating_point"] == {"name": "balanced", "threshold": 0.15}
    assert (flag["precision"], flag["executed_precision"]) == ("fp32", "f32")
    assert (flag["requested_device"], flag["actual_device"]) == ("CPU", "CPU")


def test_dcmsend_and_the_watched_folder_give_the_same_exam(story):
    """Two views by dcmsend and two dropped into the folder are one exam."""
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    exam = write_exam(story.folder / "exam", 3)
    dcmtk_send(DCMSEND, unit, [exam.files["RCC"], exam.files["LCC"]])
    for view in ("RMLO", "LMLO"):
        shutil.copy(exam.files[view], unit.folder / "inbox" / exam.files[view].name)
    flag = wait_for_final(subscriber, exam.study_uid, unit)
    assert flag["completed_by"] == "expected_views"
    assert {view["view"] for view in flag["views"]} == {view.lower() for view in VIEWS}


@pytest.mark.parametrize(("scope", "views"), [("exam", VIEWS), ("breast", VIEWS)])
def test_multi_view_packages_run_as_well(story, scope, views):
    """A random-weight package that sees two or four views at once judges an exam end to end."""
    story.broker.start()
    unit = story.unit(package=scope).start().wait_listening()
    subscriber = story.subscriber()
    exam = write_exam(story.folder / "exam", 4)
    dcmtk_send(STORESCU, unit, [exam.files[view] for view in views])
    flag = wait_for_final(subscriber, exam.study_uid, unit)
    assert flag["flag"] in ("none", "priority")
    assert [view["outcome"] for view in flag["views"]] == ["judged"] * 4


def test_a_late_view_makes_a_new_revision(story):
    """A view that is sent after the exam was final supersedes the flag by number."""
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    exam = write_exam(story.folder / "exam", 5)
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    first = wait_for_final(subscriber, exam.study_uid, unit)
    retake = dcmread(write_exam(story.folder / "late", 5, light=BRIGHT).files["RCC"])
    retake.SOPInstanceUID = retake.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    late = story.folder / "late.dcm"
    retake.save_as(late)
    dcmtk_send(STORESCU, unit, [late])
    wait_until(
        lambda: (
            exam_messages(subscriber, exam.study_uid, unit)[-1].body["revision"] > first["revision"]
        ),
        "a later revision",
    )
    second = wait_for_final(subscriber, exam.study_uid, unit)
    assert (first["flag"], second["flag"]) == ("none", "priority")


def test_no_identity_leaves_the_unit(story):
    """Name, patient ID, birth date, accession number and UIDs are in no message and in no log."""
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    exam = write_exam(story.folder / "exam", 6)
    secrets = {"NAME": "Secretname", "ID": "PID-4711-X", "BIRTH": "19610203", "ACC": "ACC-0815"}
    uids = [exam.study_uid]
    for path in exam.files.values():
        ds = dcmread(path)
        ds.PatientName, ds.PatientID = secrets["NAME"], secrets["ID"]
        ds.PatientBirthDate, ds.AccessionNumber = secrets["BIRTH"], secrets["ACC"]
        uids.append(str(ds.SOPInstanceUID))
        ds.save_as(path)
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    wait_for_final(subscriber, exam.study_uid, unit)
    heard = b"\n".join(r.topic.encode() + b" " + r.payload for r in subscriber.seen())
    for secret in (*secrets.values(), *uids):
        assert secret.encode() not in heard, secret
        assert secret not in unit.log, secret


def test_a_clean_stop_says_offline_and_ends_with_0(story):
    """SIGTERM: the running work is finished, the site is told, the exit code is 0."""
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    wait_until(lambda: "online" in subscriber.statuses(), "online")
    assert unit.stop() == 0
    wait_until(lambda: subscriber.statuses()[-1] == "offline", "offline")


def test_judge_prints_one_json_object_for_each_file(story, packages):
    """`mammoedge judge --json`: flags for files on disk with no services; every file gets one."""
    exam = write_exam(story.folder / "exam", 7, light=BRIGHT)
    rubbish = story.folder / "rubbish.dcm"
    rubbish.write_bytes(b"no DICOM at all" * 100)
    files = [*exam.files.values(), rubbish, story.folder / "missing.dcm"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "runtime.cli.main",
            "judge",
            "--json",
            "--precision",
            "fp32",
            "--package",
            str(packages["view"]),
            *map(str, files),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=CHILD_S,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["file"] for line in lines] == [str(file) for file in files]
    assert [line["outcome"] for line in lines] == ["judged"] * 4 + ["not_assessed"] * 2
    assert {line["flag"] for line in lines[:4]} == {"priority"}
    assert [line["reasons"] for line in lines[4:]] == [["unreadable"], ["unreadable"]]
    assert all(0 <= line["score"] <= 1 for line in lines[:4])
    assert {"read", "decode", "prepare", "infer", "total"} <= set(lines[0]["ms"])
    assert all(0 < line["descriptors"]["breast_area_cm2"] < 1000 for line in lines[:4])
    assert [line["descriptors"] for line in lines[4:]] == [None, None]
    wanted = {"laterality", "view", "model", "precision", "requested_device", "actual_device"}
    assert wanted <= set(lines[0])
