"""The card shows what its figures say, and only pictures that may be passed on."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed (extra [train])")

from converters.training.data.dataset import Sample
from converters.training.reporting.card_figures import Judged, write_figures
from converters.training.reporting.figures import describe, points_of


def judged(data_set: str, count: int, grey: float) -> Judged:
    """Every third malignant; scores rise with the number; all pictures of one grey."""
    samples = [
        Sample(
            name=f"{index}.png", data_set=data_set, patient=f"p{index}",
            label="malignant" if index % 3 == 0 else "normal",
            picture=np.full((40, 30), grey, dtype=np.float32),
            attributes=np.zeros(1, dtype=np.float32), subgroups=("mass",),
        )
        for index in range(count)
    ]  # fmt: skip
    return Judged(samples=samples, scores=np.linspace(0.1, 0.9, count))


def test_tables_and_pictures_are_those_of_the_sets() -> None:
    """Each set has its rows; film that may not be passed on has figures and no pictures."""
    sets = {"cbis-ddsm-lesions": judged("cbis-ddsm-lesions", 30, 0.25)}
    sets["mini-mias"] = judged("mini-mias", 24, 0.75)
    figures = {name: describe(one.samples, one.scores, seed=0) for name, one in sets.items()}
    film = sets["mini-mias"]
    points = points_of(
        film.samples, film.scores, high_sensitivity=0.9, high_specificity=0.9, measured_on="film"
    )
    figures["all validation views"] = figures["mini-mias"] | {"operating_points": points}
    text = write_figures(figures, sets)
    assert "| mini-mias | mass | 24 (8) |" in text
    assert f"| balanced | {points[1]['threshold']:.3f} | mini-mias |" in text
    assert "data:image/svg+xml;base64," in text
    pictures = [
        cv2.imdecode(np.frombuffer(base64.b64decode(data), dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
        for data in re.findall(r"data:image/jpeg;base64,([^)]+)", text)
    ]
    assert len(pictures) == 2
    assert all(picture.max() < 100 for picture in pictures)
