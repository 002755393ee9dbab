"""How much memory this process has needed."""

from __future__ import annotations

from pathlib import Path

KIB_PER_MB = 1024.0
MEGABYTE = 1 << 20


def peak_resident_mb() -> float:
    """Peak resident memory of this process since it was started, MB.

    From /proc: `ru_maxrss` of a child process begins with what its parent had at exec.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / KIB_PER_MB
    return 0.0
