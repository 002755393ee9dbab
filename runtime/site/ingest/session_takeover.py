"""Takes over what the broker keeps for a service of our group that is gone.

The broker goes on queueing its share ($share) for its session. We connect with its client id, which
fences it (MQTT 5, 3.1.4), unsubscribe, so that its share goes to the others from now on, enter what
was kept, and end the session. A service that comes back meanwhile takes its name back, and we stop.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from runtime.site.store.group_members import gone_members, is_back, taken_over
from runtime.site.store.store import StoreError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from runtime.site.ingest.listener import Listener
    from runtime.site.store.group_members import GoneMember, Membership
    from runtime.site.store.service_state import StateBoard
    from runtime.site.store.store import Store
    from runtime.site.subscriber.subscriber import Subscriber

LOG = logging.getLogger(__name__)

QUIET_S = 2.0
"""After so long without a message the broker has nothing more of it."""


class SessionTakeover:
    """The loop; one thread. It does something only while this service holds the watch.

    `open_session`: a subscriber with a service's name, and a listener that enters what it hears.
    """

    def __init__(
        self,
        *,
        we: Membership,
        store: Store,
        board: StateBoard,
        look_every_s: float,
        open_session: Callable[[str], tuple[Subscriber, Listener]],
        clock_ms: Callable[[], int],
    ) -> None:
        self._we = we
        self._store = store
        self._board = board
        self._look_every_s = look_every_s
        self._open_session = open_session
        self._clock_ms = clock_ms

    def run(self, stop: threading.Event) -> None:
        """Until told to stop."""
        problem = ""
        while not stop.wait(self._look_every_s):
            try:
                if self._board.now().watching:
                    self.look(stop)
                problem = ""
            except StoreError as error:
                if str(error) != problem:
                    LOG.warning("nobody's session could be taken over: %s", error)
                problem = str(error)

    def look(self, stop: threading.Event) -> None:
        """One round: all that are gone, one after the other."""
        with self._store.reading() as connection:
            gone = gone_members(connection, self._we, self._clock_ms())
        for member in gone:
            self._take_over(member, stop)

    def _take_over(self, member: GoneMember, stop: threading.Event) -> None:
        LOG.warning("service %s is gone; takes over what waits for it", member.service)
        subscriber, listener = self._open_session(member.service)
        emptied = False
        try:
            emptied = listener.hear_out(stop, quiet_s=QUIET_S, go_on=lambda: self._wanted(member))
        finally:
            subscriber.close(forget=emptied)
        if not emptied:
            LOG.warning("service %s: not taken over to the end", member.service)
            return
        with self._store.writing() as connection:
            taken_over(connection, member, self._we)
        LOG.info("service %s: nothing waits for it any more", member.service)

    def _wanted(self, member: GoneMember) -> bool:
        with self._store.reading() as connection:
            return self._board.now().watching and not is_back(connection, member)
