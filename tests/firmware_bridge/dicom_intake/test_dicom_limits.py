"""Peers that are broken, slow or hostile: the door holds, and nothing of theirs stays."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import time

import pytest
from pydantic import ValidationError
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from firmware_bridge.dicom_intake.incoming_object import IncomingObject
from firmware_bridge.dicom_intake.settings import DicomIntakeSettings
from firmware_bridge.dicom_network.association_limits import AssociationLimits, LimitExceededError
from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.dicom_network.upper_layer import fragments
from firmware_bridge.sender.storage_scu import Outcome, StorageScu, outgoing
from tests.firmware_bridge.fakes import RawPeer
from tests.support.waiting import LONG_S, wait_until

LIMITS = AssociationLimits(
    max_pdu_bytes=1024, max_object_bytes=100, object_timeout_s=10, pdu_timeout_s=1
)

AT_ONCE_S = 8.0
"""Far below what a peer may take to ask, in these tests: LONG_S."""
FAR_BELOW_60_S = 30.0
"""Below what would be waited for without the settings of the test."""


def endless(_size_bytes):
    """There is always room."""


def half_an_object(door):
    """A peer that has announced an object and sent some of it."""
    peer = RawPeer(door.port)
    peer.send(peer.command() + peer.pdu(0b00, bytes(10_000)))
    wait_until(lambda: door.half_received, "an object has begun")
    return peer


def test_a_connection_lost_in_the_middle_leaves_nothing(door):
    """The file of half an object is removed at once; an operator hears of it."""
    half_an_object(door).hang_up()
    wait_until(lambda: not door.half_received, "no half object is left")
    assert door.receiver.stored == []
    wait_until(lambda: len(door.receiver.reports) == 1, "the lost connection is told")
    assert door.receiver.reports[0][0] == "association_refused"


def test_an_abort_in_the_middle_leaves_nothing(door):
    """A-ABORT between two fragments: the file is removed."""
    peer = half_an_object(door)
    peer.assoc.abort()
    wait_until(lambda: not door.half_received, "no half object is left")
    assert door.receiver.stored == []


def test_a_connection_lost_inside_a_pdu_leaves_nothing(door):
    """A PDU that is cut off is no part of any object."""
    peer = half_an_object(door)
    peer.send(peer.pdu(0b10, bytes(5000))[:3000])
    peer.hang_up()
    wait_until(lambda: not door.half_received, "no half object is left")
    assert door.receiver.stored == []


def test_an_object_above_the_limit_is_aborted(open_door):
    """The transfer ends when the limit is passed, not when the disk is full."""
    door = open_door(max_object_mib=1)
    peer = RawPeer(door.port)
    peer.send(peer.command() + peer.pdu(0b00, bytes(100_000)) * 11)
    peer.wait_until_aborted()
    wait_until(lambda: not door.half_received, "no half object is left")
    assert any("too large" in detail for _, detail, _ in door.receiver.reports)


def test_a_file_above_the_limit_fails_and_the_next_is_taken(open_door, tmp_path, view_file):
    """A sender hears of it by an abort; others are not affected."""
    from tests.support.synthetic import mammogram_dataset, write

    door = open_door(max_object_mib=1)
    large = write(mammogram_dataset(rows=1024, columns=832), tmp_path / "large.dcm")
    for path, outcome in ((large, Outcome.FAILED), (view_file, Outcome.STORED)):
        file = outgoing(path)
        with StorageScu(
            Destination(ae_title="ANY", host="127.0.0.1", port=door.port), [file]
        ) as sender:
            assert sender.send(file).outcome is outcome


@pytest.mark.parametrize("length", [0xFFFFFFFF, 300 * 1024])
def test_a_pdu_above_what_was_agreed_is_aborted(door, length):
    """A length of 4 GiB is not waited for, and takes no memory."""
    peer = half_an_object(door)
    peer.send(struct.pack(">BBL", 4, 0, length))
    peer.wait_until_aborted()
    wait_until(lambda: not door.half_received, "no half object is left")


def test_an_endless_negotiation_is_not_read(door):
    """An A-ASSOCIATE-RQ that claims 4 GiB is cut off."""
    with socket.create_connection(("127.0.0.1", door.port), timeout=LONG_S) as connection:
        connection.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFFF) + bytes(1000))
        answer = connection.recv(100)
    assert answer[:1] in (b"\x07", b"")  # A-ABORT, or closed


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\nHost: unit\r\n\r\n", b"\x16\x03\x01\x02\x00", b"\x00" * 64]
)
def test_what_is_not_dicom_is_cut_off(door, junk):
    """Browsers, TLS and zeros get no association."""
    with socket.create_connection(("127.0.0.1", door.port), timeout=LONG_S) as connection:
        connection.sendall(junk)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1024):
            pass


def test_a_peer_that_stalls_inside_a_pdu_is_cut_off(open_door):
    """The time limit of a PDU holds while it is being read."""
    door = open_door(network_timeout_s=0.5)
    peer = half_an_object(door)
    peer.send(peer.pdu(0b10, bytes(5000))[:3000])
    wait_until(lambda: not door.half_received, "no half object is left", FAR_BELOW_60_S)


def test_a_peer_that_stalls_between_pdus_is_cut_off(open_door):
    """The time limit holds between the PDUs of an object as well."""
    door = open_door(network_timeout_s=0.5)
    half_an_object(door)
    wait_until(lambda: not door.half_received, "no half object is left", FAR_BELOW_60_S)


def test_a_peer_that_trickles_is_cut_off(open_door):
    """An object that never stalls but takes too long is given up."""
    door = open_door(object_timeout_s=0.5)
    peer = half_an_object(door)

    def gone():
        with contextlib.suppress(OSError):
            peer.send(peer.pdu(0b00, b"x" * 10))
        return not door.half_received

    wait_until(gone, "the object is given up")
    assert any("too slow" in detail for _, detail, _ in door.receiver.reports)


def test_silent_connections_do_not_lock_the_unit_out(open_door, dcmtk):
    """Connections that ask for nothing are closed after their time, and the unit gets in."""
    door = open_door(max_associations=2, acse_timeout_s=0.5)
    silent = [socket.create_connection(("127.0.0.1", door.port), LONG_S) for _ in range(12)]
    wait_until(
        lambda: "(Success)" in dcmtk("echoscu", "-v", "127.0.0.1", door.port, check=False),
        "the unit gets in",
        FAR_BELOW_60_S,
    )
    for connection in silent:
        connection.close()


HALF_A_REQUEST = b"\x01\x00\x00\x00\x00\xff\x00\x01"


@pytest.mark.parametrize(
    "first", [b"", HALF_A_REQUEST, b"\x0bMSH|^~\\&|A|B\r\x1c\r"], ids=["silent", "half", "hl7"]
)
@pytest.mark.parametrize("count", [22, 100])
def test_connections_that_ask_for_nothing_keep_nobody_out(open_door, dcmtk, first, count):
    """However many, and from the same address: the next sender is served at once."""
    door = open_door(max_associations=10)
    with contextlib.ExitStack() as held:
        for _ in range(count):
            peer = held.enter_context(socket.create_connection(("127.0.0.1", door.port), LONG_S))
            peer.sendall(first)
        begun = time.monotonic()
        assert "(Success)" in dcmtk("echoscu", "-v", "127.0.0.1", door.port)
        assert time.monotonic() - begun < AT_ONCE_S
        open_now = len(door.intake._server.active_associations)
        assert open_now <= 10 + 2 + 1, "threads are bounded, one address's more tightly"


def test_a_request_that_trickles_has_one_deadline(open_door):
    """One byte after the other: cut off when the time to ask is over, not a minute later."""
    door = open_door(acse_timeout_s=1.0)
    with socket.create_connection(("127.0.0.1", door.port), LONG_S) as peer:
        peer.settimeout(0.2)
        begun, closed = time.monotonic(), False
        for byte in struct.pack(">BBL", 1, 0, 500) + bytes(500):
            try:
                peer.sendall(bytes([byte]))
                closed = peer.recv(100)[:1] in (b"", b"\x07")
            except TimeoutError:
                continue
            except OSError:
                closed = True
            if closed:
                break
        assert closed
        assert time.monotonic() - begun < FAR_BELOW_60_S


def test_one_address_cannot_take_all_places(open_door):
    """Its limit is its own: "local limit exceeded" for it, and places for others."""
    door = open_door(max_associations=4)
    peers = [RawPeer(door.port) for _ in range(2)]
    entity = AE()
    entity.add_requested_context(Verification)
    assert entity.associate("127.0.0.1", door.port).is_rejected
    other = entity.associate("127.0.0.1", door.port, bind_address=("127.0.0.2", 0))
    assert other.is_established
    other.release()
    for peer in peers:
        peer.assoc.release()


def test_places_are_reserved_for_senders_that_are_named(open_door):
    """The last places are for addresses and AE titles of the settings."""
    door = open_door(
        max_associations=3,
        max_associations_per_address=3,
        reserved_associations=2,
        known_addresses=("127.0.0.2/31",),
    )
    stranger = RawPeer(door.port)
    entity = AE()
    entity.add_requested_context(Verification)
    assert entity.associate("127.0.0.1", door.port).is_rejected
    known = [
        entity.associate("127.0.0.1", door.port, bind_address=(f"127.0.0.{n}", 0)) for n in (2, 3)
    ]
    assert [assoc.is_established for assoc in known] == [True, True]
    for assoc in [*known, stranger.assoc]:
        assoc.release()


@pytest.mark.parametrize("address", ["10.0.0.0/8/8", "modality", "10.0.0.1/8"])
def test_a_known_address_that_is_none_is_a_fault_of_the_settings(address):
    """Said at start, not when the modality is locked out."""
    with pytest.raises(ValidationError, match="known_addresses"):
        DicomIntakeSettings(known_addresses=(address,))


@pytest.mark.parametrize(("most", "of_one_address"), [(1, 1), (2, 2), (3, 2), (4, 2), (12, 10)])
def test_one_address_may_have_two_associations_where_there_are_two(most, of_one_address):
    """Units of before with a small `max_associations` keep what they had."""
    settings = DicomIntakeSettings(max_associations=most)
    assert settings.admission.per_address == of_one_address


def test_more_associations_than_allowed_are_rejected(open_door):
    """One more than the limit hears "local limit exceeded", and gets in later."""
    door = open_door(max_associations=2, max_associations_per_address=2)
    peers = [RawPeer(door.port) for _ in range(2)]
    entity = AE()
    entity.add_requested_context(Verification)
    assert entity.associate("127.0.0.1", door.port).is_rejected
    peers[0].assoc.release()

    def gets_in():
        assoc = entity.associate("127.0.0.1", door.port)
        established = assoc.is_established
        if established:
            assoc.release()
        return established

    wait_until(gets_in, "an association, when one has ended")
    peers[1].assoc.release()


def test_a_command_for_another_class_than_agreed_is_refused(door):
    """CT inside the context of a mammogram: SOP class not supported."""
    peer = RawPeer(door.port)
    peer.assoc._reactor_checkpoint.clear()
    wait_until(lambda: peer.assoc._is_paused, "the reactor pauses")
    ct = "1.2.840.10008.5.1.4.1.1.2"
    peer.send(peer.command(sop_class=ct) + peer.pdu(0b10, bytes(100)))
    _, response = peer.assoc.dimse.get_msg(block=True)
    assert response.Status == 0x0122
    assert door.half_received == []
    peer.assoc._reactor_checkpoint.set()
    peer.assoc.release()


def test_a_request_without_a_data_set_is_refused(door):
    """A C-STORE that announces no data set gets an answer, not silence."""
    peer = RawPeer(door.port)
    peer.assoc._reactor_checkpoint.clear()
    wait_until(lambda: peer.assoc._is_paused, "the reactor pauses")
    peer.send(peer.command(data_set=False))
    _, response = peer.assoc.dimse.get_msg(block=True)
    assert response.Status == 0xC000
    peer.assoc._reactor_checkpoint.set()
    peer.assoc.release()


@pytest.mark.parametrize(
    "misdeed",
    [
        lambda peer: peer.pdu(0b11, b"\xff" * 50),
        lambda peer: peer.pdu(0b01, bytes(200_000)) * 6,
        lambda peer: peer.pdu(0b00, bytes(200_000)) * 6,
        lambda peer: peer.command() + peer.command(),
        lambda peer: peer.command(CommandField=0x0777),
        lambda peer: peer.command(AffectedSOPInstanceUID=None) + peer.pdu(0b10, bytes(10)),
        lambda peer: peer.command(Priority=None) + peer.pdu(0b10, bytes(10)),
        lambda peer: struct.pack(">BBLLBB", 4, 0, 6, 99, 1, 0),
        lambda peer: peer.pdu(0b11, b"", context_id=77),
    ],
    ids=[
        "garbage as a command",
        "endless command",
        "endless data set without a command",
        "command inside a data set",
        "unknown command",
        "no instance UID",
        "no priority",
        "fragment longer than its PDU",
        "empty command in an unknown context",
    ],
)
def test_a_peer_that_breaks_the_protocol_is_aborted(door, misdeed):
    """Whatever it is: A-ABORT, and no file is left."""
    peer = RawPeer(door.port)
    with contextlib.suppress(OSError):  # we may be cut off while we are still sending
        peer.send(misdeed(peer))
    peer.wait_until_aborted()
    wait_until(lambda: not door.half_received, "no half object is left")
    assert door.receiver.stored == []


def test_leftovers_of_a_crash_are_removed_at_start(open_door, receiver):
    """Files that a killed process left half received go when the next one starts."""
    for name in ("dicom-0123.part", "folder-4567.part"):
        (receiver.incoming / name).write_bytes(b"half")
    open_door()
    assert [path.name for path in receiver.incoming.iterdir()] == ["folder-4567.part"]


def test_a_full_disk_refuses_the_object_and_drops_the_rest(tmp_path):
    """ENOSPC in the middle: the file goes, the rest is read and dropped, the answer is A700."""
    incoming = IncomingObject(tmp_path, limits=LIMITS, started_s=0.0, room=endless)
    incoming.begin(b"meta")

    def full(_fragment):
        raise OSError(errno.ENOSPC, "No space left on device")

    incoming._write = full
    incoming.append(b"x" * 10, now_s=1.0)
    assert incoming.refusal.status == 0xA700
    incoming.append(b"x" * 10, now_s=1.0)
    assert list(tmp_path.iterdir()) == []


def test_limits_of_an_object(tmp_path):
    """One byte and one moment too many."""
    incoming = IncomingObject(tmp_path, limits=LIMITS, started_s=0.0, room=endless)
    incoming.append(b"x" * 100, now_s=10.0)
    with pytest.raises(LimitExceededError, match="large"):
        incoming.append(b"x", now_s=10.0)
    slow = IncomingObject(tmp_path, limits=LIMITS, started_s=0.0, room=endless)
    with pytest.raises(LimitExceededError, match="slow"):
        slow.append(b"x", now_s=10.1)


def test_fragments_of_a_pdu_are_split_as_ps3_8_says():
    """Two values in one PDU come out in order; lengths that lie are refused."""
    pdu = struct.pack(">LBB", 4, 1, 3) + b"ab" + struct.pack(">LBB", 3, 5, 2) + b"c"
    found = [
        (context, control, bytes(data)) for context, control, data in fragments(memoryview(pdu))
    ]
    assert found == [(1, 3, b"ab"), (5, 2, b"c")]
    for broken in (pdu[:-1], pdu[:3], struct.pack(">LBB", 1, 1, 3)):
        with pytest.raises(LimitExceededError):
            list(fragments(memoryview(broken)))
