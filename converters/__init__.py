"""At the bench: trained model in, verified model package out.

Knows the runtime, whose own path it measures packages on, and nothing of the firmware bridge.
"""

from runtime.system.library_telemetry import switch_off_telemetry

switch_off_telemetry()
