"""Would a subscriber of the last release still understand us? Two documents, and what differs.

The rules: what a unit says may only become narrower (every new message is one that the old schema
allowed), but for fields that are added, which subscribers pass over. What a unit listens to may
only become wider. A topic, its direction, QoS and retained flag stay. Whatever the rules cannot
judge counts as breaking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
        differences += [Difference(where=w, what=what, breaking=True) for w, what in faults]
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


Fault = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class _Inclusion:
    """Whether all that one schema allows is allowed by another; documents resolve references."""

    wide: Schema
    narrow: Schema
    removal_breaks: bool = False

    def faults(self, wide: Schema, narrow: Schema, where: str) -> list[Fault]:
        """(where, what) of everything that `narrow` allows and `wide` does not."""
        wide, narrow = _resolved(self.wide, wide), _resolved(self.narrow, narrow)
        if _bare(self.wide, wide) == _bare(self.narrow, narrow):
            return []
        wides, narrows = _variants(wide), _variants(narrow)
        if len(wides) == len(narrows) == 1:
            return self._single(wide, narrow, where)
        return [
            fault
            for variant in narrows
            for fault in self._best(wides, variant, where)
        ]  # fmt: skip

    def _best(self, wides: list[Schema], narrow: Schema, where: str) -> list[Fault]:
        """The faults against the alternative that fits best; none if one fits."""
        return min((self.faults(wide, narrow, where) for wide in wides), key=len)

    def _single(self, wide: Schema, narrow: Schema, where: str) -> list[Fault]:
        faults = [
            (where, f"{key} changed: no rule judges it")
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
    def _values(wide: Schema, narrow: Schema, where: str) -> list[Fault]:
        faults = []
        allowed, said = wide.get("type"), narrow.get("type")
        if allowed is not None and said != allowed and (said, allowed) != ("integer", "number"):
            faults.append((where, f"type {said} is not {allowed}"))
        words, said_words = _words(wide), _words(narrow)
        if words is not None:
            if said_words is None:
                faults.append((where, "any value where a list of values was"))
            else:
                new = sorted(str(word) for word in said_words if word not in words)
                if new:
                    faults.append((where, f"values that were not there: {', '.join(new)}"))
        return faults

    @staticmethod
    def _bounds(wide: Schema, narrow: Schema, where: str) -> list[Fault]:
        faults = []
        if "pattern" in wide and wide["pattern"] != narrow.get("pattern") and not _words(narrow):
            faults.append((where, "pattern changed"))
        for key, larger_allows in BOUNDS.items():
            limit = wide.get(key)
            if limit is None or _words(narrow) is not None:
                continue
            own = narrow.get(key)
            if own is None or (own > limit if larger_allows else own < limit):
                faults.append((where, f"{key} {limit} no longer holds"))
        return faults

    def _fields(self, wide: Schema, narrow: Schema, where: str) -> list[Fault]:
        fields, said = wide.get("properties", {}), narrow.get("properties", {})
        faults: list[Fault] = []
        for name in wide.get("required", ()):
            if name not in narrow.get("required", ()):
                gone = name not in said
                what = "field removed or renamed" if gone else "field is no longer always there"
                faults.append((f"{where}/{name}", what))
        if self.removal_breaks:
            faults += [
                (f"{where}/{name}", "field removed or renamed")
                for name in fields
                if name not in said and name not in wide.get("required", ())
            ]
        others = wide.get("additionalProperties", True)
        for name, inner in said.items():
            if name in fields:
                faults += self.faults(fields[name], inner, f"{where}/{name}")
            elif others is False:
                faults.append((f"{where}/{name}", "field is refused"))
        return faults + self._other_fields(others, narrow, where)

    def _other_fields(self, others: Any, narrow: Schema, where: str) -> list[Fault]:
        if narrow.get("type") != "object":
            return []
        said = narrow.get("additionalProperties", True)
        if isinstance(others, dict):
            if isinstance(said, dict):
                return self.faults(others, said, f"{where}/*")
            return [] if said is False else [(f"{where}/*", "any value where a type was")]
        if others is False and said is not False:
            return [(where, "other fields are refused")]
        return []


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
