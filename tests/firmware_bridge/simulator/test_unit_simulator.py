"""Simulated units: what they plan, and what a door sees of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from random import Random

import pytest

from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.sender.storage_scu import files_below
from firmware_bridge.simulated_exams.exam_source import (
    VIEWS,
    NoExamsError,
    folder_templates,
    phantom_templates,
)
from firmware_bridge.simulated_exams.unit_plan import ExamPlan, Mishap, Rates, Shot, plan_exams
from firmware_bridge.simulated_exams.vendor_shapes import GE, SIEMENS
from firmware_bridge.simulator.dicom_transport import DicomTransport
from firmware_bridge.simulator.unit_simulator import SimulatedUnit, SimulationCount, Surroundings
from runtime.dicom.header_reader import read_image_header
from runtime.exam_rules.procedure_step import StepBegun, StepEnded, StepState
from tests.support.brokers import free_port
from tests.support.waiting import wait_until

NOTHING_ODD = Rates(retake=0, magnification=0, implant=0, fault=0, reboot=0)
FOUR_VIEWS = (VIEWS, VIEWS)


def plans(rates, *, number=200, seed=1):
    return list(plan_exams(1, number, FOUR_VIEWS, rates, Random(seed)))


def test_an_ordinary_exam_has_its_four_views():
    """Nothing odd: four shots, numbered, of all views."""
    for exam in plans(NOTHING_ODD):
        assert [shot.view for shot in exam.shots] == list(VIEWS)
        assert [shot.number for shot in exam.shots] == [1, 2, 3, 4]


def test_odd_things_happen_as_often_as_asked():
    """Over many exams the shares are those of the rates."""
    rates = Rates(retake=0.1, magnification=0.05, implant=0.2, fault=0.1, reboot=0.05)
    exams = plans(rates, number=2000)
    shots = [shot for exam in exams for shot in exam.shots]
    views = len(exams) * 4
    mishaps = Counter(shot.mishap for shot in shots)
    assert sum(shot.rejected for shot in shots) / views == pytest.approx(0.1, abs=0.01)
    assert sum(shot.magnification for shot in shots) / views == pytest.approx(0.05, abs=0.01)
    assert sum(exam.shots[0].implant for exam in exams) / 2000 == pytest.approx(0.2, abs=0.03)
    assert mishaps[Mishap.FAULT] / 2000 == pytest.approx(0.1, abs=0.02)
    assert mishaps[Mishap.REBOOT] / 2000 == pytest.approx(0.05, abs=0.02)


def test_a_rejected_shot_is_followed_by_its_retake():
    """The same view again, at once, and that one is not rejected."""
    for exam in plans(Rates(retake=0.5)):
        for shot, following in zip(exam.shots, exam.shots[1:], strict=False):
            if shot.rejected:
                assert (following.view, following.rejected) == (shot.view, False)
        assert not exam.shots[-1].rejected


def test_the_same_seed_plans_the_same_exams():
    """A run can be repeated."""
    assert plans(Rates(), seed=4) == plans(Rates(), seed=4)
    assert plans(Rates(retake=0.5), seed=4) != plans(Rates(retake=0.5), seed=5)


@pytest.fixture
def around(door, tmp_path):
    """What a simulated unit is given: the door, phantoms of two shapes, no waiting."""
    folder = tmp_path / "unit-files"
    folder.mkdir()
    numbers = count(1)
    return Surroundings(
        line=dicom_line(folder, door.port),
        templates=phantom_templates(folder, [GE, SIEMENS], scale=0.1, randomness=Random(1)),
        folder=folder,
        now=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        new_uid=lambda: f"1.2.99.{next(numbers)}",
        pause=lambda _seconds: False,
    )


def dicom_line(folder, port):
    """From a unit's name to a line to that port."""
    numbers = count(1)
    return lambda name: DicomTransport(
        name,
        destination=Destination(ae_title="ANY", host="127.0.0.1", port=port),
        folder=folder,
        procedure_steps=True,
        tls=None,
        new_uid=lambda: f"1.2.98.{next(numbers)}",
    )


@pytest.fixture
def unit(around):
    """A simulated unit in front of the door."""
    return SimulatedUnit(1, around)


def exam_of(*shots):
    return ExamPlan(unit=1, number=0, template=0, shots=shots)


def test_exams_keep_the_pace_and_none_is_waited_for_after_the_last(around):
    """Exposures fill the first half of each exam's time; between exams, not after, the second."""
    waited = []
    answered = count()
    unit = SimulatedUnit(
        1,
        replace(
            around,
            pause=waited.append,
            answered=lambda: next(answered),
        ),
    )
    shots = [Shot(number=n, view=view) for n, view in enumerate(VIEWS, start=1)]
    assert len(list(unit.play([exam_of(*shots), exam_of(*shots)], 80.0))) == 2
    assert waited == [10.0] * 4 + [40.0] + [10.0] * 4
    assert next(answered) == 8


def test_an_exam_begins_is_sent_and_ends(door, unit):
    """MPPS, four images of one new study, MPPS with the images; nothing left on the unit."""
    shots = [Shot(number=n, view=view) for n, view in enumerate(VIEWS, start=1)]
    (played,) = unit.play([exam_of(*shots)], 0.0)
    stored = [read_image_header(path) for path, _, _ in door.receiver.stored]
    assert [header.view_code for header in stored] == list(VIEWS)
    assert {header.study_instance_uid for header in stored} == {played.study_instance_uid}
    assert tuple(header.sop_instance_uid for header in stored) == played.images
    begun, ended = door.receiver.steps
    assert isinstance(begun, StepBegun)
    assert begun.study_instance_uid == played.study_instance_uid
    assert ended == StepEnded(
        step_uid=begun.step_uid, state=StepState.COMPLETED, images=played.images
    )
    assert {peer for _, _, peer in door.receiver.stored} == {"SIM1"}


def test_a_rejected_shot_is_said_to_be_rejected(door, unit):
    """A rejection note for the first image, then its retake; both images are stored."""
    exam = exam_of(Shot(number=1, view="RCC", rejected=True), Shot(number=2, view="RCC"))
    (played,) = unit.play([exam], 0.0)
    assert len(played.images) == 2
    assert door.receiver.rejected == [
        (played.study_instance_uid, played.images[0], "rejected for quality reasons")
    ]
    assert played.happened[SimulationCount.RETAKE] == 1


def test_special_views_say_so(door, unit):
    """Implant and magnification stand in the headers."""
    list(unit.play([exam_of(Shot(number=1, view="RCC", implant=True, magnification=True))], 0.0))
    header = read_image_header(door.receiver.stored[0][0])
    assert header.implant
    assert header.disqualifying_modifiers == ("399163009",)


@pytest.mark.parametrize("mishap", [Mishap.FAULT, Mishap.REBOOT])
def test_a_unit_that_breaks_off_sends_again(door, unit, mishap):
    """Half an object leaves nothing; the whole one comes afterwards, once."""
    (played,) = unit.play([exam_of(Shot(number=1, view="RCC", mishap=mishap))], 0.0)
    assert len(door.receiver.stored) == 1
    assert played.happened[SimulationCount(f"{mishap}s")] == 1
    wait_until(
        lambda: any("aborted" in detail for _, detail, _ in door.receiver.reports),
        "the abort is told",
    )
    wait_until(lambda: not door.half_received, "no half object is left")


def test_a_unit_without_room_tries_again(door, around):
    """A700 is no refusal: the unit comes back until there is room."""
    door.receiver.room = False
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        door.receiver.room = len(pauses) > 3
        return False

    unit = SimulatedUnit(1, replace(around, pause=pause))
    (played,) = unit.play([exam_of(Shot(number=1, view="RCC"))], 0.0)
    assert played.happened[SimulationCount.RETRY] > 0
    assert (played.happened[SimulationCount.STORED], played.happened[SimulationCount.LOST]) == (
        1,
        0,
    )


def test_a_receiver_that_is_not_there_loses_the_image_and_says_so(around):
    """After all attempts: counted as lost, the unit goes on."""
    nowhere = dicom_line(around.folder, free_port())
    unit = SimulatedUnit(1, replace(around, line=nowhere))
    (played,) = unit.play([exam_of(Shot(number=1, view="RCC"))], 0.0)
    assert played.happened[SimulationCount.LOST] == 1
    assert played.happened[SimulationCount.STEP_REFUSED] == 2


def test_exams_of_a_folder_are_grouped_by_study(tmp_path, around):
    """Files instead of phantoms; what is no mammogram is passed over."""
    (tmp_path / "notes.txt").write_text("no DICOM")
    (template,) = folder_templates(list(files_below([around.folder, tmp_path / "notes.txt"])))
    assert set(template.files) == set(VIEWS)
    with pytest.raises(NoExamsError):
        folder_templates([tmp_path / "notes.txt"])
