"""A certificate that ends is announced in time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runtime.mqtt.settings import BrokerSettings
from runtime.mqtt.tls import DAY_MS, days_left, ends_soon
from runtime.site_trust.authority import Authority, CertificateRole
from tests.support.unit_under_test import now_ms


@pytest.mark.parametrize(("days", "soon"), [(31, False), (29, True)])
def test_the_last_thirty_days_are_soon(tmp_path, days, soon):
    """Counted by the clock that is handed in; once it has ended the days are negative."""
    now = datetime.now(UTC)
    pair = Authority.new("s", now).issue(CertificateRole.UNIT, "mammo-1", now=now, days=days)
    file = tmp_path / "unit.pem"
    file.write_bytes(pair.certificate)
    settings = BrokerSettings(host="b", certificate_file=file, key_file=file)
    assert ends_soon(settings, now_ms()) is soon
    assert days_left(file, now_ms() + 40 * DAY_MS) < 0


def test_what_is_no_certificate_is_not_a_matter_of_time(tmp_path):
    """Absent, or something else: the connection says what is wrong."""
    (tmp_path / "x.pem").write_text("no certificate")
    for name in ("x.pem", "absent.pem"):
        file = tmp_path / name
        assert not ends_soon(BrokerSettings(host="b", certificate_file=file, key_file=file), 0)
    assert not ends_soon(BrokerSettings(host="b"), 0)
