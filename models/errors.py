"""What our own code raises on purpose, grouped by who can act; why a model package is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class MammoedgeError(Exception):
    """The root of all our errors: a command that one ends tells it, without a traceback.

    Attributes:
        exit_code: of that command.
    """

    exit_code = 1

    @property
    def lines(self) -> tuple[str, ...]:
        """What to tell people, a line each."""
        return (str(self),)


class OperatorError(MammoedgeError):
    """Settings, files or options: whoever installs or calls us can mend it."""

    exit_code = 2


class PeerError(MammoedgeError):
    """The other side is at fault, or away: a sender and its images, a broker, a web server."""


class ResourceError(MammoedgeError):
    """The machine has not what is needed: disk, database, device, a program that must be there."""


class InternalError(MammoedgeError):
    """A defect of ours, or an engine that failed: to be reported; a restart may help."""


class PackageRefusedError(OperatorError):
    """A model package that must not be used.

    Attributes:
        package: what the user called it (a path or `NAME-VERSION`).
        faults: one sentence for each fault, each naming file and field.
    """

    def __init__(self, package: str, faults: list[str]) -> None:
        self.package = package
        self.faults = tuple(faults)
        super().__init__(f"model package {package} refused: " + "; ".join(faults))

    @property
    def lines(self) -> tuple[str, ...]:
        """Each fault behind the package."""
        return tuple(f"{self.package}: {fault}" for fault in self.faults)


def sentences_of(fault: ValidationError) -> list[str]:
    """One sentence for each fault, with the field's place; never the offending value itself.

    A fault between fields has no place: its own sentence begins with the field's name.
    """
    sentences = []
    for error in fault.errors(include_url=False):
        place = ".".join(str(part) for part in error["loc"])
        told = str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]
        sentences.append(f"{place}: {told}" if place else told)
    return sentences
