"""What a package is for: only triage has a suspicion, and a name can give away what it is not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from models.manifest import Manifest
from models.package_role import PackageRole, role_by_names
from tests.models.test_manifest import with_change

OTHERS = [role for role in PackageRole if role is not PackageRole.TRIAGE]
DENSITIES = [{"tensor": "p", "index": n, "score": f"density_{c}"} for n, c in enumerate("abcd")]
RISKS = [{"tensor": "r", "index": n, "score": f"risk_{n + 1}_years"} for n in range(5)]


def flagging(outputs: list[dict[str, object]], place: int = -1) -> list[dict[str, object]]:
    """The outputs, one of them called the suspicion, as version 1 needed it."""
    outputs = [dict(output) for output in outputs]
    outputs[place]["suspicion"] = True
    return outputs


@pytest.mark.parametrize(
    ("name", "others", "role"),
    [
        ("density_d", (), PackageRole.DENSITY),
        ("BI-RADS.D", (), PackageRole.DENSITY),
        ("birads_d", (), PackageRole.DENSITY),
        ("ACR-c", (), PackageRole.DENSITY),
        ("BreastDensityD", (), PackageRole.DENSITY),
        ("extremely_dense", (), PackageRole.DENSITY),
        ("extreme", ("fatty", "scattered", "heterogeneous"), PackageRole.DENSITY),
        ("densidad_d", (), PackageRole.DENSITY),
        ("D", ("A", "B", "C"), PackageRole.DENSITY),
        ("class_d", ("class_a", "class_b", "class_c"), PackageRole.DENSITY),
        ("suspicion", ("density_a", "density_b", "density_c"), PackageRole.DENSITY),
        ("risk_1_year", (), PackageRole.RISK),
        ("five_year_risk", (), PackageRole.RISK),
        ("risk-5y", (), PackageRole.RISK),
        ("1y_cancer_risk", (), PackageRole.RISK),
        ("suspicion", (), None),
        ("malignant", ("benign",), None),
        ("cancer", ("normal", "density_c"), None),
        ("densenet121", (), None),
        ("risk", (), None),
        ("cancer_within_1_year", (), None),
        ("birads_5", ("birads_1", "birads_2"), None),
        ("D", ("E",), None),
    ],
)
def test_a_name_that_is_plainly_no_suspicion_is_seen(
    name: str, others: tuple[str, ...], role: PackageRole | None
) -> None:
    """Density classes and risks over years; names of detectors are left alone."""
    assert role_by_names(name, others) is role


@pytest.mark.parametrize("declared", [{}, {"role": "triage"}])
@pytest.mark.parametrize(("outputs", "role"), [(DENSITIES, "density"), (RISKS, "risk")])
def test_a_package_that_flags_by_a_class_is_refused_with_the_way_out(
    outputs: list[dict[str, object]], role: str, declared: dict[str, object]
) -> None:
    """Version 1 without a role, or the wrong role: the sentence names the right one."""
    with pytest.raises(ValidationError, match=rf'role = "{role}".*build it again'):
        Manifest.model_validate(with_change(outputs=flagging(outputs), **declared))


def test_a_manifest_without_a_role_is_triage() -> None:
    """Packages of before stay what they were."""
    manifest = Manifest.model_validate(with_change())
    assert manifest.role is PackageRole.TRIAGE
    assert manifest.triage is not None
    assert [output.score for output in manifest.triage.suspicion] == ["suspicion"]


@pytest.mark.parametrize("role", OTHERS)
def test_another_role_has_neither_suspicion_nor_threshold(role: PackageRole) -> None:
    """Each is refused by name; without both the package holds, and has nothing to flag with."""
    other = with_change(role=role, outputs=DENSITIES, operating_points=[])
    assert Manifest.model_validate(other).triage is None
    with pytest.raises(ValidationError, match="suspicion = true stands at: density_d"):
        Manifest.model_validate(other | {"outputs": flagging(DENSITIES)})
    with pytest.raises(ValidationError, match="operating_points"):
        Manifest.model_validate(with_change(role=role, outputs=DENSITIES))


def test_triage_needs_an_operating_point() -> None:
    """A suspicion that nothing is held against would never flag."""
    with pytest.raises(ValidationError, match="operating_points"):
        Manifest.model_validate(with_change(operating_points=[]))


def test_an_unknown_role_is_refused() -> None:
    """With the roles that there are."""
    with pytest.raises(ValidationError, match=r"triage.*density.*research"):
        Manifest.model_validate(with_change(role="screening"))
