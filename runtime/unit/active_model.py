"""The package that a unit's settings name, and what every result of it will carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.package import load_package
from runtime.image.outcome import ModelRef

if TYPE_CHECKING:
    from models.package import Package
    from runtime.unit.settings import Settings


def open_package(settings: Settings) -> Package:
    """The package that the settings name. Raises PackageRefusedError."""
    return load_package(
        settings.model.package,
        trusted_keys=tuple(bytes.fromhex(key) for key in settings.model.trusted_keys),
        allow_unsigned=settings.model.allow_unsigned,
        store=settings.storage.folder / "packages",
    )


def precision_of(settings: Settings, package: Package) -> str:
    """The one that the settings name, else the package's own choice.

    Raises:
        PackageRefusedError: the package has no such precision.
    """
    name = settings.model.precision or package.manifest.default_precision
    package.precision(name)
    return name


def model_ref(package: Package, *, precision: str, operating_point: str) -> ModelRef:
    """What every result of this package will carry. Raises KeyError: no such operating point."""
    point = package.manifest.operating_point(operating_point)
    return ModelRef(
        name=package.manifest.name,
        version=package.manifest.version,
        package_sha256=package.sha256,
        operating_point=point.name,
        threshold=point.threshold,
        precision=precision,
    )
