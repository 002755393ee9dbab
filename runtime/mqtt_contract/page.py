"""The document as a page for people: `docs/wire.md`."""

from __future__ import annotations

import json
from typing import Any

from runtime.messages.vocabulary import CODE_PATTERN

ROOT = "mammoedge/v1/SITE/UNIT"


def page(document: dict[str, Any]) -> str:
    """Markdown of an AsyncAPI document that `asyncapi_document` made."""
    parts = [_head(document), _overview(document)]
    parts += [_channel(document, name) for name in document["channels"]]
    shared = [name for name in document["components"]["schemas"] if name not in _payloads(document)]
    parts.append("## Parts\n\nWhat several messages are made of.")
    parts += [_schema(document, name, "###") for name in shared]
    return "\n\n".join(parts) + "\n"


def _head(document: dict[str, Any]) -> str:
    info = document["info"]
    return (
        f"<!-- Written by `mammoedge asyncapi --page`; a test holds it to the code. -->\n"
        f"# {info['title']}, version {info['version']}\n\n{info['description'].rstrip()}\n\n"
        "For machines: `mammoedge asyncapi` (AsyncAPI 3, YAML) or `mammoedge asyncapi --json`; the"
        "\nreleased documents are in `docs/wire/`."
    )


def _overview(document: dict[str, Any]) -> str:
    rows = ["| topic | who | QoS | retained | expires |", "|---|---|---|---|---|"]
    for name, channel in document["channels"].items():
        operation = _operation(document, name)
        binding = operation["bindings"]["mqtt"]
        rows.append(
            f"| [`{channel['address']}`](#{name}) | {operation['summary'].split()[0]} |"
            f" {binding['qos']} | {'yes' if binding['retain'] else 'no'} |"
            f" {_duration(binding.get('messageExpiryInterval'))} |"
        )
    return "\n".join(rows)


def _channel(document: dict[str, Any], name: str) -> str:
    channel = document["channels"][name]
    lines = [f"## {name}", "", f"`{channel['address']}`", "", channel["description"], ""]
    payload = _name(document["components"]["messages"][name]["payload"]["$ref"])
    lines.append(_schema(document, payload, ""))
    for key in channel["messages"]:
        message = document["components"]["messages"][key]
        if key != name:
            lines += ["", message["summary"]]
        for example in message.get("examples", ()):
            text = json.dumps(example["payload"], ensure_ascii=False, indent=1)
            lines += ["", "```json", text, "```"]
    return "\n".join(lines)


def _schema(document: dict[str, Any], name: str, heading: str) -> str:
    schema = document["components"]["schemas"][name]
    lines = [f"{heading} {name}", ""] if heading else []
    if schema.get("description"):
        lines += [" ".join(schema["description"].split()), ""]
    if "enum" in schema:
        lines.append(", ".join(f"`{value}`" for value in schema["enum"]))
        return "\n".join(lines)
    required = schema.get("required", ())
    lines += ["| field | what | |", "|---|---|---|"]
    for field, inner in schema.get("properties", {}).items():
        always = "" if field in required else "not always there"
        about = [" ".join(inner.get("description", "").split()), always]
        said = "; ".join(part for part in about if part)
        lines.append(f"| `{field}` | {_kind(inner)} | {said} |")
    return "\n".join(lines) if len(lines) > 2 or not heading else "\n".join([*lines, "no fields"])


def _kind(schema: dict[str, Any]) -> str:
    """A field's type in a few words."""
    if "$ref" in schema:
        name = _name(schema["$ref"])
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        if _is_open(schema):
            known = [inner for inner in schema["anyOf"] if inner.get("pattern") != CODE_PATTERN]
            null = [inner for inner in known if inner.get("type") == "null"]
            listed = [_kind(inner) for inner in known if inner not in null]
            return " or ".join([*listed, "another code", *map(_kind, null)])
        return " or ".join(_kind(inner) for inner in schema["anyOf"])
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if values is not None:
        return " or ".join(f"`{value}`" for value in values)
    return _plain_kind(schema)


def _is_open(schema: dict[str, Any]) -> bool:
    """A vocabulary that may grow; a plain code (`Code`) has no alternatives."""
    return any(inner.get("pattern") == CODE_PATTERN for inner in schema.get("anyOf", ()))


def _plain_kind(schema: dict[str, Any]) -> str:
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}{_limits(schema)}"
    if kind == "object":
        values = schema.get("additionalProperties")
        keys = schema.get("propertyNames", {})
        by = f" by {_kind(keys)}" if _is_open(keys) else ""
        return f"map to {_kind(values)}{by}{_limits(schema)}" if isinstance(values, dict) else kind
    return kind + _limits(schema)


def _limits(schema: dict[str, Any]) -> str:
    words = {
        "minimum": "from {}", "maximum": "to {}", "maxLength": "at most {} characters",
        "maxItems": "at most {}", "maxProperties": "at most {}",
    }  # fmt: skip
    said = [text.format(schema[key]) for key, text in words.items() if key in schema]
    if "pattern" in schema:
        # A bar would end the table's cell.
        said.append("`" + schema["pattern"].replace("|", "\\|") + "`")
    return f" ({', '.join(said)})" if said else ""


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return "no"
    if seconds == 0xFFFF_FFFF:
        return "never"
    return f"{seconds // 86_400} d" if seconds >= 2 * 86_400 else f"{seconds // 3600} h"


def _operation(document: dict[str, Any], channel: str) -> dict[str, Any]:
    ref = f"#/channels/{channel}"
    operations: list[dict[str, Any]] = list(document["operations"].values())
    return next(each for each in operations if each["channel"]["$ref"] == ref)


def _payloads(document: dict[str, Any]) -> set[str]:
    messages = document["components"]["messages"].values()
    return {_name(each["payload"]["$ref"]) for each in messages if "payload" in each}


def _name(ref: str) -> str:
    return ref.rpartition("/")[2]
