"""What was heard can be heard again, and a file that is none of ours says so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.site.live_model.site_state import SiteState
from runtime.site.subscriber.arrival import Arrival, LinkChange
from runtime.site.subscriber.recording import RecordingError, read_recording, recorded_site
from tests.runtime.site import said
from tests.runtime.site.stories import record, troubled_site


def test_a_recording_makes_the_same_picture(tmp_path):
    """Every message and every change of the connection comes back as it was."""
    heard = troubled_site()
    path = record(tmp_path / "r.jsonl", heard)
    assert list(read_recording(path)) == heard
    assert recorded_site(path) == said.SITE
    pictures = []
    for source in (heard, read_recording(path)):
        picture = SiteState(said.SITE)
        for each in source:
            picture.link_changed(each) if isinstance(each, LinkChange) else picture.hear(each)
        pictures.append(picture.as_json())
    assert pictures[0] == pictures[1]


@settings(deadline=None, max_examples=30)
@given(
    payload=st.binary(max_size=60),
    topic=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    retained=st.booleans(),
    at_ms=st.integers(0, 2**40),
)
def test_any_bytes_come_back(tmp_path_factory, payload, topic, retained, at_ms):
    """Bytes that are no text, line feeds of any script, empty payloads."""
    heard = [Arrival(topic=topic, payload=payload, retained=retained, at_ms=at_ms)]
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    assert list(read_recording(record(path, heard))) == heard


def test_a_line_that_was_cut_off_costs_only_itself(tmp_path):
    """The recorder was killed in the middle of a line."""
    path = record(tmp_path / "r.jsonl", troubled_site())
    path.write_bytes(path.read_bytes()[:-10])
    assert list(read_recording(path)) == troubled_site()[:-1]


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ('{"recording":"other/1","site":"s"}', "line 1"),
        ("", "line 1"),
        ('GOOD\n{"at_ms":1,"topic":"a"}', "line 2"),
        ('GOOD\n{"at_ms":-1,"topic":"a","text":""}', "line 2"),
        ('GOOD\n{"at_ms":1,"topic":"a","base64":"*"}', "line 2"),
        ('GOOD\n{"at_ms":1,"topic":"a","text":"\\ud800"}', "line 2"),
        ('GOOD\n{"at_ms":1,"link":"sideways"}', "line 2"),
        ("GOOD\n" + "x" * 2_000_000, "longer than"),
        ("GOOD\n" + "[" * 100_000, "line 2"),
    ],
)
def test_a_file_that_is_none_says_where(tmp_path, line, where):
    """Other files, wrong fields, endless lines; never a traceback of a parser."""
    path = tmp_path / "r.jsonl"
    path.write_text(line.replace("GOOD", '{"recording":"mammoedge.recording/1","site":"s"}') + "\n")
    with pytest.raises(RecordingError, match=where):
        list(read_recording(path))
