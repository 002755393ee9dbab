"""Why a model package is refused; grouped by who can act."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class PackageRefusedError(Exception):
    """A model package that must not be used.

    Attributes:
        package: what the user called it (a path or `NAME-VERSION`).
        faults: one sentence for each fault, each naming file and field.
    """

    def __init__(self, package: str, faults: list[str]) -> None:
        self.package = package
        self.faults = tuple(faults)
        super().__init__(f"model package {package} refused: " + "; ".join(faults))


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
