"""`mammoedge site password NAME`: who may look at the fleet page."""

from __future__ import annotations

import os
import sys
from getpass import getpass
from typing import TYPE_CHECKING

from runtime.site.config.page_settings import CredentialsError
from runtime.site.sign_in.passwords import remove_password, set_password

if TYPE_CHECKING:
    from argparse import Namespace


def password_command(arguments: Namespace) -> int:
    """Sets (asked twice, or the first line of standard input) or removes; 0.

    Raises:
        CredentialsError: the file, the name or the password cannot be used; the text says why.
    """
    if arguments.remove:
        remove_password(arguments.file, arguments.name)
        print(f"{arguments.name} was taken out of {arguments.file}")
        return 0
    password = _asked() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    new = set_password(arguments.file, arguments.name, password, owner=arguments.owner)
    if os.geteuid() == 0 and arguments.file.stat().st_uid == 0:
        print(
            f"{arguments.file} is root's: a service that runs as another user cannot read it"
            " (--owner USER)",
            file=sys.stderr,
        )
    print(f"{arguments.name} {'was added to' if new else 'has a new password in'} {arguments.file}")
    return 0


def _asked() -> str:
    first, again = getpass("Password: "), getpass("Again: ")
    if first != again:
        raise CredentialsError("the two differ")
    return first
