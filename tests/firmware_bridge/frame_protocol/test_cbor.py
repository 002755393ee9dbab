"""Our CBOR against an independent one (cbor2), and against bytes of every kind."""

from __future__ import annotations

from contextlib import suppress

import cbor2
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from firmware_bridge.frame_protocol.cbor import CborError, CborLimits, decode, encode

LIMITS = CborLimits()
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
)
MAPS = st.dictionaries(
    st.text(max_size=20),
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4), max_leaves=12)
    | st.dictionaries(st.text(max_size=8), SCALARS, max_size=4),
    max_size=12,
)
DEEP = CborLimits(depth=40)


@seed(1)
@settings(max_examples=400, deadline=None)
@given(MAPS)
def test_what_we_write_cbor2_reads(value):
    """And the other way round."""
    assert cbor2.loads(encode(value)) == value
    assert decode(cbor2.dumps(value), DEEP) == value
    assert decode(cbor2.dumps(value, canonical=True), DEEP).keys() == value.keys()


@seed(2)
@settings(max_examples=2000, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_map_or_a_fault(data):
    """Nothing but CborError comes out of garbage; what is read, cbor2 reads the same."""
    try:
        value = decode(data, LIMITS)
    except CborError:
        return
    assert repr(cbor2.loads(data)) == repr(value)


@seed(3)
@settings(max_examples=1000, deadline=None)
@given(MAPS, st.data())
def test_a_damaged_message_is_a_map_or_a_fault(value, data):
    """One byte changed, or the end cut off."""
    good = bytearray(encode(value))
    place = data.draw(st.integers(0, len(good) - 1))
    good[place] = data.draw(st.integers(0, 255))
    for damaged in (bytes(good), bytes(good[:place])):
        with suppress(CborError):
            decode(damaged, LIMITS)


def test_half_and_single_floats_are_read():
    """RFC 8949 appendix A: 1.5 as a half, 100000.0 as a single."""
    assert decode(b"\xa1\x61a\xf9\x3e\x00", LIMITS) == {"a": 1.5}
    assert decode(b"\xa1\x61a\xfa\x47\xc3\x50\x00", LIMITS) == {"a": 100000.0}


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "cut off"),
        (b"\xa1\x61a", "cut off"),
        (b"\xa1\x01\x01", "a key is not text"),
        (b"\xa1\x61\xff\x01", "text that is not UTF-8"),
        (b"\xa1\x61a\x41a", "byte strings and tags are not used"),
        (b"\xa1\x61a\xf7", "a simple value that is not used"),
        (b"\xa1\x61a\x1c", "reserved length"),
        (b"\xa1\x61a\x9f\xff", "indefinite length"),
        (b"\xa1\x61a" + b"\x81" * 6 + b"\x00", "nested too deep"),
        (b"\xa1\x61a\x99\x08\x00", "too many items"),
        (b"\xa0\x00", "bytes after the end"),
    ],
)
def test_each_fault_has_its_name(data, fault):
    """So that a firmware team knows what to mend."""
    with pytest.raises(CborError, match=fault):
        decode(data, LIMITS)


def test_an_integer_of_more_than_64_bits_is_not_written():
    """CBOR has no head for it."""
    with pytest.raises(CborError):
        encode({"a": 2**64})
