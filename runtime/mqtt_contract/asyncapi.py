"""The AsyncAPI 3 document of the MQTT contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from runtime.messages.alarm import AlarmMessage
from runtime.messages.payloads import CONTENT_TYPE, PAYLOAD_LIMIT_BYTES, Message
from runtime.messages.topics import NAME_PATTERN
from runtime.mqtt_contract.channels import CHANNELS, PLACES, Channel, ChannelSpeaker
from runtime.mqtt_contract.examples import as_said

if TYPE_CHECKING:
    from pydantic import BaseModel

CONTRACT_VERSION = "1.1"
"""Raise the second figure for what an old subscriber may pass over, also a new code of an open
vocabulary; the first for anything else."""

BINDING_VERSION = "0.2.0"
SCHEMAS = "#/components/schemas/"

DESCRIPTION = f"""\
What a mammography unit says to its site, and the site to it. MQTT 5; payloads are UTF-8 JSON of at
most {PAYLOAD_LIMIT_BYTES} bytes.

- A subscriber passes over fields that it does not know: a later minor version may add some.
- Vocabularies are open: where a schema says "another code", a later minor version may say codes
  that are not listed (reasons, remarks, events, states, roles, outcomes, `completed_by`, severity,
  names of descriptors). A subscriber takes the message, keeps the code as it is, and shows it as
  "other (CODE)". `flag` has three values and no other; it is never to be dropped for a code beside
  it that is not known.
- Order of upgrades: subscribers first, then units. Version 1.0 listed its codes as closed: who
  checks strictly against 1.0 refuses messages of a unit of 1.1 or later that say a new code.
- `seq` numbers a unit's `exam`, `view`, `event` and `drift` messages without gap, in the order of
  commit. QoS 1 may deliver twice: `(unit, seq)` says so. Who sees a gap asks for `command/replay`.
- `status` and `health` carry `last_seq`, the last number given: so a lost tail is known as well.
- After an outage `status` comes first, then the backlog in order.
- Keys are HMAC-SHA256 pseudonyms under the site's key. No message holds a name, a birth date or a
  patient ID.
- Three flags, never two: `not_assessed` is not `none`. Triage, not diagnosis; not for care.
"""


def asyncapi_document() -> dict[str, Any]:
    """The whole document, as JSON."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "mammoedge: unit and site over MQTT",
            "version": CONTRACT_VERSION,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {"site": _server()},
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {_operation_name(channel): _operation(channel) for channel in CHANNELS},
        "components": {
            "messages": _messages(),
            "schemas": _schemas(),
            "parameters": PARAMETERS,
            "securitySchemes": {
                "clientCertificate": {
                    "type": "X509",
                    "description": "one certificate for each unit and each subscriber",
                }
            },
        },
    }


PARAMETERS = {
    "site": {"description": f"the site's name: {NAME_PATTERN}", "examples": ["st-anna"]},
    "unit": {"description": f"the unit's name: {NAME_PATTERN}", "examples": ["mammo-1"]},
    "exam_key": {
        "description": "pseudonym of the exam, 32 hex digits",
        "examples": ["0f3c9d7a5b21e8864c0d9f1e2a3b4c5d"],
    },
    "alarm_key": {
        "description": "kind, unit (`_site`: of the site as a whole), subject; dots between",
        "examples": ["unit_silent.mammo-1"],
    },
    "view": {
        "description": "side and view in lower case, `x` where a part is unknown",
        "examples": ["rcc", "lmlo", "rx"],
    },
}


def _server() -> dict[str, Any]:
    return {
        "host": "{broker}:{port}",
        "protocol": "secure-mqtt",
        "protocolVersion": "5",
        "description": "The site's broker. TLS 1.2 or later with client certificates.",
        "variables": {
            "broker": {"description": "the broker's host", "default": "localhost"},
            "port": {"description": "its port", "default": "8883"},
        },
        "security": [{"$ref": "#/components/securitySchemes/clientCertificate"}],
        "bindings": {
            "mqtt": {
                # A unit's connection: nothing waits at the broker that the unit's outbox has.
                "cleanSession": True,
                "sessionExpiryInterval": 0,
                "lastWill": {
                    "topic": PLACES.status,
                    "qos": 1,
                    "retain": True,
                    "message": "`status` with `state` `offline`",
                },
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def _channel(channel: Channel) -> dict[str, Any]:
    parameters = [name for name in PARAMETERS if f"{{{name}}}" in channel.address]
    messages = {channel.name: {"$ref": f"#/components/messages/{channel.name}"}}
    if channel.clearable:
        cleared = f"{channel.name}Cleared"
        messages[cleared] = {"$ref": f"#/components/messages/{cleared}"}
    return {
        "address": channel.address,
        "description": channel.summary,
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in parameters},
        "messages": messages,
    }


def _operation_name(channel: Channel) -> str:
    verb = "say" if channel.speaker is ChannelSpeaker.UNIT else "ask"
    return f"{'raise' if channel.payload is AlarmMessage else verb}{channel.name.capitalize()}"


def _operation(channel: Channel) -> dict[str, Any]:
    """As a unit sees it: it receives commands. An alarm is what the site's service sends."""
    binding: dict[str, Any] = {"qos": channel.qos, "retain": channel.retain}
    if channel.expiry_s is not None:
        binding["messageExpiryInterval"] = channel.expiry_s
    heard = channel.speaker is ChannelSpeaker.SITE and channel.payload is not AlarmMessage
    return {
        "action": "receive" if heard else "send",
        "summary": f"{channel.speaker.value} says",
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "bindings": {"mqtt": {**binding, "bindingVersion": BINDING_VERSION}},
    }


def _messages() -> dict[str, Any]:
    messages: dict[str, Any] = {}
    for channel in CHANNELS:
        messages[channel.name] = {
            "name": channel.name,
            "title": channel.payload.__name__,
            "summary": (channel.payload.__doc__ or "").strip().splitlines()[0],
            "contentType": CONTENT_TYPE,
            "payload": {"$ref": SCHEMAS + channel.payload.__name__},
            "examples": [{"payload": as_said(example)} for example in channel.examples],
            "bindings": {
                "mqtt": {
                    "payloadFormatIndicator": 1,
                    "contentType": CONTENT_TYPE,
                    "bindingVersion": BINDING_VERSION,
                }
            },
        }
        if channel.clearable:
            messages[f"{channel.name}Cleared"] = {
                "name": f"{channel.name}Cleared",
                "summary": "No bytes, retained: what stood here has expired and is no longer true.",
            }
    return messages


def _schemas() -> dict[str, Any]:
    payloads = [channel.payload for channel in CHANNELS]
    _, top = models_json_schema(
        [(payload, "serialization") for payload in payloads],
        by_alias=True,
        ref_template=SCHEMAS + "{model}",
    )
    schemas: dict[str, Any] = dict(top["$defs"])
    commands = {c.payload.__name__ for c in CHANNELS if c.name in ("replay", "rebirth")}
    for name, schema in schemas.items():
        if name not in commands and schema.get("additionalProperties") is False:
            # What a unit says may grow; what it listens to may not.
            del schema["additionalProperties"]
    for payload in payloads:
        _relax(schemas[payload.__name__], payload)
    _name_lists(schemas, schemas)
    return dict(sorted(schemas.items()))


def _name_lists(value: Any, schemas: dict[str, Any]) -> None:
    """Keys of maps refer to the list of codes, where there is one of that name already."""
    if isinstance(value, list):
        for inner in value:
            _name_lists(inner, schemas)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        _name_lists(inner, schemas)
        if key == "propertyNames" and "anyOf" in inner:
            value[key] = {"anyOf": [_named(one, schemas) for one in inner["anyOf"]]}


def _named(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    lists = {tuple(one["enum"]): name for name, one in schemas.items() if "enum" in one}
    name = lists.get(tuple(schema.get("enum", ())))
    return schema if name is None else {"$ref": SCHEMAS + name}


def _relax(schema: dict[str, Any], payload: type[BaseModel]) -> None:
    """What a site may leave switched off is not in every payload."""
    if issubclass(payload, Message):
        schema["required"] = [n for n in schema["required"] if n not in payload.omitted_when_none]
