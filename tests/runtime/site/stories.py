"""Small stories of a site, as a subscriber hears them."""

from __future__ import annotations

from runtime.image.outcome import Flag
from runtime.site.subscriber.arrival import Arrival, LinkChange
from runtime.site.subscriber.recording import Recorder
from tests.runtime.site import said
from tests.runtime.site.said import AT_MS, message_factory

SECOND = 1000


def troubled_site() -> list[Arrival | LinkChange]:
    """A unit that is well, one with a gap that went offline, and a stranger who talks nonsense."""
    two = message_factory(unit="mammo-2", boot="boot-2")
    return [
        LinkChange(up=True, at_ms=AT_MS),
        said.status(0),
        said.status(0, by=two),
        said.event(1),
        said.view(2),
        said.exam(3, study="1.2.3"),
        said.exam(1, study="1.2.5", flag=Flag.NONE, by=two),
        said.exam(4, study="1.2.6", flag=Flag.NOT_ASSESSED, by=two),
        said.health(3, waiting=0, at_ms=AT_MS + 2 * SECOND),
        said.health(9, by=two, waiting=3, at_ms=AT_MS + 2 * SECOND),
        Arrival(
            topic=f"mammoedge/v1/{said.SITE}/mammo-1/event",
            payload=b"\x1b[2J[red]no json",
            retained=False,
            at_ms=AT_MS + 3 * SECOND,
        ),
        said.status(4, by=two, offline=True, at_ms=AT_MS + 4 * SECOND),
    ]


def record(path, heard, site=said.SITE):
    """A recording of it."""
    with path.open("w", encoding="ascii") as file:
        recorder = Recorder(file, site)
        for each in heard:
            recorder.add(each)
    return path
