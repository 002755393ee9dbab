"""Why a model package is refused; grouped by who can act."""

from __future__ import annotations


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
