"""Storage and Verification SCP, with dcmtk's tools as the peers."""

from __future__ import annotations

import threading

import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    generate_uid,
)
from pynetdicom import AE, build_context

from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.dicom_network.transfer_syntaxes import STORAGE_CLASSES, TRANSFER_SYNTAXES
from firmware_bridge.sender.storage_scu import Outcome, StorageScu, outgoing
from runtime.image.reasons import Reason
from tests.support.synthetic import NATIVE_SYNTAXES, mammogram_dataset, write
from tests.support.waiting import joined, wait_until


def send_one(door, path):
    """Sends one file as it is; what became of it."""
    file = outgoing(path)
    with StorageScu(
        Destination(ae_title="ANY", host="127.0.0.1", port=door.port), [file]
    ) as sender:
        return sender.send(file)


def test_verification_is_answered(door, dcmtk):
    """C-ECHO gets Success."""
    assert "Received Echo Response (Success)" in dcmtk("echoscu", "-v", "127.0.0.1", door.port)


def test_an_exam_of_dcmtk_arrives_unchanged(door, dcmtk, tmp_path):
    """Four views from storescu: four files with the data sets that were sent, in order."""
    files = [
        write(mammogram_dataset(rows=512, columns=416, laterality=s, view=v), tmp_path / f"{s}{v}")
        for s, v in (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))
    ]
    output = dcmtk("storescu", "-v", "-aet", "UNIT7", "127.0.0.1", door.port, *files)
    assert output.count("Received Store Response (Success)") == 4
    assert [peer for _, _, peer in door.receiver.stored] == ["UNIT7"] * 4
    assert {source for _, source, _ in door.receiver.stored} == {"dicom"}
    for sent, (stored, _, _) in zip(files, door.receiver.stored, strict=True):
        assert pydicom.dcmread(stored) == pydicom.dcmread(sent)
    assert door.half_received == []


def test_dcmsend_is_served(door, dcmtk, view_file):
    """Dcmtk's other sender gets Success as well."""
    assert "(Success)" in dcmtk("dcmsend", "-v", "127.0.0.1", door.port, view_file)
    assert len(door.receiver.stored) == 1


@pytest.mark.parametrize(
    ("syntax", "option"),
    [
        (ExplicitVRLittleEndian, "-xe"),
        (ImplicitVRLittleEndian, "-xi"),
        (ExplicitVRBigEndian, "-xb"),
        (DeflatedExplicitVRLittleEndian, "-xd"),
        (JPEGLosslessSV1, "-xs"),
        (JPEG2000Lossless, "-xv"),
        (JPEGLSLossless, "-xt"),
    ],
)
def test_dcmtk_sends_every_syntax_it_knows(door, dcmtk, tmp_path, syntax, option):
    """The data set arrives in the syntax in which it was sent, and the file says so."""
    ds = mammogram_dataset(rows=256, columns=208)
    sent = write(ds, tmp_path / "view.dcm", transfer_syntax=syntax)
    output = dcmtk("storescu", "-v", "-R", option, "127.0.0.1", door.port, sent)
    assert "(Success)" in output, output
    stored = pydicom.dcmread(door.receiver.stored[0][0])
    assert stored.file_meta.TransferSyntaxUID == syntax
    assert stored.PixelData == pydicom.dcmread(sent).PixelData


@pytest.mark.parametrize("sop_class", STORAGE_CLASSES)
def test_every_class_and_syntax_is_accepted_as_proposed(door, tmp_path, sop_class):
    """No storage class of mammography is refused in any transfer syntax."""
    paths = []
    for number, syntax in enumerate(TRANSFER_SYNTAXES):
        ds = mammogram_dataset(rows=64, columns=64)
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
        paths.append(tmp_path / f"{number}.dcm")
        if syntax in NATIVE_SYNTAXES:
            write(ds, paths[-1], transfer_syntax=syntax)
            continue
        ds.PixelData = encapsulate([b"any codestream"])
        ds["PixelData"].VR = "OB"
        ds.file_meta.TransferSyntaxUID = syntax
        ds.save_as(paths[-1], enforce_file_format=True)
    files = [outgoing(path) for path in paths]
    with StorageScu(Destination(ae_title="ANY", host="127.0.0.1", port=door.port), files) as sender:
        assert [sender.send(file).status for file in files] == [0x0000] * len(files)
    stored = [pydicom.dcmread(path) for path, _, _ in door.receiver.stored]
    assert [ds.file_meta.TransferSyntaxUID for ds in stored] == list(TRANSFER_SYNTAXES)
    assert {ds.SOPClassUID for ds in stored} == {sop_class}


def test_of_several_syntaxes_the_uncompressed_one_is_agreed_on(door):
    """A sender that leaves us the choice sends what needs no decoder."""
    offered = ["1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.1"]
    assoc = AE().associate(
        "127.0.0.1", door.port, contexts=[build_context(STORAGE_CLASSES[0], offered)]
    )
    assert assoc.accepted_contexts[0].transfer_syntax == offered[1:]
    assoc.release()


def test_success_means_durable(door, view_file):
    """The answer comes after the receiver returned, not before."""
    door.receiver.delay_s = 0.3
    sent = send_one(door, view_file)
    assert sent.outcome is Outcome.STORED
    assert sent.answered_after_ms >= 300
    assert len(door.receiver.stored) == 1


def test_the_same_object_again_is_a_success(door, dcmtk, view_file):
    """A unit that repeats itself after a lost answer hears Success."""
    for _ in range(2):
        assert send_one(door, view_file).status == 0x0000


def test_another_modality_is_not_negotiated(door, dcmtk, tmp_path):
    """A CT image finds no presentation context, and nothing is kept."""
    ds = mammogram_dataset(rows=64, columns=64)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    path = write(ds, tmp_path / "ct.dcm")
    output = dcmtk("storescu", "-v", "-R", "127.0.0.1", door.port, path, check=False)
    assert "No Acceptable Presentation Contexts" in output
    assert door.receiver.stored == []


def test_what_is_no_mammogram_is_refused_with_a_status(door, view_file):
    """What the receiver calls no mammogram is "SOP class not supported" to the sender."""
    door.receiver.refuse = Reason.NOT_MAMMOGRAPHY
    sent = send_one(door, view_file)
    assert (sent.outcome, sent.status) == (Outcome.REFUSED, 0x0122)
    assert sent.comment == "not_mammography"
    assert door.half_received == []


def test_an_unreadable_object_cannot_be_understood(door, view_file):
    """What the receiver cannot read is answered from the C000 range."""
    door.receiver.refuse = Reason.UNREADABLE
    assert send_one(door, view_file).status == 0xC000


def test_no_room_is_out_of_resources(door, view_file):
    """Without room the answer is A700, nothing is kept, and the next image is taken again."""
    door.receiver.room = False
    assert send_one(door, view_file).status == 0xA700
    assert door.half_received == []
    door.receiver.room = True
    assert send_one(door, view_file).outcome is Outcome.STORED


def test_a_data_set_of_another_class_does_not_match(door, tmp_path, view_file):
    """A file meta that claims a mammogram around another object is A900."""
    ds = pydicom.dcmread(view_file)
    ds.SOPClassUID = CTImageStorage
    with (tmp_path / "false.dcm").open("wb") as file:
        pydicom.dcmwrite(file, ds)
    sent = send_one(door, tmp_path / "false.dcm")
    assert sent.status == 0xA900
    assert door.receiver.stored == []


def test_a_data_set_of_another_instance_does_not_match(door, tmp_path, view_file):
    """The instance that was announced must be the one that came."""
    ds = pydicom.dcmread(view_file)
    ds.SOPInstanceUID = generate_uid()
    with (tmp_path / "false.dcm").open("wb") as file:
        pydicom.dcmwrite(file, ds)
    assert send_one(door, tmp_path / "false.dcm").status == 0xA900


def test_only_known_titles_may_send(open_door, dcmtk, view_file, caplog):
    """With a list of calling titles others are rejected, and an operator hears of it.

    Who it was stands in the log: what a peer calls itself is not published.
    """
    caplog.set_level("INFO")
    door = open_door(calling_ae_titles=("UNIT1",))
    refused = dcmtk("storescu", "-v", "-aet", "WHO", "127.0.0.1", door.port, view_file, check=False)
    assert "Calling AE Title Not Recognized" in refused
    assert "(Success)" in dcmtk(
        "storescu", "-v", "-aet", "UNIT1", "127.0.0.1", door.port, view_file
    )
    assert door.receiver.reports == [("association_refused", "rejected", "dicom")]
    assert "rejected, from 'WHO'" in caplog.text


def test_only_our_own_names_are_answered(open_door, dcmtk, view_file):
    """With a list of called titles the association to another name is rejected."""
    door = open_door(called_ae_titles=("MAMMOEDGE", "TRIAGE"))
    refused = dcmtk(
        "storescu", "-v", "-aec", "PACS", "127.0.0.1", door.port, view_file, check=False
    )
    assert "Called AE Title Not Recognized" in refused
    accepted = dcmtk("storescu", "-v", "-aec", "TRIAGE", "127.0.0.1", door.port, view_file)
    assert "(Success)" in accepted


def test_ten_associations_at_once(door, dcmtk, view_file):
    """Ten senders at the same time, each with several objects: everything is stored once."""
    outputs = []

    def send(number):
        files = [view_file] * 5
        outputs.append(
            dcmtk("storescu", "-v", "-aet", f"U{number}", "127.0.0.1", door.port, *files)
        )

    threads = [threading.Thread(target=send, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        joined(thread, "storescu", 200)
    assert sum(output.count("Received Store Response (Success)") for output in outputs) == 50
    assert len(door.receiver.stored) == 50
    assert door.half_received == []


def test_the_port_is_free_after_a_stop(open_door, dcmtk, receiver):
    """A stopped intake can be started again on its port."""
    first = open_door()
    first.intake.stop()
    again = type(first.intake)(first.intake.settings.model_copy(update={"port": first.port}))
    again.start(receiver.ports)
    assert "(Success)" in dcmtk("echoscu", "-v", "127.0.0.1", first.port)
    again.stop()


def test_a_taken_port_is_an_oserror(door, receiver):
    """Two intakes on one port: the second says so at start."""
    other = type(door.intake)(door.intake.settings.model_copy(update={"port": door.port}))
    with pytest.raises(OSError, match=rf"in use: .*:{door.port} "):
        other.start(receiver.ports)


def test_a_stop_lets_the_running_object_finish(door, view_file):
    """An object that is being made durable when the service stops is still answered."""
    door.receiver.delay_s = 0.5
    results = []
    thread = threading.Thread(target=lambda: results.append(send_one(door, view_file)))
    thread.start()
    wait_until(lambda: door.half_received, "an object has begun")
    door.intake.stop()
    joined(thread, "the sender")
    assert results[0].outcome is Outcome.STORED
