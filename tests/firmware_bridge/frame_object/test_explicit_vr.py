"""What cannot be encoded is refused where it stands."""

from __future__ import annotations

import struct

import pytest

from firmware_bridge.frame_object.explicit_vr import encoded


def test_an_unknown_keyword_is_named():
    """A slip of the pen must not become an element."""
    with pytest.raises(KeyError, match="SOPInstanceUDI"):
        encoded({"SOPInstanceUDI": "1.2"})


@pytest.mark.parametrize(
    "elements",
    [{"Rows": 65536}, {"Rows": "64"}, {"PatientID": "x" * 65536}],
    ids=["number out of range", "no number", "text beyond 16 bits of length"],
)
def test_a_value_that_does_not_fit_is_refused(elements):
    """Never cut off, never wrapped round."""
    with pytest.raises(struct.error):
        encoded(elements)


def test_elements_stand_in_the_order_of_their_tags():
    """Whatever the order in which they were given (PS3.5 7.1)."""
    assert encoded({"Rows": 1, "PatientID": "A"}) == (
        b"\x10\x00\x20\x00LO\x02\x00A \x28\x00\x10\x00US\x02\x00\x01\x00"
    )


def test_text_has_no_items():
    """A sequence takes data sets."""
    with pytest.raises(TypeError, match="items"):
        encoded({"ViewCodeSequence": ["CC"]})
