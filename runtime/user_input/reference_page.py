"""A page of reference, printed from the types that check what it tells of.

One table for each part of a file: key, type, default, unit, range, what it does, since when. The
facts are those of the type's JSON Schema, so that the page cannot say another thing than the check.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import BaseModel

FIRST_VERSION = "0.1"
"""Of fields that do not say since when they are there (`json_schema_extra={"since": ...}`)."""
UNITS = {
    "_per_hour": "per hour",
    "_per_s": "per second",
    "_percent": "%",
    "_px": "pixels",
    "_mm": "mm",
    "_ms": "ms",
    "_s": "s",
    "_hours": "h",
    "_days": "days",
    "_kib": "KiB",
    "_mib": "MiB",
    "_mb": "MiB",
    "_bytes": "bytes",
    "_megapixels": "megapixels",
}
PLAIN_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "table",
}
FORMATS = {"path": "path", "date": "date", "date-time": "date and time"}
BOUNDS = {
    "exclusiveMinimum": "above {}",
    "minimum": "at least {}",
    "exclusiveMaximum": "below {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A table of the file: its heading as it is written there, and the type that checks it."""

    heading: str
    model: type[BaseModel]


def parts_of(file: type[BaseModel], *, besides: set[str]) -> list[Part]:
    """A part for each table of a settings file; those of `besides` are the caller's."""
    tables: list[Part] = []
    for name, field in file.model_fields.items():
        if name not in besides and isinstance(field.annotation, type):
            tables.append(Part(heading=f"`[{name}]`", model=field.annotation))
    return tables


def reference_page(title: str, introduction: str, parts: Iterable[Part]) -> str:
    """The page as Markdown."""
    text = [f"# {title}", "", introduction, ""]
    for part in parts:
        schema = part.model.model_json_schema(mode="validation")
        text += _part(part.heading, schema, schema.get("$defs", {}))
    return "\n".join(text).rstrip() + "\n"


def undescribed(parts: Iterable[Part]) -> list[str]:
    """Keys that do not say what they do."""
    missing = []
    for part in parts:
        schema = part.model.model_json_schema(mode="validation")
        for name, owner in {part.heading: schema, **schema.get("$defs", {})}.items():
            missing += [
                f"{name}: {key}"
                for key, said in owner.get("properties", {}).items()
                if not said.get("description") and "const" not in said
            ]
    return missing


def _part(heading: str, schema: dict[str, Any], known: dict[str, Any]) -> Iterator[str]:
    yield from (f"## {heading}", "", _one_line(schema.get("description", "")), "")
    yield "| key | type | default | unit | range | what it does | since |"
    yield "|---|---|---|---|---|---|---|"
    required = schema.get("required", [])
    inner: list[tuple[str, dict[str, Any]]] = []
    for key, said in schema.get("properties", {}).items():
        options = [option for option in said.get("anyOf", [said]) if option.get("type") != "null"]
        default = "required" if key in required else _default(said)
        cells = (
            f"`{key}`",
            " or ".join(dict.fromkeys(_type(option, known) for option in options)),
            default,
            next((unit for suffix, unit in UNITS.items() if key.endswith(suffix)), ""),
            "; ".join(filter(None, (_range(option) for option in options))),
            _one_line(said.get("description", "")),
            said.get("since", FIRST_VERSION),
        )
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        inner += [(key, found) for option in options if (found := _table(option, known))]
    yield ""
    for key, found in inner:
        yield from _part(_below(heading, key), found, known)


def _below(heading: str, key: str) -> str:
    """`[page]` and `openid` make `[page.openid]`; a heading that is no table stays in front."""
    if heading.startswith("`[") and heading.endswith("]`"):
        return f"{heading[:-2]}.{key}]`"
    return f"{heading}: `{key}`"


def _table(said: dict[str, Any], known: dict[str, Any]) -> dict[str, Any] | None:
    """The type of a table that a key holds; None where it holds none of ours."""
    said = said.get("items", said) if said.get("type") == "array" else said
    found = known.get(said.get("$ref", "").rpartition("/")[2])
    return found if found is not None and "properties" in found else None


def _type(said: dict[str, Any], known: dict[str, Any]) -> str:
    if "$ref" in said:
        found = known[said["$ref"].rpartition("/")[2]]
        return "table" if "properties" in found else _type(found, known)
    if "const" in said:
        return f"`{said['const']}`"
    if "enum" in said:
        return "one of " + ", ".join(f"`{choice}`" for choice in said["enum"])
    if "oneOf" in said:
        return "table"
    if said.get("type") == "array" and "items" in said:
        return f"list of {_type(said['items'], known)}"
    return FORMATS.get(said.get("format", ""), PLAIN_TYPES.get(said.get("type", ""), "anything"))


def _range(said: dict[str, Any]) -> str:
    told = [how.format(f"{said[key]:g}") for key, how in BOUNDS.items() if key in said]
    if "pattern" in said:
        told.append(f"`{said['pattern']}`")
    if said.get("type") == "array" and (of_each := _range(said.get("items", {}))):
        told.append(f"each {of_each}")
    return ", ".join(told)


def _default(said: dict[str, Any]) -> str:
    value = said.get("default")
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "as below" if value else "empty"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _one_line(text: str) -> str:
    return " ".join(text.split())
