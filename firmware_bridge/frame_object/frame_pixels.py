"""The pixels of a frame: a sealed memfd that the firmware passed, mapped, never copied by us."""

from __future__ import annotations

import fcntl
import mmap
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from firmware_bridge.frame_protocol.messages import Refusal
from firmware_bridge.frame_protocol.protocol import MessageRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firmware_bridge.frame_protocol.messages import Frame

# memfd_create(2), fcntl(2): after these three nobody can change the bytes or their number, ever;
# a reader of the mapping cannot be hit by SIGBUS.
SEALS_NEEDED = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@contextmanager
def mapped_pixels(frame: Frame, descriptor: int) -> Iterator[memoryview]:
    """The frame's pixels as they lie in the firmware's memory, read-only.

    Raises:
        MessageRefusedError: not a sealed memfd, or not of the size that the frame says.
    """
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        raise MessageRefusedError(
            Refusal.UNSEALED, id=frame.id, detail="not a memfd that allows seals"
        ) from None
    if seals & SEALS_NEEDED != SEALS_NEEDED:
        raise MessageRefusedError(
            Refusal.UNSEALED, id=frame.id, detail="needs F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE"
        )
    size_bytes = os.fstat(descriptor).st_size
    if size_bytes != frame.size_bytes:
        raise MessageRefusedError(
            Refusal.SIZE_MISMATCH,
            id=frame.id,
            detail=f"rows x columns x 2 is {frame.size_bytes} bytes, the memfd has {size_bytes}",
        )
    # Private: before Linux 6.7 a write-sealed memfd could not be mapped shared, even for reading.
    mapping = mmap.mmap(descriptor, size_bytes, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    with mapping, memoryview(mapping) as pixels:
        yield pixels
