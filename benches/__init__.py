"""`make bench`: time to flag against the floor of the same work done bare, in one run.

Measures a unit from the outside; nothing of the product imports it.
"""

from runtime.system.library_telemetry import switch_off_telemetry

switch_off_telemetry()
