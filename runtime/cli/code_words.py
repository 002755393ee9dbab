"""What each reason and remark means to an engineer, in `judge --explain` and in the DICOM page.

The console's words are for technologists: `runtime/console/locale`.
"""

from __future__ import annotations

from typing import Final

from runtime.image.reasons import Reason, Remark

REASON_WORDS: Final[dict[Reason, tuple[str, str]]] = {
    Reason.UNSUPPORTED_VIEW: (
        "a view that the package was not made for, or a word that names none",
        "nothing; View Code Sequence or View Position if it is a standard view",
    ),
    Reason.UNSUPPORTED_MODIFIER: (
        (
            "magnification, spot, rolled or biopsy view, a specimen, or a modifier whose code "
            "cannot be read"
        ),
        (
            "nothing; View Modifier Code Sequence, Paddle Description and source distances if "
            "it is a standard view"
        ),
    ),
    Reason.VIEW_UNKNOWN: (
        "no element names a view, or code and View Position name two",
        "let the unit send View Code Sequence",
    ),
    Reason.LATERALITY_MISSING: (
        "no element names R or L",
        "let the unit send Image Laterality",
    ),
    Reason.LATERALITY_CONTRADICTS: (
        (
            "elements, letters of Patient Orientation or the chest wall in the pixels name two "
            "sides; `detail` says who said what"
        ),
        "correct the side at the unit and send again",
    ),
    Reason.IMPLANT: (
        "Breast Implant Present is YES, or the view is implant displaced",
        "nothing",
    ),
    Reason.PARTIAL_VIEW: (
        "Partial View is YES, or Partial View Code Sequence names a part",
        "nothing",
    ),
    Reason.TOMOSYNTHESIS_VOLUME: (
        "several frames, or the tomosynthesis class",
        "nothing; send the full-field image",
    ),
    Reason.FOR_PROCESSING: (
        (
            "an image For Processing, or storage class and Presentation Intent Type contradict "
            "each other"
        ),
        "send the image For Presentation",
    ),
    Reason.QUALITY_CONTROL: (
        "Quality Control Image is YES or BOTH",
        "nothing",
    ),
    Reason.UNSUPPORTED_IMAGE_TYPE: (
        (
            "Image Type, a description or Volumetric Properties name a slice, projection, "
            "contrast image, or a term that nobody knows"
        ),
        "`detail` names it; `model.accept_image_types` releases an unknown term",
    ),
    Reason.SYNTHETIC_2D: (
        "a view computed from tomosynthesis",
        "send the full-field image; a package may accept them (`accepts.synthetic_2d`)",
    ),
    Reason.SCREEN_CAPTURE: (
        "burned-in annotation, or a Secondary Capture that is no film",
        "send the image of the unit, not of a workstation",
    ),
    Reason.NOT_MAMMOGRAPHY: (
        "its SOP class is not one of a mammogram",
        "send it as Digital Mammography X-Ray Image",
    ),
    Reason.FILM_NOT_ACCEPTED: (
        "a digitised film, and the package was not made for film",
        "nothing; the manifest's `accepts.film`",
    ),
    Reason.MANUFACTURER_NOT_ACCEPTED: (
        "Manufacturer is none of the package's",
        "the manifest's `accepts.manufacturers`",
    ),
    Reason.NO_BREAST: (
        "nothing lies in the picture as a breast does; `detail` says what was seen",
        "`judge --explain --picture` shows it; window, polarity and padding of this sender",
    ),
    Reason.DISPLAY_IMPLAUSIBLE: (
        ("as displayed, the breast is darker than the air, or nearly all black, white or gray"),
        (
            "Photometric Interpretation, slope, VOI LUT and window of this sender; `judge "
            "--explain` has the three figures"
        ),
    ),
    Reason.TOO_SMALL: (
        "fewer rows or columns than the package needs",
        "send it in full resolution",
    ),
    Reason.TOO_LARGE: (
        "more pixels than `worker.max_megapixels`",
        "that setting",
    ),
    Reason.SPACING_UNKNOWN: (
        "no believable pixel spacing",
        "let the unit send Imager Pixel Spacing",
    ),
    Reason.SPACING_OUT_OF_RANGE: (
        (
            "a pixel spacing beyond the package's range, or a picture longer than any detector "
            "(31 cm; film 36 cm)"
        ),
        (
            "Imager Pixel Spacing and Pixel Spacing of this sender; the manifest's "
            "`accepts.pixel_spacing_mm`"
        ),
    ),
    Reason.UNDECODABLE: (
        "Pixel Data is missing, cut off, or a codestream that cannot be decoded",
        "send it again; does another viewer open it",
    ),
    Reason.UNREADABLE: (
        (
            "no DICOM file, cut off in its header, or without SOP Class, SOP Instance or Study "
            "Instance UID"
        ),
        "send it again",
    ),
    Reason.UNSUPPORTED_PIXELS: (
        (
            "colour, several frames, a bit depth or transfer syntax that is not read, or "
            "header, functional groups and codestream contradict each other; `detail` says both"
        ),
        "the sender's encoder: Bits Stored, High Bit, Pixel Representation",
    ),
    Reason.ENGINE_FAULT: (
        "the device or the model failed",
        "the log; the device's driver",
    ),
    Reason.PROCESSING_FAILED: (
        "the worker ended twice over this image",
        "the log; keep the image for us",
    ),
    Reason.COMPANION_MISSING: (
        "the package judges views together, and the other one never came",
        "send the other view",
    ),
    Reason.COMPANION_NOT_ASSESSED: (
        "the package judges views together, and the other one could not be",
        "the other view's reason",
    ),
    Reason.AWAITING_VIEWS: (
        "expected views of the exam are still to come",
        "nothing",
    ),
    Reason.VIEW_NOT_RECEIVED: (
        "an expected view never came",
        "send it; `exam.expected_views`, `exam.idle_timeout_s`",
    ),
    Reason.TOO_MANY_IMAGES: (
        "more images than `exam.max_images`: the others are kept, not judged",
        "two exams under one Study Instance UID?",
    ),
    Reason.INTEGRITY_FAILED: (
        "the spooled file is gone, cut, or not the one that was answered",
        "send the image again; look at the disk",
    ),
    Reason.IDENTITY_CONFLICT: (
        "images of one Study Instance UID say that they are of two patients",
        "correct the patient at the unit and send the whole exam again",
    ),
}
"""Cause and remedy."""

REMARK_WORDS: Final[dict[Remark, str]] = {
    Remark.SPACING_ASSUMED: "film without a pixel spacing: the package's own is taken",
    Remark.SHRUNK_TO_CANVAS: "the breast is larger than the model's canvas and was made smaller",
    Remark.WINDOW_MISSING: "neither VOI LUT nor window: shown as stored",
    Remark.WINDOW_ABSURD: (
        "the first window is no window, or shows nothing of the breast; shown as stored"
    ),
    Remark.VOI_LUT_BITS: (
        "the table's entries need other bits than its descriptor says (16 said, 12 used): white is"
        " where the used bits end"
    ),
    Remark.VOI_LUT_UNUSABLE: (
        "the first VOI LUT contradicts itself (fewer entries than announced, say), or shows nothing"
        " of the breast; the first window is used, else shown as stored"
    ),
    Remark.VOI_FUNCTION_UNKNOWN: ("VOI LUT Function is none of the standard's; LINEAR is taken"),
    Remark.MODALITY_LUT_UNUSABLE: (
        "Rescale Slope, Rescale Intercept or the Modality LUT cannot be used: left out"
    ),
    Remark.BITS_UNUSED: (
        "the pixels, or the entries of the VOI LUT, use a quarter of the declared range or less;"
        " shown by the declared range all the same"
    ),
    Remark.PIXEL_SIGN_CONTRADICTS: (
        "the codestream is unsigned, Pixel Representation says signed: its words are taken as two's"
        " complement"
    ),
    Remark.POLARITY_CONTRADICTS: (
        "Presentation LUT Shape says the opposite of Photometric Interpretation, which counts"
    ),
    Remark.LOSSY_COMPRESSION: "something was lost in compression, by the header or the codestream",
    Remark.INTENT_ASSUMED: "film has no Presentation Intent Type: taken for presentation",
    Remark.PADDING_IGNORED: (
        "a padding value that the stored bits cannot hold, or among the image's own values, marks"
        " no pixel"
    ),
    Remark.PADDING_DARKENED: "pixels of a padding value that displays bright were made dark",
    Remark.LATERALITY_FROM_CONTENT: "the side was taken from the picture",
    Remark.LATERALITY_UNCONFIRMED: (
        "one attribute alone names the side: Patient Orientation and chest wall do not confirm it"
    ),
    Remark.PARTIAL_VIEW_UNKNOWN: "Partial View is not told",
}
"""What is so, though the image was judged."""
