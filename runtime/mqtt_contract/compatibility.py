"""Would a subscriber of the last release still understand us? Two documents, and what differs.

The rules: what a unit says may only become narrower (every new message is one that the old schema
allowed), but for fields that are added, which subscribers pass over. What a unit listens to may
only become wider. A topic, its direction, QoS and retained flag stay. Whatever the rules cannot
judge counts as breaking.

A vocabulary is a list of codes. In an open one, which a subscriber takes with codes that it does
not know, a new code is harmless. Opening one is harmless by the contract's order of upgrades
alone, subscribers first, and the difference says so: whoever checks against the older document
refuses what it does not list. The flag is no vocabulary and is never opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from runtime.messages.vocabulary import CODE_PATTERN

Schema = dict[str, Any]

ANNOTATIONS = frozenset(
    {"title", "description", "summary", "examples", "default", "deprecated", "format", "$comment"}
)
# Bound -> whether a larger value allows more.
BOUNDS = {
    "minimum": False, "exclusiveMinimum": False, "minLength": False, "minItems": False,
    "minProperties": False, "maximum": True, "exclusiveMaximum": True, "maxLength": True,
    "maxItems": True, "maxProperties": True,
}  # fmt: skip
JUDGED = frozenset(
    {"type", "enum", "const", "anyOf", "oneOf", "properties", "required", "items", "pattern",
     "additionalProperties", "propertyNames", "$ref", *BOUNDS}
)  # fmt: skip

NEVER_OPEN = frozenset({"flag", "schema"})
"""Fields that a subscriber acts on: it must know every value."""
OPENED = "vocabulary opened: subscribers that refuse unknown codes are upgraded before units"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One difference. `where`: channel and path within the payload."""

    where: str
    what: str
    breaking: bool


@dataclass(frozen=True, kw_only=True)
class CompatibilityVerdict:
    """What a release would mean for those who built on the last one."""

    released: str
    current: str
    differences: tuple[Difference, ...]

    @property
    def breaking(self) -> tuple[Difference, ...]:
        """Those that an old subscriber would stumble over."""
        return tuple(each for each in self.differences if each.breaking)

    @property
    def fault(self) -> str:
        """Why this may not be released under its version; "" if it may."""
        old, new = _version(self.released), _version(self.current)
        if self.breaking and new[0] <= old[0]:
            return f"breaks subscribers of {self.released}: raise the first figure of the version"
        if self.differences and new <= old:
            return f"differs from {self.released}: raise the version"
        return "" if new >= old else f"the version is below {self.released}"


def compare(released: Schema, current: Schema) -> CompatibilityVerdict:
    """The differences between two AsyncAPI documents of ours."""
    differences: list[Difference] = []
    old_channels, new_channels = _by_address(released), _by_address(current)
    for address, (old_name, old) in old_channels.items():
        if address not in new_channels:
            differences.append(Difference(where=old_name, what="topic removed", breaking=True))
            continue
        name, new = new_channels[address]
        differences += _bindings(name, old, new)
        differences += _payloads(name, (released, old), (current, new))
    differences += [
        Difference(where=name, what="topic added", breaking=False)
        for address, (name, _) in new_channels.items()
        if address not in old_channels
    ]
    return CompatibilityVerdict(
        released=released["info"]["version"],
        current=current["info"]["version"],
        differences=tuple(differences),
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(figure) for figure in text.split("."))


def _by_address(document: Schema) -> dict[str, tuple[str, Schema]]:
    operations = {each["channel"]["$ref"]: each for each in document["operations"].values()}
    return {
        channel["address"]: (
            name,
            {
                "operation": operations[f"#/channels/{name}"],
                "messages": [
                    _resolved(document, message) for message in channel["messages"].values()
                ],
            },
        )
        for name, channel in document["channels"].items()
    }


def _bindings(name: str, old: Schema, new: Schema) -> list[Difference]:
    before, after = old["operation"], new["operation"]
    differences = []
    if before["action"] != after["action"]:
        differences.append(Difference(where=name, what="direction changed", breaking=True))
    bound, rebound = before["bindings"]["mqtt"], after["bindings"]["mqtt"]
    for key in ("qos", "retain"):
        if bound.get(key) != rebound.get(key):
            what = f"{key} changed from {bound.get(key)} to {rebound.get(key)}"
            differences.append(Difference(where=name, what=what, breaking=True))
    if bound.get("messageExpiryInterval") != rebound.get("messageExpiryInterval"):
        # A site sets it as it likes: the figure here is a default.
        differences.append(Difference(where=name, what="expiry changed", breaking=False))
    return differences


def _payloads(
    name: str, old: tuple[Schema, Schema], new: tuple[Schema, Schema]
) -> list[Difference]:
    olds, news = ([_payload(m) for m in side[1]["messages"]] for side in (old, new))
    types, retypes = ([m.get("contentType") for m in side[1]["messages"]] for side in (old, new))
    differences = []
    if len(olds) != len(news) or types != retypes:
        differences.append(Difference(where=name, what="messages changed", breaking=True))
        return differences
    heard = old[1]["operation"]["action"] == "receive"
    for before, after in zip(olds, news, strict=True):
        if heard:
            faults = _Inclusion(wide=new[0], narrow=old[0]).faults(after, before, name)
        else:
            inclusion = _Inclusion(wide=old[0], narrow=new[0], removal_breaks=True)
            faults = inclusion.faults(before, after, name)
        differences += faults
        if not faults and _bare(old[0], before) != _bare(new[0], after):
            differences.append(
                Difference(where=name, what="changed, within what is allowed", breaking=False)
            )
    return differences


def _payload(message: Schema) -> Schema:
    return dict(message.get("payload", {}))


def _resolved(document: Schema, schema: Schema) -> Schema:
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def _bare(document: Schema, value: Any, *, named: bool = False) -> Any:
    """A schema without references and annotations. `named`: its keys are names of fields."""
    if isinstance(value, dict):
        whole = value if named else _resolved(document, value)
        return {
            key: _bare(document, inner, named=key == "properties" and not named)
            for key, inner in whole.items()
            if named or key not in ANNOTATIONS
        }
    if isinstance(value, list):
        return [_bare(document, inner) for inner in value]
    return value


@dataclass(frozen=True, kw_only=True)
class _Inclusion:
    """Whether all that one schema allows is allowed by another; documents resolve references."""

    wide: Schema
    narrow: Schema
    removal_breaks: bool = False

    def faults(self, wide: Schema, narrow: Schema, where: str) -> list[Difference]:
        """All that `narrow` allows and `wide` does not; and what open vocabularies gained."""
        wide, narrow = _resolved(self.wide, wide), _resolved(self.narrow, narrow)
        if _bare(self.wide, wide) == _bare(self.narrow, narrow):
            return []
        wides, narrows = self._alternatives(wide, narrow)
        opened, wides, narrows = _vocabulary(wides, narrows, where)
        if len(wides) == len(narrows) == 1:
            return opened + self._single(wides[0], narrows[0], where)
        return opened + [
            fault
            for variant in narrows
            for fault in self._best(wides, variant, where)
        ]  # fmt: skip

    def _alternatives(self, wide: Schema, narrow: Schema) -> tuple[list[Schema], list[Schema]]:
        """The alternatives of both, with their references resolved."""
        return (
            [_resolved(self.wide, variant) for variant in _variants(wide)],
            [_resolved(self.narrow, variant) for variant in _variants(narrow)],
        )

    def _best(self, wides: list[Schema], narrow: Schema, where: str) -> list[Difference]:
        """The faults against the alternative that fits best; none if one fits."""
        found = (self.faults(wide, narrow, where) for wide in wides)
        return min(found, key=lambda faults: sum(each.breaking for each in faults))

    def _single(self, wide: Schema, narrow: Schema, where: str) -> list[Difference]:
        faults = [
            _fault(where, f"{key} changed: no rule judges it")
            for key in sorted((set(wide) | set(narrow)) - JUDGED - ANNOTATIONS)
            if wide.get(key) != narrow.get(key)
        ]
        faults += self._values(wide, narrow, where)
        faults += self._bounds(wide, narrow, where)
        faults += self._fields(wide, narrow, where)
        for key in ("items", "propertyNames"):
            if isinstance(wide.get(key), dict):
                inner = narrow.get(key, {})
                faults += self.faults(wide[key], inner, f"{where}/{key}")
        return faults

    @staticmethod
    def _values(wide: Schema, narrow: Schema, where: str) -> list[Difference]:
        faults = []
        allowed, said = wide.get("type"), narrow.get("type")
        if allowed is not None and said != allowed and (said, allowed) != ("integer", "number"):
            faults.append(_fault(where, f"type {said} is not {allowed}"))
        words, said_words = _words(wide), _words(narrow)
        if words is not None:
            if said_words is None:
                faults.append(_fault(where, "any value where a list of values was"))
            else:
                new = sorted(str(word) for word in said_words if word not in words)
                if new:
                    faults.append(_fault(where, f"values that were not there: {', '.join(new)}"))
        return faults

    @staticmethod
    def _bounds(wide: Schema, narrow: Schema, where: str) -> list[Difference]:
        faults = []
        pattern, words = wide.get("pattern"), _words(narrow)
        listed = words is not None and all(re.search(pattern or "", str(each)) for each in words)
        if pattern is not None and pattern != narrow.get("pattern") and not listed:
            faults.append(_fault(where, "pattern changed"))
        for key, larger_allows in BOUNDS.items():
            limit = wide.get(key)
            if limit is None or _words(narrow) is not None:
                continue
            own = narrow.get(key)
            if own is None or (own > limit if larger_allows else own < limit):
                faults.append(_fault(where, f"{key} {limit} no longer holds"))
        return faults

    def _fields(self, wide: Schema, narrow: Schema, where: str) -> list[Difference]:
        fields, said = wide.get("properties", {}), narrow.get("properties", {})
        faults: list[Difference] = []
        for name in wide.get("required", ()):
            if name not in narrow.get("required", ()):
                gone = name not in said
                what = "field removed or renamed" if gone else "field is no longer always there"
                faults.append(_fault(f"{where}/{name}", what))
        if self.removal_breaks:
            faults += [
                _fault(f"{where}/{name}", "field removed or renamed")
                for name in fields
                if name not in said and name not in wide.get("required", ())
            ]
        others = wide.get("additionalProperties", True)
        for name, inner in said.items():
            if name in fields:
                faults += self.faults(fields[name], inner, f"{where}/{name}")
            elif others is False:
                faults.append(_fault(f"{where}/{name}", "field is refused"))
        return faults + self._other_fields(others, narrow, where)

    def _other_fields(self, others: Any, narrow: Schema, where: str) -> list[Difference]:
        if narrow.get("type") != "object":
            return []
        said = narrow.get("additionalProperties", True)
        if isinstance(others, dict):
            if isinstance(said, dict):
                return self.faults(others, said, f"{where}/*")
            return [] if said is False else [_fault(f"{where}/*", "any value where a type was")]
        if others is False and said is not False:
            return [_fault(where, "other fields are refused")]
        return []


def _fault(where: str, what: str) -> Difference:
    return Difference(where=where, what=what, breaking=True)


def _vocabulary(
    wides: list[Schema], narrows: list[Schema], where: str
) -> tuple[list[Difference], list[Schema], list[Schema]]:
    """What an open vocabulary gained; and the alternatives that are still to be judged."""
    old = [schema for schema in wides if _is_vocabulary(schema)]
    new = [schema for schema in narrows if _is_vocabulary(schema)]
    listed = [schema["enum"] for schema in old if "enum" in schema]
    is_open = any("enum" not in schema for schema in new)
    if not listed or not is_open or where.rpartition("/")[2] in NEVER_OPEN:
        return [], wides, narrows
    said = []
    if all("enum" in schema for schema in old):
        said.append(Difference(where=where, what=OPENED, breaking=False))
    known = {code for codes in listed for code in codes}
    codes = sorted({code for schema in new for code in schema.get("enum", ())} - known)
    if codes:
        said.append(Difference(where=where, what=f"new codes: {', '.join(codes)}", breaking=False))
    return said, wides, [schema for schema in narrows if schema not in new]


def _is_vocabulary(schema: Schema) -> bool:
    """A list of codes, or any code."""
    codes = schema.get("enum")
    if codes is None:
        return schema.get("type") == "string" and schema.get("pattern") == CODE_PATTERN
    return all(isinstance(code, str) and re.fullmatch(CODE_PATTERN, code) for code in codes)


def _variants(schema: Schema) -> list[Schema]:
    for key in ("anyOf", "oneOf"):
        if key in schema:
            rest = {k: v for k, v in schema.items() if k != key and k not in ANNOTATIONS}
            return [{**rest, **variant} for variant in schema[key]]
    return [schema]


def _words(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    words: list[Any] | None = schema.get("enum")
    return words
