"""Key Object Selections that reject images, from dcmtk's storescu and from the watched folder."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from firmware_bridge.dicom_network.transfer_syntaxes import KEY_OBJECT_SELECTION
from firmware_bridge.folder_intake.intake import FolderIntake, FolderIntakeSettings
from runtime.ledger.ledger import LedgerError
from tests.support.synthetic import code
from tests.support.waiting import wait_until


def note(title="113001", *, images=("1.5.1",), study="1.2.3") -> Dataset:
    """A rejection note (PS3.3 A.35.4; PS3.16 TID 2010)."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = KEY_OBJECT_SELECTION
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.7.1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, "1.7.2"
    ds.Modality = "KO"
    ds.PatientName, ds.PatientID = "Nobody^Known", "P"
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = Sequence([code(title, "a title", "DCM")])
    references = []
    for uid in images:
        reference = Dataset()
        reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2"
        reference.ReferencedSOPInstanceUID = uid
        references.append(reference)
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = "1.7.3", Sequence(references)
    evidence = Dataset()
    evidence.StudyInstanceUID, evidence.ReferencedSeriesSequence = study, Sequence([series])
    ds.CurrentRequestedProcedureEvidenceSequence = Sequence([evidence])
    return ds


@pytest.fixture
def send(door, dcmtk, tmp_path):
    """Sends a note with dcmtk's storescu; what that said."""

    def sent(ds) -> str:
        path = tmp_path / "note.dcm"
        ds.save_as(path, enforce_file_format=True)
        return dcmtk("storescu", "-v", "-R", "127.0.0.1", door.port, path, check=False)

    return sent


@pytest.mark.parametrize(
    ("title", "why"),
    [("113001", "rejected for quality reasons"), ("113037", "rejected for patient safety reasons")],
)
def test_a_rejection_note_rejects_its_images(door, send, title, why):
    """Both titles of a rejection: each image that the note refers to; the note is not kept."""
    assert "(Success)" in send(note(title, images=("1.5.1", "1.5.2")))
    assert door.receiver.rejected == [("1.2.3", "1.5.1", why), ("1.2.3", "1.5.2", why)]
    assert door.receiver.stored == []
    assert door.half_received == []


@pytest.mark.parametrize("title", ["113000", "113004", "113039"])
def test_other_key_objects_reject_nothing(door, send, title):
    """Of interest, for the referring provider, retention expired: passed over, with a warning."""
    said = send(note(title))
    assert "Received Store Response (Warning: ElementsDiscarded)" in said
    assert door.receiver.rejected == []


def test_a_title_of_another_scheme_rejects_nothing(door, send):
    """113001 means what it means in DCM alone."""
    ds = note()
    ds.ConceptNameCodeSequence[0].CodingSchemeDesignator = "99X"
    send(ds)
    assert door.receiver.rejected == []


# --- the same by the watched folder --------------------------------------------------------------


@pytest.fixture
def inbox(receiver, tmp_path):
    """A watched folder; notes are dropped into it complete."""
    folder = tmp_path / "inbox"
    intake = FolderIntake(FolderIntakeSettings(folder=folder, settle_s=0.1, rescan_s=0.2))
    intake.start(receiver.ports)
    yield folder
    intake.stop()


def drop(ds, folder, name="note.dcm"):
    """Appears in the folder in one piece, as rename(2) does it."""
    ds.save_as(folder.parent / name, enforce_file_format=True)
    (folder.parent / name).rename(folder / name)
    return folder / name


def test_a_rejection_note_in_the_folder_rejects_its_images(receiver, inbox):
    """Its word is taken, the file leaves the folder, nothing of it is kept."""
    path = drop(note(images=("1.5.1", "1.5.2")), inbox)
    wait_until(lambda: not path.exists(), "the file is taken out of the inbox")
    why = "rejected for quality reasons"
    assert receiver.rejected == [("1.2.3", "1.5.1", why), ("1.2.3", "1.5.2", why)]
    assert receiver.stored == []
    assert list(receiver.incoming.iterdir()) == []
    assert list((inbox / "refused").iterdir()) == []


def test_another_key_object_in_the_folder_is_passed_over_by_name(receiver, inbox):
    """It leaves the folder, and the text beside it says what it is."""
    drop(note("113000"), inbox)
    reason = inbox / "passed_over" / "note.dcm.reason.txt"
    wait_until(reason.exists, "the reason is written")
    assert reason.read_text() == "passed over: Key Object Selection, no rejection note\n"
    assert receiver.rejected == []
    assert list(receiver.incoming.iterdir()) == []


def test_a_note_waits_in_the_folder_for_a_ledger_that_fails(receiver, inbox):
    """Not refused, not lost: taken as soon as the ledger can be written again."""
    receiver.fault_of_word = LedgerError(inbox / "ledger.db", "database or disk is full")
    path = drop(note(), inbox)
    wait_until(lambda: receiver.words_refused > 1, "a second attempt")
    assert path.exists()
    receiver.fault_of_word = None
    wait_until(lambda: not path.exists(), "the file is taken out of the inbox")
    assert [sop for _, sop, _ in receiver.rejected] == ["1.5.1"]
