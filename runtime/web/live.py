"""What changes reaches the page: one reader of the database, any number of pages.

A frame leaves only after a fresh read. A page that hears nothing for ten seconds knows that it is
no longer live, whatever the reason: the network, this process, the disk.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.errors import ResourceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LOG = logging.getLogger(__name__)

PULSE_S = 2.0
PAUSE_S = 0.02
"""After a read: a burst of commits makes one frame, not twenty."""
MOST_PAGES = 32
RETRY = b"retry: 1000\n\n"
"""Milliseconds until a browser that lost the connection tries again."""


@dataclass(frozen=True, kw_only=True)
class ServerSentEvent:
    """One state, as JSON. `as_of_ms`: no commit before that moment is missing in it."""

    number: int
    as_of_ms: int
    board: bytes

    def whole(self) -> bytes:
        """As a server-sent event (WHATWG HTML 9.2) with everything."""
        return b'event: board\ndata: {"as_of_ms":%d,"board":%b}\n\n' % (self.as_of_ms, self.board)

    def pulse(self) -> bytes:
        """As one that says that nothing changed up to that moment."""
        return b'event: pulse\ndata: {"as_of_ms":%d}\n\n' % self.as_of_ms


class CannotReadError(ResourceError):
    """What a page shows cannot be read now; the text is for the log."""


class LiveBoard:
    """Lives in one event loop; `poke` alone may be called from any thread.

    Args:
        read: what a page shows now, as JSON in one line; blocks. Raises CannotReadError.
        pause_s: at least that long between two reads.
        rests_alone: reads nothing while no page is open; the first page waits for a read then.
    """

    def __init__(
        self,
        *,
        read: Callable[[], bytes],
        clock_ms: Callable[[], int],
        pause_s: float = PAUSE_S,
        rests_alone: bool = False,
    ) -> None:
        self._read = read
        self._pause_s = pause_s
        self._rests_alone = rests_alone
        self._clock_ms = clock_ms
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._turn = asyncio.Condition()
        self._frame: ServerSentEvent | None = None
        self._number = 0
        self._pages = 0
        self._ended = False

    def poke(self) -> None:
        """Something may have changed. Any thread; returns at once."""
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:
            self._loop = None  # the loop was closed in between: the page is being stopped

    @property
    def full(self) -> bool:
        """Whether no more pages are served: each costs a connection and a copy of each frame."""
        return self._pages >= MOST_PAGES

    async def run(self) -> None:
        """Reads and hands out, until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            if self._rests_alone and not self._pages:
                self._frame = None  # nobody looks; who comes next gets no old frame
            else:
                await self._look()
                await asyncio.sleep(self._pause_s)
            try:
                await asyncio.wait_for(self._news.wait(), PULSE_S)
            except TimeoutError:
                continue

    async def _look(self) -> None:
        """One read, and a frame of it."""
        as_of_ms = self._clock_ms()
        try:
            board = await asyncio.to_thread(self._read)
        except CannotReadError as error:
            # No frame, not even the last one for a page that comes now: the pages say by
            # themselves that they are not live.
            if self._frame is not None:
                LOG.error("the page cannot be brought up to date: %s", error)  # noqa: TRY400 - no defect of ours
            self._frame = None
        else:
            await self._hand_out(as_of_ms, board)

    async def _hand_out(self, as_of_ms: int, board: bytes) -> None:
        if self._frame is None or self._frame.board != board:
            self._number += 1
        async with self._turn:
            self._frame = ServerSentEvent(number=self._number, as_of_ms=as_of_ms, board=board)
            self._turn.notify_all()

    async def end(self) -> None:
        """Ends every page's stream."""
        self._loop = None
        async with self._turn:
            self._ended = True
            self._turn.notify_all()

    async def events(self) -> AsyncIterator[bytes]:
        """One page's stream: the whole board first and on each change, pulses in between."""
        self._pages += 1
        self._news.set()
        try:
            yield RETRY
            sent: ServerSentEvent | None = None
            while True:
                frame = await self._after(sent)
                if frame is None:
                    break
                changed = sent is None or frame.number != sent.number
                yield frame.whole() if changed else frame.pulse()
                sent = frame
        finally:
            self._pages -= 1

    async def _after(self, sent: ServerSentEvent | None) -> ServerSentEvent | None:
        """The next frame, or the present one if it is another; None at the end."""
        async with self._turn:
            await self._turn.wait_for(lambda: self._ended or self._frame not in (None, sent))
            return None if self._ended else self._frame
