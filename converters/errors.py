"""What goes wrong at the bench and the engineer can mend."""

from __future__ import annotations

from models.errors import OperatorError


class BenchFaultError(OperatorError):
    """A source, a recipe, a folder of images or an option that cannot be used.

    Attributes:
        faults: one sentence for each fault, each naming file and field.
    """

    def __init__(self, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))

    @property
    def lines(self) -> tuple[str, ...]:
        """Each fault."""
        return self.faults
