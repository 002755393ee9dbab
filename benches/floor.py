"""The floor: what the same work takes with nothing of ours around it.

Write and fsync the file, decode, one INTER_AREA resize, bare OpenVINO inference of the same IR.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import cv2
import numpy as np
import openvino

from models.package import Package
from runtime.dicom.stored_image import open_image
from runtime.pixels.decoding import decode, register_decoders


class Floor:
    """Compiles the package's IR once, bare; `run` does the work for one file."""

    def __init__(self, package: Package, precision: str, folder: Path) -> None:
        register_decoders()
        wanted = package.precision(precision)
        core = openvino.Core()
        compiled = core.compile_model(
            str(package.folder / wanted.xml),
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": wanted.inference_precision,
            },
        )
        self._request = compiled.create_infer_request()
        self._shape = tuple(package.manifest.inputs[0].shape)
        self._folder = folder

    def run(self, source: Path) -> dict[str, float]:
        """Milliseconds by stage, and their `total`."""
        content = source.read_bytes()
        target = self._folder / "floor.dcm"
        marks = [time.perf_counter()]
        with target.open("wb", buffering=0) as stream:
            stream.write(content)
            os.fsync(stream.fileno())
        marks.append(time.perf_counter())
        pixels = decode(open_image(target))
        marks.append(time.perf_counter())
        height, width = self._shape[-2:]
        small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        marks.append(time.perf_counter())
        tensor = np.ascontiguousarray(small, np.float32).reshape(self._shape)
        self._request.infer([tensor], share_inputs=True)
        marks.append(time.perf_counter())
        target.unlink()
        spent = [(b - a) * 1000 for a, b in itertools.pairwise(marks)]
        stages = dict(zip(("write_fsync", "decode", "resize", "infer"), spent, strict=True))
        return stages | {"total": sum(spent)}
