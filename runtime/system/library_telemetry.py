"""Libraries that would tell their makers of us: told not to, before they are imported.

- OpenVINO and NNCF report to Google Analytics through the package `openvino_telemetry`, on import
  and in each conversion, and keep a client id in the home folder. They go on without the package.
- ONNX Runtime's native code reports when it is imported; `ORT_DISABLE_TELEMETRY` is what it asks.

The rooms that import them call this from their `__init__`, which runs before any file of theirs.
A child process of ours imports such a room, too, and has the environment of its parent.
"""

from __future__ import annotations

import os
import sys

OPENVINO_TELEMETRY = "openvino_telemetry"
ONNX_RUNTIME_SWITCH = "ORT_DISABLE_TELEMETRY"


def switch_off_telemetry() -> None:
    """For this process; the environment's switch for its children as well.

    A program of somebody else that has imported OpenVINO before ours has made its own choice.
    """
    if OPENVINO_TELEMETRY not in sys.modules:
        # None there: an import of that name fails (docs.python.org, "The module cache").
        sys.modules[OPENVINO_TELEMETRY] = None  # type: ignore[assignment]
    os.environ[ONNX_RUNTIME_SWITCH] = "1"
