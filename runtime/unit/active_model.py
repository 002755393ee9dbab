"""The package that a unit's settings name, and what every result of it will carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.errors import PackageRefusedError
from models.package import load_package
from runtime.image.outcome import ModelRef

if TYPE_CHECKING:
    from models.manifest import Triage
    from models.package import Package
    from runtime.unit.settings import Settings


def open_package(settings: Settings) -> Package:
    """The package that the settings name.

    Raises:
        PackageRefusedError: it does not hold, or its role is not triage.
    """
    package = load_package(
        settings.model.package,
        trusted_keys=tuple(bytes.fromhex(key) for key in settings.model.trusted_keys),
        allow_unsigned=settings.model.allow_unsigned,
        store=settings.storage.folder / "packages",
    )
    triage_of(package)
    return package


def triage_of(package: Package) -> Triage:
    """What the package makes flags of.

    Raises:
        PackageRefusedError: its role is another, and nothing of it may become a flag.
    """
    triage = package.manifest.triage
    if triage is None:
        told = (
            f"role: {package.manifest.role}, and only a package of the role triage may flag exams;"
            " name one in [model] package (what this one finds in an image:"
            " `mammoedge judge --package`)"
        )
        raise PackageRefusedError(package.manifest.label, [told])
    return triage


def precision_of(settings: Settings, package: Package) -> str:
    """The one that the settings name, else the package's own choice.

    Raises:
        PackageRefusedError: the package has no such precision.
    """
    name = settings.model.precision or package.manifest.default_precision
    package.precision(name)
    return name


def model_ref(package: Package, *, precision: str, operating_point: str) -> ModelRef:
    """What every result of this package will carry.

    Raises:
        KeyError: no such operating point.
        PackageRefusedError: its role is not triage.
    """
    point = triage_of(package).operating_point(operating_point)
    return ModelRef(
        name=package.manifest.name,
        version=package.manifest.version,
        package_sha256=package.sha256,
        operating_point=point.name,
        threshold=point.threshold,
        precision=precision,
    )
