"""The reasons of `status` and the console's codes are one list."""

from runtime.messages.payloads import StatusFacts
from runtime.messages.status_reason import StatusReason
from tests.support.unit_under_test import MESSAGE_FACTORY


def test_each_reason_has_a_code_of_its_own_and_may_be_said():
    """A reason stands in `status` as plain text, and no two have one code."""
    reasons = tuple(StatusReason)
    assert len({reason.code for reason in reasons}) == len(reasons)
    facts = StatusFacts(reasons=reasons)
    assert facts == StatusFacts(reasons=tuple(reason.value for reason in reasons))
    said = MESSAGE_FACTORY.status_message(facts, at_ms=0, last_seq=0).payload
    assert b'"reasons":["starting","worker_not_ready",' in said


def test_a_reason_of_a_later_version_is_taken():
    """On the wire the list is open."""
    assert StatusFacts(reasons=("of_a_later_version",)).reasons == ("of_a_later_version",)
