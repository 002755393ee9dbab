"""The site as shipped, with Debian's Mosquitto: who may not, does not, and a log line says why."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from runtime.site_trust.authority import Authority, CertificateRole
from runtime.site_trust.site_folder import SiteFolder
from tests.conftest import skip_or_fail
from tests.support.brokers import mosquitto_missing
from tests.support.secured_site import (
    SITE,
    Stranger,
    broker_settings,
    context_of,
    init,
    monitor_context,
    secured_site,
    unit_context,
)
from tests.support.waiting import wait_until

NOT_AUTHORISED = 0x87
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The site's folder."""
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def broker(folder):
    """The site's broker, running, with the units mammo-1 and mammo-2."""
    if reason := mosquitto_missing():
        skip_or_fail(reason)
    with secured_site(folder, "mammo-1", "mammo-2") as running:
        yield running


def written(folder, pair):
    """Certificate and key as files."""
    certificate, key = folder / f"{pair.serial}.pem", folder / f"{pair.serial}.key"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    return certificate, key


# --- who is not let in ------------------------------------------------------------------------


def test_a_foreign_authoritys_certificate_is_refused(broker, folder, tmp_path):
    """The right name, the wrong authority."""
    pair = Authority.new("foreign", NOW).issue(CertificateRole.UNIT, "mammo-1", now=NOW, days=9)
    context = context_of(folder / "broker/ca.pem", written(tmp_path, pair))
    assert not Stranger(broker.port, context).connect()
    broker.wait_log("certificate verify failed")


def test_an_expired_certificate_is_refused(broker, folder, tmp_path):
    """Signed by the site, but a day too old."""
    long_ago = NOW - timedelta(days=31)
    pair = SiteFolder.open(folder).authority.issue(
        CertificateRole.UNIT, "mammo-1", now=long_ago, days=30
    )
    context = context_of(folder / "broker/ca.pem", written(tmp_path, pair))
    stranger = Stranger(broker.port, context)
    assert not stranger.connect()
    broker.wait_log("certificate verify failed")


def test_the_brokers_certificate_is_no_clients(broker, folder):
    """What was signed for the server's side of TLS does not make a unit."""
    pair = (folder / "broker/broker.pem", folder / "broker/broker.key")
    assert not Stranger(broker.port, context_of(folder / "broker/ca.pem", pair)).connect()
    broker.wait_log("certificate verify failed")


def test_nobody_is_let_in_without_a_certificate(broker, folder):
    """With TLS but without a certificate; and without TLS."""
    assert not Stranger(broker.port, context_of(folder / "broker/ca.pem")).connect()
    broker.wait_log("peer did not return a certificate")
    assert not Stranger(broker.port, None).connect()
    broker.wait_log("wrong version number")


def test_old_tls_is_refused_and_new_is_not(broker, folder):
    """1.1 is not spoken; 1.2 and 1.3 are."""
    old = unit_context(folder, "mammo-1", version=ssl.TLSVersion.TLSv1_1)
    assert not Stranger(broker.port, old).connect()
    broker.wait_log("unsupported protocol")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with Stranger(broker.port, unit_context(folder, "mammo-1", version=version)):
            pass


def test_a_unit_cannot_play_the_broker(folder, unit, broker):
    """Our publisher believes no server that shows a unit's certificate, and says so."""
    import socket
    import threading

    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "units/mammo-2/unit.pem", folder / "units/mammo-2/unit.key")

    def serve(listener) -> None:
        while True:
            try:
                peer, _ = listener.accept()
                with server.wrap_socket(peer, server_side=True):
                    pass
            except ssl.SSLError:
                continue
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        publisher = unit(listener.getsockname()[1], **broker_settings(folder, "mammo-1")).publisher
        publisher.start()
        wait_until(lambda: "verify failed" in publisher.problem, what="a refusal")
        listener.shutdown(socket.SHUT_RDWR)


def test_a_revoked_unit_is_refused_once_the_broker_has_the_list(tmp_path):
    """`--revoke`, a restart, and the unit's next connection fails; the other unit's does not."""
    if reason := mosquitto_missing():
        skip_or_fail(reason)
    with secured_site(tmp_path, "mammo-1", "mammo-2") as broker:
        with Stranger(broker.port, unit_context(tmp_path, "mammo-1")):
            init(tmp_path, "--revoke", "mammo-1")
        broker.restart()
        assert not Stranger(broker.port, unit_context(tmp_path, "mammo-1")).connect()
        broker.wait_log("certificate verify failed")
        with Stranger(broker.port, unit_context(tmp_path, "mammo-2")):
            pass
        init(tmp_path, "--add-unit", "mammo-1")
        with Stranger(broker.port, unit_context(tmp_path, "mammo-1")):
            pass


# --- who may say what -------------------------------------------------------------------------


def test_a_units_rows_reach_the_site(broker, folder, unit):
    """As shipped: status and rows arrive at the site's own program, and commands at the unit."""
    root = f"mammoedge/v1/{SITE}/mammo-1"
    with Stranger(broker.port, monitor_context(folder), "monitor") as monitor:
        monitor.subscribe(f"mammoedge/v1/{SITE}/#")
        publisher = unit(broker.port, **broker_settings(folder, "mammo-1")).start()
        publisher.say(3)
        publisher.say_exam()
        wait_until(publisher.all_delivered, what="delivered")
        count = len(monitor.heard)
        assert monitor.publish(f"{root}/command/replay", b'{"from_seq":1}') < 0x80
        wait_until(lambda: len(monitor.heard) >= count + 5, what="a replay")
        assert monitor.publish(f"mammoedge/v1/{SITE}/_site/alarm") < 0x80
        topics = {topic.removeprefix(f"{root}/").split("/")[0] for topic, _ in monitor.heard}
        assert {"status", "event", "exam", "health", "command"} <= topics


@pytest.mark.parametrize(
    "topic",
    [
        f"mammoedge/v1/{SITE}/mammo-2/status",
        f"mammoedge/v1/{SITE}/mammo-2/exam/0f3c9d7a5b21e8864c0d9f1e2a3b4c5d",
        f"mammoedge/v1/{SITE}/mammo-2/command/replay",
        f"mammoedge/v1/{SITE}/_site/alarm",
        f"mammoedge/v1/{SITE}/mammo-1x/status",
        "mammoedge/v1/st-berta/mammo-1/status",
        "elsewhere",
    ],
)
def test_a_unit_speaks_for_itself_only(broker, folder, topic):
    """A PUBACK of "not authorized", a line in the broker's log, and nothing that arrives."""
    with (
        Stranger(broker.port, monitor_context(folder), "monitor") as monitor,
        Stranger(broker.port, unit_context(folder, "mammo-1")) as stranger,
    ):
        monitor.subscribe(f"mammoedge/v1/{SITE}/#")
        before = [heard for heard in monitor.heard if heard[0] == topic]
        assert stranger.publish(topic, b"forged") == NOT_AUTHORISED
        assert stranger.publish(f"mammoedge/v1/{SITE}/mammo-1/event", b"mine") < 0x80
        wait_until(lambda: any(m[1] == b"mine" for m in monitor.heard), what="its own word")
        assert [heard for heard in monitor.heard if heard[0] == topic] == before
    broker.wait_log("Denied PUBLISH from stranger", topic)


def test_a_unit_hears_its_own_commands_only(broker, folder):
    """It may ask for everything; it is given what is said to it, and the log shows the asking."""
    own = f"mammoedge/v1/{SITE}/mammo-1/command/rebirth"
    with (
        Stranger(broker.port, monitor_context(folder), "monitor") as monitor,
        Stranger(broker.port, unit_context(folder, "mammo-2"), "other") as other,
        Stranger(broker.port, unit_context(folder, "mammo-1"), "curious") as curious,
    ):
        for topic in ("#", f"mammoedge/v1/{SITE}/+/command/#", f"mammoedge/v1/{SITE}/mammo-2/#"):
            curious.subscribe(topic)
        assert other.publish(f"mammoedge/v1/{SITE}/mammo-2/event") < 0x80
        assert monitor.publish(f"mammoedge/v1/{SITE}/mammo-2/command/rebirth") < 0x80
        assert monitor.publish(own) < 0x80
        wait_until(lambda: curious.heard, what="its own command")
        assert {topic for topic, _ in curious.heard} == {own}
    broker.wait_log("curious 1", f"mammoedge/v1/{SITE}/mammo-2/#")


@pytest.mark.parametrize(
    "topic", ["mammo-1/status", "mammo-1/exam/0f3c9d7a5b21e8864c0d9f1e2a3b4c5d", "mammo-1/event"]
)
def test_the_site_writes_no_units_flags(broker, folder, topic):
    """Not even the site's own programs can say what a unit did not."""
    with Stranger(broker.port, monitor_context(folder), "monitor") as monitor:
        assert monitor.publish(f"mammoedge/v1/{SITE}/{topic}", b"forged") == NOT_AUTHORISED
    broker.wait_log("Denied PUBLISH from monitor", topic)


def test_ten_megabytes_are_not_taken_from_anybody(broker, folder):
    """The broker ends the connection; it never holds them."""
    with Stranger(broker.port, unit_context(folder, "mammo-1")) as stranger:
        stranger._client.publish(f"mammoedge/v1/{SITE}/mammo-1/event", b"x" * 10_000_000, 1)
        broker.wait_log("oversize packet", "stranger")


def test_a_unit_under_anothers_certificate_says_that_it_is_refused(broker, folder, unit, caplog):
    """Settings of mammo-1, certificate of mammo-2: parked and logged, nothing looks delivered."""
    misplaced = unit(broker.port, **broker_settings(folder, "mammo-2"))
    misplaced.say(2)
    misplaced.publisher.start()
    wait_until(lambda: misplaced.ledger.backlog().parked >= 2, what="parked rows")
    assert "0x87" in misplaced.publisher.problem
    assert not misplaced.publisher.connected
    assert "row refused: seq=1 reason=0x87" in caplog.text
    broker.wait_log("Denied PUBLISH from mammoedge-st-anna-mammo-1", "mammo-1/status")
