"""How often one may try to sign in: from one address, and from all together."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import TYPE_CHECKING

from runtime.timing.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE, PER_S = 5, 1 / 30
ALL_AT_ONCE, ALL_PER_S = 60, 1.0
MOST_ADDRESSES = 4096


class Attempts:
    """Right or wrong, each attempt counts. Lives in one event loop."""

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._all = TokenBucket(capacity=ALL_AT_ONCE, per_s=ALL_PER_S, monotonic=monotonic)
        self._by_network: OrderedDict[str, TokenBucket] = OrderedDict()

    def allows(self, address: str) -> bool:
        """Whether somebody at that address may try now; if so, it counts."""
        network = network_of(address)
        bucket = self._by_network.pop(network, None) or TokenBucket(
            capacity=AT_ONCE, per_s=PER_S, monotonic=self._monotonic
        )
        self._by_network[network] = bucket
        while len(self._by_network) > MOST_ADDRESSES:
            self._by_network.popitem(last=False)
        # Its own first: whoever may not try any more does not use up what others have.
        return bucket.take() and self._all.take()


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
