"""A golden case: source pixels, the model input they must become, the scores they must give."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, ValidationError

from models.errors import OperatorError
from models.manifest import Frozen, Name, Probability

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAXIMUM_CASE_BYTES = 128 * 1024 * 1024
"""Of one case, unpacked: an .npz is a zip and could otherwise grow without end."""


class GoldenFaultError(OperatorError, ValueError):
    """A golden case that cannot be read; the text names the file and what is wrong."""


class GoldenFacts(Frozen):
    """What a Mammogram needs to know besides its pixels."""

    slot: str
    """View of the input port that the image feeds: `any`, `CC`, `RMLO`, ..."""
    tensor: str
    laterality: Literal["R", "L"]
    view: Literal["CC", "MLO", "ML", "LM", "XCCL"]
    film: bool = False
    monochrome1: bool = False
    bits_stored: int = Field(default=12, ge=1, le=16)
    pixel_spacing_mm: tuple[float, float] | None = None
    window_center: float | None = None
    window_width: float | None = Field(default=None, gt=0)
    window_function: Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"] = "LINEAR"
    input_stride: int = Field(default=1, ge=1)
    """The stored expected input is every `input_stride`-th row and column of the real one."""


class GoldenRecord(Frozen):
    """The part of a case that is no array."""

    name: Name
    images: tuple[GoldenFacts, ...] = Field(min_length=1)
    input_tolerance: float = Field(gt=0)
    """Largest allowed difference of any stored input value."""
    scores: dict[str, dict[str, Probability]]
    """Precision of the package -> score name -> the score it gave when it was packaged."""


@dataclass(frozen=True, kw_only=True)
class GoldenImage:
    """One image of a case."""

    facts: GoldenFacts
    pixels: NDArray[np.uint16]
    """Stored values, rows x columns, read-only."""
    expected_input: NDArray[np.generic]
    """Expected model input, sampled with `facts.input_stride` along its two longest axes."""


@dataclass(frozen=True, kw_only=True)
class GoldenCase:
    """One case of a package."""

    record: GoldenRecord
    images: tuple[GoldenImage, ...]

    @property
    def name(self) -> str:
        """What the case is called in messages."""
        return self.record.name


def sample_input(tensor: NDArray[np.generic], stride: int) -> NDArray[np.generic]:
    """Every `stride`-th row and column of a model input of any layout.

    The rows and columns are its two longest axes: batch and channels are at most 3.
    """
    image_axes = set(np.argsort(tensor.shape)[-2:].tolist())
    return tensor[
        tuple(slice(None, None, stride if a in image_axes else 1) for a in range(tensor.ndim))
    ]


def write_golden_case(path: Path, case: GoldenCase) -> None:
    """Write `case` as a compressed .npz without pickled objects."""
    arrays: dict[str, NDArray[np.generic]] = {
        "record": np.frombuffer(case.record.model_dump_json().encode(), dtype=np.uint8)
    }
    for index, image in enumerate(case.images):
        arrays[f"pixels_{index}"] = image.pixels
        arrays[f"input_{index}"] = image.expected_input
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    path.write_bytes(buffer.getvalue())


def read_golden_case(path: Path) -> GoldenCase:
    """Read one case.

    Raises:
        GoldenFaultError: not an .npz, too large, an array missing or of the wrong kind.
    """
    try:
        _check_size(path)
        with np.load(path, allow_pickle=False) as arrays:
            record = GoldenRecord.model_validate_json(arrays["record"].tobytes())
            images = tuple(
                GoldenImage(
                    facts=facts,
                    pixels=_pixels(path, arrays[f"pixels_{index}"]),
                    expected_input=arrays[f"input_{index}"],
                )
                for index, facts in enumerate(record.images)
            )
    except GoldenFaultError:
        raise
    except ValidationError as fault:
        raise GoldenFaultError(f"{path.name}: {fault.errors()[0]['msg']}") from fault
    except (OSError, KeyError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as fault:
        raise GoldenFaultError(f"{path.name}: {fault}") from fault
    return GoldenCase(record=record, images=images)


def _check_size(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAXIMUM_CASE_BYTES:
            raise GoldenFaultError(f"{path.name}: larger than {MAXIMUM_CASE_BYTES} bytes")


def _pixels(path: Path, stored: NDArray[np.generic]) -> NDArray[np.uint16]:
    if stored.ndim != 2 or stored.dtype != np.uint16 or stored.size == 0:
        raise GoldenFaultError(f"{path.name}: pixels must be a 2-D uint16 array")
    pixels = stored.astype(np.uint16, copy=False)
    pixels.setflags(write=False)
    return pixels
