"""What the demo prints: one line for each message, and the summary. Pure: text out, no clock."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.image.outcome import Flag
from runtime.image.reasons import Reason
from runtime.messages.payloads import ExamMessage, OtherCode, ViewMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY_DIGITS = 8
HEADER = f"{'time':>8}  {'exam':8}  {'what':6} {'flag':12} {'score':>5} {'after':>8}  remark"

REASON_WORDS: dict[Reason, str] = {
    Reason.UNSUPPORTED_VIEW: "a view that the model was not made for",
    Reason.UNSUPPORTED_MODIFIER: "spot, magnification or other special view",
    Reason.VIEW_UNKNOWN: "the image does not say which view it is",
    Reason.LATERALITY_MISSING: "the image does not say which breast it shows",
    Reason.LATERALITY_CONTRADICTS: "the image shows the other breast than it says",
    Reason.IMPLANT: "breast implant",
    Reason.PARTIAL_VIEW: "only a part of the breast",
    Reason.TOMOSYNTHESIS_VOLUME: "tomosynthesis volume",
    Reason.FOR_PROCESSING: "raw image, not for presentation",
    Reason.QUALITY_CONTROL: "quality control object, no patient",
    Reason.UNSUPPORTED_IMAGE_TYPE: "a kind of image that the model was not made for",
    Reason.SYNTHETIC_2D: "a view computed from tomosynthesis",
    Reason.SCREEN_CAPTURE: "a screen capture, or marks in the image",
    Reason.NOT_MAMMOGRAPHY: "not a mammogram",
    Reason.FILM_NOT_ACCEPTED: "scanned film, which the model does not accept",
    Reason.MANUFACTURER_NOT_ACCEPTED: "a manufacturer that the model was not made for",
    Reason.NO_BREAST: "no breast found",
    Reason.DISPLAY_IMPLAUSIBLE: "the picture would be inverted, black or white",
    Reason.TOO_SMALL: "image too small",
    Reason.TOO_LARGE: "image too large",
    Reason.SPACING_UNKNOWN: "pixel size unknown",
    Reason.SPACING_OUT_OF_RANGE: "pixel size outside what the model was made for",
    Reason.UNDECODABLE: "pixels cannot be decoded",
    Reason.UNREADABLE: "file cannot be read",
    Reason.UNSUPPORTED_PIXELS: "a kind of pixels that is not supported",
    Reason.ENGINE_FAULT: "the inference engine failed",
    Reason.PROCESSING_FAILED: "processing failed",
    Reason.INTEGRITY_FAILED: "the spooled file is not the one that was received",
    Reason.COMPANION_MISSING: "another view that the model needs is missing",
    Reason.COMPANION_NOT_ASSESSED: "another view that the model needs could not be assessed",
    Reason.AWAITING_VIEWS: "waiting for more views",
    Reason.VIEW_NOT_RECEIVED: "views missing",
    Reason.TOO_MANY_IMAGES: "more images than an exam may have",
    Reason.IDENTITY_CONFLICT: "images of two patients in one exam",
}


def in_words(reasons: Iterable[Reason | OtherCode]) -> str:
    """Reasons for people, each once."""
    words = dict.fromkeys(
        f"other ({reason})"
        if isinstance(reason, OtherCode)
        else REASON_WORDS.get(reason, reason.value)
        for reason in reasons
    )
    return ", ".join(words)


@dataclass(kw_only=True)
class DemoRecord:
    """Collects what was sent and heard.

    `started_ns`: wall clock of the time 0 of the table.
    """

    started_ns: int
    sent_ns: dict[str, int] = field(default_factory=dict)
    """image_key -> when the last byte of its data set was handed to the socket."""
    exams: dict[str, ExamMessage] = field(default_factory=dict)
    """exam_key -> its newest revision."""
    views: dict[str, ViewMessage] = field(default_factory=dict)
    """image_key -> its outcome."""
    view_ms: dict[str, float] = field(default_factory=dict)
    exam_images: dict[str, list[str]] = field(default_factory=dict)
    """exam_key -> image_keys that were sent for it."""

    def sent(self, *, exam_key: str, image_key: str, last_byte_at_ns: int) -> None:
        """An image was stored at the unit."""
        self.sent_ns[image_key] = last_byte_at_ns
        self.exam_images.setdefault(exam_key, []).append(image_key)

    def view(self, message: ViewMessage, *, at_ns: int) -> str:
        """Takes a view's outcome in; its line."""
        self.views[message.image_key] = message
        return self._line(
            message.exam_key,
            what=message.view,
            flag=message.flag,
            score=message.score,
            at_ns=at_ns,
            since_ns=self.sent_ns.get(message.image_key),
            remark=in_words(message.reasons),
        )

    def exam(self, message: ExamMessage, *, at_ns: int) -> str | None:
        """Takes a revision in; its line, or None for one that is not newer."""
        before = self.exams.get(message.exam_key)
        if before is not None and before.revision >= message.revision:
            return None
        self.exams[message.exam_key] = message
        # A provisional flag rests on images that were sent at different times: only the final one
        # has a time, from the last byte of the exam.
        sent = [self.sent_ns[key] for key in self.exam_images.get(message.exam_key, ())]
        state = f"final ({message.completed_by})" if message.final else "provisional"
        missing = f"; without {' '.join(message.missing_views)}" if message.missing_views else ""
        return self._line(
            message.exam_key,
            what="EXAM",
            flag=message.flag,
            score=message.score,
            at_ns=at_ns,
            since_ns=max(sent, default=None) if message.final else None,
            remark=f"{state}, revision {message.revision}{missing}",
        )

    def waiting_for(self) -> int:
        """How many exams that were sent have no final flag, or images no outcome yet."""
        exams = sum(
            1
            for key in self.exam_images
            if (message := self.exams.get(key)) is None or not message.final
        )
        return exams + sum(1 for key in self.sent_ns if key not in self.views)

    def measure(self, message: ViewMessage, *, at_ns: int) -> None:
        """Keeps the time from the last byte to the view's message, for the summary."""
        since_ns = self.sent_ns.get(message.image_key)
        if since_ns is not None:
            self.view_ms.setdefault(message.image_key, (at_ns - since_ns) / 1e6)

    def summary(self) -> str:
        """The end of the demo, for people."""
        exam_flags = Counter(message.flag for message in self.exams.values())
        view_flags = Counter(message.flag for message in self.views.values())
        lines = [
            f"{len(self.exams)} exams: {_counted(exam_flags)}",
            f"{len(self.views)} views: {_counted(view_flags)}",
        ]
        if self.view_ms:
            lines.append(
                f"time from last byte sent to flag of the view: "
                f"p50 {statistics.median(self.view_ms.values()):.0f} ms, "
                f"slowest {max(self.view_ms.values()):.0f} ms"
            )
        lines += self._not_assessed()
        judged = [message for message in self.views.values() if message.model is not None]
        for name in sorted({_judged_by(message) for message in judged}):
            lines.append(f"judged by {name}")
        lines.append("Research only, not for care.")
        return "\n".join(lines)

    def _not_assessed(self) -> list[str]:
        exams = [m for m in self.exams.values() if m.flag is Flag.NOT_ASSESSED]
        views = [m for m in self.views.values() if m.flag is Flag.NOT_ASSESSED]
        lines = []
        for what, messages in (("exams", exams), ("views", views)):
            for words, count in Counter(in_words(m.reasons) for m in messages).most_common():
                lines.append(f"{what} not assessed: {count}: {words}")
        return lines

    def _line(
        self,
        exam_key: str,
        *,
        what: str,
        flag: Flag,
        score: float | None,
        at_ns: int,
        since_ns: int | None,
        remark: str,
    ) -> str:
        time_s = (at_ns - self.started_ns) / 1e9
        shown_score = "" if score is None else f"{score:.2f}"
        after = "" if since_ns is None else f"{(at_ns - since_ns) / 1e6:.0f} ms"
        return (
            f"{time_s:7.2f}s  {exam_key[:KEY_DIGITS]}  {what:6} {flag.value:12} "
            f"{shown_score:>5} {after:>8}  {remark}"
        ).rstrip()


def _counted(flags: Counter[Flag]) -> str:
    return ", ".join(f"{flags[flag]} {flag.value}" for flag in Flag)


def _judged_by(message: ViewMessage) -> str:
    model = f"{message.model.name} {message.model.version}" if message.model else "?"
    point = message.operating_point
    threshold = f", {point.name} at {point.threshold:.2f}" if point else ""
    return (
        f"{model}{threshold}; precision {message.precision} (run as {message.executed_precision}); "
        f"device {message.actual_device} (asked for {message.requested_device})"
    )
