"""An evidence map as the reader's page paints it. Off by default; see `evidence_page`."""

from __future__ import annotations

import io

import numpy as np

MOST_CELLS = 1 << 20
HEADER_LIMIT_BYTES = 1024


def evidence_rows(content: bytes) -> list[list[float]] | None:
    """The values (0 to 1, row by row) of a .npy file; None if it is not such a map.

    A worker wrote the file, and a worker may have been taken over by what it decoded: the header
    is read under limits before anything of the size that it announces is made.
    """
    stream = io.BytesIO(content)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            return None
        shape, _, dtype = np.lib.format.read_array_header_1_0(
            stream, max_header_size=HEADER_LIMIT_BYTES
        )
        if dtype.kind != "f" or len(shape) < 2 or not 0 < np.prod(shape[-2:]) <= MOST_CELLS:
            return None
        values = np.frombuffer(stream.read(), dtype)
        rows = values.reshape(shape[-2:]).astype(np.float64)
    except ValueError:
        return None
    return [[round(value, 3) for value in row] for row in np.nan_to_num(rows).tolist()]
