"""Node and what npm installed for tests below build/node: an outsider's tools."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.conftest import ROOT, skip_or_fail

FOLDER = ROOT / "build" / "node"


def node_modules(*packages: str) -> Path:
    """The folder whose node_modules has them: `make test` installs it; skips without."""
    if shutil.which("node") is None:
        skip_or_fail("node (Debian's nodejs) is not installed")
    if not all((FOLDER / "node_modules" / package).is_dir() for package in packages):
        skip_or_fail(f"{', '.join(packages)} (npm) not installed below build/node")
    return FOLDER


def run_node(script: str, *arguments: str, packages: tuple[str, ...]) -> subprocess.Popen:
    """Starts a CommonJS script that may `require` these packages; text pipes."""
    folder = node_modules(*packages)
    return subprocess.Popen(
        ["node", "-e", script, "--", *arguments],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
