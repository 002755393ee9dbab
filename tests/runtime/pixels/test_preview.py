"""Previews: small, the right way round in gray, and labelled."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np

from runtime.pixels.bare_image import BareImage
from runtime.pixels.preview import LABEL, LABEL_LINE_PX, LONG_SIDE_PX, preview, write_preview

BAND_PX = LABEL_LINE_PX * len(LABEL)


def mammogram(pixels, **facts):
    return BareImage(pixels=pixels, bits_stored=12, **facts).mammogram()


def gradient(rows=4096, columns=3328):
    """Dark at the left, bright at the right."""
    return np.tile(np.linspace(0, 4095, columns).astype(np.uint16), (rows, 1))


def test_a_preview_is_small_and_says_what_it_is_not_for():
    """At most 320 pixels of image, and a band below it in which white letters are burnt."""
    picture = preview(mammogram(gradient()))
    rows, columns = picture.shape
    assert rows == LONG_SIDE_PX + BAND_PX + 10
    assert columns < LONG_SIDE_PX
    band = picture[LONG_SIDE_PX + 4 :]
    assert 0.05 < (band > 128).mean() < 0.5


def test_gray_is_that_of_the_display():
    """MONOCHROME1 displays its lowest value white (PS3.3 C.7.6.3.1.2)."""
    usual = preview(mammogram(gradient()))[100]
    inverse = preview(mammogram(gradient(), monochrome1=True))[100]
    assert usual[5] < 20
    assert usual[-5] > 235
    assert inverse[5] > 235
    assert inverse[-5] < 20


def test_tiny_images_make_previews_too():
    """A picture of 20 x 10 pixels has a label that can be read all the same."""
    picture = preview(mammogram(np.full((20, 10), 2000, np.uint16)))
    assert picture.shape[1] >= 200


def test_the_file_lies_beside_the_object_under_its_hash(tmp_path):
    """A JPEG of a few kilobytes; the artefact names its SHA-256."""
    artefact = write_preview(tmp_path / "abc.dcm", mammogram(gradient()))
    content = (tmp_path / "abc.preview.jpg").read_bytes()
    assert artefact.sha256 == hashlib.sha256(content).hexdigest()
    assert len(content) < 30_000
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.ndim == 2
    assert [item.name for item in tmp_path.iterdir()] == ["abc.preview.jpg"]
