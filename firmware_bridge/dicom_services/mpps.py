"""Modality Performed Procedure Step SCP (PS3.4 F.7): a unit says when an exam begins and ends.

Everything but the wire is pure: a data set becomes a `StepBegun` or a `StepEnded`, or a refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from firmware_bridge.dicom_network.message_data_set import MOST_REFERENCES, is_uid, read_message
from models.errors import PeerError
from runtime.dicom_header.attributes import items, text
from runtime.exam_rules.procedure_step import StepAnswer, StepBegun, StepEnded, StepState
from runtime.image.header import FOR_PRESENTATION_CLASS, HeaderRefusedError, Laterality
from runtime.ledger.ledger import LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runtime.exams.intake_ports import NoticeReceiver

CODE_SEQUENCES = (
    "PerformedProtocolCodeSequence",
    "ProcedureCodeSequence",
    "ScheduledProtocolCodeSequence",
    "RequestedProcedureCodeSequence",
)
KEYWORDS = (
    *CODE_SEQUENCES,
    "PerformedProcedureStepStatus",
    "ScheduledStepAttributesSequence",
    "StudyInstanceUID",
    "Modality",
    "CodeValue",
    "ProtocolContextSequence",
    "ConceptNameCodeSequence",
    "ConceptCodeSequence",
    "PerformedSeriesSequence",
    "ReferencedImageSequence",
    "ReferencedSOPClassUID",
    "ReferencedSOPInstanceUID",
)
# PS3.16: Laterality as the name of a context item, Left and Right as its value; SCT, then SRT.
LATERALITY_NAMES = frozenset({"272741003", "G-C171"})
SIDES = {
    "7771000": Laterality.LEFT,
    "G-A101": Laterality.LEFT,
    "24028007": Laterality.RIGHT,
    "G-A100": Laterality.RIGHT,
}
STANDARD_VIEWS = ("CC", "MLO")


class StepStatus(IntEnum):
    """Status (0000,0900) of N-CREATE and N-SET responses (PS3.7 annex C)."""

    SUCCESS = 0x0000
    INVALID_VALUE = 0x0106
    PROCESSING_FAILURE = 0x0110
    DUPLICATE = 0x0111
    NO_SUCH_INSTANCE = 0x0112
    INVALID_INSTANCE = 0x0117
    MISSING_ATTRIBUTE = 0x0120


NO_LONGER_UPDATED = 0xA710
"""Error ID (0000,0903): the step has ended (PS3.4 F.7.2.2.2)."""

_STATUS = {
    StepAnswer.TAKEN: StepStatus.SUCCESS,
    StepAnswer.DUPLICATE: StepStatus.DUPLICATE,
    StepAnswer.UNKNOWN: StepStatus.NO_SUCH_INSTANCE,
    StepAnswer.ENDED: StepStatus.PROCESSING_FAILURE,
}


class StepRefusedError(PeerError):
    """What the unit said cannot be used. `comment`: for the unit, no value of the data set."""

    def __init__(self, status: StepStatus, comment: str) -> None:
        self.status = status
        self.comment = comment
        super().__init__(comment)


@dataclass(frozen=True, kw_only=True)
class StepReader:
    """Data sets to words.

    `procedure_views`: the site's own procedure or protocol codes that stand for fewer views
    than usual, as its settings list them.
    """

    procedure_views: Mapping[str, tuple[str, ...]]

    def begun(self, ds: Dataset, step_uid: str) -> StepBegun:
        """An N-CREATE. Raises StepRefusedError."""
        if text(ds, "PerformedProcedureStepStatus") != StepState.IN_PROGRESS:
            raise StepRefusedError(StepStatus.INVALID_VALUE, "a step begins IN PROGRESS")
        scheduled = items(ds, "ScheduledStepAttributesSequence")
        study_uid = next((uid for item in scheduled if (uid := text(item, "StudyInstanceUID"))), "")
        if not study_uid:
            raise StepRefusedError(StepStatus.MISSING_ATTRIBUTE, "no Study Instance UID")
        if not is_uid(study_uid):
            raise StepRefusedError(StepStatus.INVALID_VALUE, "Study Instance UID is no UID")
        return StepBegun(
            step_uid=step_uid,
            study_instance_uid=study_uid,
            mammography=text(ds, "Modality") == "MG",
            views=self.views(ds),
        )

    def ended(self, ds: Dataset, step_uid: str) -> StepEnded | None:
        """An N-SET; None if the step goes on. Raises StepRefusedError."""
        word = text(ds, "PerformedProcedureStepStatus")
        if word in ("", StepState.IN_PROGRESS):
            return None
        if word not in (StepState.COMPLETED, StepState.DISCONTINUED):
            raise StepRefusedError(StepStatus.INVALID_VALUE, "no status of a procedure step")
        return StepEnded(
            step_uid=step_uid,
            state=StepState(word),
            images=tuple(_images_to_come(ds))[:MOST_REFERENCES],
            views=self.views(ds),
        )

    def views(self, ds: Dataset) -> tuple[str, ...]:
        """The only views that will be taken, where a code says so; else ().

        Said by one of the site's own codes, or by Laterality in the context of a protocol code.
        Words in descriptions are not read: a wrong guess would make `none` of a missing view.
        """
        for code in _codes(ds):
            views = self.procedure_views.get(text(code, "CodeValue"))
            if views:
                return views
        sides = {
            SIDES[value]
            for code in _codes(ds)
            for context in items(code, "ProtocolContextSequence")
            if _code_in(context, "ConceptNameCodeSequence") in LATERALITY_NAMES
            and (value := _code_in(context, "ConceptCodeSequence")) in SIDES
        }
        if len(sides) != 1:
            return ()
        side = sides.pop()
        return tuple(f"{side}{view}" for view in STANDARD_VIEWS)


class MppsService:
    """Answers N-CREATE and N-SET with what the receiver makes of them.

    Args:
        reader: of the data sets.
        notices: where steps go.
        storage_fault: told where ledger or disk failed; the unit hears a failure, and no more.
    """

    def __init__(
        self,
        reader: StepReader,
        notices: NoticeReceiver,
        *,
        storage_fault: Callable[[LedgerError | OSError], None],
    ) -> None:
        self._reader = reader
        self._notices = notices
        self._storage_fault = storage_fault

    def create(self, event: Any) -> tuple[Dataset, None]:
        """A step begins (evt.EVT_N_CREATE)."""
        request = event.request

        def take() -> StepAnswer:
            step_uid = str(request.AffectedSOPInstanceUID or "")
            if not is_uid(step_uid):
                raise StepRefusedError(StepStatus.INVALID_INSTANCE, "no SOP Instance UID")
            ds = read_message(request.AttributeList, event.context.transfer_syntax, KEYWORDS)
            return self._notices.begin_step(self._reader.begun(ds, step_uid))

        return self._answered(take)

    def set(self, event: Any) -> tuple[Dataset, None]:
        """A step changes or ends (evt.EVT_N_SET)."""
        request = event.request

        def take() -> StepAnswer:
            step_uid = str(request.RequestedSOPInstanceUID or "")
            ds = read_message(request.ModificationList, event.context.transfer_syntax, KEYWORDS)
            ended = self._reader.ended(ds, step_uid)
            return StepAnswer.TAKEN if ended is None else self._notices.end_step(ended)

        return self._answered(take)

    def _answered(self, take: Callable[[], StepAnswer]) -> tuple[Dataset, None]:
        """The status for the unit; a success only after the word is in the ledger."""
        response = Dataset()
        try:
            answer = take()
        except StepRefusedError as refused:
            response.Status, response.ErrorComment = int(refused.status), refused.comment
        except HeaderRefusedError:
            response.Status = int(StepStatus.PROCESSING_FAILURE)
            response.ErrorComment = "the data set cannot be read"
        except (LedgerError, OSError) as fault:
            self._storage_fault(fault)
            response.Status = int(StepStatus.PROCESSING_FAILURE)
            response.ErrorComment = "storage fault: not recorded"
        else:
            response.Status = int(_STATUS[answer])
            if answer is StepAnswer.ENDED:
                response.ErrorID = NO_LONGER_UPDATED
                response.ErrorComment = "the step has ended and may no longer be updated"
        return response, None


def _codes(ds: Dataset) -> Iterator[Dataset]:
    for place in (ds, *items(ds, "ScheduledStepAttributesSequence")):
        for keyword in CODE_SEQUENCES:
            yield from items(place, keyword)


def _code_in(ds: Dataset, keyword: str) -> str:
    return next((text(code, "CodeValue") for code in items(ds, keyword)), "")


def _images_to_come(ds: Dataset) -> Iterator[str]:
    """The images For Presentation that the step lists: those that a unit sends to be read.

    Raw twins, volumes and reports are listed too, and often go elsewhere or nowhere.
    """
    for series in items(ds, "PerformedSeriesSequence"):
        for image in items(series, "ReferencedImageSequence"):
            uid = text(image, "ReferencedSOPInstanceUID")
            if text(image, "ReferencedSOPClassUID") == FOR_PRESENTATION_CLASS and is_uid(uid):
                yield uid
