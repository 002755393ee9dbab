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

from models.manifest import ImageTypeTerm
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

    site: SiteName = Field(description="the site's name; part of every topic")
    unit: UnitName = Field(
        description="this unit's name; part of every topic, and the certificate's name"
    )


class StorageSettings(Section):
    """Where the spool and the ledger live, and how much of the disk stays free."""

    folder: Path = Field(
        description="where spool, ledger and compiled models lie; made if it is not there"
    )
    reserve_mb: int = Field(default=2048, ge=0, description="refuse images below this much space")
    keep_images_days: int = Field(default=7, ge=0, description="then spooled images are removed")
    keep_records_days: int = Field(
        default=30, ge=7, description="then exams and outcomes are removed from the ledger"
    )
    max_waiting_images: int = Field(
        default=2000, ge=1, description="images are refused while so many wait for the worker"
    )
    max_object_mb: int = Field(
        default=4096,
        ge=1,
        description="a larger object is refused; a tomosynthesis volume has 3 GB",
    )

    @model_validator(mode="after")
    def _records_outlive_images(self) -> Self:
        if self.keep_images_days > self.keep_records_days:
            raise ValueError("keep_images_days must not be above keep_records_days")
        return self


class ModelSettings(Section):
    """Which package runs, where, and at which operating point."""

    package: Path = Field(description="folder or zip of the model package")
    precision: Literal["fp32", "fp16", "bf16", "int8"] | None = Field(
        default=None,
        description="which of the package's precisions runs; none: the one that it advises, else"
        " its nearest to the source",
    )
    operating_point: str = Field(
        default="balanced", description="which of the package's thresholds decides"
    )
    devices: tuple[Device, ...] = Field(
        default=("CPU",),
        min_length=1,
        description="in order of preference: NPU (VPU is its old name), GPU, GPU.n, CPU",
    )
    threads: int | None = Field(
        default=None, ge=1, description="of a CPU device; none: OpenVINO's choice"
    )
    accept_image_types: tuple[ImageTypeTerm, ...] = Field(
        default=(),
        description="terms of Image Type (0008,0008) that this unit's own images carry and that the"
        " runtime does not know; judged like images without them",
    )
    allow_unsigned: bool = Field(
        default=False,
        description="take a package that is neither signed nor ours that ships; `status` says so",
    )
    trusted_keys: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] = Field(
        default=(), description="Ed25519 public keys (hex) whose signature counts"
    )


class WorkerSettings(Section):
    """Limits of the pixel worker."""

    job_timeout_s: float = Field(
        default=60.0, gt=0, description="a worker that takes longer over a job is replaced"
    )
    start_timeout_s: float = Field(
        default=180.0, gt=0, description="a worker that is not ready by then is replaced"
    )
    longest_wait_s: float = Field(
        default=600.0, gt=0, description="then images end not assessed if no worker can be started"
    )
    max_megapixels: float = Field(default=64.0, gt=0, description="a larger image is not assessed")
    evidence_maps: bool = Field(
        default=False,
        description="write evidence maps beside the spool; for readers, never for triage",
    )


class ExamSettings(Section):
    """When an exam is complete."""

    expected_views: tuple[ViewCode, ...] = Field(
        default=("RCC", "LCC", "RMLO", "LMLO"),
        min_length=1,
        description="the exam's flag is `none` only if each of them was judged",
    )
    idle_timeout_s: float = Field(
        default=300.0, gt=0, description="an exam for which nothing came for so long is finished"
    )
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
    """What may leave the unit. The key makes pseudonyms."""

    site_key_file: Path = Field(
        description="makes the pseudonyms; the same at all units of a site (see `init`)"
    )
    publish_accession_number: bool = Field(
        default=False, description="exam messages name the accession number"
    )
    publish_study_instance_uid: bool = Field(
        default=False, description="exam messages name the Study Instance UID"
    )


class ExpirySettings(Section):
    """How long a message stays true."""

    exam_hours: float = Field(
        default=24.0, gt=0, le=24 * 366, description="flags and outcomes expire at the broker"
    )
    event_days: float = Field(default=7.0, gt=0, le=366, description="events expire at the broker")
    replay_days: float = Field(
        default=7.0, gt=0, le=366, description="delivered rows stay for replay"
    )


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
