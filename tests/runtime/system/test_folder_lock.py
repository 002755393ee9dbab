"""Who works in a folder is alone there, and is named to whoever comes second."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from runtime.system.folder_lock import FolderInUseError, sole_user
from tests.conftest import ROOT
from tests.support.waiting import next_line

HOLDER = """
import sys, time
from pathlib import Path
from runtime.system.folder_lock import sole_user
with sole_user(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_is_told_at_once_who_is_there(tmp_path):
    """The process is named; nothing waits; a holder that is killed leaves nothing behind."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert next_line(holder.stdout, "the folder is held") == "held\n"
        began_s = time.monotonic()
        with pytest.raises(FolderInUseError) as refused, sole_user(tmp_path):
            pass
        assert time.monotonic() - began_s < 5.0
        assert str(holder.pid) in str(refused.value)
        assert refused.value.exit_code == 2
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=60)
    with sole_user(tmp_path):
        assert (tmp_path / "lock").read_text().strip() == str(os.getpid())


def test_the_folder_is_free_afterwards(tmp_path):
    """One after the other, also after a fault."""
    with pytest.raises(RuntimeError), sole_user(tmp_path):
        raise RuntimeError
    with sole_user(tmp_path):
        pass
