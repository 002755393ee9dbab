"""`mammoedge send`, as a command and as a part of other programs."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser

import pydicom
import pytest
from pynetdicom.association import MODE_REQUESTOR, Association
from pynetdicom.dimse import DIMSEServiceProvider

from firmware_bridge.commands import SEND
from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.sender.storage_scu import (
    Outcome,
    PeerUnreachableError,
    StorageScu,
    files_below,
    outgoing,
)
from runtime.image.reasons import Reason
from tests.support.synthetic import NATIVE_SYNTAXES, mammogram_dataset, write
from tests.support.waiting import joined


def send(*arguments) -> int:
    """The command, as the command line calls it."""
    parser = ArgumentParser()
    SEND.add_arguments(parser)
    return SEND.call(parser.parse_args([str(argument) for argument in arguments]))


def address(door) -> str:
    return f"MAMMOEDGE@127.0.0.1:{door.port}"


def test_a_folder_is_sent_as_it_is(door, tmp_path, capsys):
    """Every file in its own transfer syntax, byte for byte in its data set; exit code 0."""
    folder = tmp_path / "exam" / "deep"
    folder.mkdir(parents=True)
    for number, syntax in enumerate(NATIVE_SYNTAXES):
        ds = mammogram_dataset(rows=64, columns=64, seed=number)
        write(ds, folder / f"{number}.dcm", transfer_syntax=syntax)
    assert send(tmp_path / "exam", "--to", address(door)) == 0
    stored = [pydicom.dcmread(path) for path, _, _ in door.receiver.stored]
    assert [ds.file_meta.TransferSyntaxUID for ds in stored] == list(NATIVE_SYNTAXES)
    for ds, path in zip(stored, files_below([folder]), strict=True):
        assert ds.PixelData == pydicom.dcmread(path).PixelData
    assert "4 of 4 stored" in capsys.readouterr().out


def test_no_identity_is_printed(door, tmp_path, capsys):
    """Neither name nor ID nor UIDs of the patient's data appear."""
    ds = mammogram_dataset(rows=64, columns=64)
    ds.PatientName, ds.PatientID = "Secret^Person", "ID-4711"
    send(write(ds, tmp_path / "a.dcm"), "--to", address(door))
    printed = capsys.readouterr()
    for secret in ("Secret", "4711", ds.StudyInstanceUID, ds.SOPInstanceUID):
        assert secret not in printed.out + printed.err


def test_one_json_object_for_each_file(door, tmp_path, view_file, capsys):
    """What is stored, refused or no DICOM is told apart; exit code 1."""
    other = tmp_path / "z.txt"
    other.write_text("no DICOM")
    assert send(view_file, other, tmp_path / "missing.dcm", "--to", address(door), "--json") == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {line["file"].rsplit("/", 1)[1]: line for line in lines}
    assert found["view.dcm"]["outcome"] == "stored"
    assert found["view.dcm"]["status"] == "0x0000"
    assert found["z.txt"]["outcome"] == found["missing.dcm"]["outcome"] == "failed"


def test_a_refusal_is_told_with_its_status(door, view_file, capsys):
    """Status and comment of the receiver; exit code 1."""
    door.receiver.refuse = Reason.NOT_MAMMOGRAPHY
    assert send(view_file, "--to", address(door)) == 1
    printed = capsys.readouterr().out
    assert "refused  0x0122" in printed
    assert "not_mammography" in printed


def test_a_class_that_is_not_accepted_does_not_stop_the_others(door, tmp_path, view_file, capsys):
    """A CT image among mammograms is refused, the mammogram is stored."""
    ds = mammogram_dataset(rows=64, columns=64)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    ct = write(ds, tmp_path / "ct.dcm")
    assert send(ct, view_file, "--to", address(door)) == 1
    assert len(door.receiver.stored) == 1
    assert "not accepted" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--to", "no address"),
        ("--to", "AE@host:99999"),
        ("--to", "A_TITLE_THAT_IS_TOO_LONG@host:104"),
        ("--to", "AE@127.0.0.1:1"),
        ("--to", "AE@127.0.0.1:1", "--calling", "BACK\\SLASH"),
    ],
)
def test_what_cannot_begin_ends_with_2(view_file, capsys, arguments):
    """A wrong address, a wrong title, nobody there: exit code 2 and a line on standard error."""
    assert send(view_file, *arguments) == 2
    assert capsys.readouterr().err.startswith("mammoedge send: ")


def test_nothing_to_send_ends_with_2(tmp_path, capsys):
    """An empty folder is a mistake of the caller."""
    assert send(tmp_path, "--to", "AE@127.0.0.1:104") == 2


def test_retries_wait_for_room(door, view_file):
    """Out of resources is tried again, if asked for; a refusal for good is not."""
    import threading

    door.receiver.room = False
    timer = threading.Timer(0.3, lambda: setattr(door.receiver, "room", True))
    timer.start()
    assert send(view_file, "--to", address(door), "--retries", "3") == 0
    joined(timer, "the timer")
    door.receiver.refuse = Reason.UNREADABLE
    before = door.receiver.handed_over
    assert send(view_file, "--to", address(door), "--retries", "3") == 1
    assert door.receiver.handed_over == before + 1


def test_the_moment_of_the_last_byte_is_told(door, view_file):
    """Between the start of the request and its answer."""
    file = outgoing(view_file)
    door.receiver.delay_s = 0.2
    before_ns = time.time_ns()
    with StorageScu(Destination.parse(address(door)), [file]) as sender:
        sent = sender.send(file)
    assert sent.outcome is Outcome.STORED
    assert before_ns < sent.last_byte_at_ns < time.time_ns() - 150_000_000


def test_a_rejected_association_is_told_from_an_absent_peer(open_door, view_file):
    """Two different faults for who runs the sender."""
    door = open_door(calling_ae_titles=("OTHER",))
    file = outgoing(view_file)
    with (
        pytest.raises(PeerUnreachableError, match="refused"),
        StorageScu(Destination.parse(address(door)), [file]),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "host", "port"), [("A@h:104", "h", 104), ("A B@[::1]:11112", "::1", 11112)]
)
def test_destinations(text, host, port):
    """Names and IPv6 addresses."""
    found = Destination.parse(text)
    assert (found.host, found.port) == (host, port)


def test_an_answer_reaches_who_waits_for_it_however_late_it_looks(door, view_file, monkeypatch):
    """pynetdicom's own thread must not take it: made slow here, as on a busy machine.

    That thread looks into the queue after it came through its pause, which it says late.
    """
    get_msg = DIMSEServiceProvider.get_msg

    def late(provider, block=False):  # noqa: FBT002 - as pynetdicom has it
        if block and provider.assoc.is_requestor:
            time.sleep(0.1)
        return get_msg(provider, block)

    def say_paused(assoc, paused) -> None:
        if not paused and vars(assoc).get("_mode") == MODE_REQUESTOR:
            time.sleep(0.05)
        vars(assoc)["paused"] = paused

    monkeypatch.setattr(DIMSEServiceProvider, "get_msg", late)
    paused = property(lambda assoc: vars(assoc)["paused"], say_paused)
    monkeypatch.setattr(Association, "_is_paused", paused, raising=False)
    file = outgoing(view_file)
    to = Destination.parse(address(door))
    with StorageScu(to, [file], response_timeout_s=10.0) as sender:
        assert [sender.send(file).outcome for _ in range(5)] == [Outcome.STORED] * 5
