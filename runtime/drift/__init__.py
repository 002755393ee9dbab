"""Whether a unit's scores or images have changed against their reference.

Arithmetic over a day's rows, and the section `[drift]` of unit.toml.
"""
