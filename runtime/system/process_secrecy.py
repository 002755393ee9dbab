"""What a process that works with images and keys leaves behind for others: nothing.

Both are the defaults of many systems, and of none for certain.
"""

from __future__ import annotations

import os
import resource

NOT_FOR_OTHERS = 0o027
"""Files are our own to write, our group's to read, and nobody else's."""


def leave_nothing_readable() -> None:
    """New files are closed to others, and a crash writes no core: it would hold pixels and names.

    Child processes inherit both.
    """
    os.umask(NOT_FOR_OTHERS)
    _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
