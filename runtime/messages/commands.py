"""What a site may ask of a unit. Everything here is hostile until it is proved otherwise."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import PeerError

COMMAND_LIMIT_BYTES = 1024
LARGEST_SEQ = 2**63 - 1
"""What SQLite can count to."""


class CommandRefusedError(PeerError, ValueError):
    """The payload is no command. `why` is a code; what was sent is not repeated."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class Replay(BaseModel):
    """Publish again everything from `from_seq` on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    from_seq: Annotated[int, Field(ge=1, le=LARGEST_SEQ, examples=[4711])]


class Rebirth(BaseModel):
    """Say `status` again."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Probe(BaseModel):
    """The unit's own mark, retained: up to which number the broker has its retained messages.

    No `seq`, which is what a stranger knows a numbered message by.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    through_seq: Annotated[int, Field(ge=0, le=LARGEST_SEQ, examples=[4711])]
    ledger_id: Annotated[str, Field(max_length=128)] = ""


C = TypeVar("C", Replay, Rebirth, Probe)


def parse_replay(payload: bytes) -> Replay:
    """`{"from_seq": n}`, nothing else. Raises CommandRefusedError."""
    return _parsed(Replay, payload)


def parse_rebirth(payload: bytes) -> Rebirth:
    """`{}` or nothing. Raises CommandRefusedError."""
    return _parsed(Rebirth, payload or b"{}")


def parse_probe(payload: bytes) -> Probe:
    """`{"through_seq": n, "ledger_id": ...}`. Raises CommandRefusedError."""
    return _parsed(Probe, payload)


def _parsed(kind: type[C], payload: bytes) -> C:
    if len(payload) > COMMAND_LIMIT_BYTES:
        raise CommandRefusedError("too_large")
    try:
        return kind.model_validate_json(payload)
    except ValidationError as error:
        # The type of the first fault only: texts of pydantic repeat the input.
        raise CommandRefusedError(error.errors(include_input=False)[0]["type"]) from None
