"""Whom a process and its children call, as the kernel sees it: strace around a command.

A hook inside Python sees neither native code nor a child with other libraries.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

NAME_SERVICE_PORT = 53
ADDRESS = re.compile(
    r"htons\((?P<port>\d+)\).*?"
    r"(?:inet_addr\(\"(?P<v4>[^\"]+)\"\)|inet_pton\(AF_INET6, \"(?P<v6>[^\"]+)\")"
)
CALLS = "connect,sendto,sendmsg,sendmmsg"
ALLOWANCE_S = 280


def strace_missing() -> str:
    """Why nothing can be watched here; "" if it can."""
    if shutil.which("strace") is None:
        return "Debian package strace is not installed"
    tried = subprocess.run(
        ["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, check=False, timeout=30
    )
    return "" if tried.returncode == 0 else "this machine lets nobody trace a process"


@dataclass(frozen=True, kw_only=True)
class Watched:
    """How a command ended. `calls`: addresses beyond this machine, and any name service."""

    exit_code: int
    said: str
    calls: tuple[str, ...]
    left_in_home: tuple[str, ...]


def watched(words: list[object], folder: Path) -> Watched:
    """Runs `python WORDS` with a fresh home and without `CI`, and watches it."""
    home, trace = folder / "home", folder / "trace"
    home.mkdir(parents=True)
    own = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", f"trace={CALLS}", "-o", trace]
    ended = subprocess.run(
        [*map(str, command), sys.executable, *map(str, words)],
        cwd=folder, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=ALLOWANCE_S, check=False,
    )  # fmt: skip
    return Watched(
        exit_code=ended.returncode,
        said=ended.stdout,
        calls=tuple(sorted(set(_calls(trace.read_text(errors="replace"))))),
        left_in_home=tuple(str(path.relative_to(home)) for path in home.rglob("*")),
    )


def _calls(trace: str) -> list[str]:
    found = []
    for line in trace.splitlines():
        address = ADDRESS.search(line)
        if address is None:
            continue
        host = ipaddress.ip_address(address["v4"] or address["v6"])
        port = int(address["port"])
        # 0.0.0.0 and :: as a goal are this machine (Linux, ip(7)).
        if port == NAME_SERVICE_PORT or not (host.is_loopback or host.is_unspecified):
            found.append(f"{host} port {port}")
    return found
