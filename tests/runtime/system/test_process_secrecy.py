"""A crash leaves no core, and files are closed to others: in the process and in its children."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT

CODE = """
import os, resource, subprocess, sys
from runtime.system.process_secrecy import leave_nothing_readable
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
leave_nothing_readable()
child = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout.strip())
print(oct(os.umask(0)))
"""


def test_a_child_inherits_that_no_core_is_written():
    """Whatever the limit was before."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["0", "0o27"]
