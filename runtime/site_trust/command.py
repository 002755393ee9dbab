"""`mammoedge init` for a site: makes its trust, adds, renews and revokes, and says what to copy."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from runtime.messages.topics import SITE_SERVICE
from runtime.site_trust.arguments import RENEW_WITHIN_DAYS
from runtime.site_trust.site_folder import (
    REGISTER,
    BrokerPlace,
    SiteFolder,
    SiteFolderError,
    only_one,
)

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path


def site_command(arguments: Namespace) -> int:
    """Does what the options ask for; 0.

    Raises:
        SiteFolderError: it cannot be done; the text says why.
    """
    now = datetime.now(UTC)
    with only_one(arguments.folder):
        folder = _work(arguments, now)
    if arguments.json:
        print(json.dumps(_summary(folder, now)))
    else:
        _tell(folder, arguments, now)
    return 0


def _work(arguments: Namespace, now: datetime) -> SiteFolder:
    if not 1 <= arguments.days <= 3650:
        raise SiteFolderError(f"--days {arguments.days}: must be 1 to 3650")
    if arguments.broker:
        folder = SiteFolder.create(
            arguments.folder,
            site=arguments.site or "my-site",
            hosts=arguments.broker,
            place=BrokerPlace(
                port=arguments.port,
                folder=arguments.broker_folder,
                state_folder=arguments.broker_state,
            ),
            sparkplug=arguments.sparkplug,
            now=now,
            days=arguments.days,
        )
    else:
        folder = SiteFolder.open(arguments.folder)
        if arguments.site not in (None, folder.register.site):
            raise SiteFolderError(
                f"{arguments.folder} is site {folder.register.site}, not {arguments.site}"
            )
    if arguments.revoke:
        folder.revoke(arguments.revoke, now)
    for name in arguments.add_unit or ():
        folder.add_unit(name, port=arguments.port, now=now, days=arguments.days)
    if arguments.renew is not None:
        ending = [entry.name for entry in folder.register.ending(now, RENEW_WITHIN_DAYS)]
        folder.renew(arguments.renew or ending, now=now, days=arguments.days)
    return folder


def _summary(folder: SiteFolder, now: datetime) -> dict[str, Any]:
    return {
        "site": folder.register.site,
        "folder": str(folder.path),
        "authority_ends_at": folder.authority.ends_at.isoformat(),
        "written": [str(file.relative_to(folder.path)) for file in folder.written],
        "certificates": [
            {
                "name": entry.name,
                "role": entry.role,
                "serial": entry.serial,
                "ends_at": entry.ends_at.isoformat(),
                "days_left": (entry.ends_at - now).days,
            }
            for entry in folder.register.in_use()
        ],
        "revoked": [entry.serial for entry in folder.register.revocations()],
    }


def _tell(folder: SiteFolder, arguments: Namespace, now: datetime) -> None:
    for file in folder.written:
        secret = " (secret)" if file.stat().st_mode & 0o077 == 0 else ""
        print(f"{file}: written{secret}")
    print()
    for line in _next_steps(folder.path, folder.written, arguments.broker_folder):
        print(line)
    ends_at = folder.authority.ends_at
    print(f"\nCertificates of site {folder.register.site} (authority until {ends_at:%Y-%m-%d}):")
    for entry in folder.register.in_use():
        left = (entry.ends_at - now).days
        soon = "  <- --renew" if left <= RENEW_WITHIN_DAYS else ""
        print(f"  {entry.name:20} {entry.role:7} until {entry.ends_at:%Y-%m-%d} ({left} d){soon}")
    for entry in folder.register.entries:
        if entry.revoked_at is not None:
            print(f"  {entry.name:20} {entry.role:7} revoked {entry.revoked_at:%Y-%m-%d}")


def _next_steps(path: Path, written: list[Path], broker_folder: str) -> list[str]:
    """What to copy where, for the files that changed."""
    lines = []
    touched = {file.relative_to(path).parts[0] for file in written}
    units = sorted({file.parent.name for file in written if file.parent.parent.name == "units"})
    if (path / "broker" / "mosquitto.conf") in written:
        lines += [
            f"To the broker: {path}/broker/* to {broker_folder}/, owner mosquitto, keys mode 0600;",
            f"  then {broker_folder}/mosquitto.conf to /etc/mosquitto/, and restart it.",
        ]
    elif "broker" in touched:
        names = " ".join(sorted(f.name for f in written if f.parent.name == "broker"))
        lines += [
            f"To the broker: {names} from {path}/broker/ to {broker_folder}/;",
            "  then restart it: Mosquitto keeps the connections of before until it ends.",
        ]
    lines += [
        f"To unit {unit}: {path}/units/{unit}/* beside its unit.toml; broker.toml says what goes in"
        " it; the service takes a renewed certificate at its next connection."
        for unit in units
    ]
    if "site" in touched:
        lines.append(f"To the site's own programs ({SITE_SERVICE}): {path}/site/*")
    if any(file.name == "ca.key" for file in written):
        lines.append(
            f"Keep {path} off the network and backed up: whoever has authority/ca.key can be any"
            " unit. No other machine needs that file."
        )
    return lines or [f"Nothing ends soon; nothing was written. {path / REGISTER} stays."]
