"""Debian's PostgreSQL server with a data folder, a socket and a port of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import psycopg

from tests.support.brokers import free_port
from tests.support.waiting import CHILD_S, LONG_S, wait_until

BINARIES = Path("/usr/lib/postgresql")
# initdb refuses to run as root; the package makes this user.
SERVER_USER = "postgres"


def postgres_missing() -> str | None:
    """Why PostgreSQL cannot be started here, or None."""
    if not list(BINARIES.glob("*/bin/postgres")):
        return "postgresql (Debian package) is not installed"
    return None


class Postgres:
    """A server that is gone at the end, with everything in it."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.port = free_port()
        # Not below pytest's folder: that is closed to other users.
        self._folder = Path(tempfile.mkdtemp(prefix="mammoedge-postgres-"))
        self._binaries = max(BINARIES.glob("*/bin"))
        self._user = SERVER_USER if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            entry = pwd.getpwnam(SERVER_USER)
            os.chown(self._folder, entry.pw_uid, entry.pw_gid)
        self._process: subprocess.Popen | None = None
        data = self._folder / "data"
        self._run("initdb", "-D", data, "-A", "trust", "-U", "mammoedge", "-E", "UTF8", "--no-sync")

    def _run(self, program: str, *arguments) -> None:
        done = subprocess.run(
            [self._binaries / program, *map(str, arguments)],
            user=self._user if os.geteuid() == 0 else None,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=CHILD_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> Self:
        """Starts it; returns when it takes connections."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._binaries / "postgres",
                    *("-D", self._folder / "data", "-p", str(self.port)),
                    *("-k", self._folder, "-h", self.host, "-c", "shared_buffers=16MB"),
                    # A test's data need not survive a power cut: recovery then takes no time.
                    *("-c", "fsync=off"),
                ],
                user=self._user if os.geteuid() == 0 else None,
                stdout=log,
                stderr=log,
            )
        wait_until(self._takes_connections, what="postgres takes connections")
        return self

    def _takes_connections(self) -> bool:
        assert self._process.poll() is None, (self._folder / "server.log").read_text()
        ready = [self._binaries / "pg_isready", "-q", "-h", self.host, "-p", str(self.port)]
        return subprocess.run(ready, check=False, timeout=CHILD_S).returncode == 0

    def stop(self) -> None:
        """SIGQUIT: at once, as a power cut."""
        if self._process is not None:
            self._process.send_signal(3)
            self._process.wait(LONG_S)
            self._process = None

    def empty_database(self) -> str:
        """The URL of a database with nothing in it; what was there before is gone."""
        url = f"postgresql://mammoedge@{self.host}:{self.port}/postgres"
        # A schema is emptied in milliseconds; a database is made in seconds.
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return url

    def close(self) -> None:
        """Stops it and removes its folder."""
        self.stop()
        shutil.rmtree(self._folder)
