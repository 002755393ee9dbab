"""JSON values as YAML 1.2, for people to read: no library needed to write it."""

from __future__ import annotations

import json
import re
from typing import Any

# What stands without quotes: words that no YAML reader takes for a number, a date or a truth.
PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$ ./()+-]*[A-Za-z0-9_)]|[A-Za-z_]")
WITHOUT_POINT = re.compile(r"^(-?[0-9]+)(e[+-][0-9]+)$")
NOT_TEXT = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))


def yaml_text(value: Any) -> str:
    """A JSON value as a YAML document."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any, indent: str = "") -> list[str]:
    if isinstance(value, dict) and value:
        lines = []
        for key, inner in value.items():
            lines += _entry(f"{indent}{_scalar(key)}:", inner, indent + "  ")
        return lines
    if isinstance(value, list) and value:
        lines = []
        for inner in value:
            nested = _lines(inner, indent + "  ")
            if isinstance(inner, dict | list) and inner:
                nested[0] = f"{indent}- {nested[0].lstrip()}"
                lines += nested
            else:
                lines.append(f"{indent}- {_scalar(inner)}")
        return lines
    return [indent + _scalar(value)]


def _entry(head: str, inner: Any, indent: str) -> list[str]:
    if isinstance(inner, dict | list) and inner:
        return [head, *_lines(inner, indent)]
    if isinstance(inner, str) and _is_block(inner):
        return [f"{head} |", *(indent + line if line else "" for line in inner[:-1].split("\n"))]
    return [f"{head} {_scalar(inner)}"]


def _scalar(value: Any) -> str:
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in NOT_TEXT:
        return value
    if isinstance(value, str):
        return '"' + "".join(_escaped(character) for character in value) + '"'
    # JSON's numbers and words are YAML's (1.2, chapter 1.3). A YAML 1.1 reader (PyYAML) takes a
    # number with an exponent for one only if it has a point: 5.0e-324.
    return WITHOUT_POINT.sub(r"\1.0\2", json.dumps(value))


def _is_block(text: str) -> bool:
    """Whether it can stand as lines below its key, without quotes."""
    whole = text.endswith("\n") and not text.endswith("\n\n") and not text.startswith((" ", "\n"))
    return whole and all(line.isprintable() for line in text.split("\n"))


def _escaped(character: str) -> str:
    if character == "\n":
        return "\\n"
    plain = character.isprintable() and character not in '"\\'
    return character if plain else f"\\U{ord(character):08x}"
