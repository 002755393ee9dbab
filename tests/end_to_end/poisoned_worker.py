"""The real pixel worker with a decoder that crashes, hangs or runs amok on marked images.

Faults that cannot be produced on demand: no codestream is known to crash the decoders in use.
An image is marked by its number of rows.
"""

from __future__ import annotations

import os
import sys
import time

from runtime.worker import __main__ as worker
from runtime.worker import pipeline

CRASH_ROWS, HANG_ROWS = 601, 602


def poisoned(load_mammogram):
    """`load_mammogram`, but some images are poison."""

    def load(image, limits=None):
        if image.header.rows == CRASH_ROWS:
            os.abort()
        if image.header.rows == HANG_ROWS:
            time.sleep(3600)
        return load_mammogram(image, limits)

    return load


if __name__ == "__main__":
    pipeline.load_mammogram = poisoned(pipeline.load_mammogram)
    sys.exit(worker.main(int(sys.argv[1]), int(sys.argv[2])))
