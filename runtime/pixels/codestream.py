"""What a codestream says of itself before it is decoded: size, depth, sign, and whether it lost.

JPEG (ITU-T T.81), JPEG-LS (T.87), JPEG 2000 and HTJ2K (ISO 15444-1 annex A, 15444-15). A label of
DICOM may be wrong; the codestream is what the decoder follows.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

START_OF_IMAGE: Final = b"\xff\xd8"
START_OF_CODESTREAM: Final = b"\xff\x4f\xff\x51"
# T.81 table B.1: SOF0 to SOF15 without DHT, JPG and DAC; T.87: SOF55 of JPEG-LS.
START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
PREDICTIVE: Final = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
"""The lossless processes of T.81 (annex H); the others are of the cosine transform."""
JPEG_LS_FRAME: Final = 0xF7
START_OF_SCAN: Final = 0xDA
CODING_STYLE: Final = 0x52
START_OF_TILE: Final = 0x90


@dataclass(frozen=True, kw_only=True)
class CodestreamHeader:
    """A gray codestream's own word. `precision_bits`: of a sample, its sign included.

    `lossy`: cosine transform, near-lossless, point transform, or the irreversible wavelet. A
    reversible wavelet of which layers were dropped is lossy and does not say so.
    """

    rows: int
    columns: int
    precision_bits: int
    signed: bool | None
    """None: JPEG and JPEG-LS do not tell."""
    lossy: bool

    @property
    def said(self) -> str:
        """The word in words."""
        kind = {True: "signed", False: "unsigned", None: "sign not told"}[self.signed]
        loss = "lossy" if self.lossy else "lossless"
        return f"{self.rows} x {self.columns}, {self.precision_bits} bits, {kind}, {loss}"


class SeveralComponentsError(ValueError):
    """A codestream of colour, or of several gray planes."""


def read_codestream(src: bytes) -> CodestreamHeader:
    """The word of a JPEG, JPEG-LS or JPEG 2000 codestream, from its headers alone.

    Raises:
        SeveralComponentsError: each further one would be allocated and decoded before anybody
            sees its shape.
        ValueError: no such codestream.
        struct.error: it is cut off in its headers.
    """
    if src[:4] == START_OF_CODESTREAM:
        return _jpeg_2000(src)
    if src[:2] != START_OF_IMAGE:
        raise ValueError("no codestream of JPEG or JPEG 2000")
    return _jpeg(src)


def _jpeg_2000(src: bytes) -> CodestreamHeader:
    # SIZ (A.5.1): Xsiz, Ysiz, XOsiz, YOsiz after length and capabilities; then Csiz and Ssiz.
    right, bottom, left, top = struct.unpack_from(">4I", src, 8)
    components, depth = struct.unpack_from(">HB", src, 40)
    _check_gray(components)
    return CodestreamHeader(
        rows=bottom - top,
        columns=right - left,
        precision_bits=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        lossy=_is_irreversible(src),
    )


def _is_irreversible(src: bytes) -> bool:
    """COD (A.6.1): transformation 0 is the 9-7 irreversible filter, 1 the 5-3 reversible one."""
    at = 4 + struct.unpack_from(">H", src, 4)[0]
    while src[at + 1] != START_OF_TILE:
        if src[at + 1] == CODING_STYLE:
            return bool(src[at + 13] == 0)
        at += 2 + struct.unpack_from(">H", src, at + 2)[0]
    raise ValueError("a JPEG 2000 codestream without a coding style")


def _jpeg(src: bytes) -> CodestreamHeader:
    at, frame, process = 2, None, 0
    while at + 9 <= len(src):
        if src[at] != 0xFF:
            raise ValueError("a JPEG marker is missing")
        marker = src[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        length = struct.unpack_from(">H", src, at + 2)[0]
        if marker in START_OF_FRAME:
            frame, process = struct.unpack_from(">BHHB", src, at + 4), marker
            _check_gray(frame[3])
        elif marker == START_OF_SCAN and frame is not None:
            return CodestreamHeader(
                rows=frame[1],
                columns=frame[2],
                precision_bits=frame[0],
                signed=None,
                lossy=_has_lost(process, src[at + 5 : at + 2 + length]),
            )
        at += 2 + length
    raise ValueError("a JPEG codestream without a frame")


def _has_lost(process: int, scan: bytes) -> bool:
    """`scan`: after the number of its components; one of two bytes, then three parameters."""
    near_or_predictor, _, point_transform = scan[2:5]
    if process == JPEG_LS_FRAME:
        return near_or_predictor > 0  # NEAR (T.87 C.2.3)
    return process not in PREDICTIVE or point_transform & 0x0F > 0  # Al (T.81 H.1.2.1)


def _check_gray(components: int) -> None:
    if components != 1:
        raise SeveralComponentsError(f"a codestream of {components} components")
