"""From a source to the state of a site: hear, fold, keep, acknowledge, ask for what is missing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from runtime.site.live_model.site_state import SiteState
from runtime.site.subscriber.arrival import Arrival, LinkChange
from runtime.site.subscriber.subscriber import HeardMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runtime.site.live_model.change import Change
    from runtime.site.live_model.replay_policy import ReplayPolicy
    from runtime.site.subscriber.recording import Recorder

LOOK_MS = 500


class MessageSource(Protocol):
    """Where messages come from: a broker, or a recording."""

    def receive(self, timeout_s: float) -> HeardMessage | LinkChange | None:
        """The next message or change of the connection; None when the time is over."""
        ...

    def acknowledge(self, delivery: HeardMessage) -> None:
        """It is safe."""
        ...

    def ask_replay(self, unit: str, from_seq: int) -> bool:
        """Asks a unit to publish again; False if that cannot be said now."""
        ...

    def ask_rebirth(self, unit: str) -> bool:
        """Asks a unit to say `status` again; False if that cannot be said now."""
        ...

    def stop(self) -> None:
        """Ends `receive` soon. Any thread."""
        ...


class RecordingSource:
    """A recording as a source. `speed`: 1 as it was, 10 ten times faster, 0 without waiting."""

    def __init__(self, heard: Iterator[Arrival | LinkChange], *, speed: float = 0.0) -> None:
        self._heard = heard
        self._speed = speed
        self._next: Arrival | LinkChange | None = None
        self._stopped = threading.Event()
        self.finished = False
        self.now_ms = 0
        """The moment that the recording has come to."""

    def receive(self, timeout_s: float) -> HeardMessage | LinkChange | None:
        """The next one at its time; None at the end, and when the time is over.

        Raises:
            RecordingError: the file is none of ours from here on.
        """
        if self._next is None:
            self._next = next(self._heard, None)
        heard = self._next
        if heard is None:
            self.finished = True
            return None
        if self._speed and self.now_ms and heard.at_ms > self.now_ms:
            left_s = (heard.at_ms - self.now_ms) / 1000 / self._speed
            slept_s = min(left_s, timeout_s)
            self._stopped.wait(slept_s)
            if slept_s < left_s:
                self.now_ms += int(slept_s * 1000 * self._speed)
                return None
        self._next = None
        self.now_ms = max(self.now_ms, heard.at_ms)
        if isinstance(heard, LinkChange):
            return heard
        return HeardMessage(arrival=heard, mid=0, connection=0)

    def clock_ms(self) -> int:
        """The moment that the recording has come to."""
        return self.now_ms

    def acknowledge(self, delivery: HeardMessage) -> None:
        """A recording is patient."""

    def ask_replay(self, unit: str, from_seq: int) -> bool:  # noqa: ARG002 - nobody is there
        """Nobody answers."""
        return False

    def ask_rebirth(self, unit: str) -> bool:  # noqa: ARG002 - nobody is there
        """Nobody answers."""
        return False

    def stop(self) -> None:
        """Ends a wait."""
        self._stopped.set()


class LiveFeed:
    """A source, and the state that grows of it. One thread turns; others look under `lock`."""

    def __init__(
        self,
        source: MessageSource,
        site_state: SiteState,
        *,
        clock_ms: Callable[[], int],
        recorder: Recorder | None = None,
        replay_policy: ReplayPolicy | None = None,
    ) -> None:
        self.source = source
        self.site_state = site_state
        self.clock_ms = clock_ms
        self.lock = threading.Lock()
        self._recorder = recorder
        self._replay_policy = replay_policy
        self._looked_ms = 0

    @property
    def finished(self) -> bool:
        """A recording has an end; a broker has none."""
        return isinstance(self.source, RecordingSource) and self.source.finished

    def turn(self, timeout_s: float) -> tuple[Change, ...]:
        """Hears one message, if one comes in time; what it changed.

        Raises:
            RecordingError: the recording is none of ours from here on.
            OSError: what was heard cannot be recorded.
        """
        heard = self.source.receive(timeout_s)
        changes: tuple[Change, ...] = ()
        if isinstance(heard, LinkChange):
            self._record(heard)
            with self.lock:
                changes = self.site_state.link_changed(heard)
        elif heard is not None:
            self._record(heard.arrival)
            with self.lock:
                changes = self.site_state.hear(heard.arrival)
            self.source.acknowledge(heard)
        self._ask()
        return changes

    def _record(self, heard: Arrival | LinkChange) -> None:
        if self._recorder is not None:
            self._recorder.add(heard)

    def _ask(self) -> None:
        now_ms = self.clock_ms()
        if self._replay_policy is None or 0 <= now_ms - self._looked_ms < LOOK_MS:
            return
        self._looked_ms = now_ms
        for ask in self._replay_policy.due(self.site_state, now_ms):
            if self.source.ask_replay(ask.unit, ask.from_seq):
                self._replay_policy.asked(ask, self.site_state.units[ask.unit].generation, now_ms)
