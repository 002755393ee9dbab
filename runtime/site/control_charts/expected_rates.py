"""What packages were measured to give: the priority rate that is normal at an operating point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.errors import OperatorError, PackageRefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class PackagesError(OperatorError):
    """Packages of `[watch] packages` cannot be used; `faults` begin with the key of each."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))


def expected_rates(packages: Sequence[Path]) -> dict[tuple[str, str, str], float]:
    """Priority rates by (model, version, operating point), 0-1.

    In screening nearly all patients are well: the rate is about what the specificity leaves.

    Raises:
        PackagesError: with the fault of each package that cannot be read.
    """
    from models.package import load_package

    found, faults = {}, []
    for number, folder in enumerate(packages):
        try:
            manifest = load_package(folder, trusted_keys=(), allow_unsigned=True).manifest
        except (PackageRefusedError, OSError) as error:
            faults.append(f"watch.packages.{number}: {error}")
            continue
        for point in manifest.operating_points:
            if point.specificity is not None:
                key = (manifest.name, manifest.version, point.name)
                found[key] = 1.0 - point.specificity
    if faults:
        raise PackagesError(faults)
    return found
