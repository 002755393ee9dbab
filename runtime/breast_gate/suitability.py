"""May this image be judged at all? By its header first, then by its pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runtime.breast_gate.breast import Breast, look_for_breast
from runtime.breast_gate.displayed_breast import settled, shown_raw
from runtime.image.header import ImageKind, Laterality, View
from runtime.image.reasons import Reason, Remark
from runtime.image.view_codes import IMPLANT_DISPLACED, UNREADABLE_MODIFIER
from runtime.pixels.display import display_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.manifest import Accepts, Recipe
    from runtime.breast_gate.breast import Sighting
    from runtime.breast_gate.displayed_breast import DisplayedBreast
    from runtime.image.header import ImageHeader
    from runtime.pixels.display import Display
    from runtime.pixels.mammogram import Mammogram


@dataclass(frozen=True, kw_only=True)
class Suitability:
    """All that speaks against judging an image, and what a reader of its score should know."""

    reasons: tuple[Reason, ...] = ()
    remarks: tuple[Remark, ...] = ()
    breast: Breast | None = None
    """Where it is, once the pixels were looked at."""
    mammogram: Mammogram | None = None
    """With the window or table that shows the breast: what is to be prepared and pictured."""
    figures: DisplayedBreast | None = None
    """Of the breast as it is displayed."""
    detail: str = ""
    """What was seen or read that is the reason: a few words for people, no identity."""

    @property
    def suitable(self) -> bool:
        """Nothing speaks against it."""
        return not self.reasons


def assess_header(
    header: ImageHeader, accepts: Accepts, recipe: Recipe | None = None
) -> Suitability:
    """Everything that the header alone decides.

    Args:
        header: of the image.
        accepts: what the package was made for.
        recipe: how the package prepares an image; without it the spacing is checked only if known.
    """
    if not header.mammography:
        return Suitability(reasons=(Reason.NOT_MAMMOGRAPHY,), detail=header.class_detail)
    checks = (
        (Reason.QUALITY_CONTROL, header.quality_control),
        (Reason.TOMOSYNTHESIS_VOLUME, header.tomosynthesis),
        *_kind_checks(header, accepts),
        (Reason.FOR_PROCESSING, _intent_is_refused(header, accepts)),
        (Reason.FILM_NOT_ACCEPTED, header.film and not accepts.film),
        (Reason.VIEW_UNKNOWN, header.view is None),
        (Reason.UNSUPPORTED_VIEW, header.view is not None and header.view not in accepts.views),
        (Reason.UNSUPPORTED_MODIFIER, _modifier_is_refused(header)),
        (Reason.IMPLANT, header.implant or header.implant_displaced),
        (Reason.PARTIAL_VIEW, header.partial_view is True),
        (Reason.LATERALITY_MISSING, header.laterality is None),
        (Reason.LATERALITY_CONTRADICTS, header.sides_contradict and not header.tomosynthesis),
        (Reason.MANUFACTURER_NOT_ACCEPTED, _manufacturer_is_refused(header, accepts)),
        (
            Reason.TOO_SMALL,
            header.rows < accepts.minimum_rows or header.columns < accepts.minimum_columns,
        ),
        (Reason.SPACING_UNKNOWN, _spacing_is_missed(header, recipe)),
        (Reason.SPACING_OUT_OF_RANGE, _spacing_is_refused(header, accepts)),
    )
    remarks = (
        (Remark.INTENT_ASSUMED, header.intent_source == "film"),
        (Remark.PARTIAL_VIEW_UNKNOWN, header.partial_view is None and not header.film),
    )
    return Suitability(
        reasons=tuple(reason for reason, holds in checks if holds),
        remarks=tuple(remark for remark, holds in remarks if holds),
        detail="; ".join(_details(header)),
    )


def assess_pixels(
    mammogram: Mammogram, accepts: Accepts, recipe: Recipe | None = None
) -> Suitability:
    """What only the pixels tell.

    Is there a breast; does the displayed picture show it; is it on the side that the header says?

    Args:
        mammogram: as it was loaded.
        accepts: what the package was made for.
        recipe: of the package, whose first steps make the displayed picture; None: as a viewer.
    """
    rows, columns = mammogram.pixels.shape
    if rows < accepts.minimum_rows or columns < accepts.minimum_columns:
        return _not_suitable(Reason.TOO_SMALL, mammogram)
    display = display_of(recipe)
    found = _look(mammogram, display)
    breast = found.breast
    if breast is None or found.seen:
        return _not_suitable(Reason.NO_BREAST, mammogram, found.seen)
    shown, figures = settled(mammogram, breast, display)
    if not figures.plausible:
        refused = _not_suitable(Reason.DISPLAY_IMPLAUSIBLE, shown, figures.detail)
        return replace(refused, breast=breast, figures=figures)
    against = _against_its_side(shown.header, breast)
    unconfirmed = (Remark.LATERALITY_UNCONFIRMED,) if _is_unconfirmed(shown.header, breast) else ()
    return Suitability(
        reasons=(Reason.LATERALITY_CONTRADICTS,) if against else (),
        remarks=(*shown.remarks, *unconfirmed),
        breast=breast,
        mammogram=shown,
        figures=figures,
        detail=against,
    )


def _not_suitable(reason: Reason, mammogram: Mammogram, detail: str = "") -> Suitability:
    if Remark.PIXEL_SIGN_CONTRADICTS in mammogram.remarks:
        # The numbers were level-shifted, then, and are no words of two's complement.
        reason = Reason.UNSUPPORTED_PIXELS
        detail = f"the codestream is unsigned, by the header it is signed; as such: {detail}"
    return Suitability(
        reasons=(reason,), remarks=mammogram.remarks, detail=detail, mammogram=mammogram
    )


def _look(mammogram: Mammogram, display: Display) -> Sighting:
    """What lies where a breast would, in the polarity that is displayed, else in the other.

    A breast in the other polarity is a negative, or the header's word for the polarity is not
    plain: what is displayed of it decides. Detector values that a recipe leaves as they are have
    the polarity of their Pixel Intensity Relationship Sign (PS3.3 C.8.11.3.1.2), and no other.
    """
    raw = shown_raw(mammogram, display)
    falling = display.falls(mammogram)
    if raw and mammogram.intensity_sign in (1, -1):
        falling = mammogram.intensity_sign == 1
    found = _sighting(mammogram, falling=falling)
    if raw or (found.breast is not None and not found.seen):
        return found
    other = _sighting(mammogram, falling=not falling)
    return found if other.breast is None or other.seen else other


def _sighting(mammogram: Mammogram, *, falling: bool) -> Sighting:
    return look_for_breast(mammogram.pixels, monochrome1=falling, bits_stored=mammogram.bits_stored)


def _kind_checks(header: ImageHeader, accepts: Accepts) -> tuple[tuple[Reason, bool], ...]:
    """A volume or a quality-control object has a reason that says it all."""
    if header.tomosynthesis or header.quality_control:
        return ()
    if header.kind_is_accepted(synthetic_2d=accepts.synthetic_2d, image_types=accepts.image_types):
        return ()
    return (
        (Reason.UNSUPPORTED_IMAGE_TYPE, header.kind is ImageKind.OTHER),
        (Reason.SYNTHETIC_2D, header.kind is ImageKind.SYNTHETIC_2D),
        (Reason.SCREEN_CAPTURE, header.kind is ImageKind.CAPTURE),
    )


def _details(header: ImageHeader) -> Iterator[str]:
    """Who said what, where that is the reason: attributes and coded terms, no free text."""
    if header.kind_detail:
        yield header.kind_detail
    if header.intent_contradicts:
        yield "SOPClassUID and PresentationIntentType contradict each other"
    if header.larger_than_any_detector:
        yield "by its pixel spacing the picture is larger than any detector"
    if UNREADABLE_MODIFIER in header.modifiers:
        yield "a view modifier has no code that can be read"
    if header.views_contradict:
        yield _said(header.view_witnesses)
    if header.sides_contradict:
        yield _said(header.side_witnesses)


def _said(witnesses: tuple[tuple[str, Laterality | View], ...]) -> str:
    return ", ".join(f"{who} says {what}" for who, what in witnesses)


def _intent_is_refused(header: ImageHeader, accepts: Accepts) -> bool:
    """An unknown intent is only found in tomosynthesis volumes, which are refused as such.

    Where storage class and intent contradict each other, nobody knows what the pixels are.
    """
    return header.intent_contradicts or (
        header.intent is not None and header.intent not in accepts.presentation_intents
    )


def _modifier_is_refused(header: ImageHeader) -> bool:
    """Spot, magnification, rolled, …; a stereotactic exposure is a spot that no modifier names.

    The modifier implant displaced has a reason of its own.
    """
    others = set(header.disqualifying_modifiers) - {IMPLANT_DISPLACED}
    return bool(others) or header.stereo or header.magnified


def _manufacturer_is_refused(header: ImageHeader, accepts: Accepts) -> bool:
    if accepts.manufacturers == "any":
        return False
    # Units of one maker differ in case and in what follows the name ("HOLOGIC, Inc.").
    name = header.manufacturer.casefold()
    return not any(name.startswith(known.casefold()) for known in accepts.manufacturers)


def _spacing_is_missed(header: ImageHeader, recipe: Recipe | None) -> bool:
    if header.pixel_spacing_mm is not None or recipe is None:
        return False
    steps = recipe.runtime_steps
    if header.film and any(s.step == "resize" and s.film_spacing_mm is not None for s in steps):
        return False
    return any(
        (step.step == "resize" and step.mode == "spacing_mm")
        or (step.step == "crop" and step.mode == "breast_box" and step.margin_mm > 0)
        for step in steps
    )


def _spacing_is_refused(header: ImageHeader, accepts: Accepts) -> bool:
    low, high = accepts.pixel_spacing_mm
    return header.larger_than_any_detector or (
        header.pixel_spacing_mm is not None
        and not all(low <= spacing <= high for spacing in header.pixel_spacing_mm)
    )


def _is_unconfirmed(header: ImageHeader, breast: Breast) -> bool:
    """One attribute alone names the side, and neither Patient Orientation nor the pixels do."""
    hangs = header.hanging_assumed and breast.chest_wall_is_certain
    return len(header.side_witnesses) == 1 and not hangs


def _against_its_side(header: ImageHeader, breast: Breast) -> str:
    """What says that the chest wall must be at the other side than it certainly is, or "".

    Patient Orientation says where it must be; where it is absent, an image for presentation hangs
    as it should (PS3.3 C.8.11.7.1.4: a right breast has its chest wall at the right). A film
    without orientation may have been scanned from its back.
    """
    if not breast.chest_wall_is_certain or header.laterality is None or header.view is View.OTHER:
        return ""
    wall = header.chest_wall_side
    if not wall and header.hanging_assumed:
        wall = "right" if header.laterality is Laterality.RIGHT else "left"
    if wall not in ("left", "right") or breast.chest_wall == wall:
        return ""
    who = "PatientOrientation" if header.chest_wall_side else header.laterality_source
    found = f"chest wall at the {breast.chest_wall} of the pixels, by {who} at the {wall}"
    return "; ".join(filter(None, (_said(header.side_witnesses), found)))
