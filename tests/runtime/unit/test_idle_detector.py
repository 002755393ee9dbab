"""A rest begins once, after something happened and then nothing for a while."""

from __future__ import annotations

from runtime.unit.idle_detector import REST_S, IdleDetector


def test_a_rest_is_told_once():
    """When nothing has happened for long enough, and again only after something did."""
    watch = IdleDetector(0.0)
    assert not watch.begins(1, 1.0)
    assert not watch.begins(1, REST_S)
    assert not watch.lasts(REST_S)
    assert watch.begins(1, 1.0 + REST_S)
    assert watch.lasts(9 * REST_S)
    assert not watch.begins(1, 10 * REST_S)
    assert not watch.begins(2, 11 * REST_S)
    assert watch.begins(2, 12 * REST_S)


def test_what_goes_on_is_no_rest():
    """Each step begins the wait anew."""
    watch = IdleDetector(0.0)
    assert not any(watch.begins(step, step * REST_S / 2) for step in range(1, 10))


def test_a_unit_to_which_nothing_happened_has_nothing_to_give_back():
    """No rest after a start alone."""
    assert not IdleDetector(0.0).begins(0, 100 * REST_S)
