"""`mammoedge frame-schema`: the messages of the frame socket as JSON Schema, from their types."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from firmware_bridge.frame_protocol.messages import FIRMWARE_MESSAGES, Answer

if TYPE_CHECKING:
    from argparse import Namespace


def frame_schema() -> dict[str, Any]:
    """What the firmware may say, and what we answer. Outcomes have the schemas of MQTT."""
    answers: TypeAdapter[Answer] = TypeAdapter(Answer)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mammoedge frame socket, version 1",
        "description": "CBOR maps over SOCK_SEQPACKET, at most 64 KiB each",
        "firmware_says": FIRMWARE_MESSAGES.json_schema(),
        "bridge_answers": answers.json_schema(mode="serialization"),
    }


def run(_arguments: Namespace) -> int:
    """Prints it; exit code 0."""
    print(json.dumps(frame_schema(), indent=2))
    return 0
