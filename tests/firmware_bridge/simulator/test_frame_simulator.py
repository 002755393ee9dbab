"""Simulated units in front of the real frame socket: what the bridge sees of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from random import Random

import numpy as np
import pytest
from pydicom import dcmread

from firmware_bridge.simulated_exams.exam_source import VIEWS, Template, phantom_templates
from firmware_bridge.simulated_exams.unit_plan import ExamPlan, Mishap, Shot
from firmware_bridge.simulated_exams.vendor_shapes import FUJIFILM, GE
from firmware_bridge.simulator.frame_of_image import NoFrameError, spoken
from firmware_bridge.simulator.frame_transport import REASON, FrameTransport
from firmware_bridge.simulator.unit_simulator import (
    ATTEMPTS,
    SimulatedUnit,
    SimulationCount,
    Surroundings,
)
from runtime.dicom.header_reader import read_image_header
from runtime.dicom.stored_image import open_image
from runtime.exam_rules.exam_flag import Completion
from runtime.pixels.mammogram import load_mammogram
from tests.support.synthetic import mammogram_dataset, write
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """Phantoms of two shapes: a sigmoid window, and MONOCHROME1."""
    folder = tmp_path_factory.mktemp("phantoms")
    return phantom_templates(folder, [GE, FUJIFILM], scale=0.12, randomness=Random(1))


@pytest.fixture
def around(open_socket, templates, tmp_path):
    """A real socket, no waiting."""
    door = open_socket()
    folder = tmp_path / "unit-files"
    folder.mkdir()
    numbers = count(1)
    return Surroundings(
        line=lambda name: FrameTransport(name, socket=door.path, closes_exams=True),
        templates=templates,
        folder=folder,
        now=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        new_uid=lambda: f"1.2.99.{next(numbers)}",
        pause=lambda _seconds: False,
    )


@pytest.fixture
def unit(around):
    """A simulated unit; switched off at the end."""
    simulated = SimulatedUnit(1, around)
    yield simulated
    simulated.finish(0)


def exam_of(*shots, template=0):
    return ExamPlan(unit=1, number=0, template=template, shots=shots)


def events_of(ledger):
    """(kind, data) of the events on their way to the site."""
    bodies = [json.loads(row.payload) for row in ledger.waiting(1000)]
    return [(body["event"], body.get("data") or {}) for body in bodies]


def test_an_exam_is_opened_sent_and_closed(receiver, ledger, around, unit):
    """Exposure and frame for each view, then `exam_closed`; nothing left on the unit."""
    shots = [Shot(number=n, view=view) for n, view in enumerate(VIEWS, start=1)]
    (played,) = unit.play([exam_of(*shots)], 0.0)
    stored = [read_image_header(path) for path, _, _ in receiver.stored]
    assert [header.view_code for header in stored] == list(VIEWS)
    assert {header.study_instance_uid for header in stored} == {played.study_instance_uid}
    assert tuple(header.sop_instance_uid for header in stored) == played.images
    assert receiver.closed == [(played.study_instance_uid, Completion.EXAM_CLOSED)]
    assert {(source, peer) for _, source, peer in receiver.stored} == {("frames", "SIM1")}
    exposures = [data for kind, data in events_of(ledger) if kind == "exposure"]
    assert [data["laterality"] + data["view"] for data in exposures] == list(VIEWS)
    assert exposures[3]["detector_temperature_c"] > exposures[0]["detector_temperature_c"]
    assert not list(around.folder.iterdir())


@pytest.mark.parametrize("template", [0, 1])
def test_a_frame_shows_what_the_image_showed(receiver, templates, unit, template):
    """Pixels, side, view, spacing and polarity survive the way over the socket."""
    list(unit.play([exam_of(Shot(number=1, view="LMLO"), template=template)], 0.0))
    original = load_mammogram(open_image(templates[template].files["LMLO"]))
    arrived = load_mammogram(open_image(receiver.stored[0][0]))
    assert np.array_equal(arrived.pixels, original.pixels)
    assert arrived.bits_stored == original.bits_stored
    assert arrived.monochrome1 == original.monochrome1 == bool(template)
    assert arrived.pixel_spacing_mm == original.pixel_spacing_mm
    assert arrived.header.view_code == "LMLO"
    assert arrived.windows[0].center == original.windows[0].center
    assert arrived.windows[0].width == original.windows[0].width


def test_a_rejected_shot_is_repeated(receiver, unit):
    """`repeat` names the first image; the retake follows, and both are stored."""
    exam = exam_of(Shot(number=1, view="RCC", rejected=True), Shot(number=2, view="RCC"))
    (played,) = unit.play([exam], 0.0)
    assert len(played.images) == 2
    assert receiver.rejected == [(played.study_instance_uid, played.images[0], REASON)]
    assert played.happened[SimulationCount.RETAKE] == 1


def test_special_views_say_so(receiver, templates, unit):
    """Implant and magnification are words of the frame, and stand in the object's header."""
    contact = read_image_header(templates[0].files["RCC"])
    list(unit.play([exam_of(Shot(number=1, view="RCC", implant=True, magnification=True))], 0.0))
    header = read_image_header(receiver.stored[0][0])
    assert header.implant
    assert header.magnified
    assert header.disqualifying_modifiers == ("399163009",)
    at_the_breast = [mm / header.magnification for mm in contact.pixel_spacing_mm]
    assert header.pixel_spacing_mm == pytest.approx(at_the_breast)


@pytest.mark.parametrize(
    ("mishap", "code"), [(Mishap.FAULT, "link_lost"), (Mishap.REBOOT, "restarted")]
)
def test_a_unit_that_breaks_off_hands_over_the_same_again(receiver, ledger, unit, mishap, code):
    """It dies before the answer: the frame was taken all the same, and comes again unchanged."""
    (played,) = unit.play([exam_of(Shot(number=1, view="RCC", mishap=mishap))], 0.0)
    wait_until(lambda: len(receiver.stored) == 2, "both images are stored")
    first, second = (path.read_bytes() for path, _, _ in receiver.stored)
    assert first == second
    assert played.happened[SimulationCount(f"{mishap}s")] == 1
    assert played.happened[SimulationCount.STORED] == 1
    assert ("fault", {"code": code, "severity": "warning"}) in events_of(ledger)


def test_a_busy_bridge_is_asked_again(receiver, around):
    """`retry_after_ms` is no refusal: the unit comes back until there is room."""
    receiver.room = False
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        receiver.room = len(pauses) > 3
        return False

    unit = SimulatedUnit(1, replace(around, pause=pause))
    (played,) = unit.play([exam_of(Shot(number=1, view="RCC"))], 0.0)
    unit.finish(0)
    assert played.happened[SimulationCount.RETRY] > 0
    assert (played.happened[SimulationCount.STORED], played.happened[SimulationCount.LOST]) == (
        1,
        0,
    )


def test_an_image_that_no_frame_can_say_is_refused(around, tmp_path):
    """Without a pixel spacing there is no frame; the unit counts it and goes on."""
    plain = mammogram_dataset(rows=64, columns=48)
    del plain.ImagerPixelSpacing
    path = write(plain, tmp_path / "plain.dcm")
    with pytest.raises(NoFrameError, match="spacing"):
        spoken(path, instance_number=1)
    unit = SimulatedUnit(1, replace(around, templates=[Template(files={"RCC": path})]))
    (played,) = unit.play([exam_of(Shot(number=1, view="RCC"))], 0.0)
    unit.finish(0)
    assert (played.happened[SimulationCount.REFUSED], played.images) == (1, ())


def test_a_socket_that_nobody_listens_on_loses_the_image_and_says_so(around, tmp_path):
    """After all attempts: counted as lost, the unit goes on."""
    nowhere = replace(
        around, line=lambda name: FrameTransport(name, socket=tmp_path / "no", closes_exams=True)
    )
    unit = SimulatedUnit(1, nowhere)
    (played,) = unit.play([exam_of(Shot(number=1, view="RCC"))], 0.0)
    assert unit.finish(0)[SimulationCount.FLAG] == 0
    assert played.happened[SimulationCount.LOST] == 1
    assert played.happened[SimulationCount.STEP_REFUSED] == 2
    assert played.happened[SimulationCount.RETRY] == 3 * ATTEMPTS


def test_two_units_at_once_keep_their_connections(receiver, around):
    """Each has a serial number of its own: neither replaces the other."""
    units = [SimulatedUnit(number, around) for number in (1, 2)]
    for number, view in enumerate(VIEWS, start=1):
        for unit in units:
            (played,) = unit.play([exam_of(Shot(number=number, view=view))], 0.0)
            assert played.happened[SimulationCount.RETRY] == 0
    for unit in units:
        unit.finish(0)
    assert [peer for _, _, peer in receiver.stored] == ["SIM1", "SIM2"] * 4
    assert dcmread(receiver.stored[0][0]).PatientName == "PHANTOM^NOT A PATIENT"
