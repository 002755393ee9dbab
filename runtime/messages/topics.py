"""The topic tree of the MQTT contract, and the names that may stand in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

ROOT = "mammoedge/v1"
SITE_SERVICE = "_site"
"""The site service's own place beside the units; never a unit's name."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def _not_reserved(name: str) -> str:
    # The pattern alone refuses "_site" by its first letter; the rule is stated all the same.
    if name == SITE_SERVICE:
        raise ValueError(f"{SITE_SERVICE} is reserved for the site service")
    return name


# One level of a topic. MQTT 5 gives "/", "+", "#", NUL (4.7) and a leading "$" (4.7.2) a meaning of
# their own; brokers' access rules are written with these names, so the set is small and ASCII.
SiteName = Annotated[
    str,
    Field(
        pattern=NAME_PATTERN,
        description="1-64 letters, digits, '.', '_' or '-', beginning with a letter or digit",
        examples=["st-anna"],
    ),
]
UnitName = Annotated[
    str,
    Field(
        pattern=NAME_PATTERN,
        description="1-64 letters, digits, '.', '_' or '-', beginning with a letter or digit",
        examples=["mammo-1"],
    ),
    AfterValidator(_not_reserved),
]


def view_slug(view_code: str) -> str:
    """`RCC` -> `rcc`; a part that is not known becomes `x` (`R?` -> `rx`, `??` -> `xx`)."""
    return view_code.replace("?", "x").lower()


@dataclass(frozen=True, kw_only=True)
class Topics:
    """The topics of one unit."""

    site: str
    unit: str

    @property
    def root(self) -> str:
        """Everything that a unit says or hears is below this."""
        return f"{ROOT}/{self.site}/{self.unit}"

    @property
    def status(self) -> str:
        """Birth, changes of state, and the will."""
        return f"{self.root}/status"

    @property
    def health(self) -> str:
        """Figures of the running service."""
        return f"{self.root}/health"

    @property
    def event(self) -> str:
        """Things that happened."""
        return f"{self.root}/event"

    @property
    def drift(self) -> str:
        """The daily comparison with the model's reference."""
        return f"{self.root}/drift"

    @property
    def replay(self) -> str:
        """Command: publish again from a number."""
        return f"{self.root}/command/replay"

    @property
    def rebirth(self) -> str:
        """Command: say `status` again."""
        return f"{self.root}/command/rebirth"

    @property
    def probe(self) -> str:
        """The unit's own retained mark: what the broker was seen to have. Nobody else writes it."""
        return f"{self.root}/command/probe"

    def exam(self, exam_key: str) -> str:
        """The current flag of one exam."""
        return f"{self.root}/exam/{exam_key}"

    def view(self, exam_key: str, view: str) -> str:
        """Outcomes of one view (`rcc`, …) of an exam."""
        return f"{self.root}/exam/{exam_key}/view/{view}"
