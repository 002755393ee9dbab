"""Connections that have not yet said what they want: how many there may be, and which one goes."""

from __future__ import annotations

import ipaddress
import threading
from collections import Counter
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Connection = TypeVar("Connection")


def network_of(address: str) -> str:
    """An IPv4 address as it is; of IPv6 the /64, all of which one machine may have."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def nobody_is_known(_address: str) -> bool:
    """Each address is a stranger's."""
    return False


class PendingConnections(Generic[Connection]):
    """A newcomer always gets in; for it the oldest of the busiest address goes. Thread-safe.

    Who means it says what he wants at once and is pending no longer. So neither many silent
    connections nor slow ones keep anybody else out, not even from the same address.

    Args:
        most: of all addresses together.
        per_address: of one; an IPv6 /64 counts as one.
        is_known: addresses that have no limit of their own, and go last.
    """

    def __init__(
        self, *, most: int, per_address: int, is_known: Callable[[str], bool] = nobody_is_known
    ) -> None:
        self._most = most
        self._per_address = per_address
        self._is_known = is_known
        self._lock = threading.Lock()
        self._pending: dict[Connection, tuple[str, bool]] = {}

    def enter(self, connection: Connection, address: str) -> Connection | None:
        """One more; the one that is to be closed for it, if any."""
        network, known = network_of(address), self._is_known(address)
        with self._lock:
            self._pending[connection] = (network, known)
            victim = self._too_many(network, known=known)
            if victim is not None:
                del self._pending[victim]
        return victim

    def replace(self, connection: Connection, by: Connection) -> bool:
        """The same connection under another object; False if it had to go already."""
        with self._lock:
            place = self._pending.pop(connection, None)
            if place is not None:
                self._pending[by] = place
        return place is not None

    def leave(self, connection: Connection) -> None:
        """It said what it wants, or is gone."""
        with self._lock:
            self._pending.pop(connection, None)

    def _too_many(self, network: str, *, known: bool) -> Connection | None:
        counts = Counter(place for place, _ in self._pending.values())
        if not known and counts[network] > self._per_address:
            return self._oldest_of(network)
        if len(self._pending) <= self._most:
            return None
        strangers = Counter(place for place, is_known in self._pending.values() if not is_known)
        return self._oldest_of((strangers or counts).most_common(1)[0][0])

    def _oldest_of(self, network: str) -> Connection:
        return next(one for one, (place, _) in self._pending.items() if place == network)
