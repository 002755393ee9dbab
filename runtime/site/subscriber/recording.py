"""What was heard, in a file: JSON lines that `--record` writes and `--replay` reads."""

from __future__ import annotations

import base64
import binascii
import json
from typing import IO, TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import OperatorError
from runtime.site.subscriber.arrival import Arrival, LinkChange

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST_LINE = 1 << 20
"""The largest packet that a subscriber takes (256 KiB), as base64 or escaped JSON."""

Moment = Annotated[int, Field(ge=0, le=253_402_300_799_999)]
"""Milliseconds since the epoch, up to the year 9999."""


class RecordingError(OperatorError):
    """The file is no recording of ours; the text says which line, and why."""

    exit_code = 1


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Head(_Line):
    recording: Literal["mammoedge.recording/1"] = "mammoedge.recording/1"
    site: str


class _Message(_Line):
    at_ms: Moment
    topic: str
    retained: bool = False
    text: str | None = None
    base64: str | None = None


class _Link(_Line):
    at_ms: Moment
    link: Literal["up", "down"]
    reason: str = ""


class Recorder:
    """Writes each message as it is heard. The file is complete up to the last line at any time."""

    def __init__(self, file: IO[str], site: str) -> None:
        self._file = file
        self._write(_Head(site=site))

    def add(self, heard: Arrival | LinkChange) -> None:
        """One more."""
        if isinstance(heard, LinkChange):
            link: Literal["up", "down"] = "up" if heard.up else "down"
            self._write(_Link(at_ms=heard.at_ms, link=link, reason=heard.reason))
            return
        try:
            text, encoded = heard.payload.decode(), None
        except UnicodeDecodeError:
            text, encoded = None, base64.b64encode(heard.payload).decode()
        self._write(
            _Message(
                at_ms=heard.at_ms,
                topic=heard.topic,
                retained=heard.retained,
                text=text,
                base64=encoded,
            )
        )

    def _write(self, line: BaseModel) -> None:
        # ASCII only: a line feed of any script inside a text must not end the line.
        said = line.model_dump(exclude_none=True)
        self._file.write(json.dumps(said, separators=(",", ":")) + "\n")
        self._file.flush()


def recorded_site(path: Path) -> str:
    """The site whose recording it is. Raises RecordingError, OSError."""
    with path.open(encoding="utf-8", errors="replace") as file:
        try:
            return _Head.model_validate_json(file.readline(LONGEST_LINE)).site
        except ValidationError:
            raise RecordingError(f"{path}: line 1: no recording of `watch --record`") from None


def read_recording(path: Path) -> Iterator[Arrival | LinkChange]:
    """What was heard, in order. A last line that was cut off is passed over.

    Raises:
        RecordingError: a line is none of ours.
        OSError: the file cannot be read.
    """
    recorded_site(path)
    with path.open(encoding="utf-8", errors="replace") as file:
        file.readline(LONGEST_LINE)
        number = 1
        while line := file.readline(LONGEST_LINE):
            number += 1
            if not line.endswith("\n"):
                if len(line) >= LONGEST_LINE:
                    raise RecordingError(f"{path}: line {number}: longer than {LONGEST_LINE}")
                return
            heard = _heard(line)
            if heard is None:
                raise RecordingError(f"{path}: line {number}: neither a message nor a connection")
            yield heard


def _heard(line: str) -> Arrival | LinkChange | None:
    for kind in (_Message, _Link):
        try:
            said = kind.model_validate_json(line)
        except ValidationError:
            continue
        if isinstance(said, _Link):
            return LinkChange(up=said.link == "up", at_ms=said.at_ms, reason=said.reason)
        return _arrival(said) if isinstance(said, _Message) else None
    return None


def _arrival(said: _Message) -> Arrival | None:
    if (said.text is None) == (said.base64 is None):
        return None
    try:
        payload = (
            said.text.encode()
            if said.text is not None
            else base64.b64decode(said.base64 or "", validate=True)
        )
    except (binascii.Error, UnicodeEncodeError):
        return None
    return Arrival(topic=said.topic, payload=payload, retained=said.retained, at_ms=said.at_ms)
