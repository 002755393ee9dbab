"""Runs a package on a device and proves it by its golden cases.

The only room of the runtime that imports OpenVINO.
"""

from runtime.system.library_telemetry import switch_off_telemetry

switch_off_telemetry()
