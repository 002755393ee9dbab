"""The site's words: complete in every language, and never in code."""

from __future__ import annotations

import io
import re
from importlib.resources import files
from pathlib import Path

import pytest

from tests.conftest import module_or_skip

module_or_skip("sqlalchemy", "extra [site] is not installed")

from models.descriptor_reference import Descriptor  # noqa: E402
from runtime.image.outcome import Flag  # noqa: E402
from runtime.image.reasons import Reason  # noqa: E402
from runtime.messages.alarm import Severity  # noqa: E402
from runtime.messages.payloads import EventKind  # noqa: E402
from runtime.messages.status_reason import StatusReason  # noqa: E402
from runtime.site.alarms.alarm_rules import AlarmKind  # noqa: E402
from runtime.site.control_charts.chart_state import Measure  # noqa: E402
from runtime.site.control_charts.drift_verdict import Suspect  # noqa: E402
from runtime.site.page.board import Level, UnitTrouble  # noqa: E402
from runtime.site.queries.fleet_summary import Standing  # noqa: E402
from runtime.site.report.wording import PACKAGE, site_catalogues  # noqa: E402
from runtime.web.catalogue import load_catalogues  # noqa: E402
from runtime.web.languages import LANGUAGES  # noqa: E402
from runtime.web.pages import load_pages  # noqa: E402

WHOLE = site_catalogues()
SITE = Path(str(files("runtime.site")))
OWN = load_catalogues(PACKAGE)
VALUES = {"language", "csrf", "person", "person_hidden", "password_hidden", "openid_hidden",
          "problem", "site", "unit", "story"}  # fmt: skip


def wanted() -> set[str]:
    """Every key that something can ask for."""
    keys = {f"alarm.{kind}.{part}" for kind in AlarmKind for part in ("what", "saw", "do")}
    keys |= {f"event.{kind}" for kind in EventKind} | {
        f"why.{one}{part}" for one in UnitTrouble for part in ("", ".do")
    }
    keys |= {f"level.{one}" for one in Level} | {f"count.{one}" for one in Level}
    keys |= {f"standing.{one}" for one in Standing} | {f"severity.{one}" for one in Severity}
    keys |= {f"descriptor.{name}" for name in ("score", *Descriptor)}
    keys |= {f"suspect.{one}" for one in Suspect} | {f"measure.{one}" for one in Measure}
    keys |= {f"flag.{flag}" for flag in Flag} | {f"reason.{reason}.what" for reason in Reason}
    of_console_alone = {
        StatusReason.WORKER_RESTARTS,
        StatusReason.DEVICE_FALLBACK,
        StatusReason.BROKER_AWAY,
        StatusReason.UNSIGNED_PACKAGE,
    }
    return keys | {f"degraded.{reason}" for reason in {*StatusReason} - of_console_alone}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_alarm_event_and_trouble_has_words(language):
    """A new kind of alarm without words in four languages fails here; as in English, no less."""
    texts, english = WHOLE[language].texts, WHOLE["en"].texts
    assert wanted() <= set(texts)
    assert set(OWN[language].texts) == set(OWN["en"].texts)
    for key, text in OWN[language].texts.items():
        assert text.strip() or key.startswith("number."), key
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", english[key])), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_babel_reads_the_same_messages(language):
    """The files are gettext's own."""
    pofile = module_or_skip("babel.messages.pofile", "extra [test] is not installed")
    source = (files(PACKAGE) / "locale" / f"{language}.po").read_bytes()
    catalog = pofile.read_po(io.BytesIO(source), abort_invalid=True)
    assert {m.id: m.string for m in catalog if m.id} == OWN[language].texts


def test_pages_module_and_server_ask_for_words_that_exist():
    """Every {{key}} of a page, every t("key") of the module and of the Python that writes HTML."""
    pages, texts = load_pages(PACKAGE, WHOLE), set(WHOLE["en"].texts)
    asked = {key for page in pages.html.values() for key in re.findall(r"\{\{([\w.]+)\}\}", page)}
    asked |= set(re.findall(r'\bt\("([\w.]+)"', pages.static["fleet.js"].decode()))
    for module in SITE.rglob("*.py"):
        asked |= set(re.findall(r'\bt\("([\w.]+)"', module.read_text(encoding="utf-8")))
    assert asked - VALUES <= texts


def test_no_text_stands_in_pages():
    """Between the tags of a page there are placeholders only."""
    for name, page in load_pages(PACKAGE, WHOLE).html.items():
        visible = re.sub(r"<[^>]*>|\{\{[\w.]+\}\}", " ", page).replace("·", " ")
        assert set(visible.split()) <= {"English", "Deutsch", "Español", "Français"}, name
