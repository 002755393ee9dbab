"""A vocabulary is closed for who writes and open for who reads."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from runtime.exam_rules.exam_flag import Completion
from runtime.image.outcome import Flag
from runtime.image.reasons import Reason
from runtime.messages.payloads import EventKind, EventMessage, ExamMessage, OtherCode
from runtime.mqtt_contract import examples
from runtime.mqtt_contract.examples import as_said


def heard(message, **fields):
    """The message as a subscriber reads it, with fields of a later version's."""
    said = json.dumps(as_said(message) | fields)
    return type(message).model_validate_json(said, strict=True)


@pytest.mark.parametrize("code", ["party", "exposuer", "EXPOSURE", ""])
def test_what_a_unit_writes_is_of_the_list(code):
    """A text that is no member is refused when it is written."""
    with pytest.raises(ValidationError):
        EventMessage(**examples.ENVELOPE, event=code)


def test_what_is_known_is_never_another_code():
    """A member stays one, whether written, read, or read again."""
    exam = heard(examples.EXAM)
    assert exam == examples.EXAM
    assert exam.completed_by is Completion.EXPECTED_VIEWS
    assert exam.views[1].reasons[0] is Reason.IMPLANT
    assert ExamMessage.model_validate_json(exam.encode()).completed_by is Completion.EXPECTED_VIEWS
    assert heard(examples.EVENT).event is EventKind.EXPOSURE


def test_an_unknown_code_is_kept_and_said_again():
    """Read, written and read, it is the same text; nothing else of the message changes."""
    exam = heard(examples.EXAM, completed_by="technologist", reasons=["implant", "positioning"])
    assert exam.completed_by == "technologist"
    assert isinstance(exam.completed_by, OtherCode)
    assert exam.completed_by.value == "technologist"
    assert exam.reasons == (Reason.IMPLANT, OtherCode("positioning"))
    assert exam.flag is Flag.PRIORITY
    again = ExamMessage.model_validate_json(exam.encode(), strict=True)
    assert again == exam
    assert json.loads(exam.encode())["reasons"] == ["implant", "positioning"]


@pytest.mark.parametrize("code", ["Positioning", "two words", "", "1st", "x" * 65, "line\n"])
def test_what_has_no_form_of_a_code_is_none(code):
    """1 to 64 characters a-z, 0-9 and _, a letter first."""
    with pytest.raises(ValidationError):
        heard(examples.EXAM, reasons=[code])


@pytest.mark.parametrize("field", ["flag", "schema"])
def test_a_flag_is_no_vocabulary(field):
    """Three values: a fourth could be read as none of them."""
    with pytest.raises(ValidationError):
        heard(examples.EXAM, **{field: "recall"})
