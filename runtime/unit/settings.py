"""`unit.toml` -> `Settings`: checked completely at start, every fault in one go.

The sections `[intake.NAME]` belong to the intakes, which are found by entry point; each is
checked against its intake's own model, so that a vendor's bridge brings its own settings.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from runtime.console.settings import ConsoleSettings
from runtime.drift.settings import DriftSettings
from runtime.messages.topics import SiteName, UnitName
from runtime.mqtt.settings import BrokerSettings
from runtime.sparkplug.settings import SparkplugSettings
from runtime.user_input.settings_section import Section, SettingsError, settings_faults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.exams.intake_ports import Intake

ViewCode = Literal["RCC", "LCC", "RMLO", "LMLO"]


def _known_device(name: str) -> str:
    if not re.fullmatch(r"NPU|VPU|GPU(\.\d+)?|CPU", name):
        raise ValueError("must be NPU (or its old name VPU), GPU, GPU.n or CPU")
    return name


Device = Annotated[str, AfterValidator(_known_device)]


class UnitSettings(Section):
    """Who we are."""

    site: SiteName
    unit: UnitName


class StorageSettings(Section):
    """Where the spool and the ledger live, and how much of the disk stays free."""

    folder: Path
    reserve_mb: int = Field(default=2048, ge=0, description="refuse images below this much space")
    keep_images_days: int = Field(default=7, ge=0)
    keep_records_days: int = Field(default=30, ge=7)
    max_waiting_images: int = Field(default=2000, ge=1)
    max_object_mb: int = Field(default=4096, ge=1, description="a tomosynthesis volume has 3 GB")

    @model_validator(mode="after")
    def _records_outlive_images(self) -> Self:
        if self.keep_images_days > self.keep_records_days:
            raise ValueError("keep_images_days must not be above keep_records_days")
        return self


class ModelSettings(Section):
    """Which package runs, where, and at which operating point."""

    package: Path
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "int8"
    operating_point: str = "balanced"
    devices: tuple[Device, ...] = Field(default=("CPU",), min_length=1)
    threads: int | None = Field(default=None, ge=1)
    allow_unsigned: bool = False
    trusted_keys: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] = ()


class WorkerSettings(Section):
    """Limits of the pixel worker."""

    job_timeout_s: float = Field(default=60.0, gt=0)
    start_timeout_s: float = Field(default=180.0, gt=0)
    longest_wait_s: float = Field(
        default=600.0, gt=0, description="then images end not assessed if no worker can be started"
    )
    max_megapixels: float = Field(default=64.0, gt=0)
    evidence_maps: bool = Field(
        default=False,
        description="write evidence maps beside the spool; for readers, never for triage",
    )


class ExamSettings(Section):
    """When an exam is complete."""

    expected_views: tuple[ViewCode, ...] = Field(
        default=("RCC", "LCC", "RMLO", "LMLO"), min_length=1
    )
    idle_timeout_s: float = Field(default=300.0, gt=0)
    max_images: int = Field(
        default=100, ge=8, le=1000, description="of one exam; others are kept and not judged"
    )

    @field_validator("expected_views")
    @classmethod
    def _each_once(cls, views: tuple[ViewCode, ...]) -> tuple[ViewCode, ...]:
        if len(set(views)) != len(views):
            raise ValueError("a view is named twice")
        return views


class IdentitySettings(Section):
    """What may leave the unit. The key makes pseudonyms; see contract 2."""

    site_key_file: Path
    publish_accession_number: bool = False
    publish_study_instance_uid: bool = False


class ExpirySettings(Section):
    """How long a message stays true."""

    exam_hours: float = Field(default=24.0, gt=0, le=24 * 366)
    event_days: float = Field(default=7.0, gt=0, le=366)
    replay_days: float = Field(default=7.0, gt=0, le=366)


class FileSettings(Section):
    """unit.toml as a whole; `intake` is checked by the intakes themselves."""

    unit: UnitSettings
    storage: StorageSettings
    model: ModelSettings
    identity: IdentitySettings
    broker: BrokerSettings
    worker: WorkerSettings = WorkerSettings()
    exam: ExamSettings = ExamSettings()
    expiry: ExpirySettings = ExpirySettings()
    console: ConsoleSettings = ConsoleSettings()
    sparkplug: SparkplugSettings = SparkplugSettings()
    drift: DriftSettings = DriftSettings()
    intake: dict[str, dict[str, Any]] = Field(min_length=1)


@dataclass(frozen=True, kw_only=True)
class IntakePlan:
    """An intake that the settings ask for: its class and its checked section."""

    name: str
    intake_type: type[Intake]
    settings: BaseModel


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that unit.toml says. Relative paths were resolved against the file's folder."""

    file: Path
    unit: UnitSettings
    storage: StorageSettings
    model: ModelSettings
    identity: IdentitySettings
    broker: BrokerSettings
    worker: WorkerSettings
    exam: ExamSettings
    expiry: ExpirySettings
    console: ConsoleSettings
    sparkplug: SparkplugSettings
    drift: DriftSettings
    intakes: tuple[IntakePlan, ...]


def _resolved(value: Any, folder: Path) -> Any:
    """The section with every Path made absolute against `folder`."""
    if isinstance(value, Path):
        return value if value.is_absolute() else folder / value
    if isinstance(value, BaseModel):
        update = {
            name: _resolved(getattr(value, name), folder) for name in type(value).model_fields
        }
        return value.model_copy(update=update)
    return value


def parse_settings(
    document: Mapping[str, Any], file: Path, intake_types: Mapping[str, type[Intake]]
) -> Settings:
    """`document` (the parsed TOML) as `Settings`.

    Raises:
        SettingsError: with every fault that was found.
    """
    faults: list[str] = []
    checked: FileSettings | None = None
    try:
        checked = FileSettings.model_validate(document)
    except ValidationError as error:
        faults += settings_faults(error)
    folder = file.parent
    plans: list[IntakePlan] = []
    sections = document.get("intake", {})
    for name, section in sections.items() if isinstance(sections, dict) else ():
        intake_type = intake_types.get(name)
        if intake_type is None:
            known = ", ".join(sorted(intake_types)) or "none"
            faults.append(f"intake.{name}: no such intake is installed (there are: {known})")
            continue
        try:
            settings = intake_type.settings_type.model_validate(section)
        except ValidationError as error:
            faults += settings_faults(error, ("intake", name))
            continue
        settings = _resolved(settings, folder)
        plans.append(IntakePlan(name=name, intake_type=intake_type, settings=settings))
        watched = getattr(settings, "folder", None)
        if checked is not None and isinstance(watched, Path):
            spool = _resolved(checked.storage, folder).folder.resolve()
            watched = watched.resolve()
            if watched.is_relative_to(spool) or spool.is_relative_to(watched):
                faults.append(f"intake.{name}.folder: must lie outside storage.folder")
    if checked is not None and checked.console.evidence_page and not checked.worker.evidence_maps:
        faults.append("console.evidence_page: needs worker.evidence_maps = true")
    if faults or checked is None:
        raise SettingsError(file, faults)
    return Settings(
        file=file,
        unit=checked.unit,
        storage=_resolved(checked.storage, folder),
        model=_resolved(checked.model, folder),
        identity=_resolved(checked.identity, folder),
        broker=_resolved(checked.broker, folder),
        worker=checked.worker,
        exam=checked.exam,
        expiry=checked.expiry,
        console=_resolved(checked.console, folder),
        sparkplug=checked.sparkplug,
        drift=checked.drift,
        intakes=tuple(plans),
    )


def load_settings(file: Path, intake_types: Mapping[str, type[Intake]]) -> Settings:
    """Reads and checks unit.toml.

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
    return parse_settings(document, file.resolve(), intake_types)
