"""What `judge --explain` says of one file: a row for each word that counted, or did not.

Nothing is decided here: the rows are what the deciding functions kept (`Look`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.sr.codedict import codes
from pydicom.uid import UID

from runtime.cli.code_words import REASON_WORDS, REMARK_WORDS
from runtime.dicom_header.image_kind import named, terms_that_count
from runtime.dicom_header.pixel_spacing import spacings_passed_over
from runtime.dicom_header.view_modifiers import magnification_by_distance, stated_magnification
from runtime.image.outcome import Finding, NotAssessed, ViewResult
from runtime.image.view_codes import HARMLESS_MODIFIERS, UNREADABLE_MODIFIER
from runtime.image.witness import Use, Witness
from runtime.pixels.voi_lut_table import shown_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydicom.dataset import Dataset

    from models.manifest import WindowStep
    from runtime.image.header import ImageHeader, Laterality, View
    from runtime.image.outcome import ImageFinding, ImageOutcome, ViewOutcome
    from runtime.pixels.display import Display
    from runtime.pixels.mammogram import Mammogram
    from runtime.worker.pipeline import Look

UNKNOWN = "not told"
WIDEST = 60
"""Columns of text; a longer one pushes the next aside in its own line."""


def explain(
    look: Look, image: ImageOutcome | ImageFinding, display: Display
) -> tuple[Witness, ...]:
    """All that was read of a file and what became of it, in the order in which it counts."""
    told: list[Witness] = []
    if look.image is not None:
        told += _of_header(look.image.header, look.image.file.elements)
    if look.pixel_fault:
        told.append(_row("pixels", "PixelData", "cannot be had", Use.MISSING, look.pixel_fault))
    if look.mammogram is not None:
        told += look.mammogram.witnesses
        told += _of_display(look.mammogram, display)
        told += _of_breast(look)
    told += _of_outcome(image.outcome)
    return tuple(told)


def words_of(image: ImageOutcome | ImageFinding) -> dict[str, str]:
    """Each reason and remark of the outcome: what it means, and for a reason what to do."""
    outcome = image.outcome
    reasons = outcome.reasons if isinstance(outcome, NotAssessed) else ()
    words = {reason.value: "; do: ".join(REASON_WORDS[reason]) for reason in reasons}
    return words | {remark.value: REMARK_WORDS[remark] for remark in outcome.remarks}


def as_table(witnesses: Iterable[Witness], words: dict[str, str]) -> str:
    """For people: a line for each word, then each code with its meaning."""
    cells = [
        (told.about, told.said, told.source, ": ".join(filter(None, (told.use, told.why))))
        for told in witnesses
    ]
    widths = [
        max((len(row[column]) for row in cells if len(row[column]) <= WIDEST), default=0)
        for column in range(3)
    ]
    lines, before = [], ""
    for about, *rest in cells:
        shown = "" if about == before else about
        row = [text.ljust(width) for text, width in zip((shown, *rest), widths, strict=False)]
        lines.append("  ".join((" ", *row, rest[-1])).rstrip())
        before = about
    wide = max((len(code) for code in words), default=0)
    return "\n".join([*lines, *(f"    {code.ljust(wide)}  {text}" for code, text in words.items())])


# --- the header ----------------------------------------------------------------------------------


def _row(about: str, source: str, said: str, use: Use = Use.USED, why: str = "") -> Witness:
    return Witness(about=about, source=source or "nowhere", said=said, use=use, why=why)


def _of_header(header: ImageHeader, ds: Dataset) -> Iterator[Witness]:
    for about, source, uid in (
        ("class", "SOPClassUID", UID(header.sop_class_uid)),
        ("syntax", "TransferSyntaxUID", UID(header.transfer_syntax_uid)),
    ):
        yield _row(about, source, uid.name if uid.name != uid else "an unknown UID")
    yield from _of_kind(header, ds)
    if header.intent is not None:
        against = "the storage class says the opposite" if header.intent_contradicts else ""
        use = Use.CONTRADICTS if against else Use.USED
        yield _row("intent", header.intent_source, header.intent, use, against)
    yield from _of_witnesses("view", header.view, header.view_source, header.view_witnesses)
    yield from _of_witnesses(
        "side", header.laterality, header.laterality_source, header.side_witnesses
    )
    if header.chest_wall_side:
        yield _row("chest wall", "PatientOrientation", f"at the {header.chest_wall_side}")
    yield from _of_modifiers(header, ds)
    yield from _of_spacing(header, ds)


def _of_kind(header: ImageHeader, ds: Dataset) -> Iterator[Witness]:
    terms = "\\".join(named(term) for term in terms_that_count(ds))
    yield _row("image type", "ImageType", terms or UNKNOWN)
    kind = "film" if header.film and not header.kind_detail else header.kind.value
    yield _row("kind", header.kind_detail or "nothing that speaks against it", kind)
    if header.tomosynthesis:
        yield _row("kind", "SOPClassUID, NumberOfFrames", f"a volume, {header.frames} frames")
    if header.quality_control:
        yield _row("kind", "QualityControlImage", "quality control")
    if header.implant:
        yield _row("kind", "BreastImplantPresent", "with implant")


def _of_witnesses(
    about: str,
    decided: Laterality | View | None,
    source: str,
    witnesses: tuple[tuple[str, Laterality | View], ...],
) -> Iterator[Witness]:
    """The word that counts first; each other one agrees with it or contradicts it."""
    if decided is None:
        yield _row(about, source, UNKNOWN, Use.MISSING)
    elif (source, decided) not in witnesses:
        yield _row(about, source, decided)
    for who, said in witnesses:
        use = Use.AGREES if said == decided else Use.CONTRADICTS
        yield _row(about, who, said, Use.USED if (who, said) == (source, decided) else use)


def _of_modifiers(header: ImageHeader, ds: Dataset) -> Iterator[Witness]:
    meanings = {code.value: code.meaning for code in codes.cid4015.concepts.values()}
    for modifier in header.modifiers:
        known = modifier in meanings or modifier == UNREADABLE_MODIFIER
        name = meanings.get(modifier, modifier) if known else "a code beyond CID 4015"
        harmless = modifier in HARMLESS_MODIFIERS
        use = Use.PASSED_OVER if harmless else Use.USED
        yield _row("modifier", "code or word", name, use, "harmless" if harmless else "")
    for source, factor in (
        ("EstimatedRadiographicMagnificationFactor", stated_magnification(ds)),
        ("DistanceSourceToDetector, DistanceSourceToPatient", magnification_by_distance(ds)),
    ):
        if factor is not None:
            use = Use.USED if factor == header.magnification else Use.PASSED_OVER
            yield _row("magnification", source, f"{factor:.3g}", use)
    if header.partial_view is not None:
        yield _row("partial view", "PartialView", "yes" if header.partial_view else "no")


def _of_spacing(header: ImageHeader, ds: Dataset) -> Iterator[Witness]:
    if header.pixel_spacing_mm is None:
        yield _row("spacing", "", UNKNOWN, Use.MISSING)
    else:
        down, across = header.pixel_spacing_mm
        size = f"{header.rows * down / 10:.1f} x {header.columns * across / 10:.1f} cm"
        yield _row("spacing", header.pixel_spacing_source, f"{down:.4g} x {across:.4g} mm ({size})")
    yield from spacings_passed_over(ds, header.pixel_spacing_source)


# --- the picture ---------------------------------------------------------------------------------


def _of_display(mammogram: Mammogram, display: Display) -> Iterator[Witness]:
    for step in display.steps:
        if step.step == "window":
            yield _of_window(step, mammogram)
        elif mammogram.monochrome1:
            yield _row("display", "recipe: monochrome1", "low values become bright")
    bright = "low" if display.falls(mammogram) else "high"
    yield _row("display", "all of the above", f"{bright} stored values display bright")


def _of_window(step: WindowStep, mammogram: Mammogram) -> Witness:
    return _row("display", f"recipe: window {step.mode}", f"by {shown_by(step, mammogram)}")


def _of_breast(look: Look) -> Iterator[Witness]:
    breast = look.breast
    if breast is None:
        yield _row("breast", "pixels", "not found", Use.MISSING, look.seen)
        return
    box = breast.box
    place = f"rows {box.top} to {box.bottom}, columns {box.left} to {box.right}"
    sure = "certain" if breast.chest_wall_is_certain else "not certain"
    yield _row("breast", "pixels", place)
    yield _row("breast", "pixels", f"chest wall at the {breast.chest_wall}, {sure}")
    for check in look.figures.checks if look.figures is not None else ():
        use = Use.KEPT if check.kept else Use.BROKEN
        yield _row("check", f"{check.what}, {check.limit}", f"{check.value:.3f}", use)


def _of_outcome(outcome: ViewOutcome | Finding) -> Iterator[Witness]:
    if isinstance(outcome, Finding):
        for output, score in outcome.outputs.items():
            yield _row(outcome.role, output, f"{score:.3f}", why="a finding; nothing is flagged")
        return
    model = outcome.model
    name = f"{model.name}-{model.version} {model.precision}" if model else UNKNOWN
    if isinstance(outcome, ViewResult) and model:
        limit = f"{model.operating_point}: priority from {model.threshold:.3f} on"
        yield _row("score", name, f"{outcome.score:.3f}", why=limit)
    elif isinstance(outcome, NotAssessed) and outcome.detail:
        yield _row("detail", ", ".join(outcome.reasons), outcome.detail)
