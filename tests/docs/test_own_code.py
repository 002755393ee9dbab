"""The table of hand-written code tells of files that are there, and of their size."""

from __future__ import annotations

import re

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "explanation" / "own-code.md"
ALLOWED = 0.1
"""A file may grow by so much before the page has to be looked at again."""


def test_the_table_of_our_own_code_knows_its_files_and_their_lines():
    """Each row names files that exist; their lines are those that it tells, within a tenth."""
    rows = [line.split("|")[1:-1] for line in PAGE.read_text().splitlines() if "`" in line[:200]]
    rows = [row for row in rows if len(row) == 5 and row[2].strip().isdigit()]
    assert len(rows) > 5
    for what, files, told, _library, reason in rows:
        paths = [ROOT / name for name in re.findall(r"`([^`]+)`", files)]
        lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)
        assert abs(lines - int(told)) <= ALLOWED * lines, f"{what.strip()}: {lines} lines"
        assert len(reason) > 60, what
