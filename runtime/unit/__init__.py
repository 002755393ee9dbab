"""A running unit: makes its parts from `unit.toml`, ties them together, starts and stops them.

May know every room of the runtime but the command line.
"""
