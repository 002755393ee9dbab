"""A deflated data set as a file that is inflated no further than it is read."""

from __future__ import annotations

import zlib
from typing import Final, Protocol

from runtime.image.header import HeaderRefusedError
from runtime.image.reasons import Reason


class ByteStream(Protocol):
    """What is read here: a file, bytes in memory, or a deflated file."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes."""
        ...

    def seek(self, position: int, /) -> int:
        """Moves to `position`, counted from the beginning."""
        ...

    def tell(self) -> int:
        """The position."""
        ...


class InflatedFile:
    """A deflated data set (PS3.5 A.5) as a file that inflates no further than it is read.

    The part before it (preamble and meta group) is left out: positions count from the data set.
    """

    _CHUNK: Final = 1 << 16

    def __init__(self, deflated: ByteStream, limit_bytes: int) -> None:
        self._deflated = deflated
        self._limit = limit_bytes
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._bytes = bytearray()
        self._position = 0

    def tell(self) -> int:
        """The position in the inflated bytes."""
        return self._position

    def seek(self, position: int, /) -> int:
        """Moves to `position`; nothing is inflated yet."""
        self._position = position
        return position

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes: fewer where the data set ends.

        Raises:
            HeaderRefusedError: the stream is broken, or longer than the limit.
        """
        end = self._position + size
        while len(self._bytes) < end and self._grow():
            pass
        found = bytes(self._bytes[self._position : end])
        self._position += len(found)
        return found

    def _grow(self) -> bool:
        if self._inflate.eof:
            return False
        if len(self._bytes) > self._limit:
            raise HeaderRefusedError(Reason.TOO_LARGE, f"inflates to more than {self._limit} bytes")
        compressed = self._inflate.unconsumed_tail or self._deflated.read(self._CHUNK)
        if not compressed:
            return False
        try:
            self._bytes += self._inflate.decompress(compressed, self._CHUNK)
        except zlib.error as fault:
            raise HeaderRefusedError(
                Reason.UNREADABLE, "the deflated data set is broken"
            ) from fault
        return True
