"""A secret is on the disk whole, or not at all."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runtime.system.secret_file import write_new_secret
from tests.support.units import ROOT
from tests.support.waiting import CHILD_S

FULL_DISK = """
import resource, signal, sys
# A file that may not grow: writing fails as on a full disk (setrlimit(2)), with EFBIG.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))
"""
KEYGEN = "from runtime.cli.main import main\nsys.exit(main(['keygen', sys.argv[1]]))"
SITE_KEY = """
from pathlib import Path
from runtime.publishing.site_key import write_site_key
try:
    write_site_key(Path(sys.argv[1]))
except OSError as error:
    sys.exit(error.strerror)
"""


def on_a_full_disk(program, path):
    """A program in a process whose files end after 16 bytes."""
    command = [sys.executable, "-B", "-c", f"{FULL_DISK}{program}", str(path)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=CHILD_S
    )


def test_what_is_written_is_for_its_owner_alone(tmp_path):
    """Mode 0600 from the first moment."""
    write_new_secret(tmp_path / "key", b"secret")
    assert (tmp_path / "key").read_bytes() == b"secret"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_what_is_there_stays(tmp_path):
    """Never overwritten, and not removed for it."""
    (tmp_path / "key").write_bytes(b"first")
    with pytest.raises(FileExistsError):
        write_new_secret(tmp_path / "key", b"second")
    assert (tmp_path / "key").read_bytes() == b"first"


def test_keygen_on_a_full_disk_leaves_no_half_key(tmp_path):
    """Exit code 2, the file's name, and no file: the next keygen must not be refused for it."""
    done = on_a_full_disk(KEYGEN, tmp_path / "key.pem")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("key.pem: File too large: no key was written")
    assert not list(tmp_path.iterdir())


def test_half_a_site_key_is_none(tmp_path):
    """Sixteen bytes of one would be taken for a key."""
    done = on_a_full_disk(SITE_KEY, tmp_path / "site.key")
    assert done.stderr.strip() == "File too large"
    assert not list(tmp_path.iterdir())
