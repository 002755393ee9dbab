"""Peers that are really another user: a child process gives up root before it connects."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, skip_or_fail

OTHER = "nobody"
PEER = """
import json, os, sys
import cbor2
from tests.firmware_bridge.firmware import Firmware
path, uid, gid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.setgroups([])
os.setgid(gid)
os.setuid(uid)
try:
    with Firmware(path) as firmware:
        answer = firmware.hello("frames") if len(sys.argv) > 4 else firmware.hear()
except PermissionError:
    answer = {"type": "no way in"}
print(json.dumps({"uid": os.getuid(), **answer}))
"""


@pytest.fixture
def other():
    """The user that the peer becomes."""
    if os.getuid() != 0:
        skip_or_fail("only root can become another user")
    return pwd.getpwnam(OTHER)


@pytest.fixture
def socket_path():
    """A place that every user can reach; pytest's own folders are for their owner alone."""
    with tempfile.TemporaryDirectory(prefix="mammoedge-users-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "frames.sock"


def peer(path, user, *, says_hello=False) -> dict:
    """What a process of that user hears."""
    more = ["hello"] if says_hello else []
    done = subprocess.run(
        [sys.executable, "-c", PEER, path, str(user.pw_uid), str(user.pw_gid), *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    heard = json.loads(done.stdout)
    assert heard["uid"] == user.pw_uid
    return heard


def test_a_peer_of_another_user_is_refused(socket_path, open_socket, other):
    """The file lets it in, the kernel says who it is: refused with the reason, and an event."""
    door = open_socket(socket=socket_path, mode="0666")
    heard = peer(socket_path, other)
    assert (heard["type"], heard["reason"]) == ("refused", "not_allowed")
    detail = f"not_allowed: user {other.pw_uid} is not in the list"
    assert door.receiver.reports == [("frame_refused", detail, "frames")]


def test_a_user_of_the_list_is_let_in(socket_path, open_socket, other):
    """Named in the settings: hello is accepted; we ourselves are not of the list any more."""
    open_socket(socket=socket_path, mode="0666", users=(OTHER,))
    assert peer(socket_path, other, says_hello=True)["type"] == "accepted"
    root = pwd.getpwuid(0)
    assert peer(socket_path, root)["reason"] == "not_allowed"


def test_the_mode_of_the_socket_keeps_others_out(socket_path, open_socket, other):
    """0660, as it is by default: another user cannot even connect."""
    door = open_socket(socket=socket_path)
    assert peer(socket_path, other)["type"] == "no way in"
    assert door.receiver.reports == []
