"""A view and a side in words that people write: `LCC`, `L CC`, `CC LEFT`, `R-MLO`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runtime.image.header import Laterality, View

SIDE = r"R(?:IGHT|T)?|L(?:EFT|T)?"
VIEW = r"MLO|XCCL|CC|ML|LM|CRANIO[ -]?CAUDAL|MEDIO[ -]?LATERAL[ -]?OBLIQUE"
# View Position is of that alone. A trailing side stands apart: CCL may be the exaggerated view.
WHOLE = re.compile(rf"(?:({SIDE})[ ._-]*)?({VIEW})(?:[ ._-]+({SIDE}))?")
# A view that stands for itself in a longer text ("R CC", "LMLO", "MLO-L"), no part of a word.
TOKEN = re.compile(rf"(?<![A-Z0-9])(?:({SIDE})[ _-]?)?({VIEW})(?:[ _-]?({SIDE}))?(?![A-Z0-9])")
# Cubic centimetres and millilitres of something: "100 cc", "2 ml/s", "300 mg/ml".
VOLUME = re.compile(
    r"(?<![A-Z0-9])[0-9]+(?:[.,][0-9]+)?[ _(-]{0,2}(?:CC|ML)(?![A-Z0-9])"
    r"|(?<![A-Z0-9])(?:CC|ML)/(?:S|SEC|MIN|H|KG)(?![A-Z])"
    r"|(?:M?G|MGI)/ML(?![A-Z0-9])"
)
# Beside these, CC and ML without a side are volumes as well.
INJECTION = re.compile(
    r"IOHEXOL|IOPAMIDOL|IOPROMID|IODIXANOL|IOVERSOL|IOMEPROL|OMNIPAQUE|ULTRAVIST|ISOVUE|VISIPAQUE"
    r"|CONTRAST|SALINE|INJECT"
)
LONG_WORDS = {"CRANIOCAUDAL": View.CC, "MEDIOLATERALOBLIQUE": View.MLO}


@dataclass(frozen=True, kw_only=True)
class ViewWords:
    """What a text says; the default says nothing."""

    views: frozenset[View] = frozenset()
    sides: frozenset[Laterality] = frozenset()

    @property
    def view(self) -> View | None:
        """The view, if there is exactly one."""
        return next(iter(self.views)) if len(self.views) == 1 else None


def words_of_position(text: str) -> ViewWords:
    """What a text says that holds a view, a side or both, and nothing else."""
    found = WHOLE.fullmatch(text.strip().upper())
    return _words([found] if found else [])


def words_of_description(text: str) -> ViewWords:
    """The views and their sides in a text about something; volumes are no views."""
    upper = text.upper()
    found = list(TOKEN.finditer(VOLUME.sub(" ", upper)))
    if INJECTION.search(upper):
        found = [match for match in found if match.group(1) or match.group(3)]
    return _words(found)


def _words(found: list[re.Match[str]]) -> ViewWords:
    names = [re.sub("[ -]", "", match.group(2)) for match in found]
    sides = (side for match in found for side in match.group(1, 3) if side)
    return ViewWords(
        views=frozenset(LONG_WORDS.get(name) or View(name) for name in names),
        sides=frozenset(Laterality(side[0]) for side in sides),
    )
