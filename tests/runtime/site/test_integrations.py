"""What we ship for other people's tools fits what we serve and say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runtime.messages.payloads import (
    DriftMessage,
    EventMessage,
    ExamMessage,
    HealthMessage,
    StatusMessage,
    ViewMessage,
)
from tests.conftest import ROOT, module_or_skip, skip_or_fail
from tests.support.waiting import CHILD_S

module_or_skip("sqlalchemy", "extra [site] is not installed")

from runtime.image.reasons import Reason  # noqa: E402
from runtime.site.control_charts.chart_state import Measure  # noqa: E402
from runtime.site.queries.fleet import Fleet  # noqa: E402
from runtime.site.service.metrics import exposition  # noqa: E402
from runtime.site.store.service_state import ServiceState  # noqa: E402
from tests.runtime.site.page.bench import FleetBench, now_ms  # noqa: E402

FOLDER = ROOT / "runtime" / "site" / "integrations"
PROMTOOL = Path("/usr/bin/promtool")
GO_TIME = "2006-01-02T15:04:05.000Z"
PAYLOADS = {
    "mammoedge/v1/+/+/exam/+": ExamMessage,
    "mammoedge/v1/+/+/exam/+/view/+": ViewMessage,
    "mammoedge/v1/+/+/status": StatusMessage,
    "mammoedge/v1/+/+/health": HealthMessage,
    "mammoedge/v1/+/+/drift": DriftMessage,
    "mammoedge/v1/+/+/event": EventMessage,
}
TYPES = {"int": int, "float": (int, float), "bool": bool, "string": str}


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> str:
    """A page of metrics of a fleet in which everything that can be served is."""
    bench = FleetBench(tmp_path_factory.mktemp("fleet"))
    bench.born("mammo-1", waiting=3, oldest_s=5.0)
    bench.days("mammo-1", days=1, exams=4)
    bench.exams("mammo-1", priority=2, none=5, not_assessed=1)
    for measure in Measure:
        bench.chart("mammo-1", measure.value, 0.1)
    bench.alarm("mammo-1", "drift")
    bench.hear_foreign("mammoedge/v1/x", "not_json")
    summary = Fleet(bench.store).summary(now_ms())
    state = ServiceState(service="site-1", started_ms=0, broker_up=True, broker_problem="")
    text = exposition(state, summary).decode()
    bench.close()
    return text


def promtool(*arguments, **options):
    if not PROMTOOL.exists():
        skip_or_fail(f"{PROMTOOL} (Debian's prometheus) is not installed")
    done = subprocess.run(
        [PROMTOOL, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=CHILD_S,
        **options,
    )
    return done.returncode, done.stdout + done.stderr


def test_promtool_takes_configuration_rules_and_exposition(served, tmp_path):
    """Prometheus' own checker: the files, the rules' tests, and what we serve."""
    for name in FOLDER.glob("prometheus*.yml"):
        shutil.copy(name, tmp_path)
    for check in (
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "prometheus-rules.yml"),
        ("test", "rules", "prometheus-rules.test.yml"),
    ):
        code, said = promtool(*check, cwd=tmp_path)
        assert code == 0, said
    code, said = promtool("check", "metrics", input=served)
    assert code == 0, said


def test_a_counter_above_a_million_is_served_to_the_last_digit():
    """`rate()` is wrong where a counter moves in steps of ten; a quantile belongs to a summary."""
    state = ServiceState(
        service="site-1", started_ms=0, broker_up=True, broker_problem="", committed=1_234_567
    )
    text = exposition(state, None).decode()
    (line,) = re.findall(r"^mammoedge_site_committed_messages_total.* (\S+)$", text, re.MULTILINE)
    assert float(line) == 1_234_567
    assert "# TYPE mammoedge_site_commit_seconds summary" in text


def test_a_label_from_the_wire_cannot_break_the_page():
    """Quotes, backslashes and line ends in a name are escaped."""
    state = ServiceState(
        service='a"b\\c\nd', started_ms=0, broker_up=True, broker_problem="", committed=1
    )
    text = exposition(state, None).decode()
    code, said = promtool("check", "metrics", input=text)
    assert code == 0, said
    assert r'service="a\"b\\c\nd"' in text


def labels_by_metric(text) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(mammoedge_\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def asked_of(expression) -> list[tuple[str, set[str]]]:
    """(metric, labels that it is selected or summed by) of a PromQL expression."""
    grouped = set(re.findall(r"by \(([\w, ]+)\)", expression))
    labels = {label.strip() for group in grouped for label in group.split(",")}
    return [
        (name, labels | set(re.findall(r"(\w+)\s*=~?\s*\"", selector)))
        for name, selector in re.findall(r"(mammoedge_\w+)(?:\{([^}]*)\})?", expression)
    ]


def dashboard():
    return json.loads((FOLDER / "grafana-dashboard.json").read_text())


def test_every_metric_that_a_dashboard_or_a_rule_asks_for_is_served(served):
    """Names and labels; a metric that is renamed fails here."""
    known = labels_by_metric(served)
    expressions = [t["expr"] for panel in dashboard()["panels"] for t in panel["targets"]]
    expressions += [one["definition"] for one in dashboard()["templating"]["list"][1:]]
    rules = (FOLDER / "prometheus-rules.yml").read_text()
    expressions += re.findall(r"expr: (.+)", rules)
    asked = [one for expression in expressions for one in asked_of(expression)]
    assert len(asked) > 20
    for name, labels in asked:
        assert name in known, name
        assert labels <= known[name], (name, labels - known[name])
    shown = re.findall(r"\{\{(\w+)\}\}", json.dumps(dashboard()))
    assert set(shown) <= set().union(*known.values())


def test_every_panel_says_what_it_shows_and_in_what():
    """A title, a sentence, a unit; no two in one place; within Grafana's 24 columns."""
    places = set()
    for panel in dashboard()["panels"]:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        places.add((place["x"], place["y"]))
    assert len(places) == len(dashboard()["panels"])
    assert "${datasource}" in json.dumps(dashboard())


# --- Telegraf: our own reading of json_v2, because Telegraf could not be had ----------------------


def inputs():
    document = tomllib.loads((FOLDER / "telegraf.conf").read_text())
    return {one["topics"][0]: one for one in document["inputs"]["mqtt_consumer"]}


def parsed(payload: bytes, rules):
    """(measurement, time, tags, fields) as json_v2 makes them of one message."""
    body = json.loads(payload)
    said_at = str(at_path(body, rules.get("timestamp_path", "at"), rules))
    moment = datetime.fromisoformat(said_at)

    def values(kind):
        for rule in rules.get(kind, []):
            value = at_path(body, rule["path"], rule)
            if value is not None:
                yield rule.get("rename", rule["path"].split(".")[-1]), value, rule.get("type")

    tags = {name: str(value) for name, value, _ in values("tag")}
    fields = {}
    for name, value, kind in values("field"):
        assert isinstance(value, TYPES[kind]), (name, value, kind)
        assert kind == "bool" or not isinstance(value, bool), name
        assert name not in fields
        fields[name] = value
    return rules["measurement_name"], moment, tags, fields


def at_path(body, path, rule):
    """The value; None where it is null, or missing and optional. Raises KeyError."""
    for step in path.split("."):
        if body is None or step not in body:
            if rule.get("optional") or body is None:
                return None
            raise KeyError(path)
        body = body[step]
    assert not isinstance(body, dict | list), path
    return body


def schema_has(kind, path) -> bool:
    """Whether a path is one of the payload's schema."""
    from runtime.messages.payloads import payload_schema

    schema = payload_schema(kind)
    definitions, node = schema.get("$defs", {}), schema
    for step in path.split("."):
        options = [node, *node.get("anyOf", ())]
        options = [definitions[o["$ref"].split("/")[-1]] if "$ref" in o else o for o in options]
        inner = [o["properties"][step] for o in options if step in o.get("properties", {})]
        inner += [
            o["additionalProperties"]
            for o in options
            if isinstance(o.get("additionalProperties"), dict)
        ]
        if not inner:
            return False
        node = inner[0]
    return True


def test_telegrafs_rules_name_what_we_say():
    """Every path is in the payload's schema; what may be absent is optional; subscriptions last."""
    found = inputs()
    assert set(found) == set(PAYLOADS)
    assert len({one["client_id"] for one in found.values()}) == len(found)
    for topic, one in found.items():
        assert (one["qos"], one["protocol"], one["persistent_session"]) == (1, "5", True)
        (rules,) = one["json_v2"]
        if topic.endswith("/status"):
            assert "timestamp_path" not in rules, "a will was written when the unit connected"
        else:
            assert rules["timestamp_format"] == GO_TIME
        for rule in (*rules["tag"], *rules["field"]):
            assert schema_has(PAYLOADS[topic], rule["path"]), rule["path"]
        tags = {rule["path"] for rule in rules["tag"]}
        assert not tags & {"exam_key", "image_key", "seq", "at"}, "a tag for each message"


def test_telegrafs_rules_read_real_messages(tmp_path):
    """Messages of ours, whole and with everything null that may be, become points with types."""
    bench = FleetBench(tmp_path)
    unit = bench.unit("mammo-1")
    import random

    from tests.runtime.site.page.bench import drift_of

    at_ms = now_ms()
    said = {
        "mammoedge/v1/+/+/exam/+": [unit.exam(1)],
        "mammoedge/v1/+/+/exam/+/view/+": [unit.view(1), unit.view(2, reasons=(Reason.IMPLANT,))],
        "mammoedge/v1/+/+/status": [unit.status(), unit.status(offline=True)],
        "mammoedge/v1/+/+/health": [unit.health(), unit.health(waiting=4, oldest_s=2.5)],
        "mammoedge/v1/+/+/drift": [
            unit.drift(histogram=(1,) * 20, psi=None),
            drift_of(unit, "2026-11-21", random.Random(1), at_ms=at_ms),
        ],
        "mammoedge/v1/+/+/event": [unit.event()],
    }
    bench.close()
    points = []
    for topic, arrivals in said.items():
        (rules,) = inputs()[topic]["json_v2"]
        for arrival in arrivals:
            measurement, moment, tags, fields = parsed(arrival.message.encode(), rules)
            assert measurement.startswith("mammoedge_")
            assert moment.tzinfo is UTC or moment.utcoffset().total_seconds() == 0
            assert (tags["site"], tags["unit"]) == ("st-anna", "mammo-1")
            assert fields
            points.append((measurement, tags, fields))
    drift = points[-2]
    assert drift[1]["baseline"] == "unit"
    assert {"psi_score", "psi_density", "psi_pixel_spacing", "psi_manufacturer"} <= set(drift[2])
    assert "psi_score" not in points[-3][2]
