"""A site as `mammoedge init` ships it: its folder, its broker with exactly that configuration."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.support.brokers import Mosquitto, free_port
from tests.support.waiting import CHILD_S, LONG_S, wait_until

ROOT = Path(__file__).resolve().parents[2]
SITE = "st-anna"


def init(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    """`mammoedge init FOLDER ...` as a person calls it."""
    command = [sys.executable, "-m", "runtime.cli.main", "init", str(folder), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=CHILD_S
    )
    assert not check or done.returncode == 0, done.stderr
    return done


class SiteBroker(Mosquitto):
    """Debian's Mosquitto with the files of a site folder; it only logs more."""

    def __init__(self, site: Path, *, port: int) -> None:
        self.port = port
        self.folder = site / "broker"
        self.process = None
        self.prefix = ()
        self._configuration = self.folder / "test.conf"
        shipped = (self.folder / "mosquitto.conf").read_text()
        # Started as root it would change to the user mosquitto, who cannot read our folder.
        self._configuration.write_text(shipped + "\nuser root\nlog_type debug\n")

    def wait_log(self, *texts: str) -> None:
        """Until one of its lines holds all of these."""

        def said() -> bool:
            return any(all(text in line for text in texts) for line in self.log().splitlines())

        wait_until(said, lambda: f"a line with {texts} in the broker's log:\n{self.log()[-2000:]}")


def secured_site(folder: Path, *units: str) -> SiteBroker:
    """A site with these units, and its broker (not started) on a free port of this machine."""
    port = free_port()
    state = folder / "state"
    state.mkdir(parents=True)
    init(
        folder,
        *("--site", SITE, "--broker", "127.0.0.1", "--port", str(port)),
        *("--broker-folder", str(folder / "broker"), "--broker-state", str(state)),
        *(part for unit in units for part in ("--add-unit", unit)),
    )
    return SiteBroker(folder, port=port)


def broker_settings(site: Path, unit: str) -> dict:
    """What broker.toml of a unit says, with paths that hold from here."""
    place = site / "units" / unit
    return {
        "tls": True,
        "ca_file": place / "ca.pem",
        "certificate_file": place / "unit.pem",
        "key_file": place / "unit.key",
    }


class Stranger:
    """A client with nothing but paho: it says and hears what the broker lets it."""

    def __init__(self, port: int, context: ssl.SSLContext | None, name: str = "stranger") -> None:
        self.refusal = ""
        self.heard: list[tuple[str, bytes]] = []
        self._answers: dict[int, int] = {}
        self._event = threading.Event()
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5
        )
        if context is not None:
            self._client.tls_set_context(context)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._event.set()
        self._client.on_message = lambda _c, _u, m: self.heard.append((m.topic, m.payload))
        self._client.on_publish = self._on_publish
        self._port = port

    def connect(self) -> bool:
        """Whether the broker takes it in; `refusal` says what stood against it."""
        properties = Properties(PacketTypes.CONNECT)
        try:
            self._client.connect("127.0.0.1", self._port, 30, properties=properties)
        except OSError as error:
            self.refusal = str(error)
            return False
        # TLS 1.3: the server looks at our certificate after connect has returned (RFC 8446, 4.4.2).
        self._client.loop_start()
        if self._event.wait(3) and not self.refusal:
            return True
        self.refusal = self.refusal or "the connection was closed"
        self._client.loop_stop()
        return False

    def _on_connect(self, _client, _userdata, _flags, reason, _properties) -> None:
        if reason.is_failure:
            self.refusal = str(reason)
        self._event.set()

    def _on_publish(self, _client, _userdata, mid, reason, _properties) -> None:
        self._answers[mid] = reason.value
        self._event.set()

    def subscribe(self, topic: str) -> None:
        """Returns when the broker answered."""
        self._event.clear()
        self._client.subscribe(topic, 1)
        assert self._event.wait(LONG_S), f"no answer to the subscription of {topic}"

    def publish(self, topic: str, payload: bytes = b"{}", **options) -> int:
        """The reason code of the broker's answer."""
        info = self._client.publish(topic, payload, 1, **options)
        wait_until(lambda: info.mid in self._answers, "a PUBACK")
        return self._answers[info.mid]

    def close(self) -> None:
        """Leaves."""
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self):
        assert self.connect(), self.refusal
        return self

    def __exit__(self, *_exc) -> None:
        self.close()


def context_of(
    ca: Path, pair: tuple[Path, Path] | None = None, *, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """A client's side of TLS; `version`: that one only, however old."""
    context = ssl.create_default_context(cafile=ca)
    if version is not None:
        context.set_ciphers("DEFAULT@SECLEVEL=0")  # or OpenSSL 3 itself refuses what is old
        context.minimum_version = context.maximum_version = version
    if pair is not None:
        context.load_cert_chain(*pair)
    return context


def unit_context(site: Path, unit: str, **options) -> ssl.SSLContext:
    """As a unit of the site."""
    place = site / "units" / unit
    return context_of(place / "ca.pem", (place / "unit.pem", place / "unit.key"), **options)


def monitor_context(site: Path) -> ssl.SSLContext:
    """As the site's own programs."""
    place = site / "site"
    return context_of(place / "ca.pem", (place / "monitor.pem", place / "monitor.key"))
