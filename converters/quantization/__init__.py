"""INT8: calibration images prepared as a unit would, and layers given back to floating point.

Knows imported models and labelled images; not what becomes of them.
"""
