"""Why an image or an exam was not assessed; and remarks that do not stop a judgement."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A code that travels: on MQTT, to the console, in `judge --json`."""

    UNSUPPORTED_VIEW = "unsupported_view"
    UNSUPPORTED_MODIFIER = "unsupported_modifier"
    VIEW_UNKNOWN = "view_unknown"
    LATERALITY_MISSING = "laterality_missing"
    LATERALITY_CONTRADICTS = "laterality_contradicts"
    IMPLANT = "implant"
    PARTIAL_VIEW = "partial_view"
    TOMOSYNTHESIS_VOLUME = "tomosynthesis_volume"
    FOR_PROCESSING = "for_processing"
    QUALITY_CONTROL = "quality_control"
    UNSUPPORTED_IMAGE_TYPE = "unsupported_image_type"
    SYNTHETIC_2D = "synthetic_2d"
    SCREEN_CAPTURE = "screen_capture"
    NOT_MAMMOGRAPHY = "not_mammography"
    FILM_NOT_ACCEPTED = "film_not_accepted"
    MANUFACTURER_NOT_ACCEPTED = "manufacturer_not_accepted"
    NO_BREAST = "no_breast"
    DISPLAY_IMPLAUSIBLE = "display_implausible"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    SPACING_UNKNOWN = "spacing_unknown"
    SPACING_OUT_OF_RANGE = "spacing_out_of_range"
    UNDECODABLE = "undecodable"
    UNREADABLE = "unreadable"
    UNSUPPORTED_PIXELS = "unsupported_pixels"
    ENGINE_FAULT = "engine_fault"
    PROCESSING_FAILED = "processing_failed"
    INTEGRITY_FAILED = "integrity_failed"
    """The spooled file is not, or no longer wholly, the one that was answered."""
    # of the images of a model that sees several views at once
    COMPANION_MISSING = "companion_missing"
    COMPANION_NOT_ASSESSED = "companion_not_assessed"
    # of exams only
    AWAITING_VIEWS = "awaiting_views"
    VIEW_NOT_RECEIVED = "view_not_received"
    TOO_MANY_IMAGES = "too_many_images"
    IDENTITY_CONFLICT = "identity_conflict"


class Remark(StrEnum):
    """Something true of a judged image that a reader of its score should know."""

    SPACING_ASSUMED = "spacing_assumed"
    SHRUNK_TO_CANVAS = "shrunk_to_canvas"
    WINDOW_MISSING = "window_missing"
    WINDOW_ABSURD = "window_absurd"
    VOI_LUT_BITS = "voi_lut_bits"
    VOI_LUT_UNUSABLE = "voi_lut_unusable"
    VOI_FUNCTION_UNKNOWN = "voi_function_unknown"
    MODALITY_LUT_UNUSABLE = "modality_lut_unusable"
    BITS_UNUSED = "bits_unused"
    PIXEL_SIGN_CONTRADICTS = "pixel_sign_contradicts"
    POLARITY_CONTRADICTS = "polarity_contradicts"
    LOSSY_COMPRESSION = "lossy_compression"
    INTENT_ASSUMED = "intent_assumed"
    PADDING_IGNORED = "padding_ignored"
    PADDING_DARKENED = "padding_darkened"
    LATERALITY_FROM_CONTENT = "laterality_from_content"
    LATERALITY_UNCONFIRMED = "laterality_unconfirmed"
    PARTIAL_VIEW_UNKNOWN = "partial_view_unknown"
