"""What the page shows of exams: frozen types, and how they come from the ledger's. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.console.system_status import SystemStatus
from runtime.exam_rules.exam_flag import Completion, ExamFlag, ExamImage, Role
from runtime.image.outcome import Flag, NotAssessed, ViewResult
from runtime.image.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.dicom.patient_identity import PatientIdentity
    from runtime.ledger.exam_history import Attention

STANDARD_VIEWS = ("RCC", "LCC", "RMLO", "LMLO")
"""As technologists lay them out: the right breast at the left, CC above MLO."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One image, or an expected view of which there is none yet (`state` "awaited").

    `state`: awaited, missing (the exam ended without it), received, judged, not_assessed.
    """

    view: str
    state: str
    reasons: tuple[Reason, ...] = ()
    flag: Flag | None = None
    retaken: bool = False
    preview: int | None = None
    """The image's number, below /previews/."""


@dataclass(frozen=True, kw_only=True)
class ExamCard:
    """One exam. Times: ms since the epoch, UTC. `flag` is None before the first outcome."""

    key: str
    first_received_ms: int
    flag: Flag | None
    final: bool
    completed_by: Completion | None
    revision: int
    decided_at_ms: int | None
    reasons: tuple[Reason, ...]
    missing_views: tuple[str, ...]
    tiles: tuple[Tile, ...]
    """The four standard views in the layout's order."""
    others: tuple[Tile, ...]
    """Further images, oldest first: retaken, magnified, unknown views."""
    accession_number: str
    initials: str
    study_time: str
    acknowledged_at_ms: int | None
    overdue: bool


@dataclass(frozen=True, kw_only=True)
class Board:
    """One state of the page."""

    exams: tuple[ExamCard, ...]
    """Newest first."""
    system_status: SystemStatus
    unacknowledged_after_s: float


def tile_of(image: ExamImage) -> Tile:
    """What became of an image."""
    outcome = image.outcome
    retaken = image.role is Role.SUPERSEDED
    if outcome is None:
        return Tile(view=image.view_code, state="received", retaken=retaken)
    has_preview = any(artefact.kind == "preview" for artefact in outcome.artefacts)
    if isinstance(outcome, NotAssessed):
        return Tile(
            view=image.view_code,
            state="not_assessed",
            reasons=outcome.reasons,
            flag=Flag.NOT_ASSESSED,
            retaken=retaken,
            preview=image.image_id if has_preview else None,
        )
    return Tile(
        view=image.view_code,
        state="judged",
        flag=outcome.flag,
        retaken=retaken,
        preview=image.image_id if has_preview else None,
    )


def lay_out(
    images: Sequence[ExamImage], expected_views: Sequence[str], *, complete: bool
) -> tuple[tuple[Tile, ...], tuple[Tile, ...]]:
    """(the standard views' tiles, the others'). A view shows its newest image that counts most."""
    by_view: dict[str, ExamImage] = {}
    for image in images:
        best = by_view.get(image.view_code)
        if image.role is Role.EXPECTED and (best is None or _outranks(image, best)):
            by_view[image.view_code] = image
    shown = {image.image_id for view, image in by_view.items() if view in STANDARD_VIEWS}
    gap = "missing" if complete else "awaited"
    tiles = tuple(
        tile_of(by_view[view])
        if view in by_view
        else Tile(view=view, state=gap if view in expected_views else "not_expected")
        for view in STANDARD_VIEWS
    )
    return tiles, tuple(tile_of(image) for image in images if image.image_id not in shown)


def _outranks(image: ExamImage, best: ExamImage) -> bool:
    """A mosaic's view shows the image that makes the flag; among equals the newest."""
    return _rank(image) >= _rank(best)


def _rank(image: ExamImage) -> int:
    if isinstance(image.outcome, ViewResult):
        return 2 if image.outcome.flag is Flag.PRIORITY else 1
    return 0


def card_of(
    *,
    key: str,
    first_received_ms: int,
    flag: ExamFlag | None,
    revision: int,
    open_again: bool,
    images: Sequence[ExamImage],
    expected_views: Sequence[str],
    identity: PatientIdentity,
    attention: Attention | None,
) -> ExamCard:
    """An exam as the page shows it. `open_again`: an image came after the flag was final."""
    final = flag is not None and flag.final and not open_again
    tiles, others = lay_out(images, expected_views, complete=final)
    return ExamCard(
        key=key,
        first_received_ms=first_received_ms,
        flag=flag.flag if flag else None,
        final=final,
        completed_by=flag.completed_by if flag and final else None,
        revision=revision,
        decided_at_ms=flag.decided_at_ms if flag else None,
        reasons=flag.reasons if flag else (),
        missing_views=flag.missing_views if flag else tuple(expected_views),
        tiles=tiles,
        others=others,
        accession_number=identity.accession_number,
        initials=identity.initials,
        study_time=identity.study_time,
        acknowledged_at_ms=attention.acknowledged_at_ms if attention else None,
        overdue=attention is not None and attention.overdue_at_ms is not None,
    )
