"""TLS on the DICOM door, with real certificates and dcmtk as the peer."""

from __future__ import annotations

import socket
import ssl

import pytest
from pydantic import ValidationError

from firmware_bridge.dicom_intake.settings import DicomIntakeSettings
from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.dicom_network.transport_security import TlsSettings
from firmware_bridge.sender.storage_scu import Outcome, StorageScu, outgoing
from tests.support.certificates import Authority
from tests.support.waiting import LONG_S, wait_until


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """The clinic's authority; RSA, as the suites of PS3.15 annex B want it."""
    return Authority(tmp_path_factory.mktemp("pki"), rsa_bits=3072)


@pytest.fixture(scope="module")
def unit(authority):
    """What the unit shows, and whom it believes."""
    certificate, key = authority.issue("mammo-1")
    return TlsSettings(certificate_file=certificate, key_file=key, ca_file=authority.file)


@pytest.fixture
def secure(open_door, authority):
    """A door that takes TLS alone."""
    certificate, key = authority.issue("edge", address="127.0.0.1")
    tls = TlsSettings(certificate_file=certificate, key_file=key, ca_file=authority.file)
    return open_door(tls=tls, acse_timeout_s=2.0)


def storescu(dcmtk, port, file, *options, tls=None):
    """dcmtk's storescu, over TLS if there are credentials; what it said."""
    secured = ("+tls", tls.key_file, tls.certificate_file, "+cf", tls.ca_file) if tls else ()
    return dcmtk("storescu", "-v", *secured, *options, "127.0.0.1", port, file, check=False)


@pytest.mark.parametrize("profile", ["+py", "+px", "+pz"])
def test_dcmtk_sends_over_every_bcp_195_profile(secure, dcmtk, view_file, unit, profile):
    """Non-downgrading, plain and extended BCP 195: the image arrives, the peer is named."""
    said = storescu(dcmtk, secure.port, view_file, profile, tls=unit)
    assert "(Success)" in said, said
    assert len(secure.receiver.stored) == 1
    assert secure.intake.address.startswith("dicom-tls://")


def test_our_own_sender_speaks_tls_too(secure, view_file, unit):
    """The peer that the doctor and the simulator use; it checks the door's certificate."""
    file = outgoing(view_file)
    to = Destination(ae_title="ANY", host="127.0.0.1", port=secure.port)
    with StorageScu(to, [file], tls=unit.client_context()) as sender:
        assert sender.send(file).outcome is Outcome.STORED


def test_clear_text_finds_no_association(secure, dcmtk, view_file):
    """With TLS in the settings nothing is taken without it, and an operator hears of it."""
    said = storescu(dcmtk, secure.port, view_file)
    assert "(Success)" not in said
    assert secure.receiver.stored == []
    wait_until(lambda: secure.receiver.reports, "the refusal is told")
    assert "TLS handshake failed" in secure.receiver.reports[0][1]


def test_a_certificate_of_another_authority_is_refused(secure, dcmtk, view_file, unit, tmp_path):
    """A certificate alone is not enough: somebody whom we trust must have signed it."""
    certificate, key = Authority(tmp_path, "elsewhere", rsa_bits=3072).issue("mammo-1")
    stranger = unit.model_copy(update={"certificate_file": certificate, "key_file": key})
    said = storescu(dcmtk, secure.port, view_file, tls=stranger)
    assert "(Success)" not in said
    assert secure.receiver.stored == []


def test_tls_below_1_2_is_refused(secure, unit):
    """BCP 195: no version before 1.2, whatever the peer offers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(unit.ca_file)
    context.load_cert_chain(unit.certificate_file, unit.key_file)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", secure.port), timeout=LONG_S) as plain,
        pytest.raises(OSError, match=r"(?i)alert|reset|eof"),
    ):
        context.wrap_socket(plain)


@pytest.mark.parametrize("suite", ["AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA"])
def test_weak_suites_are_refused(secure, unit, suite):
    """No key exchange without forward secrecy, no encryption without authentication."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(unit.ca_file)
    context.load_cert_chain(unit.certificate_file, unit.key_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(suite)
    with (
        socket.create_connection(("127.0.0.1", secure.port), timeout=LONG_S) as plain,
        pytest.raises(OSError, match=r"(?i)alert|reset|eof"),
    ):
        context.wrap_socket(plain)


def test_silent_connections_do_not_hold_up_others(secure, dcmtk, view_file, unit):
    """A peer that connects and never shakes hands keeps its own thread waiting, nobody else's."""
    silent = [socket.create_connection(("127.0.0.1", secure.port), LONG_S) for _ in range(5)]
    said = storescu(dcmtk, secure.port, view_file, tls=unit)
    assert "(Success)" in said, said
    for connection in silent:
        connection.close()


def test_tls_needs_all_three_files():
    """No certificate without its key, and no door that takes anybody's."""
    with pytest.raises(ValidationError, match="ca_file"):
        DicomIntakeSettings(tls={"certificate_file": "a.pem", "key_file": "a.key"})
