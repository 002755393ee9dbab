"""MPPS SCP: pynetdicom's client plays the unit (dcmtk has none)."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt

from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.dicom_network.reactor_pause import pause_surely
from firmware_bridge.dicom_network.transfer_syntaxes import (
    DIGITAL_MAMMOGRAPHY_FOR_PRESENTATION,
    DIGITAL_MAMMOGRAPHY_FOR_PROCESSING,
    PROCEDURE_STEP,
)
from firmware_bridge.sender.storage_scu import Outcome, StorageScu, outgoing
from runtime.exam_rules.procedure_step import StepAnswer, StepBegun, StepEnded, StepState
from runtime.exams.modality_notices import ModalityNotices
from runtime.ledger.ledger import LedgerError
from tests.support.synthetic import code
from tests.support.unit_under_test import MESSAGE_FACTORY, now_ms

STUDY, STEP = "1.2.3", "1.2.3.9"
LEFT, RIGHT = "7771000", "24028007"


def step(**changes) -> Dataset:
    """What a unit says at the start (PS3.4 table F.7.2-1)."""
    scheduled = Dataset()
    scheduled.StudyInstanceUID = STUDY
    ds = Dataset()
    ds.ScheduledStepAttributesSequence = Sequence([scheduled])
    ds.PatientName = "Nobody^Known"
    ds.PatientID = "P"
    ds.PerformedProcedureStepID = "1"
    ds.PerformedStationAETitle = "MAMMO1"
    ds.PerformedProcedureStepStartDate = "20260102"
    ds.PerformedProcedureStepStartTime = "030405"
    ds.PerformedProcedureStepStatus = "IN PROGRESS"
    ds.PerformedProtocolCodeSequence = Sequence()
    ds.PerformedSeriesSequence = Sequence()
    ds.Modality = "MG"
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def end(status="COMPLETED", **changes) -> Dataset:
    """What a unit says at the end: status, and the images that it made."""
    ds = Dataset()
    ds.PerformedProcedureStepStatus = status
    ds.PerformedProcedureStepEndDate = "20260102"
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def series(*images) -> Sequence:
    """A Performed Series Sequence that lists (class, instance) pairs."""
    item = Dataset()
    references = []
    for sop_class, sop_uid in images:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class, sop_uid
        references.append(reference)
    item.ReferencedImageSequence = Sequence(references)
    return Sequence([item])


def protocol(value="MGS", *sides) -> Sequence:
    """A protocol code; `sides` in its context."""
    item = code(value, scheme="99SITE")
    contexts = []
    for side in sides:
        context = Dataset()
        context.ConceptNameCodeSequence = Sequence([code("272741003", "Laterality")])
        context.ConceptCodeSequence = Sequence([code(side)])
        contexts.append(context)
    item.ProtocolContextSequence = Sequence(contexts)
    return Sequence([item])


@contextmanager
def unit(door, syntax=ExplicitVRLittleEndian):
    """An association of the unit's with the door."""
    entity = AE(ae_title="MAMMO1")
    entity.add_requested_context(PROCEDURE_STEP, syntax)
    assoc = entity.associate(
        "127.0.0.1", door.port, evt_handlers=[(evt.EVT_CONN_OPEN, pause_surely)]
    )
    assert assoc.is_established
    yield assoc
    assoc.release()


def create(assoc, ds, step_uid=STEP):
    return assoc.send_n_create(ds, PROCEDURE_STEP, step_uid)[0]


def set_step(assoc, ds, step_uid=STEP):
    return assoc.send_n_set(ds, PROCEDURE_STEP, step_uid)[0]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("status", ["COMPLETED", "DISCONTINUED"])
def test_a_step_begins_and_ends(door, syntax, status):
    """N-CREATE, then N-SET with the images made: both arrive, both get Success."""
    images = series(
        (DIGITAL_MAMMOGRAPHY_FOR_PRESENTATION, "1.5.1"),
        (DIGITAL_MAMMOGRAPHY_FOR_PROCESSING, "1.5.2"),
        (DIGITAL_MAMMOGRAPHY_FOR_PRESENTATION, "1.5.3"),
    )
    with unit(door, syntax) as assoc:
        assert create(assoc, step()).Status == 0x0000
        assert set_step(assoc, end(status, PerformedSeriesSequence=images)).Status == 0x0000
    assert door.receiver.steps == [
        StepBegun(step_uid=STEP, study_instance_uid=STUDY, mammography=True),
        # The raw twin is not waited for: it may go elsewhere, or nowhere.
        StepEnded(step_uid=STEP, state=StepState(status), images=("1.5.1", "1.5.3")),
    ]


def test_a_step_that_goes_on_ends_nothing(door):
    """An N-SET that only adds to a step in progress is acknowledged."""
    with unit(door) as assoc:
        assert create(assoc, step()).Status == 0x0000
        assert set_step(assoc, end("IN PROGRESS")).Status == 0x0000
        later = Dataset()
        later.PerformedProcedureStepDescription = "more to come"
        assert set_step(assoc, later).Status == 0x0000
    assert len(door.receiver.steps) == 1


@pytest.mark.parametrize(
    ("sides", "views"),
    [
        ((LEFT,), ("LCC", "LMLO")),
        ((RIGHT,), ("RCC", "RMLO")),
        ((LEFT, RIGHT), ()),
        (("51440002",), ()),
        ((), ()),
    ],
)
def test_laterality_of_the_protocol_narrows_the_views(door, sides, views):
    """One side said: its views. Both, or none said: the unit's usual ones."""
    with unit(door) as assoc:
        create(assoc, step(PerformedProtocolCodeSequence=protocol("MGS", *sides)))
    assert door.receiver.steps[0].views == views


def test_the_sites_own_codes_narrow_the_views(open_door):
    """What a code means at this site stands in its settings, wherever the unit puts the code."""
    door = open_door(procedure_views={"MG-L": ("LCC", "LMLO")})
    ds = step()
    ds.ScheduledStepAttributesSequence[0].ScheduledProtocolCodeSequence = protocol("MG-L")
    with unit(door) as assoc:
        create(assoc, ds)
    assert door.receiver.steps[0].views == ("LCC", "LMLO")


def test_words_in_a_description_narrow_nothing(door):
    """Free text is no order: a wrong guess would make `none` of a missing view."""
    with unit(door) as assoc:
        create(assoc, step(PerformedProcedureStepDescription="MAMMO LEFT ONLY"))
    assert door.receiver.steps[0].views == ()


def test_another_modality_is_said_to_be_one(door):
    """The receiver knows that a step of ultrasound is none of ours."""
    with unit(door) as assoc:
        assert create(assoc, step(Modality="US")).Status == 0x0000
    assert door.receiver.steps[0].mammography is False


@pytest.mark.parametrize(
    ("ds", "status"),
    [
        (step(PerformedProcedureStepStatus="COMPLETED"), 0x0106),
        (step(ScheduledStepAttributesSequence=Sequence()), 0x0120),
        (step(ScheduledStepAttributesSequence=Sequence([Dataset()])), 0x0120),
    ],
    ids=["begins completed", "no scheduled step", "no study"],
)
def test_a_step_that_cannot_be_used_is_refused(door, ds, status):
    """The unit hears what is wrong, and nothing of it is kept."""
    with unit(door) as assoc:
        assert create(assoc, ds).Status == status
    assert door.receiver.steps == []


def test_an_unknown_end_is_refused(door):
    """A status that is none: invalid value."""
    with unit(door) as assoc:
        assert set_step(assoc, end("FINISHED")).Status == 0x0106
    assert door.receiver.steps == []


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (StepAnswer.DUPLICATE, 0x0111),
        (StepAnswer.UNKNOWN, 0x0112),
        (StepAnswer.ENDED, 0x0110),
    ],
)
def test_the_ledgers_answer_reaches_the_unit(door, answer, status):
    """Begun twice, never begun, ended already: the codes of PS3.7 and PS3.4 F.7.2.2.2."""
    door.receiver.step_answer = answer
    with unit(door) as assoc:
        response = set_step(assoc, end())
        assert response.Status == status
        if answer is StepAnswer.ENDED:
            assert response.ErrorID == 0xA710
        assert create(assoc, step()).Status == status


@pytest.mark.parametrize(
    "fault",
    [LedgerError(Path("ledger.db"), "Doe^Jane"), OSError(errno.EIO, "I/O error", "Doe^Jane")],
    ids=["ledger", "disk"],
)
@pytest.mark.parametrize("say", [create, set_step], ids=["N-CREATE", "N-SET"])
def test_a_step_that_cannot_be_recorded_is_answered_and_said(door, view_file, caplog, say, fault):
    """A failure, a log line and an event by its kind alone; the association and others go on."""
    door.receiver.fault_of_word = fault
    ds = step() if say is create else end()
    with unit(door) as assoc:
        assert say(assoc, ds).Status == 0x0110
        what = f"a procedure step cannot be recorded: {type(fault).__name__}"
        assert ("fault", what, "dicom") in door.receiver.reports
        assert what in caplog.text
        assert "Doe" not in caplog.text
        destination = Destination(ae_title="ANY", host="127.0.0.1", port=door.port)
        file = outgoing(view_file)
        with StorageScu(destination, [file]) as sender:
            assert sender.send(file).outcome is Outcome.STORED
        door.receiver.fault_of_word = None
        assert say(assoc, ds).Status == 0x0000


def test_an_event_of_a_step_that_cannot_be_written_either_does_no_harm(door):
    """The ledger is gone altogether: the unit hears a failure each time, and is served again."""
    gone = LedgerError(Path("ledger.db"), "disk I/O error")
    door.receiver.fault_of_word = door.receiver.fault_of_report = gone
    with unit(door) as assoc:
        assert create(assoc, step()).Status == 0x0110
        assert set_step(assoc, end()).Status == 0x0110
        door.receiver.fault_of_word = door.receiver.fault_of_report = None
        assert create(assoc, step()).Status == 0x0000


def test_a_full_ledger_takes_no_step_and_the_next_one_when_there_is_room(door, ledger):
    """SQLite's own "database or disk is full": failure; with room again, success."""

    def pages(limit):
        ledger.transact(lambda tx: tx._connection.execute(f"PRAGMA max_page_count = {limit}"))

    notices = ModalityNotices(
        ledger=ledger,
        message_factory=MESSAGE_FACTORY,
        expected_views=("RCC", "LCC", "RMLO", "LMLO"),
        revisions=Mock(),
        clock_ms=now_ms,
    )
    door.receiver.begin_step = notices.begin_step
    pages(1)  # no more than there are already
    with unit(door) as assoc:
        taken = 0
        while (status := create(assoc, step(), f"{STEP}.{taken}").Status) == 0x0000:
            taken += 1
            assert taken < 1000, "the ledger does not fill"
        assert status == 0x0110
        kinds = {(event, detail) for event, detail, _ in door.receiver.reports}
        assert kinds == {("fault", "a procedure step cannot be recorded: LedgerError")}
        pages(1 << 20)
        assert create(assoc, step(), f"{STEP}.{taken}").Status == 0x0000
        assert create(assoc, step(), f"{STEP}.0").Status == 0x0111
