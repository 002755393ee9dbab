"""Where an association goes: AE title, host and port."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_DESTINATION = re.compile(
    r"^(?P<title>[^@\\]{1,16})@(?P<host>\[[0-9a-fA-F:]+\]|[^:@\s]+):(?P<port>\d{1,5})$"
)


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Who receives: AE title, host, port."""

    ae_title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `AE@HOST:PORT`, an IPv6 address in brackets. Raises ValueError."""
        found = _DESTINATION.match(text)
        if found is None or not 0 < int(found["port"]) < 65536:
            raise ValueError(f"not of the form AE@HOST:PORT: {text}")
        check_ae_title(found["title"])
        host = found["host"].strip("[]")
        return cls(ae_title=found["title"].strip(), host=host, port=int(found["port"]))


def check_ae_title(text: str) -> None:
    """PS3.5 6.2: 1 to 16 printable ASCII characters without backslash. Raises ValueError."""
    printable = text.isascii() and text.isprintable() and "\\" not in text
    if not (printable and text.strip() and len(text) <= 16):
        raise ValueError(f"not an AE title: {text!r}")
