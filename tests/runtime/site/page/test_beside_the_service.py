"""The page beside the site's service: `mammoedge site` with a section `[page]`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import paho.mqtt.publish
import pytest

from tests.conftest import ROOT, module_or_skip, skip_or_fail
from tests.support.brokers import Mosquitto
from tests.support.waiting import CHILD_S, LONG_S, lines_of

module_or_skip("sqlalchemy", "extra [site] is not installed")

from tests.support.site_units import SaidUnit  # noqa: E402

SITE_TOML = """
[site]
name = "st-anna"
[broker]
host = "127.0.0.1"
port = {port}
tls = false
[metrics]
port = 0
[page]
port = 0
{page}
"""


def site_command(folder):
    """The command as a process; its log is read from its standard error."""
    return subprocess.Popen(
        [sys.executable, "-m", "runtime.cli.main", "site", "--config", str(folder / "site.toml")],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_a_unit_says_is_on_the_page(tmp_path):
    """From a real broker through the service's books to a frame of the page; a clean stop is 0."""
    if not os.path.exists("/usr/sbin/mosquitto"):  # noqa: PTH110 - a system's program
        skip_or_fail("/usr/sbin/mosquitto (Debian's mosquitto) is not installed")
    broker = Mosquitto(tmp_path)
    broker.start()
    (tmp_path / "site.toml").write_text(SITE_TOML.format(port=broker.port, page=""))
    process = site_command(tmp_path)
    try:
        lines = lines_of(process.stderr, "the address of the page", CHILD_S)
        address = next(
            found[1] for line in lines if (found := re.search(r"fleet page: (http\S+)", line))
        )
        unit = SaidUnit()
        arrival = unit.status(at_ms=time.time_ns() // 1_000_000)
        paho.mqtt.publish.single(
            unit.message_factory.topics.status, arrival.message.encode(), qos=1, retain=True,
            hostname="127.0.0.1", port=broker.port,
        )  # fmt: skip
        with urllib.request.urlopen(address + "live", timeout=120) as stream:  # noqa: S310 - our own
            frame = next(line for line in stream if b'"unit":"mammo-1"' in line)
        assert b'"standing":"online"' in frame
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate(timeout=LONG_S)
        broker.kill()


@pytest.mark.parametrize(
    ("page", "said"),
    [('host = "0.0.0.0"', "beyond this machine"),
     ('password_file = "none"', "page: none cannot be read")],
)  # fmt: skip
def test_a_page_that_cannot_be_served_safely_stops_the_start(tmp_path, page, said):
    """Exit code 2 and the reason: nobody finds out later that the page stood open."""
    (tmp_path / "site.toml").write_text(SITE_TOML.format(port=1, page=page))
    process = site_command(tmp_path)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 2, told
    assert said in told
