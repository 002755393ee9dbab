"""The site's folder on disk: the authority, the register, and what is copied to whom."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from pydantic import TypeAdapter, ValidationError

from models.errors import OperatorError
from runtime.messages.topics import SITE_SERVICE, UnitName
from runtime.publishing.site_key import write_site_key
from runtime.site_trust.authority import Authority, CertificateRole
from runtime.site_trust.broker_rules import access_rules, mosquitto_configuration
from runtime.site_trust.register import BROKER_NAME, Register, role_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from runtime.site_trust.authority import KeyPair

SECRET, PUBLIC = 0o600, 0o644
REGISTER, AUTHORITY_CERTIFICATE, AUTHORITY_KEY = "site.json", "authority/ca.pem", "authority/ca.key"
SITE_KEY = "site.key"
UNIT_NAME: TypeAdapter[str] = TypeAdapter(UnitName)

FRAGMENT = """\
# For unit {unit} of site {site}: instead of [broker] in its unit.toml, beside the three files.
[broker]
host = "{host}"
port = {port}
tls = true
ca_file = "ca.pem"
certificate_file = "unit.pem"
key_file = "unit.key"
"""


class SiteFolderError(OperatorError):
    """The site's folder does not allow it; the text says what to do."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True)
class BrokerPlace:
    """Where the broker will run, as its configuration must say."""

    port: int = 8883
    folder: str = "/etc/mosquitto/mammoedge"
    state_folder: str = "/var/lib/mosquitto"


@dataclass(kw_only=True)
class SiteFolder:
    """One open site folder. `written` are the files of this command, in order."""

    path: Path
    register: Register
    authority: Authority
    written: list[Path] = field(default_factory=list)

    # --- open ---------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        site: str,
        hosts: Sequence[str],
        place: BrokerPlace,
        sparkplug: bool,
        now: datetime,
        days: int,
    ) -> Self:
        """A new site: authority, key for pseudonyms, broker, site service.

        Raises:
            SiteFolderError: there is a site already, or a name cannot be one.
        """
        if (path / REGISTER).exists() or (path / AUTHORITY_KEY).exists():
            raise SiteFolderError(
                f"{path} holds a site already; --add-unit, --renew and --revoke work on it"
            )
        try:
            register = Register(site=site, hosts=tuple(hosts))
        except ValidationError as error:
            raise SiteFolderError(_faults(error)) from None
        folder = cls(path=path, register=register, authority=Authority.new(site, now))
        folder._write_new(AUTHORITY_KEY, folder.authority.key_pem, SECRET)
        folder._write_new(AUTHORITY_CERTIFICATE, folder.authority.certificate_pem, PUBLIC)
        if not (path / SITE_KEY).exists():
            write_site_key(path / SITE_KEY)
            folder.written.append(path / SITE_KEY)
        folder._give(BROKER_NAME, now=now, days=days)
        folder._give(SITE_SERVICE, now=now, days=days)
        conf = mosquitto_configuration(
            site, folder=place.folder, state_folder=place.state_folder, port=place.port
        )
        folder._write_new("broker/mosquitto.conf", conf.encode(), PUBLIC)
        # Mosquitto warns of rules that everybody can read.
        rules = access_rules(site, sparkplug=sparkplug)
        folder._write_new("broker/acl", rules.encode(), SECRET)
        folder.renew_revocation_list(now)
        return folder

    @classmethod
    def open(cls, path: Path) -> Self:
        """The site in `path`. Raises SiteFolderError: there is none, or it is damaged."""
        try:
            register = Register.model_validate_json((path / REGISTER).read_bytes())
            authority = Authority.from_pem(
                (path / AUTHORITY_CERTIFICATE).read_bytes(), (path / AUTHORITY_KEY).read_bytes()
            )
        except FileNotFoundError as error:
            raise SiteFolderError(
                f"{path} holds no site ({error.filename} is missing); --broker HOST makes one"
            ) from None
        except ValidationError as error:
            raise SiteFolderError(f"{path / REGISTER}: {_faults(error)}") from None
        except (OSError, ValueError) as error:
            raise SiteFolderError(f"{path}: the authority cannot be read: {error}") from None
        return cls(path=path, register=register, authority=authority)

    # --- what a site does -----------------------------------------------------------------------

    def add_unit(self, name: str, *, port: int, now: datetime, days: int) -> None:
        """Certificate, key and settings of a unit. Raises SiteFolderError: it has them."""
        try:
            UNIT_NAME.validate_python(name)
        except ValidationError as error:
            raise SiteFolderError(f"--add-unit {name}: {_faults(error)}") from None
        current = self.register.current(name)
        if current is not None:
            raise SiteFolderError(
                f"--add-unit {name}: has a certificate until {current.ends_at:%Y-%m-%d};"
                f" --renew {name} makes a new one, --revoke {name} takes it back"
            )
        self._give(name, now=now, days=days)
        place = f"units/{name}"
        fragment = FRAGMENT.format(
            unit=name, site=self.register.site, host=self.register.hosts[0], port=port
        )
        self._replace(f"{place}/broker.toml", fragment.encode(), PUBLIC)
        self._replace(f"{place}/site.key", (self.path / SITE_KEY).read_bytes(), SECRET)

    def renew(self, names: Sequence[str], *, now: datetime, days: int) -> None:
        """New keys and certificates; the old ones count until they end.

        Raises:
            SiteFolderError: somebody has no certificate that could be renewed.
        """
        for name in names:
            if self.register.current(name) is None:
                raise SiteFolderError(f"--renew {name}: has no certificate; --add-unit makes one")
        for name in names:
            self._give(name, now=now, days=days)

    def revoke(self, names: Sequence[str], now: datetime) -> None:
        """Nothing that these were given counts, once the broker has the new list.

        Raises:
            SiteFolderError: somebody never had a certificate.
        """
        for name in names:
            if not any(e.name == name and e.revoked_at is None for e in self.register.entries):
                raise SiteFolderError(f"--revoke {name}: has no certificate")
        for name in names:
            self._keep(self.register.revoke(name, now))
        self.renew_revocation_list(now)

    def renew_revocation_list(self, now: datetime) -> None:
        """Writes broker/crl.pem by the register."""
        crl = self.authority.revocation_list(self.register.revocations(), now)
        self._replace("broker/crl.pem", crl, PUBLIC)

    # --- files ----------------------------------------------------------------------------------

    def _give(self, name: str, *, now: datetime, days: int) -> None:
        role = role_of(name)
        hosts = self.register.hosts if role is CertificateRole.BROKER else ()
        common_name = hosts[0][:64] if role is CertificateRole.BROKER else name
        pair = self.authority.issue(role, common_name, hosts=hosts, now=now, days=days)
        # First the register: a certificate that it does not name could not be revoked.
        self._keep(self.register.with_pair(role, name, pair))
        self._write_pair(role, name, pair)

    def _write_pair(self, role: CertificateRole, name: str, pair: KeyPair) -> None:
        # `site.key` is what makes pseudonyms: the key of the site's programs is called otherwise.
        place, stem = {
            CertificateRole.BROKER: ("broker", "broker"),
            CertificateRole.SITE: ("site", "monitor"),
            CertificateRole.UNIT: (f"units/{name}", "unit"),
        }[role]
        self._replace(f"{place}/ca.pem", self.authority.certificate_pem, PUBLIC)
        self._replace(f"{place}/{stem}.key", pair.key, SECRET)
        self._replace(f"{place}/{stem}.pem", pair.certificate, PUBLIC)

    def _keep(self, register: Register) -> None:
        self.register = register
        self._replace(REGISTER, register.model_dump_json(indent=2).encode() + b"\n", PUBLIC)

    def _write_new(self, name: str, content: bytes, mode: int) -> None:
        if (self.path / name).exists():
            raise SiteFolderError(f"{self.path / name} is there already; it is not overwritten")
        self._replace(name, content, mode)

    def _replace(self, name: str, content: bytes, mode: int) -> None:
        """Whole or not at all, and never for a moment readable by others."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = file.with_name(f".{file.name}.new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
        if file not in self.written:
            self.written.append(file)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Two commands on one site would lose each other's certificates: the second is refused."""
    path.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SiteFolderError(f"{path}: another command works on this site now") from None
    else:
        yield
    finally:
        os.close(descriptor)


def _faults(error: ValidationError) -> str:
    return "; ".join(
        ".".join(str(part) for part in ["name", *fault["loc"]][-2:]) + f": {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False)
    )
