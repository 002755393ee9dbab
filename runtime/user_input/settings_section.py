"""A section of a settings file, and the error that names every fault of a file in one go."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from models.errors import OperatorError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import ValidationError


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text))


IpAddress = Annotated[str, AfterValidator(_address)]
IpNetwork = Annotated[str, AfterValidator(_network)]
"""An address, or a network as 10.1.2.0/24."""


class Section(BaseModel):
    """A table of a settings file: immutable, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SettingsError(OperatorError):
    """A settings file has faults; `faults` names key and expectation of each."""

    def __init__(self, file: Path, faults: list[str]) -> None:
        self.file = file
        self.faults = tuple(faults)
        super().__init__(f"{file}: " + "; ".join(faults))

    @property
    def lines(self) -> tuple[str, ...]:
        """Each fault behind the file."""
        return tuple(f"{self.file}: {fault}" for fault in self.faults)


def settings_faults(error: ValidationError, prefix: tuple[str, ...] = ()) -> list[str]:
    """A line for each fault: the key, and what was expected."""
    lines = []
    found = error.errors(include_url=False, include_context=False)
    for fault in found:
        inner = [other["loc"][: len(fault["loc"])] for other in found if other is not fault]
        if fault["type"] == "too_short" and fault["loc"] in inner:
            continue  # a list is short of the items whose own faults are told
        key = ".".join([*prefix, *(str(part) for part in fault["loc"])])
        if fault["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown key")
        elif fault["type"] == "missing":
            lines.append(f"{key}: is missing")
        else:
            given = fault["input"]
            shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) else ""
            lines.append(f"{key}: {fault['msg']}{shown}")
    return lines
