"""The flags as colour-blind eyes see them: rendered by a real Chromium that simulates those."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
import pytest

from runtime.image.reasons import Reason
from tests.runtime.console.bench import ConsoleBench
from tests.support.builders import unassessed

# Chromium simulates after Machado, Oliveira and Fernandes (IEEE TVCG 15:1291, 2009), in full.
VISIONS = ("none", "deuteranopia", "protanopia", "tritanopia", "achromatopsia")
FLAGS = ("priority", "none", "not_assessed", "not_yet")
LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3
LEAST_ICON_CONTRAST = 3.0  # WCAG 2.2, 1.4.11
LEAST_SHARE_OF_SHAPE = 0.1


@dataclass(frozen=True)
class Seen:
    """One flag as one eye sees it; each rows x columns x RGB, 0-1."""

    whole: np.ndarray
    word: np.ndarray
    icon: np.ndarray


@pytest.fixture(scope="module")
def seen(browser, tmp_path_factory):
    """By vision and flag. One page for all: what differs is how the browser renders it."""
    bench = ConsoleBench(tmp_path_factory.mktemp("console"))
    page = browser.new_context(viewport={"width": 1024, "height": 768}).new_page()
    try:
        bench.console.start()
        bench.exam("1.2.3.1", score=0.9)
        bench.exam("1.2.3.2", score=0.1)
        bench.receive("1.2.3.3", "RCC")
        bench.judge(unassessed(Reason.UNREADABLE))
        bench.receive("1.2.3.4", "RCC")
        page.goto(bench.url)
        page.locator(".item").nth(3).wait_for()
        debugger = page.context.new_cdp_session(page)
        found = {vision: {} for vision in VISIONS}
        for name in FLAGS:
            page.locator(f".item-{name}").click()
            shown = page.locator(f".flag-{name}")
            shown.wait_for()
            for vision in VISIONS:
                debugger.send("Emulation.setEmulatedVisionDeficiency", {"type": vision})
                found[vision][name] = Seen(
                    rendered(shown),
                    rendered(shown.locator(".word")),
                    rendered(shown.locator("> .icon")),
                )
        yield found
    finally:
        page.context.close()
        bench.close()


def rendered(locator) -> np.ndarray:
    """rows x columns x RGB of an element, 0-1, as it is drawn."""
    png = np.frombuffer(locator.screenshot(animations="disabled"), np.uint8)
    return cv2.cvtColor(cv2.imdecode(png, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB) / 255.0


def luminance(rgb: np.ndarray) -> np.ndarray:
    """Relative luminance (WCAG 2.2)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def colour_of(picture: np.ndarray) -> np.ndarray:
    """The most frequent colour, RGB."""
    levels = np.rint(picture * 255).astype(np.int64)
    colours, counts = np.unique(levels @ [1 << 16, 1 << 8, 1], return_counts=True)
    return np.array([colours[counts.argmax()] >> shift & 255 for shift in (16, 8, 0)]) / 255


def ground_of(picture: np.ndarray) -> float:
    """Its luminance."""
    return float(luminance(colour_of(picture)))


def contrasts(picture: np.ndarray) -> np.ndarray:
    """Contrast of each pixel with the ground, 1-21."""
    light, ground = luminance(picture), ground_of(picture)
    return (np.maximum(light, ground) + 0.05) / (np.minimum(light, ground) + 0.05)


def shape_of(icon: np.ndarray) -> np.ndarray:
    """Where the icon is drawn, on a common grid; by contrast alone, without any colour."""
    drawn = (contrasts(icon) > LEAST_ICON_CONTRAST).astype(np.uint8)
    return cv2.resize(drawn, (64, 64), interpolation=cv2.INTER_AREA).astype(bool)


@pytest.mark.parametrize("vision", VISIONS)
def test_every_flag_can_be_read_by_every_eye(seen, vision):
    """Words stand out from their ground by the contrast that small print needs."""
    for name, flag in seen[vision].items():
        words = contrasts(flag.word)
        # The strokes' cores: edges are blended with the ground.
        assert np.percentile(words[words > 1.5], 80) >= LEAST_CONTRAST, name


@pytest.mark.parametrize("vision", VISIONS)
def test_flags_differ_in_shape_for_every_eye(seen, vision):
    """Each two icons differ in a good part of what is drawn, whatever the colours."""
    shapes = {name: shape_of(flag.icon) for name, flag in seen[vision].items()}
    for one, other in combinations(FLAGS, 2):
        drawn = (shapes[one] | shapes[other]).sum()
        assert drawn > 200, (one, other)
        assert (shapes[one] ^ shapes[other]).sum() / drawn >= LEAST_SHARE_OF_SHAPE, (one, other)


@pytest.mark.parametrize("vision", VISIONS)
def test_priority_is_the_only_flag_that_is_filled(seen, vision):
    """The flag to act on is bright as a whole, the others are dark: seen from across the room."""
    grounds = {name: ground_of(flag.whole) for name, flag in seen[vision].items()}
    others = max(ground for name, ground in grounds.items() if name != "priority")
    assert (grounds["priority"] + 0.05) / (others + 0.05) >= LEAST_CONTRAST


def test_the_browser_does_simulate(seen):
    """The check would see nothing if the browser drew the same for all."""
    colours = {vision: tuple(colour_of(seen[vision]["priority"].whole)) for vision in VISIONS}
    assert len(set(colours.values())) == len(VISIONS)
    assert np.ptp(colours["achromatopsia"]) < 0.02
