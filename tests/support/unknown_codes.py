"""Messages as a unit of a later version says them: codes that this version does not know.

Where a code may stand is read off the published document, so that no vocabulary is forgotten.
"""

from __future__ import annotations

import copy
from typing import Any

from runtime.messages.vocabulary import CODE_PATTERN
from runtime.mqtt_contract.asyncapi import asyncapi_document

DOCUMENT = asyncapi_document()
Path = tuple[Any, ...]
KEYS, MORE = "(keys)", "(more)"
"""In a path: the keys of a map; one more item of a list."""


def _resolved(schema: dict) -> dict:
    while "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _is_open(schema: dict) -> bool:
    return any(one.get("pattern") == CODE_PATTERN for one in schema.get("anyOf", (schema,)))


def code_places(schema: dict, value: Any, here: Path = ()) -> list[Path]:
    """Every place in a message where its schema takes an unknown code."""
    schema = _resolved(schema)
    if _is_open(schema):
        return [here]
    places: list[Path] = []
    for variant in map(_resolved, schema.get("anyOf", (schema,))):
        if isinstance(value, dict):
            if value and _is_open(variant.get("propertyNames", {})):
                places.append((*here, KEYS))
            for name, inner in variant.get("properties", {}).items():
                if name in value:
                    places += code_places(inner, value[name], (*here, name))
        elif isinstance(value, list) and "items" in variant:
            if _is_open(_resolved(variant["items"])):
                places.append((*here, MORE))
            for index, inner in enumerate(value):
                places += code_places(variant["items"], inner, (*here, index))
    return places


def with_code(message: dict, place: Path, code: str) -> dict:
    """The message with a code at a place."""
    changed = copy.deepcopy(message)
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    if place[-1] == MORE:
        inner.append(code)
    elif place[-1] == KEYS:
        inner[code] = next(iter(inner.values()))
    else:
        inner[place[-1]] = code
    return changed


def payload_schema_of(channel: str) -> dict:
    """The published schema of a channel's payload, with what it refers to."""
    return {**DOCUMENT["components"]["messages"][channel]["payload"], **DOCUMENT}
