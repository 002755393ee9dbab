"""A Unix socket in the file system: who may reach it, and what an earlier process left there."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

BACKLOG = 16


def listen(path: Path, *, mode: int, group: str | None) -> socket.socket:
    """A SOCK_SEQPACKET socket that listens at `path`.

    Raises:
        OSError: somebody listens there already, it is no socket, the path is too long, or the
            group is not ours to give.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_dead(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        # The inode takes the mode of the descriptor (net/unix/af_unix.c, unix_bind): at no moment
        # may more people connect than in the end.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(os.fspath(path))
        if group is not None:
            os.chown(path, -1, group_number(group))
        path.chmod(mode)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_dead(path: Path) -> None:
    """A socket file outlives its process; one that answers is not ours to take."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "is there, and is no socket", str(path))
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), str(path))


def user_numbers(users: Iterable[str]) -> frozenset[int]:
    """The numbers of users given by name or number; our own if there are none.

    Raises:
        OSError: there is no such user.
    """
    numbers = frozenset(_number(user, lambda name: pwd.getpwnam(name).pw_uid) for user in users)
    return numbers or frozenset({os.geteuid()})


def group_number(group: str) -> int:
    """The number of a group given by name or number. Raises OSError: there is none."""
    return _number(group, lambda name: grp.getgrnam(name).gr_gid)


def _number(name: str, look_up: Callable[[str], int]) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return look_up(name)
    except KeyError as error:
        raise OSError(errno.ENOENT, f"no such user or group: {name}") from error
