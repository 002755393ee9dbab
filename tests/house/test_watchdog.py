"""The watchdog of `tests/support/watchdog.py`, with real runs of pytest that hang."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

DEAF = """
import time

def test_that_swallows_its_time_out():
    while True:
        try:
            time.sleep(3600)
        except BaseException:
            continue

def test_behind_it():
    assert True
"""
FAILED_FIRST = """
import time
import pytest

@pytest.fixture
def deaf():
    yield
    while True:
        try:
            time.sleep(3600)
        except BaseException:
            continue

def test_that_fails_and_hangs_then(deaf):
    assert False
"""
LEFT_BEHIND = """
import threading

def stays_for_ever():
    threading.Event().wait()

def test_that_leaves_a_thread():
    threading.Thread(target=stays_for_ever).start()
"""
CRAWLING = """
import time
import pytest

@pytest.mark.parametrize("number", range(1000))
def test_that_takes_its_time(number):
    time.sleep(0.5)
"""
ENDED_BY_US_S = 120


@pytest.fixture
def run(tmp_path):
    """A run of pytest with these tests and quick bounds; it must end by itself."""

    def run_pytest(source, *options, longest_run_s=60):
        (tmp_path / "conftest.py").write_text('pytest_plugins = ["tests.support.watchdog"]\n')
        (tmp_path / "test_hanging.py").write_text(source)
        (tmp_path / "pytest.ini").write_text(
            "[pytest]\ntimeout = 1\nwatchdog_margin_s = 2\n"
            f"watchdog_longest_run_s = {longest_run_s}\n"
        )
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, tmp_path],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=ENDED_BY_US_S,
        )

    return run_pytest


def test_a_test_that_swallows_its_time_out_is_ended_and_its_stack_told(run):
    """pytest-timeout's exception comes and goes; the watchdog's end is final."""
    done = run(DEAF)
    assert done.returncode == 1
    assert "Timeout (0:00:03)!" in done.stderr
    assert "in test_that_swallows_its_time_out" in done.stderr


def test_with_workers_the_test_fails_by_name_and_the_others_are_run(run):
    """xdist says which test the worker died of, and starts another."""
    done = run(DEAF, "-n", "1")
    assert done.returncode == 1
    assert "crashed while running" in done.stdout
    assert "test_that_swallows_its_time_out" in done.stdout
    assert "1 failed, 1 passed" in done.stdout


def test_a_failed_test_that_hangs_in_its_tear_down_is_ended(run):
    """pytest itself ends faulthandler's timer when a test fails."""
    done = run(FAILED_FIRST)
    assert done.returncode == 1
    assert "in deaf" in done.stderr


def test_a_thread_that_nobody_ended_does_not_keep_the_run(run):
    """All tests passed, and yet the process would stay for ever."""
    done = run(LEFT_BEHIND)
    assert done.returncode == 1
    assert "1 passed" in done.stdout
    assert "in stays_for_ever" in done.stderr


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_a_run_that_only_crawls_has_an_end(run, options):
    """No test is late, all together are."""
    done = run(CRAWLING, *options, longest_run_s=10)
    assert done.returncode != 0
    assert "Timeout (0:00:" in done.stderr
