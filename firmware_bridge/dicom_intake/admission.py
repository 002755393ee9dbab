"""Which associations there is a place for: in all, from one address, for senders that are known."""

from __future__ import annotations

import ipaddress
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runtime.system.pending_connections import network_of

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True, kw_only=True)
class AdmissionLimits:
    """Of associations, at one time."""

    most: int
    per_address: int
    """From one address that is not known."""
    reserved: int
    """Of `most`: for senders that are known by their address or AE title."""
    known_titles: Collection[str]
    known_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

    def is_known_address(self, address: str) -> bool:
        """Whether the settings name it, or a network that it lies in."""
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None) or found
        return any(mapped in network for network in self.known_networks)

    @property
    def reserved_now(self) -> int:
        """Nothing is kept free for senders that nobody named; one place is everybody's."""
        named = bool(self.known_titles or self.known_networks)
        return min(self.reserved, self.most - 1) if named else 0


class Admission:
    """The associations that were let in. Thread-safe: each asks in a thread of its own."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._inside: list[tuple[Any, str]] = []

    def admits(self, assoc: Any, *, address: str, calling_title: str) -> bool:
        """Lets a thread `assoc` in until it ends, if there is a place for it."""
        limits, network = self._limits, network_of(address)
        known_address = limits.is_known_address(address)
        known = known_address or calling_title in limits.known_titles
        with self._lock:
            self._inside = [one for one in self._inside if one[0].is_alive()]
            of_address = sum(1 for _, place in self._inside if place == network)
            places = limits.most if known else limits.most - limits.reserved_now
            if len(self._inside) >= places:
                return False
            if not known_address and of_address >= limits.per_address:
                return False
            self._inside.append((assoc, network))
        return True
