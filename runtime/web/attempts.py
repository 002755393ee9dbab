"""How often one may try to sign in: from one address, and from all together."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from runtime.system.pending_connections import network_of
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
        self._right: set[str] = set()

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
        return bucket.take() and (network in self._right or self._all.take())

    def succeeded(self, address: str) -> None:
        """Somebody there is one of us: attempts from many other addresses do not lock them out."""
        if len(self._right) < MOST_ADDRESSES:
            self._right.add(network_of(address))
