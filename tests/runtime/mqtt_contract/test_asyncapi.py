"""The contract as a document: complete, valid by the judgement of others, true to the code."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import yaml

from runtime.cli.main import main
from runtime.messages.payloads import PAYLOAD_TYPES
from runtime.messages.topics import Topics
from runtime.mqtt_contract.asyncapi import CONTRACT_VERSION, asyncapi_document
from runtime.mqtt_contract.channels import CHANNELS
from runtime.mqtt_contract.examples import as_said
from runtime.site.subscriber.topic_parsing import TopicKind
from tests.conftest import ROOT
from tests.runtime.site import said
from tests.support.node import run_node

DOCUMENT = asyncapi_document()
AGAIN = "`mammoedge asyncapi {}` writes it anew"


def payload_validator(name) -> jsonschema.Draft7Validator:
    """The schema of a message, as AsyncAPI 3 reads it by default (JSON Schema draft 7)."""
    schema = {**DOCUMENT["components"]["messages"][name]["payload"], **DOCUMENT}
    return jsonschema.Draft7Validator(schema)


def test_every_topic_and_every_message_stands_in_it():
    """The MQTT contract whole: what a unit says, what it hears, what the site's service says."""
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    topics = Topics(site="{site}", unit="{unit}")
    assert addresses == {
        topics.status, topics.event, topics.drift, topics.health, topics.replay, topics.rebirth,
        topics.exam("{exam_key}"), topics.view("{exam_key}", "{view}"),
        "mammoedge/v1/{site}/_site/alarm",
            "mammoedge/v1/{site}/_site/alarm/{alarm_key}", topics.probe,
    }  # fmt: skip
    assert len(CHANNELS) == len(TopicKind)
    assert {c.payload for c in CHANNELS} >= set(PAYLOAD_TYPES)
    for channel in DOCUMENT["channels"].values():
        assert set(re.findall(r"{(\w+)}", channel["address"])) == set(channel["parameters"])


def test_the_official_parser_finds_no_fault(capsys):
    """@asyncapi/parser for AsyncAPI 3 reads what is printed: no error, no warning."""
    assert main(["asyncapi"]) == 0
    script = """
    const {Parser} = require('@asyncapi/parser');
    new Parser().parse(require('fs').readFileSync(0, 'utf8')).then(({document, diagnostics}) => {
      const found = diagnostics.map(d => [d.severity, d.code, d.message, d.path.join('/')]);
      const names = document ? document.allMessages().all().map(m => m.name()) : [];
      console.log(JSON.stringify({version: document && document.version(), names, found}));
    });
    """
    process = run_node(script, packages=("@asyncapi/parser",))
    out, errors = process.communicate(capsys.readouterr().out, timeout=120)
    verdict = json.loads(out or "null")
    assert verdict, errors
    assert verdict["version"] == "3.0.0"
    # Severity 2 is information: there is a later AsyncAPI than 3.0.
    assert [fault for fault in verdict["found"] if fault[0] < 2] == []
    assert set(verdict["names"]) >= set(DOCUMENT["channels"])


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_every_example_is_what_its_schema_says(channel):
    """Validated by an independent JSON Schema validator; each field of the schema is shown."""
    validator = payload_validator(channel.name)
    shown = set()
    for example in DOCUMENT["components"]["messages"][channel.name]["examples"]:
        validator.validate(example["payload"])
        shown |= example["payload"].keys()
    schema = DOCUMENT["components"]["schemas"][channel.payload.__name__]
    assert set(schema.get("required", ())) <= shown


@pytest.mark.parametrize(
    ("name", "arrival"),
    [
        ("status", said.status(3)), ("exam", said.exam(3)), ("view", said.view(3)),
        ("event", said.event(3)), ("drift", said.drift(3)), ("health", said.health(3)),
    ],
)  # fmt: skip
def test_what_a_unit_really_says_is_what_the_document_says(name, arrival):
    """A voice's own payloads validate, with a later version's field, too; others do not."""
    body, validator = json.loads(arrival.payload), payload_validator(name)
    validator.validate(body)
    validator.validate(body | {"of_a_later_version": 1})
    for harm in ({"schema": "mammoedge.other/1"}, {"at": "yesterday"}, {"boot_id": None}):
        assert not validator.is_valid(body | harm), harm
    assert not validator.is_valid({k: v for k, v in body.items() if k != "unit"})


def test_a_command_with_a_field_too_many_is_none():
    """What a unit listens to is closed, and the document says so."""
    validator = payload_validator("replay")
    assert validator.is_valid({"from_seq": 1})
    for harm in ({"from_seq": 0}, {"from_seq": "1"}, {}, {"from_seq": 1, "to_seq": 2}):
        assert not validator.is_valid(harm)


def test_retained_and_expiry_are_those_of_the_voice():
    """The bindings against what the publisher is really handed."""
    channels = {channel.name: channel for channel in CHANNELS}
    message_factory = said.MESSAGE_FACTORY
    from tests.support.builders import MODEL, exam_flag, image, result

    publications = {
        "exam": message_factory.exam_message(exam_flag(), at_ms=0),
        "view": message_factory.view_message(
            image("RCC", result(0.1)), study_instance_uid="1", at_ms=0, stage_ms={}
        ),
        "event": message_factory.event_message("exposure", at_ms=0),
        "drift": message_factory.drift_message(
            at_ms=0, model=MODEL, day="2026-11-21", images=0, exams=0, histogram=(), psi=None,
            priority_rate=None, not_assessed_rate={},
        ),
    }  # fmt: skip
    for name, publication in publications.items():
        channel = channels[name]
        assert (channel.retain, channel.expiry_s) == (publication.retained, publication.expiry_s)
        assert channel.qos == 1


def test_what_is_printed_is_json_and_yaml(capsys):
    """The same bytes with `--json` and without; an independent YAML reader reads them as well."""
    assert main(["asyncapi"]) == 0
    printed = capsys.readouterr().out
    assert main(["asyncapi", "--json"]) == 0
    assert capsys.readouterr().out == printed
    assert yaml.safe_load(printed) == json.loads(printed) == json.loads(json.dumps(DOCUMENT))


def test_the_page_in_the_docs_is_of_this_code(capsys):
    """docs/wire.md is what the command prints."""
    assert main(["asyncapi", "--page"]) == 0
    printed = capsys.readouterr().out
    assert (ROOT / "docs" / "wire.md").read_text() == printed, AGAIN.format("--page > docs/wire.md")
    for channel in CHANNELS:
        assert channel.address in printed
        for example in channel.examples:
            assert json.dumps(as_said(example), ensure_ascii=False, indent=1) in printed


def test_released_documents_are_named_for_their_version_and_none_is_newer():
    """docs/wire/ gets a version's file when it is released; until then codes may be added."""
    for file in (ROOT / "docs" / "wire").glob("*.json"):
        assert json.loads(file.read_text())["info"]["version"] == file.stem
        figures = [tuple(map(int, text.split("."))) for text in (file.stem, CONTRACT_VERSION)]
        assert figures[0] <= figures[1]
