"""TLS with client certificates: who is let in, and whom we believe."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from runtime.mqtt.settings import BrokerSettings
from tests.support.brokers import free_port
from tests.support.certificates import Authority
from tests.support.waiting import CHILD_S, wait_until


@pytest.fixture
def authority(tmp_path):
    """The site's authority."""
    return Authority(tmp_path)


@pytest.fixture
def secure(mosquitto, authority):
    """A Mosquitto that asks for client certificates; it calls itself `address`."""

    def make(address="127.0.0.1"):
        certificate, key = authority.issue("broker", address=address)
        port = free_port()
        return mosquitto(
            port=port,
            lines=(
                f"listener {port} 127.0.0.1",
                f"cafile {authority.file}",
                f"certfile {certificate}",
                f"keyfile {key}",
                "require_certificate true",
                "use_identity_as_username true",
            ),
        ).start()

    return make


def tls(authority, pair=(None, None)) -> dict:
    """Settings of a unit with a certificate."""
    return {
        "tls": True,
        "ca_file": authority.file,
        "certificate_file": pair[0],
        "key_file": pair[1],
    }


def test_a_unit_with_a_certificate_of_the_site_is_let_in(secure, authority, unit):
    """Rows arrive over TLS with a client certificate."""
    broker = secure()
    publisher = unit(broker.port, **tls(authority, authority.issue("mammo-1"))).start()
    publisher.say(30)
    wait_until(publisher.all_delivered, what="delivered")


def test_rows_go_over_secure_websockets(mosquitto, authority, unit):
    """One TLS record may hold several frames, and a frame may come in parts."""
    certificate, key = authority.issue("broker", address="127.0.0.1")
    plain, port = free_port(), free_port()
    listener = (f"listener {port}", "protocol websockets", f"certfile {certificate}")
    # Mosquitto 2.0.11 does not start with a listener for websockets alone.
    mosquitto(
        port=plain, lines=(f"listener {plain} 127.0.0.1", *listener, f"keyfile {key}")
    ).start()
    speaker = unit(port, transport="websockets", **tls(authority)).start()
    speaker.say(300)
    wait_until(speaker.all_delivered, what="delivered over secure websockets")


@pytest.mark.parametrize("case", ["no certificate", "foreign authority", "wrong name", "no file"])
def test_whoever_cannot_prove_who_he_is_gets_nothing(secure, authority, unit, tmp_path, case):
    """Neither we without a certificate, nor a broker of another authority or name."""
    pair = authority.issue("mammo-1")
    broker = secure("127.0.0.2" if case == "wrong name" else "127.0.0.1")
    settings = tls(authority, pair)
    if case == "no certificate":
        settings |= {"certificate_file": None, "key_file": None}
    elif case == "foreign authority":
        settings["ca_file"] = Authority(tmp_path, "foreign").file
    elif case == "no file":
        settings["key_file"] = tmp_path / "absent.key"
    publisher = unit(broker.port, **settings)
    publisher.say()
    publisher.publisher.start()
    assert not publisher.publisher.wait_connected(0.7)
    assert publisher.publisher.problem not in ("", "not started")
    assert not publisher.all_delivered()


def test_a_password_comes_from_its_file(mosquitto, unit, tmp_path):
    """User name and password are proved to the broker; a wrong one is a refusal, not a crash."""
    # mosquitto_passwd's format $7$ is PBKDF2; a plain file is hashed by `mosquitto_passwd -U`.
    import subprocess

    passwords = tmp_path / "passwords"
    passwords.write_text("mammo-1:correct horse\n")
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, timeout=CHILD_S)
    broker = mosquitto(lines=(f"password_file {passwords}", "allow_anonymous false")).start()
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    publisher = unit(broker.port, username="mammo-1", password_file=secret)
    publisher.publisher.start()
    wait_until(lambda: "refused us" in publisher.publisher.problem, what="refusal")
    secret.write_text("correct horse\n")
    assert publisher.publisher.wait_connected(5)


@pytest.mark.parametrize(
    "faults",
    [
        {"tls": False, "ca_file": "ca.pem"},
        {"certificate_file": "unit.crt"},
        {"password_file": "secret"},
        {"tls": False, "username": "mammo-1"},
        {"backoff_first_s": 60.0},
        {"host": ""},
        {"port": 0},
        {"keepalive_s": 0},
        {"in_flight": 0},
        {"colour": "blue"},
    ],
)
def test_settings_that_contradict_themselves_are_refused(faults):
    """Found at the start, not at the first flag."""
    BrokerSettings(host="broker.example")
    with pytest.raises(ValidationError):
        BrokerSettings(**({"host": "broker.example"} | faults))
