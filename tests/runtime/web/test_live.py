"""Frames: one reader, any number of pages."""

from __future__ import annotations

import asyncio

from runtime.web.live import CannotReadError, LiveBoard
from tests.support.waiting import wait_until_async


def test_nobody_looks_and_nothing_is_read_until_a_page_opens():
    """The first page waits for a read of its own, not for the next pulse; then reading rests."""
    reads = []

    def read() -> bytes:
        reads.append(1)
        return b'{"n":%d}' % len(reads)

    async def story() -> bytes:
        live = LiveBoard(read=read, clock_ms=lambda: 7, pause_s=0, rests_alone=True)
        running = asyncio.create_task(live.run())
        live.poke()
        for _ in range(50):
            await asyncio.sleep(0)
        assert reads == []
        events = live.events()
        await anext(events)
        frame = await asyncio.wait_for(anext(events), 60)
        await events.aclose()
        running.cancel()
        return frame

    frame = asyncio.run(story())
    assert b'"as_of_ms":7' in frame
    assert b'{"n":1}' in frame


def test_what_cannot_be_read_is_no_frame():
    """A page that comes during a fault gets nothing, and the truth as soon as there is one."""
    faults, reads = ["locked"], []

    def read() -> bytes:
        reads.append(1)
        if faults:
            raise CannotReadError(faults[0])
        return b"{}"

    async def story() -> bytes:
        live = LiveBoard(read=read, clock_ms=lambda: 7, pause_s=0)
        running = asyncio.create_task(live.run())
        events = live.events()
        await anext(events)
        frame = asyncio.create_task(anext(events))
        await wait_until_async(lambda: live.poke() or len(reads) >= 3, "three reads")
        assert not frame.done()
        faults.clear()
        live.poke()
        got = await asyncio.wait_for(frame, 60)
        await events.aclose()
        running.cancel()
        return got

    assert b"event: board" in asyncio.run(story())
