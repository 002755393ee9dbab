"""`site.toml` -> `SiteSettings`: checked completely at start, every fault in one go."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from runtime.messages.topics import NAME_PATTERN, SiteName
from runtime.mqtt.settings import LOOPBACK, BrokerSettings
from runtime.site.config.page_settings import PageSettings
from runtime.site.store.store import Store, database_url
from runtime.user_input.settings_section import Section, SettingsError, settings_faults

if TYPE_CHECKING:
    from collections.abc import Mapping


def _known_database(text: str) -> str:
    database_url(text)
    return text


class SiteSection(Section):
    """Who we are. Two services of one site have two names."""

    name: SiteName
    service: Annotated[str, Field(pattern=NAME_PATTERN)] = Field(
        default="site-1", description="this service's name; part of its client id and its alarms"
    )


class StoreSection(Section):
    """Where the store is: a SQLite file beside site.toml, or a PostgreSQL URL."""

    database: Annotated[str, AfterValidator(_known_database)] = Field(
        default="site.db", description="a file beside site.toml, or postgresql://USER@HOST/NAME"
    )
    password_file: Path | None = Field(default=None, description="of the URL's user")
    keep_days: int = Field(default=90, ge=1, le=3660, description="then rows are removed")
    patience_s: float = Field(default=5.0, gt=0, le=60, description="to wait for a lock")

    def make_store(self) -> Store:
        """The store that it names, not opened yet. Raises OSError: the password cannot be read."""
        url = database_url(self.database)
        if self.password_file is not None:
            url = url.set(password=self.password_file.read_text(encoding="utf-8").strip())
        return Store(url, patience_s=self.patience_s)


class ListenSection(Section):
    """How we listen."""

    group: Annotated[str, Field(pattern=NAME_PATTERN)] | None = Field(
        default=None, description="share the load with services of that name ($share)"
    )
    session_hours: float = Field(
        default=168.0, gt=0, le=24 * 30, description="the broker keeps what we miss"
    )
    takeover_after_s: float = Field(
        default=30.0,
        ge=5,
        le=3600,
        description="a service of the group that is gone so long: another hears what waits for it",
    )
    batch: int = Field(default=1000, ge=1, le=10_000, description="messages in one transaction")


class WatchSection(Section):
    """When something is an alarm."""

    silent_after_s: float = Field(
        default=120.0,
        ge=30,
        le=86_400,
        description="a unit that says nothing for so long is an alarm",
    )
    clock_offset_s: float = Field(
        default=60.0, ge=1, le=86_400, description="a unit's clock that is further off is an alarm"
    )
    replay_after_s: float = Field(
        default=5.0, gt=0, le=3600, description="a gap that lasts so long is asked for"
    )
    replay_pause_s: float = Field(
        default=30.0, gt=0, le=3600, description="before the same gap is asked for again; doubles"
    )
    replays: int = Field(default=5, ge=0, le=20, description="then what is missing is given up")
    foreign_per_hour: int = Field(
        default=10,
        ge=0,
        description="more messages on our topics that are none of ours are an alarm",
    )
    critical_after_s: float = Field(
        default=600.0,
        ge=0,
        le=86_400,
        description="a unit that cannot judge, parked rows, a priority flag that nobody saw, a rate"
        " out of bounds: a warning at first, critical when it has stood for so long",
    )
    most_not_assessed: float = Field(
        default=0.3,
        gt=0,
        le=1,
        description="a larger share of a day's exams that is not assessed is an alarm, whatever is"
        " usual at the unit",
    )
    most_priority: float = Field(
        default=0.5, gt=0, le=1, description="the same for exams flagged priority"
    )
    packages: tuple[Path, ...] = Field(
        default=(), description="packages whose operating points say what is normal"
    )
    look_every_s: float = Field(
        default=5.0, gt=0, le=300, description="how often everything is judged"
    )


class WebhookSection(Section):
    """An Alertmanager, or something that takes what it takes."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=512)] | None = Field(
        default=None, description="where alarms are posted; none: nowhere"
    )
    bearer_token_file: Path | None = Field(
        default=None, description="sent as Authorization, one line"
    )
    timeout_s: float = Field(default=5.0, gt=0, le=60, description="for an answer")
    attempts: int = Field(default=5, ge=1, le=20, description="in one round")
    repeat_s: float = Field(
        default=60.0, ge=1, le=3600, description="Alertmanager forgets what is not repeated"
    )

    @model_validator(mode="after")
    def _no_secret_in_clear(self) -> Self:
        plain = self.url is not None and self.url.startswith("http://")
        host = (self.url or "").split("//")[-1].split("/")[0].rsplit(":", 1)[0].strip("[]")
        if self.bearer_token_file is not None and plain and host not in LOOPBACK:
            raise ValueError("bearer_token_file is sent in clear without https://")
        return self


class MetricsSection(Section):
    """For Prometheus: `/metrics` and `/health`. It names units and figures, no exam."""

    enabled: bool = Field(default=True, description="serve them at all")
    host: str = Field(
        default="127.0.0.1", min_length=1, max_length=253, description="address to listen at"
    )
    port: int = Field(default=9464, ge=0, le=65535, description="0: any free one; the log says")
    names: tuple[str, ...] = Field(
        default=(),
        description="names under which it is asked, as Prometheus has them; addresses and this"
        " machine's own name always work",
    )
    certificate_file: Path | None = Field(
        default=None, description="PEM, with its chain; none: plain HTTP"
    )
    key_file: Path | None = Field(default=None, description="its private key, PEM, no passphrase")

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        return self


class SiteSettings(BaseModel):
    """site.toml as a whole. Paths are absolute once it is loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: SiteSection
    broker: BrokerSettings
    store: StoreSection = StoreSection()
    listen: ListenSection = ListenSection()
    watch: WatchSection = WatchSection()
    webhook: WebhookSection = WebhookSection()
    metrics: MetricsSection = MetricsSection()
    page: PageSettings | None = Field(default=None, description="no section: no page")

    @field_validator("store")
    @classmethod
    def _password_needs_a_server(cls, store: StoreSection) -> StoreSection:
        if store.password_file is not None and "://" not in store.database:
            raise ValueError("password_file is for a database URL")
        return store


def parse_site_settings(document: Mapping[str, Any], file: Path) -> SiteSettings:
    """The parsed TOML as settings. Raises SettingsError with every fault."""
    try:
        checked = SiteSettings.model_validate(document)
    except ValidationError as error:
        raise SettingsError(file, settings_faults(error)) from error
    return _resolved(checked, file.parent)


def load_site_settings(file: Path) -> SiteSettings:
    """Reads and checks site.toml.

    Raises:
        SettingsError: unreadable, not TOML, or any fault in it.
    """
    try:
        with file.open("rb") as stream:
            document = tomllib.load(stream)
    except OSError as error:
        raise SettingsError(file, [f"cannot be read: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(file, [f"is not TOML: {error}"]) from error
    return parse_site_settings(document, file.resolve())


def _resolved(settings: SiteSettings, folder: Path) -> SiteSettings:
    def absolute(value: Any) -> Any:
        if isinstance(value, Path):
            return folder / value
        if isinstance(value, tuple):
            return tuple(absolute(item) for item in value)
        if isinstance(value, BaseModel):
            names = type(value).model_fields
            return value.model_copy(update={n: absolute(getattr(value, n)) for n in names})
        return value

    checked: SiteSettings = absolute(settings)
    database = checked.store.database
    if "://" not in database:
        store = checked.store.model_copy(update={"database": str(folder / database)})
        checked = checked.model_copy(update={"store": store})
    return checked
